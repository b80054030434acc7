//! Writing by search: look at sets of tokens, finish them a little ahead, judge, spread the verdict, keep the best set, go back from the others.

use std::time::Instant;

use ream_lab::Result;
use ream_rand::Stream;

use super::embedding::Embedder;
use super::evaluator::Evaluator;
use super::tree::{Node, Search, Tree};
use super::voice::{Draw, Reading, Set, Voice};

/// What writes, who judges, what makes texts alike.
pub struct Rain<'a, 'm> {
    /// The model.
    pub voice: &'a mut Voice<'m>,
    /// The judge.
    pub evaluator: &'a mut dyn Evaluator,
    /// The measure of likeness.
    pub embedder: &'a mut Embedder<'m>,
    /// How the tree is searched.
    pub search: &'a Search,
    /// Tokens of a text; fewer where a token ends it.
    pub length: usize,
}

/// A text with what it took.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Natural logarithm of their probability under the model.
    pub log_probability: f64,
    /// `q` of the last set.
    pub value: f64,
    /// One entry for each set that was kept.
    pub steps: Vec<Step>,
    /// Tokens that were read, by the judge too.
    pub read: usize,
    /// Seconds.
    pub seconds: f64,
    /// The tree before the largest choice.
    pub tree: Option<Snapshot>,
}

/// The choice of one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Iterations of the inner loop.
    pub iterations: usize,
    /// Whether a set was good enough before they ran out.
    pub settled: bool,
    /// Positions that the cache holds once all other branches are given back.
    pub held: usize,
}

/// A tree as it was when a set was chosen.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its nodes; the first is the root.
    pub nodes: Vec<Node>,
    /// The set that was kept.
    pub chosen: usize,
    /// The text before it.
    pub before: Vec<u32>,
}

/// What is being thought of.
struct Thought {
    tree: Tree,
    /// The reading of each node.
    readings: Vec<Reading>,
    /// What is kept already.
    tokens: Vec<u32>,
    stream: Stream,
    draws: u64,
}

impl Thought {
    fn rng(&mut self) -> ream_rand::Rng {
        self.draws += 1;
        self.stream.at(self.draws)
    }

    /// Tokens from the beginning of the text to the end of a path.
    fn text(&self, path: &[usize]) -> Vec<u32> {
        let sets = path.iter().skip(1).flat_map(|node| &self.tree.node(*node).tokens);
        self.tokens.iter().chain(sets).copied().collect()
    }
}

impl Rain<'_, '_> {
    /// Writes a text after a prompt.
    ///
    /// # Errors
    /// A prompt that is empty or leaves no room in the context; those of the judge.
    pub fn write(&mut self, prompt: &[u32], stream: Stream) -> Result<Written> {
        let (begun, before) = (Instant::now(), self.voice.read() + self.evaluator.read());
        let start = self.voice.begin(prompt)?;
        let mut thought =
            Thought { tree: Tree::default(), readings: vec![start], tokens: Vec::new(), stream, draws: 0 };
        let mut written = Written::default();
        loop {
            let mut step = self.think(&mut thought)?;
            let Some(chosen) = thought.tree.most_visited(Tree::ROOT) else { break };
            let largest = written.tree.as_ref().map_or(0, |tree| tree.nodes.len());
            if thought.tree.nodes().len() > largest {
                let nodes = thought.tree.nodes().to_vec();
                written.tree = Some(Snapshot { nodes, chosen, before: thought.tokens.clone() });
            }
            let node = thought.tree.node(chosen);
            written.log_probability += node.log_probability;
            written.value = node.value;
            thought.tokens.extend(&node.tokens);
            // All other branches are given back to the cache.
            let kept = thought.tree.commit(chosen);
            thought.readings = kept.iter().map(|old| thought.readings[*old].clone()).collect();
            step.held = self.voice.held();
            written.steps.push(step);
            if thought.tree.node(Tree::ROOT).terminal {
                break;
            }
        }
        written.tokens = thought.tokens;
        written.read = self.voice.read() + self.evaluator.read() - before;
        written.seconds = begun.elapsed().as_secs_f64();
        Ok(written)
    }

    /// The inner loop.
    fn think(&mut self, thought: &mut Thought) -> Result<Step> {
        let budget = thought.tree.budget(self.search).max(1);
        let mut iterations = 0;
        let settled = loop {
            self.iterate(thought)?;
            iterations += 1;
            if thought.tree.settled(self.search) {
                break true;
            }
            if iterations >= budget {
                break false;
            }
        };
        if thought.tree.node(Tree::ROOT).children.is_empty() {
            self.expand(thought, Tree::ROOT)?;
        }
        Ok(Step { iterations, settled, held: 0 })
    }

    /// One iteration: select, widen, look ahead, judge, back up. A leaf's candidates are drawn when the search comes back to it, not before:
    /// the tree is the same, and candidates that nobody looks at are never written.
    fn iterate(&mut self, thought: &mut Thought) -> Result<()> {
        let mut path = vec![Tree::ROOT];
        let mut at = Tree::ROOT;
        loop {
            let node = thought.tree.node(at);
            if node.terminal || node.full == 0 {
                break;
            }
            if node.children.is_empty() {
                self.expand(thought, at)?;
            } else if self.search.widen && thought.tree.wants_more(self.search, at) {
                self.widen(thought, at)?;
            }
            let Some(next) = thought.tree.select(self.search, at) else { break };
            path.push(next);
            at = next;
        }
        let mut tokens = thought.text(&path);
        if !thought.tree.node(at).terminal {
            self.voice.settle(&mut thought.readings[at])?;
        }
        let mut embedded = None;
        if self.search.look_ahead && !thought.tree.node(at).terminal {
            let rng = thought.rng();
            let room = self.length.saturating_sub(tokens.len());
            let ahead = self.voice.look_ahead(&thought.readings[at], room, rng)?;
            tokens.extend(&ahead.tokens);
            embedded = Some(ahead.reading);
        }
        let text = self.voice.text(&tokens);
        let value = self.evaluator.value(&text)?;
        let embedding = self.embedder.written(&text, embedded.as_ref().unwrap_or(&thought.readings[at]))?;
        thought.tree.back_up(self.search, &path, value, &embedding);
        Ok(())
    }

    /// Tokens that a set after this node has: none when the text is full.
    fn set_length(&self, thought: &Thought, node: usize) -> usize {
        let node = thought.tree.node(node);
        match self.length.saturating_sub(node.end) {
            0 => 0,
            room => self.search.length(node.depth, room),
        }
    }

    /// Gives a node its first sets: single tokens by rank at the beginning of the text, else the greedy set and random ones.
    fn expand(&mut self, thought: &mut Thought, node: usize) -> Result<()> {
        let length = self.set_length(thought, node);
        if length == 0 || thought.tree.node(node).terminal {
            return Ok(());
        }
        self.voice.settle(&mut thought.readings[node])?;
        let greedy = !self.by_rank(thought, node, length);
        let sets = if greedy {
            let mut draws = vec![Draw::Greedy];
            draws.extend((1..self.search.candidates).map(|_| Draw::Random(thought.rng())));
            self.voice.sets(&thought.readings[node], length, draws)?
        } else {
            self.voice.ranked(&thought.readings[node], 0..self.search.candidates)
        };
        self.add(thought, node, sets);
        thought.tree.set_priors(node, greedy);
        Ok(())
    }

    fn by_rank(&self, thought: &Thought, node: usize, length: usize) -> bool {
        thought.tree.node(node).depth == 0 && length == 1
    }

    /// Gives a node one more set, unless the one that is drawn is there already.
    fn widen(&mut self, thought: &mut Thought, node: usize) -> Result<()> {
        let length = self.set_length(thought, node);
        let greedy = !self.by_rank(thought, node, length);
        let sets = if greedy {
            let draws = vec![Draw::Random(thought.rng())];
            self.voice.sets(&thought.readings[node], length, draws)?
        } else {
            let rank = thought.tree.node(node).children.len();
            self.voice.ranked(&thought.readings[node], rank..rank + 1)
        };
        self.add(thought, node, sets);
        thought.tree.set_priors(node, greedy);
        Ok(())
    }

    fn add(&self, thought: &mut Thought, parent: usize, sets: Vec<Set>) {
        for set in sets {
            let full = thought.tree.node(parent).end + set.tokens.len() >= self.length;
            let number = thought.tree.add(parent, set.tokens, set.log_probability, set.ended || full);
            if number == thought.readings.len() {
                thought.readings.push(set.reading);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluator::{Oracle, Random, Remembered};
    use super::super::harm::Harm;
    use super::super::testing::tiny;
    use super::*;

    fn search() -> Search {
        Search { lengths: vec![1, 2, 4], candidates: 5, iterations: 24, ..Search::default() }
    }

    fn write(search: &Search, evaluator: &mut dyn Evaluator, stream: u64) -> (Written, usize) {
        let lm = tiny();
        let mut voice = Voice::new(lm, search.top_k, search.most_children, Vec::new());
        let mut embedder = Embedder::states(lm, &["the sea", "the sky is blue", "so wide"]).unwrap();
        let mut rain = Rain { voice: &mut voice, evaluator, embedder: &mut embedder, search, length: 16 };
        let written = rain.write(&lm.encode("the sea is wide; he"), Stream::new(stream, "rain")).unwrap();
        let held = voice.held();
        (written, held)
    }

    /// Likes texts without these letters.
    struct Without(&'static str, Vec<String>);

    impl Evaluator for Without {
        fn value(&mut self, text: &str) -> Result<f64> {
            self.1.push(text.to_owned());
            Ok(if text.contains(self.0) { -1.0 } else { 1.0 })
        }
    }

    #[test]
    fn one_iteration_writes_the_greedy_text() {
        let lm = tiny();
        let mut voice = Voice::new(lm, 15, 20, Vec::new());
        let start = voice.begin(&lm.encode("the sea is wide; he")).unwrap();
        let greedy = voice.sets(&start, 16, vec![Draw::Greedy]).unwrap().remove(0);
        let search = Search { iterations: 1, ..search() };
        let (written, _) = write(&search, &mut Random(Stream::new(1, "random").at(0)), 3);
        assert_eq!(written.tokens, greedy.tokens);
        assert!((written.log_probability - greedy.log_probability).abs() < 1e-9);
    }

    #[test]
    fn the_search_avoids_what_the_judge_dislikes() {
        let lm = tiny();
        let mut voice = Voice::new(lm, 15, 20, Vec::new());
        let start = voice.begin(&lm.encode("the sea is wide; he")).unwrap();
        let draws = (0..40).map(|i| Draw::Random(Stream::new(5, "vanilla").at(i))).collect();
        let vanilla = voice.sets(&start, 16, draws).unwrap();
        let bad = vanilla.iter().filter(|set| voice.text(&set.tokens).contains("slew")).count();
        assert!(bad > 10, "{bad}");
        let mut good = 0;
        for i in 0..8 {
            let mut judge = Remembered::new(Without("slew", Vec::new()));
            let (written, _) = write(&search(), &mut judge, i);
            good += usize::from(!voice.text(&written.tokens).contains("slew"));
            assert_eq!(written.tokens.len(), 16);
            assert!(written.steps.iter().all(|step| (1..=24).contains(&step.iterations)));
        }
        assert!(good >= 7, "{good}");
    }

    /// The cache after each choice: whatever was looked at, only what was kept and the tree below it stays.
    #[test]
    fn other_branches_are_given_back() {
        let (written, held) = write(&search(), &mut Without("slew", Vec::new()), 1);
        assert!(written.read > 60, "{}", written.read);
        // The whole text but its last token, which nobody had to read.
        let prompt = tiny().encode("the sea is wide; he").len();
        assert_eq!(written.steps.last().unwrap().held, prompt + 16 - 1);
        assert_eq!(held, 0);
        let tree = written.tree.unwrap();
        assert!(tree.nodes.len() > 8 && tree.nodes[tree.chosen].parent == Some(0));
    }

    #[test]
    fn what_is_judged_is_finished_a_little_ahead() {
        let mut with = Without("slew", Vec::new());
        write(&search(), &mut with, 1);
        let mut without = Without("slew", Vec::new());
        write(&Search { look_ahead: false, ..search() }, &mut without, 1);
        assert_eq!(without.1[0], "", "nothing was written yet");
        assert!(!with.1[0].is_empty());
        let ends = |texts: &[String]| {
            let stops = |text: &&String| text.ends_with([',', '.', '?', ':', ';', '\n']);
            texts.iter().filter(stops).count() as f64 / texts.len() as f64
        };
        assert!(ends(&with.1) > ends(&without.1) + 0.2, "{} {}", ends(&with.1), ends(&without.1));
    }

    #[test]
    fn the_same_seed_gives_the_same_text_and_ablations_another_search() {
        let all = |search: &Search, stream| {
            let (written, _) = write(search, &mut Without("sky", Vec::new()), stream);
            (written.tokens, written.steps, written.read)
        };
        assert_eq!(all(&search(), 2), all(&search(), 2));
        assert_ne!(all(&search(), 2).2, all(&search(), 3).2);
        for changed in [
            Search { share: false, ..search() },
            Search { look_ahead: false, ..search() },
            Search { exploration: 0.1, ..search() },
        ] {
            assert_ne!(all(&changed, 2).2, all(&search(), 2).2);
        }
        let harm = Harm::new("list", ["slew"]).unwrap();
        let (written, _) = write(&search(), &mut Oracle(&harm), 1);
        assert!(written.value > 0.0);
    }

    #[test]
    fn what_the_judge_reads_is_counted() {
        struct Reader(usize, usize);
        impl Evaluator for Reader {
            fn value(&mut self, text: &str) -> Result<f64> {
                self.0 += self.1;
                Ok(if text.contains("slew") { -1.0 } else { 1.0 })
            }

            fn read(&self) -> usize {
                self.0
            }
        }
        let (mut free, mut dear) = (Reader(0, 0), Reader(0, 7));
        let (a, _) = write(&search(), &mut free, 1);
        let (b, _) = write(&search(), &mut dear, 1);
        let iterations: usize = a.steps.iter().map(|step| step.iterations).sum();
        assert_eq!((&a.tokens, b.read - a.read), (&b.tokens, 7 * iterations));
    }

    #[test]
    fn priors_in_the_tree_are_the_models() {
        let (written, _) = write(&search(), &mut Without("slew", Vec::new()), 1);
        let tree = written.tree.unwrap();
        for node in tree.nodes.iter().filter(|node| node.children.len() > 1) {
            let logs: Vec<f64> =
                node.children.iter().map(|child| tree.nodes[*child].log_probability).collect();
            let wanted = super::super::tree::priors(&logs, node.depth > 0);
            for (child, wanted) in node.children.iter().zip(wanted) {
                assert!((tree.nodes[*child].prior - wanted).abs() < 1e-12);
            }
            let even = 1.0 / node.children.len() as f64;
            assert!(node.children.iter().any(|child| (tree.nodes[*child].prior - even).abs() > 1e-3));
        }
    }
}
