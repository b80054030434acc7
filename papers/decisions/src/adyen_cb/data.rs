//! Contexts, actions and logs, as columns.

use serde::{Deserialize, Serialize};

/// A column of contexts or of actions.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// Numbers, `[rows]`.
    Numbers(Vec<f64>),
    /// Levels, each below `levels`, `[rows]`.
    Categories {
        /// The levels.
        codes: Vec<u32>,
        /// How many there are.
        levels: u32,
    },
}

impl Field {
    /// These rows, in this order.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        match self {
            Self::Numbers(values) => Self::Numbers(rows.iter().map(|&i| values[i]).collect()),
            Self::Categories { codes, levels } => {
                Self::Categories { codes: rows.iter().map(|&i| codes[i]).collect(), levels: *levels }
            }
        }
    }

    /// The number, or the level as one.
    #[must_use]
    pub fn at(&self, row: usize) -> f64 {
        match self {
            Self::Numbers(values) => values[row],
            Self::Categories { codes, .. } => f64::from(codes[row]),
        }
    }
}

/// What is known of the actions beside their number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actions {
    /// K.
    pub count: usize,
    /// Columns of `[K]` rows.
    pub fields: Vec<Field>,
}

impl Actions {
    /// Actions of which nothing but the number is known.
    #[must_use]
    pub fn plain(count: usize) -> Self {
        Self { count, fields: Vec::new() }
    }
}

/// Contexts with the actions that each allows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contexts {
    /// Columns of `[n]` rows.
    pub fields: Vec<Field>,
    /// Available actions, ascending, at least one; `[n]`.
    pub allowed: Vec<Vec<u32>>,
    /// A coarse cell of each context, for coverage; `[n]`.
    pub cells: Vec<u32>,
    /// A number for each context and action, `[n, K]`; empty where there is none.
    pub pairs: Vec<f64>,
}

impl Contexts {
    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.allowed.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty()
    }

    /// These rows, in this order.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        let width = if self.is_empty() { 0 } else { self.pairs.len() / self.len() };
        let pairs = rows.iter().flat_map(|&i| &self.pairs[i * width..(i + 1) * width]).copied().collect();
        Self {
            fields: self.fields.iter().map(|field| field.take(rows)).collect(),
            allowed: rows.iter().map(|&i| self.allowed[i].clone()).collect(),
            cells: rows.iter().map(|&i| self.cells[i]).collect(),
            pairs,
        }
    }

    /// Adds rows of the same columns.
    fn append(&mut self, more: &Self) {
        if self.is_empty() {
            *self = more.clone();
            return;
        }
        for (field, more) in self.fields.iter_mut().zip(&more.fields) {
            // Logs of one world have the same columns.
            if let (Field::Numbers(a), Field::Numbers(b)) = (&mut *field, more) {
                a.extend_from_slice(b);
            } else if let (Field::Categories { codes: a, .. }, Field::Categories { codes: b, .. }) =
                (field, more)
            {
                a.extend_from_slice(b);
            }
        }
        self.allowed.extend_from_slice(&more.allowed);
        self.cells.extend_from_slice(&more.cells);
        self.pairs.extend_from_slice(&more.pairs);
    }
}

/// Decisions that were served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// What the policy saw.
    pub contexts: Contexts,
    /// The action that was taken, `[n]`.
    pub actions: Vec<u32>,
    /// Its probability when it was taken, `[n]`. Never computed later: a later model gives another one.
    pub propensities: Vec<f64>,
    /// The reward, `[n]`.
    pub rewards: Vec<f64>,
    /// Whether the row belongs to a slice of traffic that is played uniformly on purpose, `[n]`.
    pub uniform: Vec<bool>,
    /// Whether the label arrives one generation late, `[n]`.
    pub late: Vec<bool>,
}

impl Log {
    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// These rows, in this order.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        Self {
            contexts: self.contexts.take(rows),
            actions: rows.iter().map(|&i| self.actions[i]).collect(),
            propensities: rows.iter().map(|&i| self.propensities[i]).collect(),
            rewards: rows.iter().map(|&i| self.rewards[i]).collect(),
            uniform: rows.iter().map(|&i| self.uniform[i]).collect(),
            late: rows.iter().map(|&i| self.late[i]).collect(),
        }
    }

    /// The rows that satisfy a condition.
    #[must_use]
    pub fn kept(&self, keep: impl Fn(usize) -> bool) -> Self {
        self.take(&(0..self.len()).filter(|i| keep(*i)).collect::<Vec<_>>())
    }

    /// Adds the rows of another log of the same world.
    pub fn append(&mut self, more: &Self) {
        self.contexts.append(&more.contexts);
        self.actions.extend_from_slice(&more.actions);
        self.propensities.extend_from_slice(&more.propensities);
        self.rewards.extend_from_slice(&more.rewards);
        self.uniform.extend_from_slice(&more.uniform);
        self.late.extend_from_slice(&more.late);
    }

    /// Share of rewards that are 1.
    #[must_use]
    pub fn positive_rate(&self) -> f64 {
        self.rewards.iter().sum::<f64>() / self.len().max(1) as f64
    }
}

/// How many generations a model is fitted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Window {
    /// The last M.
    Last(usize),
    /// All so far.
    All,
}

/// What the model of generation `logs.len()` may learn from: the rows of the last generations whose labels
/// have arrived. A late label of the
/// last generation has not, one of an earlier generation has.
#[must_use]
pub fn training_rows(logs: &[Log], window: Window) -> Log {
    let next = logs.len();
    let first = match window {
        Window::Last(memory) => next.saturating_sub(memory),
        Window::All => 0,
    };
    let mut rows = Log::default();
    for (generation, log) in logs.iter().enumerate().skip(first) {
        rows.append(&log.kept(|i| generation + 1 < next || !log.late[i]));
    }
    rows
}
