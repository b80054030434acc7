//! Contrast data: a prompt and an answer without the concept and with it, and the four runs that they make.

use ream_lab::Result;
use ream_nn::Tensor;
use serde::{Deserialize, Serialize};

use super::steering::{latents, orthonormalise};
use super::subject::{Subject, TextRun, Tokens};
use ream_nn::simd::dot;
use ream_rand::Stream;

/// Which way a model is steered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// Towards the concept.
    Add,
    /// Away from it.
    Remove,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Add, Self::Remove];

    /// Its name in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
        }
    }

    /// Place of the base prompt of a pair: 0 is the one without the concept.
    #[must_use]
    pub fn base(self) -> usize {
        usize::from(self == Self::Remove)
    }

    /// Place of the source prompt, and of the answer that both runs are given.
    #[must_use]
    pub fn source(self) -> usize {
        1 - self.base()
    }
}

/// A pair: in every array the first is without the concept, the second with it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Example {
    /// What it is about, for tables.
    pub title: String,
    /// Prompts up to the last token of the header of the answer.
    pub prompts: [Tokens; 2],
    /// Answers with the token that ends them, if they end.
    pub answers: [Tokens; 2],
    /// What a good answer of each kind holds: for each item the words of which one must be there.
    pub wanted: [Vec<Vec<String>>; 2],
}

/// The runs of a pair and the laws that interventions should reach.
#[derive(Clone, Debug)]
pub struct Contrast {
    /// `runs[prompt][answer]`.
    runs: [[TextRun; 2]; 2],
    /// Hidden states behind the laws of `runs[0][0]` and `runs[1][1]`, `[answer tokens, width]`.
    laws: [Tensor; 2],
}

impl Contrast {
    /// Runs pairs through the frozen model.
    ///
    /// # Errors
    /// As for [`Subject::read`].
    pub fn prepare(subject: &Subject<'_>, examples: &[Example]) -> Result<Vec<Self>> {
        let texts: Vec<(&[u32], &[u32])> = examples
            .iter()
            .flat_map(|e| [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(p, a)| (&*e.prompts[p], &*e.answers[a])))
            .collect();
        let mut runs = subject.read(&texts)?.into_iter();
        let mut contrasts = Vec::with_capacity(examples.len());
        while let (Some(a), Some(b), Some(c), Some(d)) = (runs.next(), runs.next(), runs.next(), runs.next())
        {
            let own = subject.answers_hidden(&[&a, &d])?;
            if let Ok(laws) = <[Tensor; 2]>::try_from(own) {
                contrasts.push(Self { runs: [[a, b], [c, d]], laws });
            }
        }
        Ok(contrasts)
    }

    /// The base run: its own prompt with the answer of the source.
    #[must_use]
    pub fn base(&self, direction: Direction) -> &TextRun {
        &self.runs[direction.base()][direction.source()]
    }

    /// The base prompt with its own answer, which is the wrong one after an intervention.
    #[must_use]
    pub fn wrong(&self, direction: Direction) -> &TextRun {
        &self.runs[direction.base()][direction.base()]
    }

    /// The source run: the contrasting prompt with the same answer.
    #[must_use]
    pub fn source(&self, direction: Direction) -> &TextRun {
        &self.runs[direction.source()][direction.source()]
    }

    /// Hidden states behind the laws of the source run, `[answer tokens, width]`.
    #[must_use]
    pub fn law(&self, direction: Direction) -> &Tensor {
        &self.laws[direction.source()]
    }

    /// Residual stream of the last prompt token, without (0) or with (1) the concept, `[width]`.
    #[must_use]
    pub fn header(&self, which: usize) -> &[f32] {
        let which = usize::from(which > 0);
        self.runs[which][which].header()
    }
}

/// Latents of the training prompts: what steering clamps to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factors {
    /// Mean over prompts without the concept, `[rank]`.
    pub negative: Vec<f32>,
    /// Mean over prompts with it.
    pub positive: Vec<f32>,
    /// Largest over prompts with it.
    pub largest: Vec<f32>,
}

impl Factors {
    /// Latents of training prompts. Rows of the basis are turned so that the concept's latents are the larger ones.
    #[must_use]
    pub fn gather(basis: &mut [f32], contrasts: &[Contrast]) -> Self {
        let width = contrasts.first().map_or(1, |c| c.header(0).len());
        let rank = basis.len() / width;
        let read = |basis: &[f32], which: usize| -> Vec<Vec<f32>> {
            contrasts.iter().map(|c| latents(basis, c.header(which))).collect()
        };
        let mean = |all: &[Vec<f32>], k: usize| {
            (all.iter().map(|z| f64::from(z[k])).sum::<f64>() / all.len().max(1) as f64) as f32
        };
        let (negative, positive) = (read(basis, 0), read(basis, 1));
        for (k, row) in basis.chunks_exact_mut(width).enumerate() {
            if mean(&positive, k) < mean(&negative, k) {
                row.iter_mut().for_each(|x| *x = -*x);
            }
        }
        let (negative, positive) = (read(basis, 0), read(basis, 1));
        Self {
            negative: (0..rank).map(|k| mean(&negative, k)).collect(),
            positive: (0..rank).map(|k| mean(&positive, k)).collect(),
            largest: (0..rank)
                .map(|k| positive.iter().map(|z| z[k]).fold(f32::NEG_INFINITY, f32::max))
                .collect(),
        }
    }

    /// What is clamped to: `m` times the positive latents to add, the negative ones to remove.
    #[must_use]
    pub fn targets(&self, direction: Direction, m: f64) -> Vec<f32> {
        match direction {
            Direction::Add => self.positive.iter().map(|z| (f64::from(*z) * m) as f32).collect(),
            Direction::Remove => self.negative.clone(),
        }
    }
}

/// Mean state of prompts with the concept less that of those without, `[width]`.
#[must_use]
pub fn difference_of_means(contrasts: &[Contrast]) -> Vec<f32> {
    let width = contrasts.first().map_or(0, |c| c.header(0).len());
    let n = contrasts.len().max(1) as f64;
    (0..width)
        .map(|i| {
            let of = |c: &Contrast| f64::from(c.header(1)[i]) - f64::from(c.header(0)[i]);
            (contrasts.iter().map(of).sum::<f64>() / n) as f32
        })
        .collect()
}

/// Weight of the ridge of [`probe`].
const RIDGE: f64 = 1e-3;
/// Steps of its descent.
const PROBE_STEPS: usize = 2000;
/// Least deviation of an element, of the root mean square of all.
const FLOOR: f64 = 1e-2;

/// Unit direction of a logistic regression with a small ridge that tells prompts with the concept from those without, `[width]`; fitted to states
/// whose elements are standardised one by one, by Nesterov's accelerated descent.
#[must_use]
pub fn probe(contrasts: &[Contrast]) -> Vec<f32> {
    let states: Vec<(&[f32], f64)> =
        contrasts.iter().flat_map(|c| [(c.header(0), 0.0), (c.header(1), 1.0)]).collect();
    separating_direction(&states)
}

/// The probe of states that are labelled 0 or 1.
fn separating_direction(states: &[(&[f32], f64)]) -> Vec<f32> {
    let width = states.first().map_or(0, |(h, _)| h.len());
    let n = states.len().max(1) as f64;
    let mean_of = |f: &dyn Fn(&[f32]) -> f64| states.iter().map(|(h, _)| f(h)).sum::<f64>() / n;
    let mean: Vec<f64> = (0..width).map(|i| mean_of(&|h| f64::from(h[i]))).collect();
    let variance: Vec<f64> =
        (0..width).map(|i| mean_of(&|h| (f64::from(h[i]) - mean[i]) * (f64::from(h[i]) - mean[i]))).collect();
    // An element that hardly varies is not blown up: its variation may be rounding.
    let floor = FLOOR * (variance.iter().sum::<f64>() / width.max(1) as f64).sqrt();
    let deviation: Vec<f64> = variance.iter().map(|v| v.sqrt().max(floor).max(1e-12)).collect();
    let standard: Vec<(Vec<f64>, f64)> = states
        .iter()
        .map(|(h, y)| ((0..width).map(|i| (f64::from(h[i]) - mean[i]) / deviation[i]).collect(), *y))
        .collect();
    let (mut w, mut before, mut b, mut b_before) = (vec![0.0_f64; width], vec![0.0_f64; width], 0.0, 0.0);
    // The curvature of the mean loss is at most a quarter of the mean squared norm.
    let rate = 1.0 / (0.25 * (width as f64 + 1.0) + RIDGE);
    for step in 0..PROBE_STEPS {
        let momentum = step as f64 / (step as f64 + 3.0);
        let ahead: Vec<f64> = w.iter().zip(&before).map(|(w, before)| w + momentum * (w - before)).collect();
        let b_ahead: f64 = b + momentum * (b - b_before);
        let (mut dw, mut db): (Vec<f64>, f64) = (ahead.iter().map(|w| RIDGE * w).collect(), 0.0);
        for (x, y) in &standard {
            let score = b_ahead + x.iter().zip(&ahead).map(|(x, w)| x * w).sum::<f64>();
            let miss = (1.0 / (1.0 + libm::exp(-score)) - y) / n;
            db += miss;
            dw.iter_mut().zip(x).for_each(|(d, x)| *d += miss * x);
        }
        (before, b_before) = (w, b);
        w = ahead.iter().zip(&dw).map(|(w, d)| w - rate * d).collect();
        b = b_ahead - rate * db;
    }
    let mut direction: Vec<f32> = w.iter().zip(&deviation).map(|(w, sd)| (w / sd) as f32).collect();
    orthonormalise(&mut direction, width);
    direction
}

/// A basis of random directions, `[rank, width]`.
#[must_use]
pub fn random_basis(rank: usize, width: usize, stream: Stream) -> Vec<f32> {
    let mut basis = Tensor::randn(&[rank, width], 1.0, &mut stream.at(0)).to_vec();
    orthonormalise(&mut basis, width);
    basis
}

/// Root mean square of the elements of the prompts' last states.
#[must_use]
pub fn root_mean_square(contrasts: &[Contrast]) -> f64 {
    let states: Vec<&[f32]> = contrasts.iter().flat_map(|c| [c.header(0), c.header(1)]).collect();
    let count = states.iter().map(|h| h.len()).sum::<usize>().max(1);
    (states.iter().map(|h| f64::from(dot(h, h))).sum::<f64>() / count as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Classes that differ along one direction, under a nuisance ten times as large along another.
    #[test]
    fn the_probe_finds_what_tells_classes_apart() {
        let width = 24;
        let state = |i: u64, label: f32| -> Vec<f32> {
            let mut rng = Stream::new(1, "states").at(i);
            let nuisance = 10.0 * rng.normal() as f32;
            let noise = Tensor::randn(&[width], 0.3, &mut rng).to_vec();
            let of = |(k, x): (usize, &f32)| x + nuisance * f32::from(k < 4) + label * f32::from(k % 3 == 0);
            noise.iter().enumerate().map(of).collect()
        };
        let cloud = |from: u64| -> Vec<(Vec<f32>, f64)> {
            (from..from + 60).map(|i| (state(i, (i % 2) as f32), (i % 2) as f64)).collect()
        };
        let (train, test) = (cloud(0), cloud(1000));
        let labelled: Vec<(&[f32], f64)> = train.iter().map(|(h, y)| (h.as_slice(), *y)).collect();
        let right = |direction: &[f32]| -> usize {
            let of =
                |label: f64| test.iter().filter(move |(_, y)| *y == label).map(|(h, _)| dot(direction, h));
            of(1.0).map(|z| of(0.0).filter(|other| z > *other).count()).sum()
        };
        let direction = separating_direction(&labelled);
        assert!((dot(&direction, &direction) - 1.0).abs() < 1e-5);
        assert!(right(&direction) > 870, "{} of 900", right(&direction));
        // The difference of means is led astray by the nuisance.
        let mut means = vec![0.0; width];
        for (h, y) in &train {
            means.iter_mut().zip(h).for_each(|(m, h)| *m += h * (2.0 * *y as f32 - 1.0));
        }
        assert!(right(&means) < right(&direction), "{}", right(&means));
    }
}
