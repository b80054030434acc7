//! Verdicts as a reader sees them: a word, a shape, and a colour that only repeats them.

use ream_lab::Verdict;
use serde::Serialize;

/// A verdict's looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Mark {
    /// The word.
    pub(crate) name: &'static str,
    /// The shape.
    pub(crate) shape: &'static str,
    /// The class of the style sheet.
    #[serde(skip)]
    pub(crate) class: &'static str,
    /// What it means, in a sentence.
    pub(crate) meaning: &'static str,
}

impl Mark {
    pub(crate) fn of(verdict: Verdict) -> Self {
        let class = match verdict {
            Verdict::Confirmed | Verdict::ConfirmedAtReducedScale => "good",
            Verdict::DirectionOnly | Verdict::Inconclusive => "mixed",
            Verdict::NotConfirmed => "bad",
            Verdict::NotTested => "none",
        };
        let meaning = match verdict {
            Verdict::Confirmed => "The rule holds, in an experiment like the paper's.",
            Verdict::ConfirmedAtReducedScale => "The rule holds, in a smaller experiment than the paper's.",
            Verdict::DirectionOnly => "The rule fails, but everything lies on the claimed side of no effect.",
            Verdict::NotConfirmed => "The rule fails.",
            Verdict::Inconclusive => "The intervals are too wide to tell.",
            Verdict::NotTested => "There is nothing to judge by yet; the reason stands beside it.",
        };
        Self { name: verdict.name(), shape: verdict.mark(), class, meaning }
    }

    /// The looks of a verdict by its name; a name that is none of the six is `not tested`.
    pub(crate) fn named(name: &str) -> Self {
        Self::of(verdict(name).unwrap_or(Verdict::NotTested))
    }

    /// All six, best first.
    pub(crate) fn all() -> [Self; 6] {
        Verdict::ALL.map(Self::of)
    }
}

/// The verdict of that name.
pub(crate) fn verdict(name: &str) -> Option<Verdict> {
    Verdict::ALL.into_iter().find(|v| v.name() == name)
}

/// How many claims have which verdict, best first, without those that none has.
pub(crate) fn tally<'a>(verdicts: impl Iterator<Item = &'a str>) -> Vec<(Mark, usize)> {
    let mut counts = [0_usize; Verdict::ALL.len()];
    for name in verdicts {
        let place = Verdict::ALL.iter().position(|v| v.name() == name).unwrap_or(Verdict::ALL.len() - 1);
        counts[place] += 1;
    }
    Mark::all().into_iter().zip(counts).filter(|(_, n)| *n > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_words_all_differ() {
        let all = Mark::all();
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                assert!(a.name != b.name && a.shape != b.shape);
            }
        }
    }

    #[test]
    fn a_tally_is_in_the_order_of_verdicts() {
        let counted = tally(["not confirmed", "confirmed", "confirmed"].into_iter());
        let shown: Vec<(&str, usize)> = counted.iter().map(|(m, n)| (m.name, *n)).collect();
        assert_eq!(shown, [("confirmed", 2), ("not confirmed", 1)]);
    }
}
