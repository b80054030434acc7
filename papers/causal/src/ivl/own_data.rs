//! One's own table: which column is what, checked once and then trusted.
//!
//! ```text
//! ream run ivl --data wages.csv --set outcome=lwage --set treatments=educ --set instruments=nearc4 \
//!     --set controls=exper,black,south,married,smsa --set estimator=2sls
//! ream run ivl --data device.csv --set outcome=y --set treatments=x1,x2,x3 --set "augment=translate cols=x1,x2 sd=0.5"
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use ream_data::Table as Columns;
use ream_lab::{Error, Invalid, Result, Run};
use ream_stats::{FitError, Matrix};

use super::augment::{Augmentation, powers, specs};
use super::config::{Config, CovarianceKind, Estimator};
use super::select::Selector;
use super::{estimate, own_tables};

/// Rows that every estimate needs at the least.
const FEWEST: usize = 20;

/// The user's columns.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnData {
    /// The file, for messages.
    pub file: String,
    /// Name of the outcome.
    pub outcome_name: String,
    /// Names of the controls, `const` first.
    pub control_names: Vec<String>,
    /// Names of the treatments, with their powers.
    pub treatment_names: Vec<String>,
    /// Names of the instruments; empty with an augmentation.
    pub instrument_names: Vec<String>,
    /// `[n]`.
    pub outcome: Vec<f64>,
    /// Intercept and controls, `[n, 1 + w]`.
    pub controls: Matrix,
    /// Treatments before augmentation and powers, `[n, k]`.
    pub treatments: Matrix,
    /// `[n, l]`.
    pub instruments: Option<Matrix>,
    /// Augmentations in their order.
    pub augmentations: Vec<Augmentation>,
    /// The user's own parameters and changed columns.
    pub own_parameters: Option<(Matrix, Matrix)>,
    /// Names of the user's own parameters.
    pub parameter_names: Vec<String>,
    /// Cluster of each row.
    pub clusters: Option<Vec<usize>>,
    /// Highest power.
    pub degree: u32,
    /// Rows left out because a value was missing.
    pub dropped: usize,
}

impl OwnData {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.outcome.len()
    }

    /// Whether estimates come from an augmentation.
    #[must_use]
    pub fn is_augmented(&self) -> bool {
        !self.augmentations.is_empty()
    }

    /// Treatments with their powers, `[n, k * degree]`.
    #[must_use]
    pub fn raw(&self) -> Matrix {
        powers(&self.treatments, self.degree)
    }

    /// The rows with these positions; they may repeat.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            outcome: rows.iter().map(|&i| self.outcome[i]).collect(),
            controls: self.controls.select_rows(rows),
            treatments: self.treatments.select_rows(rows),
            instruments: self.instruments.as_ref().map(|z| z.select_rows(rows)),
            own_parameters: self
                .own_parameters
                .as_ref()
                .map(|(g, x)| (g.select_rows(rows), x.select_rows(rows))),
            clusters: self.clusters.as_ref().map(|c| rows.iter().map(|&i| c[i]).collect()),
            file: self.file.clone(),
            outcome_name: self.outcome_name.clone(),
            control_names: self.control_names.clone(),
            treatment_names: self.treatment_names.clone(),
            instrument_names: self.instrument_names.clone(),
            augmentations: self.augmentations.clone(),
            parameter_names: self.parameter_names.clone(),
            degree: self.degree,
            dropped: self.dropped,
        }
    }

    /// A relation between columns with names in place of positions.
    fn with_names(relation: &str, name: &impl Fn(&str, usize) -> String) -> String {
        let mut text = relation.to_owned();
        for role in ["controls", "treatments", "instruments"] {
            for j in 0..MOST_COLUMNS {
                let words = format!("column {j} of the {role}");
                if text.contains(&words) {
                    text = text.replace(&words, &name(role, j));
                }
            }
        }
        text
    }

    /// An error of the estimators in the user's words.
    #[must_use]
    pub fn named(&self, error: &FitError) -> Error {
        let name = |role: &str, column: usize| -> String {
            let list = match role {
                "controls" => &self.control_names,
                "treatments" => &self.treatment_names,
                _ => &self.instrument_names,
            };
            let unnamed = || format!("parameter {} of the augmentation", column + 1);
            list.get(column).map_or_else(unnamed, |n| format!("`{n}`"))
        };
        let file = &self.file;
        Error::Input(match error {
            FitError::Collinear { role, column, relation } => {
                let relation = Self::with_names(relation, &name);
                format!(
                    "{file}: {} ({role}) {relation}, so its coefficient is not determined; leave one of them out (an intercept, \
                     `const`, is always among the controls)",
                    name(role, *column)
                )
            }
            FitError::ConstantInstrument { column } => {
                format!(
                    "{file}: instrument {} has the same value in every row: it moves nothing",
                    name("instruments", *column)
                )
            }
            FitError::TooFewInstruments { instruments, treatments } => {
                too_few(file, *instruments, *treatments)
            }
            FitError::NotIdentified { treatment } => format!(
                "{file}: given the controls the instruments do not move {} apart from the other treatments: its effect is not \
                 determined; blend with least squares (--set estimator=ivl) or use other instruments",
                name("treatments", *treatment)
            ),
            FitError::NoResidualFreedom { rows, columns } => {
                format!("{file}: {rows} rows for {columns} columns; there must be more rows than parameters")
            }
            other => format!("{file}: {other}"),
        })
    }
}

/// More columns than any relation names.
const MOST_COLUMNS: usize = 1000;

fn too_few(file: &str, instruments: usize, treatments: usize) -> String {
    format!(
        "{file}: {instruments} instrument(s) for {treatments} treatments: this estimator needs at least as many instruments as \
         treatments. Add instruments, or blend with least squares, which needs no number of them: --set estimator=ivl"
    )
}

/// Reads and checks the file.
///
/// # Errors
/// One sentence: the file, the column or key, and what would be right.
pub fn load(config: &Config, file: &Path) -> Result<OwnData> {
    let table = Columns::open(file)?;
    let outcome = config.outcome.clone().ok_or_else(|| {
        let wanted = format!("the column of the outcome, one of {}", shortened(&table.names()));
        Invalid::new("outcome", wanted, "nothing")
    })?;
    if config.treatments.is_empty() {
        return Err(Invalid::new("treatments", "one or more columns", "nothing").into());
    }
    check_roles(config, &outcome)?;
    let specs = specs(&config.augment);
    let augmentations: Vec<Augmentation> =
        specs.iter().map(|spec| Augmentation::parse(spec, &config.treatments)).collect::<Result<_, _>>()?;
    check_estimator(config, table.file(), &augmentations)?;
    check_relevant(config, &specs, &augmentations)?;
    let read = Read::new(config, &table, &outcome, &augmentations)?;
    let own = read.into_data(config, table.file(), outcome, augmentations)?;
    check_sizes(config, &own)?;
    Ok(own)
}

fn shortened(names: &[&str]) -> String {
    let more = if names.len() > 12 { format!(" and {} more", names.len() - 12) } else { String::new() };
    format!("{}{more}", names[..names.len().min(12)].join(", "))
}

/// No column has two parts to play.
fn check_roles(config: &Config, outcome: &str) -> Result<()> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::from([(outcome, "outcome")]);
    let lists = [
        ("treatments", &config.treatments),
        ("controls", &config.controls),
        ("instruments", &config.instruments),
    ];
    for (role, names) in lists {
        for name in names {
            if let Some(before) = seen.insert(name, role) {
                let wanted = "columns that have one part each";
                return Err(
                    Invalid::new(role, wanted, format!("`{name}`, which is among {before} too")).into()
                );
            }
        }
    }
    Ok(())
}

fn check_estimator(config: &Config, file: &str, augmentations: &[Augmentation]) -> Result<()> {
    let instruments = config.instruments.len();
    if instruments > 0 && !augmentations.is_empty() {
        return Err(Invalid::new("augment", "instruments or an augmentation, not both", "both").into());
    }
    let estimator = config.estimator;
    if estimator != Estimator::Ols && instruments == 0 && augmentations.is_empty() {
        let wanted = format!("instruments=... or augment=... for {}", estimator.name());
        return Err(Invalid::new("instruments", wanted, "neither").into());
    }
    let strict = matches!(estimator, Estimator::TwoStage | Estimator::Liml)
        || estimator == Estimator::Kclass && config.kappa.is_some_and(|k| k >= 1.0);
    let treatments = config.treatments.len() * config.degree as usize;
    if strict && augmentations.is_empty() && instruments < treatments {
        return Err(Error::Input(too_few(file, instruments, treatments)));
    }
    for (chosen, key, given) in [
        (Estimator::Kclass, "kappa", config.kappa.is_some()),
        (Estimator::Anchor, "gamma", config.gamma.is_some()),
    ] {
        if estimator == chosen && !given {
            return Err(Invalid::new(key, format!("a number for {}", chosen.name()), "nothing").into());
        }
    }
    match config.covariance {
        CovarianceKind::Hc2 | CovarianceKind::Hc3 if estimator != Estimator::Ols => {
            let wanted = "classical, hc0, hc1 or cluster (HC2 and HC3 need the leverages of OLS)";
            return Err(Invalid::new("covariance", wanted, "hc2 or hc3").into());
        }
        CovarianceKind::Cluster if config.cluster.is_none() => {
            return Err(Invalid::new("cluster", "the column of the clusters", "nothing").into());
        }
        _ => {}
    }
    if config.selector == Selector::Stress
        && augmentations.is_empty()
        && estimator == Estimator::Ivl
        && config.alpha.is_none()
    {
        let wanted = "cc, iv-risk, cv or lcv: there is no augmentation to make stronger";
        return Err(Invalid::new("selector", wanted, "stress").into());
    }
    Ok(())
}

/// An augmentation must leave alone what the outcome depends on.
fn check_relevant(config: &Config, specs: &[String], augmentations: &[Augmentation]) -> Result<()> {
    for (spec, augmentation) in specs.iter().zip(augmentations) {
        for j in augmentation.changes(config.treatments.len()) {
            let name = &config.treatments[j];
            if config.outcome_relevant.contains(name) {
                let wanted = "augmentations that leave alone what the outcome depends on (outcome_relevant)";
                return Err(
                    Invalid::new("augment", wanted, format!("`{spec}`, which changes `{name}`")).into()
                );
            }
        }
    }
    Ok(())
}

/// Complete rows of the columns that are used, by name.
struct Read {
    columns: BTreeMap<String, Vec<f64>>,
    clusters: Option<Vec<usize>>,
    rows: usize,
    dropped: usize,
}

impl Read {
    fn new(config: &Config, table: &Columns, outcome: &str, with: &[Augmentation]) -> Result<Self> {
        let mut names: Vec<String> = vec![outcome.to_owned()];
        names.extend(config.treatments.iter().chain(&config.controls).chain(&config.instruments).cloned());
        for augmentation in with {
            if let Augmentation::Columns { g, to } = augmentation {
                names.extend(g.iter().chain(to).cloned());
            }
        }
        names.sort();
        names.dedup();
        let columns: Vec<Vec<Option<f64>>> =
            names.iter().map(|name| table.numbers_or_missing(name)).collect::<Result<_, _>>()?;
        let clusters = config.cluster.as_ref().map(|name| table.texts(name)).transpose()?;
        let whole = |i: usize| {
            columns.iter().all(|c| c[i].is_some()) && clusters.as_ref().is_none_or(|c| c[i].is_some())
        };
        let kept: Vec<usize> = (0..table.rows()).filter(|&i| whole(i)).collect();
        let dropped = table.rows() - kept.len();
        if dropped > 0 && !config.drop_missing {
            let counts =
                names.iter().zip(&columns).map(|(n, c)| (n, c.iter().filter(|v| v.is_none()).count()));
            let missing: Vec<String> =
                counts.filter(|(_, k)| *k > 0).map(|(name, k)| format!("`{name}`: {k}")).collect();
            let cluster =
                if missing.is_empty() { "the cluster column".to_owned() } else { missing.join(", ") };
            return Err(Error::Input(format!(
                "{}: {dropped} of {} rows have a missing value ({cluster}); fill them in, or leave these rows out with \
                 --set drop_missing=true",
                table.file(),
                table.rows()
            )));
        }
        let of = |column: &Vec<Option<f64>>| kept.iter().filter_map(|&i| column[i]).collect();
        let columns = names.into_iter().zip(columns.iter().map(of)).collect();
        let clusters = clusters
            .map(|names| numbered(&kept.iter().filter_map(|&i| names[i].clone()).collect::<Vec<_>>()));
        Ok(Self { columns, clusters, rows: kept.len(), dropped })
    }

    fn matrix(&self, names: &[String]) -> Matrix {
        Matrix::from_fn(self.rows, names.len(), |i, j| self.columns[&names[j]][i])
    }

    fn into_data(
        self,
        config: &Config,
        file: &str,
        outcome: String,
        augmentations: Vec<Augmentation>,
    ) -> Result<OwnData> {
        if self.rows < FEWEST {
            let wanted = format!("at least {FEWEST} rows without a missing value");
            return Err(Invalid::new(file, wanted, self.rows.to_string()).into());
        }
        let own = augmentations.iter().find_map(|a| match a {
            Augmentation::Columns { g, to } => Some((g.clone(), self.matrix(g), self.matrix(to))),
            _ => None,
        });
        if own.is_some() && augmentations.len() > 1 {
            let wanted = "`column` alone: what is drawn after it would not be in your columns";
            return Err(Invalid::new("augment", wanted, "several").into());
        }
        let names = &config.treatments;
        let treatment_names = (1..=config.degree)
            .flat_map(|p| names.iter().map(move |n| if p == 1 { n.clone() } else { format!("{n}^{p}") }))
            .collect();
        let (parameter_names, own_parameters) =
            own.map_or((Vec::new(), None), |(names, g, to)| (names, Some((g, to))));
        Ok(OwnData {
            file: file.to_owned(),
            control_names: std::iter::once("const".to_owned())
                .chain(config.controls.iter().cloned())
                .collect(),
            treatment_names,
            instrument_names: config.instruments.clone(),
            controls: self.matrix(&config.controls).with_intercept(),
            treatments: self.matrix(names),
            instruments: (!config.instruments.is_empty()).then(|| self.matrix(&config.instruments)),
            outcome: self.columns[&outcome].clone(),
            outcome_name: outcome,
            augmentations,
            own_parameters,
            parameter_names,
            clusters: self.clusters,
            degree: config.degree,
            dropped: self.dropped,
        })
    }
}

/// Names as numbers, in the order of the names.
fn numbered(names: &[String]) -> Vec<usize> {
    let mut distinct = names.to_vec();
    distinct.sort();
    distinct.dedup();
    names.iter().map(|n| distinct.binary_search(n).unwrap_or(0)).collect()
}

fn check_sizes(config: &Config, own: &OwnData) -> Result<()> {
    let (q, m) = (estimate::parameters(own), own.treatment_names.len());
    let parameters = own.control_names.len() + m + q;
    if own.rows() <= parameters {
        return Err(Error::Input(format!(
            "{}: {} rows for {parameters} columns (controls with intercept, treatments, instruments or parameters of the augmentation); \
             there must be more rows than parameters",
            own.file,
            own.rows()
        )));
    }
    if own.is_augmented() && matches!(config.estimator, Estimator::TwoStage | Estimator::Liml) && q < m {
        return Err(Error::Input(too_few(&own.file, q, m)));
    }
    // One fit finds what only the numbers show: dependent columns, instruments that do not move.
    estimate::first_fit(config, own).map(|_| ())
}

/// Estimates and shows them.
///
/// # Errors
/// See [`load`]; a fit failed; cancelled.
pub fn run(config: &Config, file: &Path, run: &mut Run) -> Result<()> {
    let own = load(config, file)?;
    if !run.is_first_seed() {
        run.warn("estimates on a file of your own are made by the first seed; run them with --seeds 1");
        return Ok(());
    }
    let found = estimate::estimate(config, &own, run)?;
    own_tables::warn(config, &own, &found, run);
    own_tables::show(config, &own, &found, run)
}
