//! Ridge regression that grows by single observations: an incremental Cholesky factor.

/// `A = lambda I + sum w x x'` as `L L'`, with `b = sum w x y`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ridge {
    dimension: usize,
    /// `L`, row by row, `[d * d]`.
    factor: Vec<f64>,
    /// `b`.
    response: Vec<f64>,
    scratch: Vec<f64>,
}

impl Ridge {
    /// Without observations. `lambda` is positive.
    #[must_use]
    pub fn new(dimension: usize, lambda: f64) -> Self {
        let mut factor = vec![0.0; dimension * dimension];
        (0..dimension).for_each(|i| factor[i * dimension + i] = lambda.sqrt());
        Self { dimension, factor, response: vec![0.0; dimension], scratch: vec![0.0; dimension] }
    }

    /// Adds `weight >= 0` observations of features `x` with mean response `y`. `O(d^2)`.
    pub fn add(&mut self, x: &[f64], weight: f64, y: f64) {
        for (b, x) in self.response.iter_mut().zip(x) {
            *b += weight * x * y;
        }
        let root = weight.sqrt();
        let d = self.dimension;
        self.scratch.iter_mut().zip(x).for_each(|(s, x)| *s = root * x);
        // Rotations take the new row into the factor, column by column.
        for k in 0..d {
            let (old, new) = (self.factor[k * d + k], self.scratch[k]);
            if new == 0.0 {
                continue;
            }
            let r = old.hypot(new);
            let (c, s) = (old / r, new / r);
            self.factor[k * d + k] = r;
            for i in k + 1..d {
                let (l, w) = (self.factor[i * d + k], self.scratch[i]);
                self.factor[i * d + k] = c * l + s * w;
                self.scratch[i] = c * w - s * l;
            }
        }
    }

    /// Replaces `b`.
    pub fn set_response(&mut self, response: &[f64]) {
        self.response.copy_from_slice(response);
    }

    /// `A^-1 b`.
    #[must_use]
    pub fn solve(&self) -> Vec<f64> {
        let d = self.dimension;
        let mut z = self.forward(&self.response);
        for i in (0..d).rev() {
            let known: f64 = (i + 1..d).map(|k| self.factor[k * d + i] * z[k]).sum();
            z[i] = (z[i] - known) / self.factor[i * d + i];
        }
        z
    }

    /// `L^-1 x`.
    fn forward(&self, x: &[f64]) -> Vec<f64> {
        let d = self.dimension;
        let mut z = vec![0.0; d];
        for i in 0..d {
            let row = &self.factor[i * d..i * d + i];
            let known: f64 = row.iter().zip(&z).map(|(l, z)| l * z).sum();
            z[i] = (x[i] - known) / self.factor[i * d + i];
        }
        z
    }

    /// `x' A^-1 x`.
    #[must_use]
    pub fn inverse_norm(&self, x: &[f64]) -> f64 {
        self.forward(x).iter().map(|z| z * z).sum()
    }

    /// `b' A^-1 b`: what the fit explains.
    #[must_use]
    pub fn explained(&self) -> f64 {
        self.inverse_norm(&self.response)
    }

    /// `(theta - theta_hat)' A (theta - theta_hat)`.
    #[must_use]
    pub fn distance(&self, theta: &[f64]) -> f64 {
        let d = self.dimension;
        let difference: Vec<f64> = theta.iter().zip(self.solve()).map(|(a, b)| a - b).collect();
        (0..d)
            .map(|k| {
                let sum: f64 = (k..d).map(|i| self.factor[i * d + k] * difference[i]).sum();
                sum * sum
            })
            .sum()
    }

    /// `log det A`.
    #[must_use]
    pub fn log_det(&self) -> f64 {
        let d = self.dimension;
        (0..d).map(|i| 2.0 * libm::log(self.factor[i * d + i])).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn it_agrees_with_the_normal_equations() {
        let mut rng = Stream::new(1, "ridge").at(0);
        let (d, lambda) = (3, 0.5);
        let mut ridge = Ridge::new(d, lambda);
        let mut a = [[lambda, 0.0, 0.0], [0.0, lambda, 0.0], [0.0, 0.0, lambda]];
        let mut b = [0.0; 3];
        let mut squares = 0.0;
        for i in 0..40 {
            let x: Vec<f64> = (0..d).map(|_| rng.normal()).collect();
            let (weight, y) = (f64::from(i % 3), rng.normal());
            ridge.add(&x, weight, y);
            squares += weight * y * y;
            for j in 0..d {
                b[j] += weight * x[j] * y;
                for k in 0..d {
                    a[j][k] += weight * x[j] * x[k];
                }
            }
        }
        let theta = ridge.solve();
        for j in 0..d {
            let product: f64 = (0..d).map(|k| a[j][k] * theta[k]).sum();
            assert!((product - b[j]).abs() < 1e-10);
        }
        let det = a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1])
            - a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0])
            + a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0]);
        assert!((ridge.log_det() - libm::log(det)).abs() < 1e-10);
        let explained: f64 = theta.iter().zip(&b).map(|(t, b)| t * b).sum();
        assert!((ridge.explained() - explained).abs() < 1e-10 && explained < squares);
        assert!(ridge.distance(&theta) < 1e-20);
        let moved = [theta[0] + 1.0, theta[1], theta[2]];
        assert!((ridge.distance(&moved) - a[0][0]).abs() < 1e-9);
        // x' A^-1 x: through the equation A z = x.
        let mut unit = ridge.clone();
        unit.set_response(&[1.0, 2.0, -1.0]);
        let z = unit.solve();
        assert!((ridge.inverse_norm(&[1.0, 2.0, -1.0]) - (z[0] + 2.0 * z[1] - z[2])).abs() < 1e-12);
    }
}
