//! Steered models beside the unsteered one: answers and their scores, laws and how much of the way to the contrasting run is recovered.

use ream_lab::Result;
use ream_nn::{Tensor, no_grad};
use ream_rand::Stream;
use ream_stats::bootstrap::{Bootstrap, Interval, rows as resampled};
use serde::{Deserialize, Serialize};

use super::contrast::{Contrast, Direction, Example};
use super::divergence::{self, Divergence};
use super::scoring::{Concept, Scores, covered, fluency};
use super::steering::Steering;
use super::subject::{Packed, Reference, Subject, TextRun, Tokens, failed};

/// Texts whose laws are computed together.
const GROUP: usize = 8;

/// How tokens become text and where answers end.
pub struct Language<'a> {
    /// Tokens to text.
    pub decode: &'a dyn Fn(&[u32]) -> String,
    /// Whether a token ends an answer.
    pub ends: &'a dyn Fn(u32) -> bool,
    /// Most tokens of an answer.
    pub length: usize,
}

impl Language<'_> {
    /// An answer's text without the token that ends it.
    #[must_use]
    pub fn text(&self, answer: &[u32]) -> String {
        let end = answer.iter().position(|token| (self.ends)(*token)).unwrap_or(answer.len());
        (self.decode)(&answer[..end])
    }
}

/// Answers under one intervention.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Means over prompts.
    pub scores: Scores,
    /// Concept scores one by one.
    pub concepts: Vec<f64>,
    /// The answers as text.
    pub answers: Vec<String>,
}

/// Prompts, their unsteered answers, and what answers are held against.
pub struct Evaluator<'a, 'm> {
    subject: &'a Subject<'m>,
    language: &'a Language<'a>,
    concept: &'a Concept,
    examples: &'a [Example],
    /// Prompts without and with the concept.
    references: [Reference<'m>; 2],
    /// Mean log-probability of the model's own answers after them.
    own: [Vec<f64>; 2],
    /// The unsteered answers to them.
    pub unsteered: [Judged; 2],
}

impl<'a, 'm> Evaluator<'a, 'm> {
    /// Reads the prompts and lets the unsteered model answer.
    ///
    /// # Errors
    /// As for [`Subject::generate`].
    pub fn new(
        subject: &'a Subject<'m>,
        language: &'a Language<'a>,
        concept: &'a Concept,
        examples: &'a [Example],
    ) -> Result<Self> {
        let prompts =
            |which: usize| -> Vec<Tokens> { examples.iter().map(|e| e.prompts[which].clone()).collect() };
        let model = subject.model();
        let references = [Reference::new(model, &prompts(0))?, Reference::new(model, &prompts(1))?];
        let mut all = Self {
            subject,
            language,
            concept,
            examples,
            references,
            own: [Vec::new(), Vec::new()],
            unsteered: [Judged::default(), Judged::default()],
        };
        let mut answers = Vec::new();
        for which in 0..2 {
            let own = subject.generate(&prompts(which), &Steering::None, language.ends, language.length)?;
            all.own[which] = all.references[which].score(&own)?;
            answers.push(own);
        }
        for (which, (answers, direction)) in answers.iter().zip(Direction::BOTH).enumerate() {
            all.unsteered[which] = all.score(answers, direction)?;
        }
        Ok(all)
    }

    /// The answers under an intervention to the prompts that this direction begins with.
    ///
    /// # Errors
    /// As for [`Subject::generate`].
    pub fn judge(&mut self, steering: &Steering, direction: Direction) -> Result<Judged> {
        let prompts: Vec<Tokens> =
            self.examples.iter().map(|e| e.prompts[direction.base()].clone()).collect();
        let answers = self.subject.generate(&prompts, steering, self.language.ends, self.language.length)?;
        self.score(&answers, direction)
    }

    /// What prompting for the other kind of answer gives in this direction: the upper reference.
    ///
    /// # Errors
    /// As for a pass.
    pub fn prompted(&self, direction: Direction) -> Judged {
        let other = &self.unsteered[direction.source()];
        let scores: Vec<Scores> = other
            .concepts
            .iter()
            .zip(&other.answers)
            .zip(self.examples)
            .map(|((concept, answer), e)| {
                let instruct = covered(answer, &e.wanted[direction.source()]);
                // Its own answer is as natural as its own answer.
                Scores::new(*concept, instruct, fluency(answer, [0.0; 2]), direction)
            })
            .collect();
        Judged { scores: Scores::mean(&scores), ..other.clone() }
    }

    fn score(&mut self, answers: &[Tokens], direction: Direction) -> Result<Judged> {
        let mut gains: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
        for ((gains, reference), own) in gains.iter_mut().zip(&mut self.references).zip(&self.own) {
            *gains = reference.score(answers)?.iter().zip(own).map(|(s, own)| s - own).collect();
        }
        let mut judged = Judged::default();
        let mut all = Vec::with_capacity(answers.len());
        for (i, (answer, example)) in answers.iter().zip(self.examples).enumerate() {
            let text = self.language.text(answer);
            let concept = self.concept.score(&text);
            let instruct = covered(&text, &example.wanted[direction.source()]);
            all.push(Scores::new(concept, instruct, fluency(&text, [gains[0][i], gains[1][i]]), direction));
            judged.concepts.push(concept);
            judged.answers.push(text);
        }
        judged.scores = Scores::mean(&all);
        Ok(judged)
    }
}

/// Divergences in nats of pairs of runs from the laws that they should have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distances {
    /// Jensen-Shannon divergence of each pair and answer token.
    pub tokens: Vec<Vec<f64>>,
}

impl Distances {
    /// The mean over answer tokens of each pair.
    #[must_use]
    pub fn means(&self) -> Vec<f64> {
        self.tokens.iter().map(|row| row.iter().sum::<f64>() / row.len().max(1) as f64).collect()
    }
}

/// How far the laws of base runs under an intervention are from those of the source runs, on the same answer tokens.
///
/// # Errors
/// When shapes do not fit.
pub fn distances(
    subject: &Subject<'_>,
    contrasts: &[Contrast],
    direction: Direction,
    steering: &Steering,
) -> Result<Distances> {
    let mut tokens = Vec::with_capacity(contrasts.len());
    for group in contrasts.chunks(GROUP) {
        let runs: Vec<TextRun> = group.iter().map(|c| c.base(direction).steered(steering)).collect();
        let packed = Packed::new(&runs.iter().collect::<Vec<_>>())?;
        let laws: Vec<&Tensor> = group.iter().map(|c| c.law(direction)).collect();
        let (logits, wanted) = no_grad(|| -> Result<_> {
            let logits = subject.head(&subject.hidden(&packed.states, &packed.rows)?)?;
            Ok((logits, subject.head(&ream_nn::ops::concat(&laws, 0).map_err(failed)?)?))
        })?;
        let all = divergence::rows(Divergence::JensenShannon, logits.data(), wanted.data(), logits.last());
        let mut at = 0;
        for length in &packed.lengths {
            tokens.push(all[at..at + length].to_vec());
            at += length;
        }
    }
    Ok(Distances { tokens })
}

/// `1 - JS(steered, target) / JS(unsteered, target)` over pairs: 1 when the law is reached, 0 when nothing was won, below 0 when it is further away.
#[must_use]
pub fn recovery(steered: &[f64], unsteered: &[f64]) -> f64 {
    let (a, b) = (steered.iter().sum::<f64>(), unsteered.iter().sum::<f64>());
    if b > 0.0 { 1.0 - a / b } else { 0.0 }
}

/// A statistic of pairs with its 95 % bootstrap interval.
///
/// # Errors
/// Fewer than two pairs.
pub fn with_interval(
    pairs: usize,
    statistic: impl Fn(&[usize]) -> f64 + Sync,
    stream: Stream,
) -> Result<(f64, [f64; 2])> {
    let settings = Bootstrap { replications: 1000, level: 0.95, stream };
    let estimate = resampled(pairs, statistic, Interval::Percentile, &settings).map_err(failed)?;
    Ok((estimate.value, [estimate.low, estimate.high]))
}

/// Mean negative log-likelihood of answers after their prompts under an intervention, nats a token.
///
/// # Errors
/// As for [`Subject::score`].
pub fn utility(subject: &Subject<'_>, texts: &[(Tokens, Tokens)], steering: &Steering) -> Result<f64> {
    let texts: Vec<(&[u32], &[u32])> = texts.iter().map(|(p, a)| (&**p, &**a)).collect();
    let scores = subject.score(&texts, steering)?.concat();
    Ok(-scores.iter().map(|s| f64::from(*s)).sum::<f64>() / scores.len().max(1) as f64)
}

/// Share of prompts whose greedy answer under an intervention is the right one to the token.
///
/// # Errors
/// As for [`Subject::generate`].
pub fn accuracy(
    subject: &Subject<'_>,
    language: &Language<'_>,
    texts: &[(Tokens, Tokens)],
    steering: &Steering,
) -> Result<f64> {
    let prompts: Vec<Tokens> = texts.iter().map(|(p, _)| p.clone()).collect();
    let length = texts.iter().map(|(_, a)| a.len()).max().unwrap_or(1);
    let answers = subject.generate(&prompts, steering, language.ends, length)?;
    let right =
        answers.iter().zip(texts).filter(|(got, (_, want))| language.text(got) == language.text(want));
    Ok(right.count() as f64 / texts.len().max(1) as f64)
}
