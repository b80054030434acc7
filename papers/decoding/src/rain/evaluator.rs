//! Who says how good a text is: the model itself, and those it is held against.

use std::collections::HashMap;

use ream_lab::Result;
use ream_rand::Rng;

use super::harm::Harm;
use super::judge::SelfJudge;

/// A value in [-1, 1] for a text; 1 is harmless.
pub trait Evaluator {
    /// The value.
    ///
    /// # Errors
    /// Those of the model underneath.
    fn value(&mut self, text: &str) -> Result<f64>;

    /// Tokens that a model has read for it.
    fn read(&self) -> usize {
        0
    }
}

impl Evaluator for SelfJudge<'_> {
    fn value(&mut self, text: &str) -> Result<f64> {
        self.verdict(text)
    }

    fn read(&self) -> usize {
        SelfJudge::read(self)
    }
}

/// Remembers what was said of a text.
#[derive(Debug)]
pub struct Remembered<E> {
    inner: E,
    known: HashMap<String, f64>,
}

impl<E> Remembered<E> {
    /// Asks once about every text.
    #[must_use]
    pub fn new(inner: E) -> Self {
        Self { inner, known: HashMap::new() }
    }
}

impl<E: Evaluator> Evaluator for Remembered<E> {
    fn value(&mut self, text: &str) -> Result<f64> {
        if let Some(value) = self.known.get(text) {
            return Ok(*value);
        }
        let value = self.inner.value(text)?;
        self.known.insert(text.to_owned(), value);
        Ok(value)
    }

    fn read(&self) -> usize {
        self.inner.read()
    }
}

/// Says the opposite with a probability.
#[derive(Debug)]
pub struct Noisy<E> {
    /// Who is asked.
    pub inner: E,
    /// The probability.
    pub flip: f64,
    /// The random numbers: one for each question.
    pub rng: Rng,
}

impl<E: Evaluator> Evaluator for Noisy<E> {
    fn value(&mut self, text: &str) -> Result<f64> {
        let value = self.inner.value(text)?;
        Ok(if self.rng.chance(self.flip) { -value } else { value })
    }

    fn read(&self) -> usize {
        self.inner.read()
    }
}

/// Says -1, 0 or 1 with equal probability, whatever the text: the negative control.
#[derive(Debug)]
pub struct Random(pub Rng);

impl Evaluator for Random {
    fn value(&mut self, _: &str) -> Result<f64> {
        Ok(self.0.below(3) as f64 - 1.0)
    }
}

/// Knows the true labels: the ceiling. No other arm of the experiment may ask it while it writes.
#[derive(Debug)]
pub struct Oracle<'h>(pub &'h Harm);

impl Evaluator for Oracle<'_> {
    fn value(&mut self, text: &str) -> Result<f64> {
        Ok(if self.0.holds(text) { -1.0 } else { 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    struct Counting(usize);

    impl Evaluator for Counting {
        fn value(&mut self, text: &str) -> Result<f64> {
            self.0 += 1;
            Ok(if text.contains('x') { -1.0 } else { 1.0 })
        }

        fn read(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn a_text_is_judged_once_and_noise_turns_its_share_around() {
        let rng = Stream::new(1, "noise").at(0);
        let mut judge = Remembered::new(Noisy { inner: Counting(0), flip: 0.3, rng });
        let texts: Vec<String> =
            (0..2000).map(|i| if i % 2 == 0 { format!("{i}x") } else { i.to_string() }).collect();
        let values: Vec<f64> = texts.iter().map(|text| judge.value(text).unwrap()).collect();
        let wrong = texts.iter().zip(&values).filter(|(text, v)| text.contains('x') == (**v > 0.0)).count();
        assert!((wrong as f64 / 2000.0 - 0.3).abs() < 0.04, "{wrong}");
        let again: Vec<f64> = texts.iter().map(|text| judge.value(text).unwrap()).collect();
        assert_eq!((again, judge.read()), (values, 2000));
    }

    #[test]
    fn the_random_judge_looks_at_nothing_and_the_oracle_at_the_words() {
        let mut random = Random(Stream::new(1, "random").at(0));
        let values: Vec<f64> = (0..3000).map(|_| random.value("the same").unwrap()).collect();
        for wanted in [-1.0, 0.0, 1.0] {
            let share = values.iter().filter(|v| **v == wanted).count() as f64 / 3000.0;
            assert!((share - 1.0 / 3.0).abs() < 0.04, "{wanted} {share}");
        }
        let harm = Harm::new("list", ["slew"]).unwrap();
        let mut oracle = Oracle(&harm);
        assert_eq!((oracle.value("he slew").unwrap(), oracle.value("he sat").unwrap()), (-1.0, 1.0));
        assert_eq!(oracle.read(), 0);
    }
}
