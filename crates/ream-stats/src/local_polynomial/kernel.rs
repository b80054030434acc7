//! Kernels on `[-1, 1]` and their moments.

/// How neighbours are weighted by their distance `u`, in bandwidths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernel {
    /// `max(0, 1 - |u|)`: best for a value at the edge of the data (Cheng, Fan & Marron, 1997).
    #[default]
    Triangular,
    /// `3/4 max(0, 1 - u^2)`: best inside.
    Epanechnikov,
    /// `1/2` for `|u| <= 1`.
    Uniform,
}

impl Kernel {
    /// The weight at distance `u`.
    #[inline]
    #[must_use]
    pub fn at(self, u: f64) -> f64 {
        let distance = u.abs();
        match self {
            _ if distance > 1.0 => 0.0,
            Self::Triangular => 1.0 - distance,
            Self::Epanechnikov => 0.75 * (1.0 - u * u),
            Self::Uniform => 0.5,
        }
    }

    /// `int_0^1 u^j k(u) du`.
    #[must_use]
    pub fn moment(self, j: usize) -> f64 {
        let j = j as f64;
        match self {
            Self::Triangular => 1.0 / ((j + 1.0) * (j + 2.0)),
            Self::Epanechnikov => 1.5 / ((j + 1.0) * (j + 3.0)),
            Self::Uniform => 0.5 / (j + 1.0),
        }
    }

    /// `int_0^1 u^j k(u)^2 du`.
    #[must_use]
    pub fn moment_of_square(self, j: usize) -> f64 {
        let j = j as f64;
        match self {
            Self::Triangular => 2.0 / ((j + 1.0) * (j + 2.0) * (j + 3.0)),
            Self::Epanechnikov => 4.5 / ((j + 1.0) * (j + 3.0) * (j + 5.0)),
            Self::Uniform => 0.25 / (j + 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_the_integrals() {
        for kernel in [Kernel::Triangular, Kernel::Epanechnikov, Kernel::Uniform] {
            for j in 0..6_usize {
                let cells = 200_000;
                let middle = |i: usize| (i as f64 + 0.5) / cells as f64;
                let power = |u: f64| u.powi(j as i32);
                let sum =
                    |f: &dyn Fn(f64) -> f64| (0..cells).map(|i| f(middle(i))).sum::<f64>() / cells as f64;
                let first = sum(&|u| power(u) * kernel.at(u));
                let second = sum(&|u| power(u) * kernel.at(u) * kernel.at(u));
                assert!((kernel.moment(j) - first).abs() < 1e-9, "{kernel:?} {j}");
                assert!((kernel.moment_of_square(j) - second).abs() < 1e-9, "{kernel:?} {j}");
            }
            assert!((2.0 * kernel.moment(0) - 1.0).abs() < 1e-15);
            assert_eq!((kernel.at(1.5), kernel.at(-0.25)), (0.0, kernel.at(0.25)));
        }
    }
}
