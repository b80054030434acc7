//! A language model that writes, goes back and writes again. What was read stays on branches of one cache: going back moves no number and
//! reads nothing again.

use ream_lm::LanguageModel;
use ream_lm::llama::{Branch, Cache, Feed, Layout};
use ream_nn::sampling::Filter;
use ream_rand::Rng;

use super::failed;
use ream_lab::Result;

/// Signs at which a look-ahead ends.
const STOPS: &[u8] = b",.?:;\n";

/// A model with a cache, and a count of the tokens that it has read.
#[derive(Debug)]
pub struct Voice<'m> {
    lm: &'m LanguageModel,
    cache: Cache,
    /// Tokens that are never written.
    banned: Vec<u32>,
    /// Tokens that are kept of every law.
    kept: usize,
    top_k: usize,
    read: usize,
}

/// A text that was read.
#[derive(Clone, Debug)]
pub struct Reading {
    branch: Branch,
    /// A token that stands after all that was read.
    unread: Option<u32>,
    /// The most probable next tokens with the model's probabilities, the most probable first.
    law: Vec<(u32, f64)>,
    /// Sum of the final hidden states since the prompt, `[width]`, and how many they are.
    hidden: Vec<f64>,
    states: usize,
}

/// How a set is written.
#[derive(Clone, Debug)]
pub enum Draw {
    /// The most probable token always.
    Greedy,
    /// From the `top_k` most probable tokens.
    Random(Rng),
}

/// Tokens that were written after a text.
#[derive(Clone, Debug)]
pub struct Set {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// Natural logarithm of their probability under the model, without the cut at `top_k`.
    pub log_probability: f64,
    /// The text with them.
    pub reading: Reading,
    /// Whether the last one ends the text.
    pub ended: bool,
}

impl Reading {
    /// The most probable next tokens with the model's probabilities.
    #[must_use]
    pub fn law(&self) -> &[(u32, f64)] {
        &self.law
    }

    /// Mean final hidden state of what was read since the prompt; none when there is nothing.
    #[must_use]
    pub fn mean_state(&self) -> Option<Vec<f64>> {
        (self.states > 0).then(|| self.hidden.iter().map(|h| h / self.states as f64).collect())
    }
}

impl<'m> Voice<'m> {
    /// A voice that draws from the `top_k` most probable tokens and knows `ranks` of them, and never writes the banned ones.
    #[must_use]
    pub fn new(lm: &'m LanguageModel, top_k: usize, ranks: usize, banned: Vec<u32>) -> Self {
        Self {
            lm,
            cache: Cache::new(&lm.model),
            banned,
            kept: top_k.max(ranks).max(1),
            top_k: top_k.max(1),
            read: 0,
        }
    }

    /// Tokens read so far.
    #[must_use]
    pub fn read(&self) -> usize {
        self.read
    }

    /// Positions that the cache holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.cache.held()
    }

    /// The text of tokens.
    #[must_use]
    pub fn text(&self, tokens: &[u32]) -> String {
        self.lm.tokenizer.decode_text(tokens)
    }

    /// Reads a prompt.
    ///
    /// # Errors
    /// An empty prompt, one beyond the context, tokens that are not in the vocabulary.
    pub fn begin(&mut self, prompt: &[u32]) -> Result<Reading> {
        let width = self.lm.model.config().width;
        let reading = Reading {
            branch: self.cache.branch(),
            unread: None,
            law: Vec::new(),
            hidden: vec![0.0; width],
            states: 0,
        };
        let mut all = [reading];
        self.pass(&mut all.each_mut(), &[prompt])?;
        let [mut reading] = all;
        reading.hidden.fill(0.0);
        reading.states = 0;
        Ok(reading)
    }

    /// Reads tokens after some texts, all in one pass.
    fn pass(&mut self, readings: &mut [&mut Reading], tokens: &[&[u32]]) -> Result<()> {
        let mut feeds: Vec<Feed<'_>> = readings
            .iter_mut()
            .zip(tokens)
            .map(|(reading, tokens)| Feed { branch: &mut reading.branch, tokens, layout: Layout::Chain })
            .collect();
        let model = &self.lm.model;
        let output = model.forward().hidden().run(&mut self.cache, &mut feeds).map_err(failed)?;
        let mut states = output.hidden.chunks_exact(model.config().width);
        for (i, (reading, tokens)) in readings.iter_mut().zip(tokens).enumerate() {
            for state in states.by_ref().take(tokens.len()) {
                reading.hidden.iter_mut().zip(state).for_each(|(sum, h)| *sum += f64::from(*h));
            }
            reading.states += tokens.len();
            reading.law = self.law(output.logits(i))?;
            self.read += tokens.len();
        }
        Ok(())
    }

    /// The most probable tokens that may be written, with probabilities that sum to 1 over all of those.
    fn law(&self, logits: &[f32]) -> Result<Vec<(u32, f64)>> {
        let mut logits = logits.to_vec();
        for token in &self.banned {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        let law = Filter::default().law(&logits).map_err(failed)?;
        let mut order: Vec<u32> = (0..law.len() as u32).collect();
        let by = |a: &u32, b: &u32| law[*b as usize].total_cmp(&law[*a as usize]).then(a.cmp(b));
        if self.kept < order.len() {
            order.select_nth_unstable_by(self.kept - 1, by);
            order.truncate(self.kept);
        }
        order.sort_unstable_by(by);
        Ok(order.into_iter().map(|t| (t, f64::from(law[t as usize]))).filter(|(_, p)| *p > 0.0).collect())
    }

    /// A token by this rule, with its probability.
    fn choose(&self, reading: &Reading, draw: &mut Draw) -> (u32, f64) {
        let law = &reading.law[..self.top_k.min(reading.law.len())];
        let Draw::Random(rng) = draw else { return law.first().copied().unwrap_or((0, 1.0)) };
        let mut rest = rng.uniform() * law.iter().map(|(_, p)| p).sum::<f64>();
        let found = law.iter().find(|(_, p)| {
            rest -= p;
            rest < 0.0
        });
        found.or(law.last()).copied().unwrap_or((0, 1.0))
    }

    /// Reads what a text's last token is still waiting for.
    ///
    /// # Errors
    /// A text beyond the context.
    pub fn settle(&mut self, reading: &mut Reading) -> Result<()> {
        match reading.unread.take() {
            Some(token) => self.pass(&mut [reading], &[&[token]]),
            None => Ok(()),
        }
    }

    /// Writes a set for each rule after a text that is settled, all side by side: `length` tokens, or fewer when one ends the text. Their last
    /// tokens are not read yet.
    ///
    /// # Errors
    /// A text beyond the context.
    pub fn sets(&mut self, from: &Reading, length: usize, draws: Vec<Draw>) -> Result<Vec<Set>> {
        let new = |_: &Draw| Set {
            tokens: Vec::with_capacity(length),
            log_probability: 0.0,
            reading: from.clone(),
            ended: false,
        };
        let mut sets: Vec<Set> = draws.iter().map(new).collect();
        let mut draws = draws;
        for step in 0..length {
            let mut going: Vec<&mut Set> = sets.iter_mut().filter(|set| !set.ended).collect();
            if step > 0 {
                let last: Vec<[u32; 1]> =
                    going.iter_mut().filter_map(|s| s.reading.unread.take()).map(|t| [t]).collect();
                let tokens: Vec<&[u32]> = last.iter().map(<[u32; 1]>::as_slice).collect();
                let mut readings: Vec<&mut Reading> = going.iter_mut().map(|set| &mut set.reading).collect();
                if readings.is_empty() {
                    break;
                }
                self.pass(&mut readings, &tokens)?;
            }
            for (set, draw) in sets.iter_mut().zip(&mut draws).filter(|(set, _)| !set.ended) {
                let (token, p) = self.choose(&set.reading, draw);
                self.write(set, token, p);
            }
        }
        Ok(sets)
    }

    fn write(&self, set: &mut Set, token: u32, probability: f64) {
        set.tokens.push(token);
        set.log_probability += libm::log(probability);
        set.reading.unread = Some(token);
        set.ended = self.lm.tokenizer.is_end(token);
    }

    /// Sets of one token each: those of these ranks, the most probable token being of rank 0.
    #[must_use]
    pub fn ranked(&self, from: &Reading, ranks: std::ops::Range<usize>) -> Vec<Set> {
        let one = |&(token, p): &(u32, f64)| {
            let mut set =
                Set { tokens: Vec::new(), log_probability: 0.0, reading: from.clone(), ended: false };
            self.write(&mut set, token, p);
            set
        };
        from.law.get(ranks.start..ranks.end.min(from.law.len())).unwrap_or_default().iter().map(one).collect()
    }

    /// Writes on, to the next sign of punctuation, the end of the line or of the text, or at most so many tokens.
    ///
    /// # Errors
    /// A text beyond the context.
    pub fn look_ahead(&mut self, from: &Reading, most: usize, rng: Rng) -> Result<Set> {
        let mut set = Set { tokens: Vec::new(), log_probability: 0.0, reading: from.clone(), ended: false };
        let mut draw = Draw::Random(rng);
        while set.tokens.len() < most && !set.ended {
            self.settle(&mut set.reading)?;
            let (token, p) = self.choose(&set.reading, &mut draw);
            self.write(&mut set, token, p);
            let bytes = self.lm.tokenizer.bytes_of(token).unwrap_or_default();
            if bytes.iter().any(|byte| STOPS.contains(byte)) {
                break;
            }
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::tiny;
    use super::*;
    use ream_lm::log_probability;
    use ream_rand::Stream;

    fn logits(lm: &LanguageModel, tokens: &[u32]) -> Vec<f32> {
        let mut cache = Cache::new(&lm.model);
        let mut branch = cache.branch();
        lm.model.read(&mut cache, &mut branch, tokens).unwrap()
    }

    /// Going back and writing again gives what a fresh reading of the same text gives, to the bit, however the cache was used between.
    #[test]
    fn rewinding_restores_the_cache_exactly() {
        let lm = tiny();
        let mut voice = Voice::new(lm, 15, 20, Vec::new());
        let prompt = lm.encode("the sea is blue");
        let start = voice.begin(&prompt).unwrap();
        assert_eq!(voice.held(), prompt.len());
        let stream = Stream::new(1, "sets");
        let draws = || (0..4).map(|i| Draw::Random(stream.at(i))).collect::<Vec<_>>();
        let mut first = voice.sets(&start, 5, draws()).unwrap();
        voice.settle(&mut first[1].reading).unwrap();
        let kept = first.swap_remove(1);
        // All other branches are rewound, other texts are written into the slots that they leave.
        drop(first);
        assert_eq!(voice.held(), prompt.len() + 5);
        let other = voice.sets(&kept.reading, 4, draws()).unwrap();
        drop(other);
        let again = voice.sets(&start, 5, draws()).unwrap();
        assert_eq!(again[1].tokens, kept.tokens);
        let mut again = again.into_iter().nth(1).unwrap();
        voice.settle(&mut again.reading).unwrap();
        let whole: Vec<u32> = prompt.iter().chain(&kept.tokens).copied().collect();
        let fresh = voice.law(&logits(lm, &whole)).unwrap();
        assert_eq!(kept.reading.law(), fresh);
        assert_eq!(again.reading.law(), fresh);
    }

    #[test]
    fn probabilities_are_the_models() {
        let lm = tiny();
        let mut voice = Voice::new(lm, 3, 20, Vec::new());
        let prompt = lm.encode("the sea");
        let start = voice.begin(&prompt).unwrap();
        let logits = logits(lm, &prompt);
        for (token, p) in start.law() {
            assert!((libm::log(*p) - f64::from(log_probability(&logits, *token))).abs() < 1e-4);
        }
        assert!(start.law().windows(2).all(|pair| pair[0].1 >= pair[1].1) && start.law().len() == 20);
        let set = voice.sets(&start, 4, vec![Draw::Random(Stream::new(2, "x").at(0))]).unwrap().remove(0);
        let whole: Vec<u32> = prompt.iter().chain(&set.tokens).copied().collect();
        let scores = lm.model.score(&whole).unwrap();
        let sum: f64 = scores[prompt.len() - 1..].iter().map(|s| f64::from(*s)).sum();
        assert!((sum - set.log_probability).abs() < 1e-3, "{sum} {}", set.log_probability);
        // Drawn from the three most probable alone.
        for i in 0..40 {
            let one = voice.sets(&start, 1, vec![Draw::Random(Stream::new(3, "x").at(i))]).unwrap().remove(0);
            assert!(start.law()[..3].iter().any(|(t, _)| *t == one.tokens[0]));
        }
    }

    #[test]
    fn banned_tokens_are_never_written_and_tokens_are_counted() {
        let lm = tiny();
        let best = {
            let mut voice = Voice::new(lm, 15, 15, Vec::new());
            voice.begin(&lm.encode("the")).unwrap().law()[0]
        };
        let mut voice = Voice::new(lm, 15, 15, vec![best.0]);
        let start = voice.begin(&lm.encode("the")).unwrap();
        assert!(start.law().iter().all(|(token, _)| *token != best.0));
        let read = voice.read();
        assert_eq!(read, lm.encode("the").len());
        voice.sets(&start, 4, vec![Draw::Greedy, Draw::Greedy]).unwrap();
        assert_eq!(voice.read() - read, 6, "the last token of a set is not read");
        assert!(voice.begin(&[]).is_err());
    }

    #[test]
    fn look_aheads_end_at_punctuation_or_at_the_cap() {
        let lm = tiny();
        let mut voice = Voice::new(lm, 15, 15, Vec::new());
        let start = voice.begin(&lm.encode("the sea is")).unwrap();
        let mut stopped = 0;
        for i in 0..20 {
            let set = voice.look_ahead(&start, 12, Stream::new(1, "ahead").at(i)).unwrap();
            let text = voice.text(&set.tokens);
            let (body, last) = set.tokens.split_at(set.tokens.len() - 1);
            assert!(!voice.text(body).bytes().any(|b| STOPS.contains(&b)), "{text}");
            let stops = voice.text(last).bytes().any(|b| STOPS.contains(&b));
            assert!(stops || set.tokens.len() == 12, "{text}");
            stopped += usize::from(stops);
        }
        assert!(stopped > 0);
        assert!(voice.look_ahead(&start, 0, Stream::new(1, "ahead").at(0)).unwrap().tokens.is_empty());
    }
}
