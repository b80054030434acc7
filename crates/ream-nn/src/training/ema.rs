//! Exponential moving average of weights.

use std::collections::BTreeMap;

use crate::error::{NnError, Result};
use crate::param::Param;
use crate::simd::{fma, vectorised};
use crate::tensor::Tensor;
use crate::threads;

vectorised! {
    fn average(mean: &mut [f32], value: &[f32], keep: f32) {
        for (mean, value) in mean.iter_mut().zip(value) {
            *mean = fma::<FMA>(keep, *mean - *value, *value);
        }
    }
}

/// `mean <- decay mean + (1 - decay) value` after every step.
#[derive(Debug)]
pub struct Ema {
    params: Vec<Param>,
    means: Vec<Vec<f32>>,
    decay: f32,
}

impl Ema {
    /// Begins at the present values.
    #[must_use]
    pub fn new(params: &[Param], decay: f32) -> Self {
        Self { params: params.to_vec(), means: params.iter().map(Param::to_vec).collect(), decay }
    }

    /// Takes in the present values.
    pub fn update(&mut self) {
        let decay = self.decay;
        for (param, mean) in self.params.iter().zip(&mut self.means) {
            let value = param.tensor();
            threads::chunks(mean, crate::kernels::CHUNK, |i, mean| {
                average(mean, &value.data()[i..i + mean.len()], decay);
            });
        }
    }

    /// Exchanges averages and values: evaluate with the averages, then call again to go on.
    pub fn swap(&mut self) {
        for (param, mean) in self.params.iter().zip(&mut self.means) {
            param.update(|value| value.swap_with_slice(mean));
        }
    }

    /// Runs `work` with the averages in place of the values.
    pub fn evaluate<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.swap();
        let result = work();
        self.swap();
        result
    }

    pub(super) fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.params
            .iter()
            .zip(&self.means)
            .map(|(p, mean)| Ok((format!("ema/{}", p.name()), Tensor::from_vec(mean.clone(), &p.shape())?)))
            .collect()
    }

    pub(super) fn load(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        for (param, mean) in self.params.iter().zip(&mut self.means) {
            let key = format!("ema/{}", param.name());
            match state.get(&key) {
                Some(found) if found.len() == mean.len() => mean.copy_from_slice(found.data()),
                _ => return Err(NnError::State(key)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param::Init;

    #[test]
    fn averages_follow_the_values_and_swap_back() {
        let p = Init::new(1).constant("p", &[3], 0.0);
        let mut ema = Ema::new(std::slice::from_ref(&p), 0.75);
        p.update(|x| x.fill(4.0));
        ema.update();
        assert_eq!(ema.evaluate(|| p.to_vec()), [1.0; 3]);
        assert_eq!(p.to_vec(), [4.0; 3]);
        ema.update();
        assert_eq!(ema.evaluate(|| p.to_vec()), [1.75; 3]);
    }
}
