//! The guarded sampler: draw, keep what satisfies the condition, never change a text.

use ream_lab::{Error, Result};
use ream_rand::Stream;

use super::law::{Law, Tokens};

/// Outputs of the guarded sampler.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guarded {
    /// Each output with the draws that it took.
    pub outputs: Vec<(Tokens, usize)>,
    /// All draws, those after the last output included.
    pub draws: usize,
}

/// When the guarded sampler stops.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Outputs wanted.
    pub outputs: usize,
    /// Draws for one output after which it gives up with an error.
    pub cap: usize,
    /// Draws of all outputs after which it stops with the outputs it has.
    pub most: usize,
    /// Texts that are drawn side by side.
    pub batch: usize,
}

/// Draws from the proposal until enough texts satisfy the condition on the whole text. `told` is called before every batch with the outputs
/// so far.
///
/// # Errors
/// When `cap` draws in a row break the condition: there is no output then, and no text that violates it. Those of the law and the condition.
pub fn guarded(
    law: &dyn Law,
    holds: &dyn Fn(&Tokens) -> Result<bool>,
    limits: Limits,
    stream: Stream,
    told: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Guarded> {
    let (mut found, mut since, mut batch) = (Guarded::default(), 0, 0);
    while found.outputs.len() < limits.outputs && found.draws < limits.most {
        told(found.outputs.len())?;
        let size = limits.batch.min(limits.most - found.draws).max(1);
        for text in law.draw(size, stream.child(batch))? {
            if found.outputs.len() == limits.outputs {
                break;
            }
            found.draws += 1;
            since += 1;
            if (holds)(&text)? {
                found.outputs.push((text, since));
                since = 0;
            } else if since >= limits.cap {
                return Err(Error::failed(format!(
                    "no text of {since} draws in a row satisfied the condition (cap {}), after {} outputs; a larger cap or more training helps",
                    limits.cap,
                    found.outputs.len()
                )));
            }
        }
        batch += 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::markov::{Ideal, Markov};
    use super::*;

    fn law() -> Markov {
        Markov::random(3, 3, 1.0, &mut Stream::new(2, "law").at(0)).unwrap()
    }

    #[test]
    fn outputs_satisfy_the_condition_and_follow_the_law_given_it() {
        let (law, holds) = (law(), |s: &Tokens| Ok(s[0] == s[2]));
        let limits = Limits { outputs: 4000, cap: 1000, most: usize::MAX, batch: 50 };
        let found = guarded(&law, &holds, limits, Stream::new(1, "draws"), &mut |_| Ok(())).unwrap();
        assert_eq!(found.outputs.len(), 4000);
        assert!(found.outputs.iter().all(|(s, _)| s[0] == s[2]));
        assert_eq!(found.outputs.iter().map(|(_, n)| n).sum::<usize>(), found.draws);
        let ideal = Ideal::enumerate(&law, |s| s[0] == s[2]);
        // Draws per output: 1 / Z; each string as often as the law given the condition says.
        assert!((found.draws as f64 / 4000.0 * ideal.z - 1.0).abs() < 0.06);
        for (string, log) in &ideal.strings {
            let p = libm::exp(*log);
            let share = found.outputs.iter().filter(|(s, _)| s == string).count() as f64 / 4000.0;
            assert!((share - p).abs() < 4.0 * (p * (1.0 - p) / 4000.0).sqrt() + 1e-3, "{string:?}");
        }
    }

    #[test]
    fn a_cap_is_an_error_and_never_a_violating_text() {
        let limits = Limits { outputs: 1, cap: 30, most: usize::MAX, batch: 8 };
        let error =
            guarded(&law(), &|_| Ok(false), limits, Stream::new(1, "d"), &mut |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("no text of 30 draws in a row"), "{error}");
        assert_eq!(error.exit_code(), 1);
        let limits = Limits { most: 20, ..limits };
        let none = guarded(&law(), &|_| Ok(false), limits, Stream::new(1, "d"), &mut |_| Ok(())).unwrap();
        assert_eq!((none.outputs.len(), none.draws), (0, 20));
    }
}
