//! The model `k_head after k_bb after k_emb`: token and position embedding, causal transformer, head.

use super::sources::Contexts;
use ream_nn::layers::{Linear, TransformerConfig};
use ream_nn::models::Decoder;
use ream_nn::ops::Mask;
use ream_nn::{Init, Module, Param, Result, Tensor, no_grad};
use ream_stats::Matrix;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Standard deviation of the head's first weights.
const HEAD_DEVIATION: f32 = 0.02;
/// Windows of one forward pass when nothing is trained.
const BATCH: usize = 64;

/// Size of the transformer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Width d of the hidden states.
    pub d: usize,
    /// Blocks.
    pub layers: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Longest context in tokens.
    pub window: usize,
}

/// A backbone with a linear head on its last hidden state. Cloning shares the parameters.
#[derive(Clone, Debug)]
pub struct Model {
    backbone: Decoder,
    head: Linear,
    shape: Shape,
}

impl Model {
    /// A model for `tokens` tokens whose head has `outputs` rows: as many as tokens for logits, any number for features.
    /// The backbone's first weights depend on `init` alone, whatever the head.
    ///
    /// # Errors
    /// A shape that makes no transformer.
    pub fn new(init: &Init, shape: &Shape, tokens: usize, outputs: usize) -> Result<Self> {
        let config = TransformerConfig {
            vocabulary: tokens,
            context: shape.window,
            d: shape.d,
            layers: shape.layers,
            heads: shape.heads,
            // The head is ours, with a bias.
            tied: true,
            ..TransformerConfig::default()
        };
        Ok(Self {
            backbone: Decoder::new(init, &config)?,
            head: Linear::with_deviation(&init.at("readout"), shape.d, outputs, true, HEAD_DEVIATION),
            shape: shape.clone(),
        })
    }

    /// Last hidden states `[batch, time, d]` of tokens `[batch, time]`.
    ///
    /// # Errors
    /// Tokens that do not fill the shape, or a window longer than the model's.
    pub fn hidden(&self, tokens: &[u32], shape: [usize; 2]) -> Result<Tensor> {
        self.backbone.hidden(tokens, shape, &Mask::causal())
    }

    /// What the head makes of hidden states: `[.., d]` to `[.., outputs]`.
    ///
    /// # Errors
    /// When the last axis is not d.
    pub fn read_out(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head.forward(hidden)
    }

    /// Width of the hidden states.
    #[must_use]
    pub fn d(&self) -> usize {
        self.shape.d
    }

    /// The head's rows `w_v`, `[outputs, d]`.
    #[must_use]
    pub fn head_rows(&self) -> Matrix {
        let (weight, shape) = (self.head.weight.to_vec(), self.head.weight.shape());
        Matrix::from_fn(shape[0], shape[1], |v, j| f64::from(weight[v * shape[1] + j]))
    }

    /// Hidden states `[windows, time, d]` and outputs `[windows, time, outputs]` of windows of one length, without a
    /// gradient.
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn run(&self, windows: &[Vec<u32>]) -> Result<(Vec<f32>, Vec<f32>)> {
        let time = windows.first().map_or(0, Vec::len);
        let (mut hidden, mut outputs) = (Vec::new(), Vec::new());
        for batch in windows.chunks(BATCH) {
            no_grad(|| {
                let h = self.hidden(&batch.concat(), [batch.len(), time])?;
                outputs.extend_from_slice(self.read_out(&h)?.data());
                hidden.extend_from_slice(h.data());
                Ok(())
            })?;
        }
        Ok((hidden, outputs))
    }

    /// Hidden state at the last token of each context, `[contexts, d]`, and the outputs there, `[contexts, outputs]`.
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn at_contexts(&self, contexts: &Contexts) -> Result<(Matrix, Matrix)> {
        let longest = contexts.windows.iter().map(Vec::len).max().unwrap_or(0);
        // Padding on the right is never seen by what stands before it.
        let padded: Vec<Vec<u32>> = contexts
            .windows
            .iter()
            .map(|window| {
                let mut padded = window.clone();
                padded.resize(longest, 0);
                padded
            })
            .collect();
        let (hidden, outputs) = self.run(&padded)?;
        let last = |values: &[f32], width: usize| {
            Matrix::from_fn(padded.len(), width, |x, j| {
                let place = x * longest + contexts.windows[x].len().max(1) - 1;
                f64::from(values[place * width + j])
            })
        };
        let width = self.head.weight.shape()[0];
        Ok((last(&hidden, self.d()), last(&outputs, width)))
    }

    /// A copy of all parameters.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Vec<f32>> {
        self.params().iter().map(Param::to_vec).collect()
    }

    /// Sets all parameters to a copy made before.
    ///
    /// # Errors
    /// A copy of another model.
    pub fn restore(&self, snapshot: &[Vec<f32>]) -> Result<()> {
        self.params().iter().zip(snapshot).try_for_each(|(param, values)| param.set(values))
    }
}

impl Module for Model {
    fn params(&self) -> Vec<Param> {
        [self.backbone.params(), self.head.params()].concat()
    }
}

/// Softmax of each row, in double precision.
#[must_use]
pub fn softmax(logits: &Matrix) -> Matrix {
    let rows: Vec<Vec<f64>> = (0..logits.rows())
        .map(|x| {
            let row = logits.row(x);
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let exps: Vec<f64> = row.iter().map(|z| libm::exp(z - most)).collect();
            let sum: f64 = exps.iter().sum();
            exps.iter().map(|e| e / sum).collect()
        })
        .collect();
    Matrix::from_fn(logits.rows(), logits.cols(), |x, v| rows[x][v])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(outputs: usize) -> Model {
        let shape = Shape { d: 16, layers: 2, heads: 2, window: 8 };
        Model::new(&Init::new(1), &shape, 6, outputs).unwrap()
    }

    #[test]
    fn a_context_is_read_at_its_last_token_whatever_the_padding() {
        let windows = vec![vec![1, 2, 3, 4, 5], vec![4, 2], vec![0, 5, 5]];
        let contexts = Contexts {
            weights: vec![1.0 / 3.0; 3],
            laws: Matrix::from_fn(3, 6, |_, _| 1.0 / 6.0),
            classes: vec![0; 3],
            class_names: vec!["all".to_owned()],
            windows: windows.clone(),
        };
        let model = model(6);
        let (hidden, outputs) = model.at_contexts(&contexts).unwrap();
        for (x, window) in windows.iter().enumerate() {
            let (h, z) = model.run(std::slice::from_ref(window)).unwrap();
            for j in 0..16 {
                assert!((hidden.get(x, j) - f64::from(h[(window.len() - 1) * 16 + j])).abs() < 1e-5);
            }
            assert!((outputs.get(x, 3) - f64::from(z[(window.len() - 1) * 6 + 3])).abs() < 1e-5);
        }
    }

    #[test]
    fn heads_of_any_size_sit_on_the_same_first_backbone() {
        let (logits, features) = (model(6), model(16));
        let window = vec![vec![1, 2, 3]];
        assert_eq!(logits.run(&window).unwrap().0, features.run(&window).unwrap().0);
        assert_eq!((logits.head_rows().rows(), features.head_rows().rows()), (6, 16));
    }

    #[test]
    fn a_snapshot_brings_the_model_back() {
        let model = model(6);
        let (window, before) = (vec![vec![1, 2, 3]], model.snapshot());
        let outputs = model.run(&window).unwrap().1;
        model.params().iter().for_each(|p| p.update(|x| x.iter_mut().for_each(|x| *x += 0.1)));
        assert_ne!(model.run(&window).unwrap().1, outputs);
        model.restore(&before).unwrap();
        assert_eq!(model.run(&window).unwrap().1, outputs);
    }

    #[test]
    fn softmax_rows_are_laws() {
        let laws = softmax(&Matrix::from_fn(2, 3, |x, v| if x == 0 { 1e4 * v as f64 } else { 5.0 }));
        assert_eq!(laws.row(0), [0.0, 0.0, 1.0]);
        assert!(laws.row(1).iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-12));
    }
}
