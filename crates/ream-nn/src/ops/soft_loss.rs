//! Cross entropy against laws instead of single classes: distillation.

use std::sync::Arc;

use super::loss::log_sum_exp;
use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::simd::{self, vectorised};
use crate::tensor::Tensor;
use crate::threads;

/// Rows of one job.
const ROWS: usize = 16;

/// Laws over classes of which few are not 0, one for each row.
#[derive(Clone, Debug)]
pub struct SparseLaws {
    /// `[rows + 1]`: where a row's places begin.
    pub starts: Vec<usize>,
    /// Classes.
    pub places: Vec<u32>,
    /// Their probabilities, which need not sum to 1.
    pub probabilities: Vec<f32>,
}

vectorised! {
    fn exponentials(out: &mut [f32], x: &[f32], shift: f32, factor: f32) {
        for (out, x) in out.iter_mut().zip(x) { *out = factor * simd::exp::<FMA>(*x - shift); }
    }
}

/// Mean over rows of `- sum_v p(v) ln softmax(logits)[v]`, shape `[]`: `logits` `[rows, classes]`, a sparse law for each row.
///
/// # Errors
/// When there is another number of laws, or a class that is not there.
pub fn soft_cross_entropy(logits: &Tensor, laws: SparseLaws) -> Result<Tensor> {
    let (rows, width) = (logits.rows(), logits.last());
    if laws.starts.len() != rows + 1 || laws.places.iter().any(|p| *p as usize >= width) {
        let laws = laws.starts.len().saturating_sub(1);
        return shape("soft_cross_entropy", format!("{laws} laws for {rows} rows of {width} classes"));
    }
    let laws = Arc::new(laws);
    // Logarithm of each row's sum of exponentials.
    let mut sums = vec![0.0_f32; rows];
    threads::chunks(&mut sums, ROWS, |first, part| {
        for (k, sum) in part.iter_mut().enumerate() {
            *sum = log_sum_exp(&logits.data()[(first + k) * width..(first + k + 1) * width]);
        }
    });
    let mut total = 0.0_f64;
    for (row, sum) in sums.iter().enumerate() {
        for k in laws.starts[row]..laws.starts[row + 1] {
            let logit = logits.data()[row * width + laws.places[k] as usize];
            total += f64::from(laws.probabilities[k]) * f64::from(sum - logit);
        }
    }
    let scale = 1.0 / rows.max(1) as f32;
    let parent = logits.clone();
    let value: Buffer = vec![(total * f64::from(scale)) as f32].into();
    Ok(Tensor::custom("soft_cross_entropy", &[], value, &[logits], move |grad, sink| {
        let mut all = Buffer::scratch(parent.len());
        let factor = grad[0] * scale;
        threads::chunks(&mut all, ROWS * width, |start, part| {
            for (k, out) in part.chunks_exact_mut(width).enumerate() {
                let row = start / width + k;
                let range = laws.starts[row]..laws.starts[row + 1];
                let mass: f32 = laws.probabilities[range.clone()].iter().sum();
                let x = &parent.data()[row * width..(row + 1) * width];
                exponentials(out, x, sums[row], factor * mass);
                for k in range {
                    out[laws.places[k] as usize] -= factor * laws.probabilities[k];
                }
            }
        });
        sink.add(&parent, all);
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::cross_entropy;
    use crate::{Init, check_gradients};

    #[test]
    fn soft_cross_entropy_is_that_of_hard_targets_where_laws_are_hard_and_its_gradient_is_right() {
        let logits = Init::new(1).normal("logits", &[5, 7], 1.0);
        let hard = SparseLaws {
            starts: (0..=5).collect(),
            places: vec![0, 3, 6, 2, 2],
            probabilities: vec![1.0; 5],
        };
        let soft = soft_cross_entropy(&logits.tensor(), hard).unwrap().item().unwrap();
        let want = cross_entropy(&logits.tensor(), &[0, 3, 6, 2, 2], None).unwrap().item().unwrap();
        assert!((soft - want).abs() < 1e-5, "{soft} {want}");
        let laws = SparseLaws {
            starts: vec![0, 2, 2, 3, 5, 8],
            places: vec![0, 3, 6, 2, 1, 0, 5, 6],
            probabilities: vec![0.5, 0.2, 0.9, 0.3, 0.3, 0.1, 0.2, 0.6],
        };
        check_gradients(&[logits.tensor().detach()], &[], 0.01, |x| soft_cross_entropy(&x[0], laws.clone()))
            .unwrap();
        let short = SparseLaws { starts: vec![0], places: vec![], probabilities: vec![] };
        assert!(soft_cross_entropy(&logits.tensor(), short).is_err());
    }
}
