//! What a pass and a draft cost, and which tree that makes the best.

use super::decode::largest;
use super::drafter::Drafter;
use super::heads::failed;
use super::tree::{PathCounts, StaticTree};
use ream_lab::Result;
use ream_lm::llama::{Branch, Cache, Feed, Layout, Logits, Model};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Seconds of passes over trees of several sizes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostCurve {
    /// Nodes, and seconds of a pass: medians.
    pub points: Vec<(usize, f64)>,
}

impl CostCurve {
    /// Seconds of a pass over so many nodes, in straight lines between what was measured.
    #[must_use]
    pub fn seconds(&self, nodes: usize) -> f64 {
        let after = self.points.partition_point(|(n, _)| *n < nodes);
        match (after.checked_sub(1).map(|i| self.points[i]), self.points.get(after)) {
            (Some((n0, t0)), Some((n1, t1))) => t0 + (t1 - t0) * (nodes - n0) as f64 / (n1 - n0) as f64,
            (None, Some((_, t))) => *t,
            // Beyond the largest, as steep as from the first to the last.
            (Some((n, t)), None) => t * nodes as f64 / n as f64,
            (None, None) => f64::NAN,
        }
    }

    /// `c(m) = t(m) / t(1)`.
    #[must_use]
    pub fn relative(&self, nodes: usize) -> f64 {
        self.seconds(nodes) / self.seconds(1)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    if values.is_empty() {
        f64::NAN
    } else {
        (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
    }
}

/// Times passes over chains of these sizes (ascending) after a prompt, `repetitions` rounds of all of them in turn.
///
/// # Errors
/// A prompt that leaves no room.
pub fn measure_passes(
    model: &Model,
    prompt: &[u32],
    sizes: &[usize],
    repetitions: usize,
) -> Result<CostCurve> {
    let mut cache = Cache::new(model);
    let mut branch = cache.branch();
    model.read(&mut cache, &mut branch, prompt).map_err(failed)?;
    let mut times = vec![Vec::new(); sizes.len()];
    for repetition in 0..=repetitions {
        for (size, times) in sizes.iter().zip(&mut times) {
            // A node below the root for each: the attention of trees reaches as far.
            let parents: Vec<Option<usize>> = (0..*size).map(|i| i.checked_sub(1).map(|_| 0)).collect();
            let tokens: Vec<u32> = prompt.iter().cycle().take(*size).copied().collect();
            let begun = Instant::now();
            let feed = Feed { branch: &mut branch, tokens: &tokens, layout: Layout::Tree(&parents) };
            let out =
                model.forward().logits(Logits::All).hidden().run(&mut cache, &mut [feed]).map_err(failed)?;
            let _ = largest(out.logits(0));
            let seconds = begun.elapsed().as_secs_f64();
            branch.truncate(prompt.len());
            // The first round only warms up.
            if repetition > 0 {
                times.push(seconds);
            }
        }
    }
    Ok(CostCurve { points: sizes.iter().copied().zip(times.into_iter().map(median)).collect() })
}

/// A pass of the base over one token, again and again: what stands between two drafts.
pub struct Between<'a> {
    model: &'a Model,
    cache: Cache,
    branch: Branch,
    token: u32,
}

impl<'a> Between<'a> {
    /// A pass after `prompt`.
    ///
    /// # Errors
    /// A prompt that is empty or leaves no room.
    pub fn new(model: &'a Model, prompt: &[u32]) -> Result<Self> {
        let mut cache = Cache::new(model);
        let mut branch = cache.branch();
        model.read(&mut cache, &mut branch, prompt).map_err(failed)?;
        Ok(Self { model, cache, branch, token: prompt.last().copied().unwrap_or(0) })
    }

    fn pass(&mut self) -> Result<()> {
        let before = self.branch.len();
        let feed = Feed { branch: &mut self.branch, tokens: &[self.token], layout: Layout::Chain };
        self.model.forward().run(&mut self.cache, &mut [feed]).map_err(failed)?;
        self.branch.truncate(before);
        Ok(())
    }
}

/// Seconds of a draft of this tree and of reading one accepted token: medians of `repetitions`. The drafter has read something. The base reads a
/// token before each, as it does when text is written: its weights push those of the drafter out of the caches.
///
/// # Errors
/// Those of the drafter and of the base.
pub fn measure_draft(
    drafter: &mut dyn Drafter,
    tree: &StaticTree,
    (root, state): (u32, &[f32]),
    between: &mut Between<'_>,
    repetitions: usize,
) -> Result<f64> {
    let mut times = Vec::with_capacity(repetitions);
    for repetition in 0..=repetitions {
        between.pass()?;
        let begun = Instant::now();
        let drafts = drafter.draft(root, tree)?;
        drafter.read(&[root], state)?;
        let seconds = begun.elapsed().as_secs_f64();
        if repetition > 0 && !drafts.is_empty() {
            times.push(seconds);
        }
    }
    Ok(median(times))
}

/// A size of tree and what it is expected to give.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Nodes, the root among them.
    pub nodes: usize,
    /// Expected tokens of a pass.
    pub length: f64,
    /// Seconds of a pass of the base over the tree.
    pub pass: f64,
    /// Seconds of a draft.
    pub draft: f64,
}

impl Plan {
    /// Modelled tokens per second: `length / (t_base(n) + t_draft(n))`.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        self.length / (self.pass + self.draft)
    }

    /// Throughput over that of decoding one by one.
    #[must_use]
    pub fn ratio(&self, curve: &CostCurve) -> f64 {
        self.throughput() * curve.seconds(1)
    }

    /// The ratio on a machine whose passes cost the same for any number of nodes, as where reading the weights is all that counts.
    #[must_use]
    pub fn memory_bound(&self, curve: &CostCurve) -> f64 {
        self.length * curve.seconds(1) / (curve.seconds(1) + self.draft)
    }

    /// Tokens per pass at which this tree would decode `target` times as fast as one by one.
    #[must_use]
    pub fn needed(&self, curve: &CostCurve, target: f64) -> f64 {
        target * (self.pass + self.draft) / curve.seconds(1)
    }
}

/// The best tree of each size with its modelled throughput.
///
/// # Errors
/// Those of the drafter.
pub fn plans(
    drafter: &mut dyn Drafter,
    counts: &PathCounts,
    (curve, sizes): (&CostCurve, &[usize]),
    sample: (u32, &[f32]),
    between: &mut Between<'_>,
    repetitions: usize,
) -> Result<Vec<Plan>> {
    sizes
        .iter()
        .map(|nodes| {
            let tree = counts.tree(*nodes)?;
            let draft = if tree.depth() == 0 {
                0.0
            } else {
                measure_draft(drafter, &tree, sample, between, repetitions)?
            };
            let (length, pass) = (counts.expected_length(&tree), curve.seconds(tree.len()));
            Ok(Plan { nodes: tree.len(), length, pass, draft })
        })
        .collect()
}

/// The plan of the highest modelled throughput, the smaller of two.
#[must_use]
pub fn best(plans: &[Plan]) -> Option<&Plan> {
    plans.iter().reduce(|best, plan| if plan.throughput() > best.throughput() { plan } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_lie_on_lines_between_measurements() {
        let curve = CostCurve { points: vec![(1, 1.0), (4, 1.6), (8, 3.2)] };
        assert_eq!(curve.seconds(1), 1.0);
        assert!((curve.seconds(2) - 1.2).abs() < 1e-12);
        assert!((curve.seconds(6) - 2.4).abs() < 1e-12);
        assert!((curve.relative(16) - 6.4).abs() < 1e-12);
    }

    #[test]
    fn the_tree_of_the_highest_modelled_throughput_is_chosen_and_its_bounds_are_right() {
        let curve = CostCurve { points: vec![(1, 1.0), (4, 1.5), (8, 3.0)] };
        let plan = |nodes, length, draft| Plan { nodes, length, pass: curve.seconds(nodes), draft };
        let plans = [plan(1, 1.0, 0.0), plan(4, 2.4, 0.1), plan(8, 2.8, 0.2)];
        let chosen = best(&plans).unwrap();
        assert_eq!(chosen.nodes, 4);
        assert!((chosen.ratio(&curve) - 1.5).abs() < 1e-12);
        assert!((chosen.memory_bound(&curve) - 2.4 / 1.1).abs() < 1e-12);
        assert!((chosen.needed(&curve, 1.5) - 2.4).abs() < 1e-12);
    }
}
