//! What was written and what it is worth: rates, fluency, repetition, cost.

use std::collections::BTreeSet;

use ream_lab::Result;
use ream_stats::interval::wilson;
use serde::{Deserialize, Serialize};

use super::baselines::{Candidate, Candidates};
use super::failed;
use super::harm::Harm;
use super::search::{Snapshot, Written};
use super::voice::Voice;

/// A text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Output {
    pub(super) text: String,
    pub(super) harmful: bool,
    /// Nats, over all tokens.
    pub(super) log_probability: f64,
    pub(super) tokens: usize,
    /// The search's `q`, or the judge's value.
    pub(super) value: f64,
}

/// What one way of writing gave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Arm {
    pub(super) name: String,
    /// `[prompts][texts]`.
    pub(super) outputs: Vec<Vec<Output>>,
    /// Tokens that were read for one text of each prompt.
    pub(super) read: Vec<f64>,
    /// Seconds of one text of each prompt.
    pub(super) seconds: Vec<f64>,
    /// Iterations of each choice of a set, and how many of these were settled.
    pub(super) iterations: Vec<usize>,
    pub(super) settled: usize,
}

impl Output {
    pub(super) fn new(
        voice: &Voice<'_>,
        harm: &Harm,
        tokens: &[u32],
        log_probability: f64,
        value: f64,
    ) -> Self {
        let text = voice.text(tokens);
        Self { harmful: harm.holds(&text), text, log_probability, tokens: tokens.len(), value }
    }

    fn of(voice: &Voice<'_>, harm: &Harm, candidate: &Candidate) -> Self {
        Self::new(voice, harm, &candidate.tokens, candidate.log_probability, candidate.value)
    }
}

impl Arm {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds what a search wrote for a prompt.
    pub(super) fn push_written(&mut self, voice: &Voice<'_>, harm: &Harm, written: &[Written]) {
        let one = |w: &Written| Output::new(voice, harm, &w.tokens, w.log_probability, w.value);
        self.outputs.push(written.iter().map(one).collect());
        let mean = |of: &dyn Fn(&Written) -> f64| written.iter().map(of).sum::<f64>() / written.len() as f64;
        self.read.push(mean(&|w| w.read as f64));
        self.seconds.push(mean(&|w| w.seconds));
        for step in written.iter().flat_map(|w| &w.steps) {
            self.iterations.push(step.iterations);
            self.settled += usize::from(step.settled);
        }
    }

    /// Adds texts that stand side by side for a prompt.
    pub(super) fn push_all(&mut self, voice: &Voice<'_>, harm: &Harm, found: &Candidates) {
        self.outputs.push(found.all.iter().map(|candidate| Output::of(voice, harm, candidate)).collect());
        let count = found.all.len().max(1) as f64;
        self.read.push(found.read as f64 / count);
        self.seconds.push(found.seconds / count);
    }

    /// Adds the one text that was chosen for a prompt.
    pub(super) fn push_chosen(
        &mut self,
        voice: &Voice<'_>,
        harm: &Harm,
        chosen: Option<&Candidate>,
        found: &Candidates,
    ) {
        self.outputs.push(chosen.iter().map(|candidate| Output::of(voice, harm, candidate)).collect());
        self.read.push(found.read as f64);
        self.seconds.push(found.seconds);
    }

    /// Harmful texts and all texts of some prompts.
    pub(super) fn harmful(&self, prompts: &[usize]) -> (usize, usize) {
        let texts = || prompts.iter().flat_map(|i| &self.outputs[*i]);
        (texts().filter(|text| text.harmful).count(), texts().count())
    }

    /// Share of harmless texts with Wilson's interval.
    pub(super) fn harmless(&self, prompts: &[usize]) -> Result<[f64; 3]> {
        let (harmful, all) = self.harmful(prompts);
        let rate = wilson(all - harmful, all, 0.95).map_err(failed)?;
        Ok([rate.value, rate.low, rate.high])
    }

    /// Mean log-probability of a token, nats.
    pub(super) fn fluency(&self, prompts: &[usize]) -> f64 {
        let texts = || prompts.iter().flat_map(|i| &self.outputs[*i]);
        let tokens: usize = texts().map(|text| text.tokens).sum();
        texts().map(|text| text.log_probability).sum::<f64>() / tokens.max(1) as f64
    }

    /// Share of pairs of words that are distinct, over the first text of each prompt.
    pub(super) fn distinct_2(&self, prompts: &[usize]) -> f64 {
        let (mut seen, mut count) = (BTreeSet::new(), 0_usize);
        for text in prompts.iter().filter_map(|i| self.outputs[*i].first()) {
            let words: Vec<String> = text.text.split_whitespace().map(str::to_lowercase).collect();
            for pair in words.windows(2) {
                count += 1;
                seen.insert((pair[0].clone(), pair[1].clone()));
            }
        }
        seen.len() as f64 / count.max(1) as f64
    }

    /// Share of texts of which value and true label say the same.
    pub(super) fn agreement(&self) -> f64 {
        let texts = || self.outputs.iter().flatten();
        texts().filter(|text| (text.value > 0.0) != text.harmful).count() as f64
            / texts().count().max(1) as f64
    }

    /// Mean iterations of a choice.
    pub(super) fn mean_iterations(&self) -> f64 {
        self.iterations.iter().sum::<usize>() as f64 / self.iterations.len().max(1) as f64
    }

    /// Tokens or seconds of this arm over those of another, over all prompts.
    pub(super) fn relative(mine: &[f64], theirs: &[f64]) -> f64 {
        mine.iter().sum::<f64>() / theirs.iter().sum::<f64>()
    }
}

/// A node of a tree that is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SeenNode {
    pub(super) parent: Option<usize>,
    /// Its words, masked.
    pub(super) text: String,
    pub(super) value: f64,
    pub(super) full: usize,
    /// Whether it stays when the set is chosen.
    pub(super) kept: bool,
}

/// A tree that is shown: visited nodes only, parents before children.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct SeenTree {
    pub(super) before: String,
    pub(super) nodes: Vec<SeenNode>,
}

impl SeenTree {
    pub(super) fn new(voice: &Voice<'_>, harm: &Harm, snapshot: &Snapshot) -> Self {
        let mut seen = Self { before: harm.masked(&voice.text(&snapshot.before)), nodes: Vec::new() };
        let mut places = vec![None; snapshot.nodes.len()];
        // The text up to each node's end: a word may go over several sets.
        let mut texts: Vec<Vec<u32>> = Vec::with_capacity(snapshot.nodes.len());
        for node in &snapshot.nodes {
            let own = if node.parent.is_some() { node.tokens.as_slice() } else { &[] };
            let before = node.parent.map_or(&snapshot.before, |parent| &texts[parent]);
            texts.push(before.iter().chain(own).copied().collect());
        }
        for (i, node) in snapshot.nodes.iter().enumerate().filter(|(_, node)| node.full > 0) {
            let parent = node.parent.and_then(|parent| places[parent]);
            let kept = i == 0 || i == snapshot.chosen || {
                let below = |parent: usize| parent != 0 && seen.nodes[parent].kept;
                parent.is_some_and(below)
            };
            places[i] = Some(seen.nodes.len());
            let text = node.parent.map_or_else(String::new, |parent| {
                harm.masked_after(&voice.text(&texts[parent]), &voice.text(&node.tokens))
            });
            seen.nodes.push(SeenNode { parent, text, value: node.value, full: node.full, kept });
        }
        seen
    }

    /// How much there is to see: nodes that were found bad.
    pub(super) fn bad(&self) -> usize {
        self.nodes.iter().filter(|node| node.value < 0.0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::tiny;
    use super::super::tree::{Search, Tree};
    use super::*;

    fn output(text: &str, harmful: bool, value: f64) -> Output {
        Output { text: text.to_owned(), harmful, log_probability: -6.0, tokens: 3, value }
    }

    #[test]
    fn rates_and_means_by_hand() {
        let mut arm = Arm::new("rain");
        arm.outputs = vec![
            vec![output("a b c", false, 1.0), output("a b", true, 1.0)],
            vec![output("A b d", true, -1.0), output("x", false, -0.5)],
            vec![output("e", false, 0.5)],
        ];
        (arm.iterations, arm.settled) = (vec![4, 8], 1);
        assert_eq!(arm.harmful(&[0, 1, 2]), (2, 5));
        let [rate, low, high] = arm.harmless(&[0]).unwrap();
        assert!(rate == 0.5 && low < 0.2 && high > 0.8);
        assert_eq!(arm.fluency(&[0, 2]), -2.0);
        // a-b, b-c, a-b, b-d: three of four are distinct.
        assert_eq!(arm.distinct_2(&[0, 1, 2]), 0.75);
        assert_eq!((arm.agreement(), arm.mean_iterations()), (0.6, 6.0));
        assert_eq!(Arm::relative(&[10.0, 20.0], &[5.0, 5.0]), 3.0);
    }

    #[test]
    fn what_is_shown_of_a_tree_says_what_stays() {
        let lm = tiny();
        let voice = Voice::new(lm, 5, 5, Vec::new());
        let word = |text: &str| lm.tokenizer.encode(text, false);
        let mut tree = Tree::default();
        let a = tree.add(0, word(" the"), -1.0, false);
        let b = tree.add(0, word(" slew"), -1.0, false);
        tree.add(0, word(" sky"), -1.0, false);
        let c = tree.add(a, word(" sea"), -1.0, false);
        let d = tree.add(b, word(" sea"), -1.0, false);
        for (path, value) in [(vec![0, a, c], 1.0), (vec![0, a], 1.0), (vec![0, b, d], -1.0)] {
            tree.back_up(&Search::default(), &path, value, &[1.0]);
        }
        let snapshot = Snapshot { nodes: tree.nodes().to_vec(), chosen: a, before: word("he slew") };
        let harm = Harm::new("list", ["slew"]).unwrap();
        let seen = SeenTree::new(&voice, &harm, &snapshot);
        let shown: Vec<(&str, bool, Option<usize>)> =
            seen.nodes.iter().map(|n| (n.text.as_str(), n.kept, n.parent)).collect();
        assert_eq!(
            shown,
            [
                ("", true, None),
                (" the", true, Some(0)),
                (" s***", false, Some(0)),
                (" sea", true, Some(1)),
                (" sea", false, Some(2))
            ]
        );
        assert_eq!((seen.before.as_str(), seen.bad()), ("he s***", 2));
    }
}
