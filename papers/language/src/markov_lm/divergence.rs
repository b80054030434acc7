//! Divergences, and the information measures of kernels that each of them defines.
//!
//! For a divergence `D` and a kernel `k: X -> Y` with input law `p`
//!
//! `H_D(k; p) = E_{x~p} D( copy_Y after k at x || (k tensor k) after copy_X at x )`:  copying the output against running twice;
//! `I_D(k; p) = D( joint law of (X, Y) || product of its marginals )`.
//!
//! `D = KL` gives Shannon's conditional entropy and mutual information, total variation gives the Gini-Simpson index.

use super::kernel::Kernel;
use ream_lab::Invalid;
use std::fmt;
use std::str::FromStr;

/// A divergence between two laws on the same finite set, in nats where it is logarithmic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Divergence {
    /// `sum p ln(p/q)`.
    Kl,
    /// `1/2 sum |p - q|`.
    TotalVariation,
    /// `sum (p - q)^2 / q`.
    ChiSquare,
    /// `ln(sum p^a q^(1-a)) / (a - 1)` for an order `a` > 0 other than 1.
    Renyi(f64),
}

impl Divergence {
    /// The divergences of the paper's statements: KL, total variation, chi-square, Renyi of order 2.
    pub const ALL: [Self; 4] = [Self::Kl, Self::TotalVariation, Self::ChiSquare, Self::Renyi(2.0)];

    /// `D(p || q)`; infinite where `q` gives no weight to something that has some under `p` (except for total variation and
    /// Renyi of an order below 1). Laws of different lengths are compared on the shorter one's outcomes.
    #[must_use]
    pub fn between(self, p: &[f64], q: &[f64]) -> f64 {
        let pairs = || p.iter().copied().zip(q.iter().copied());
        let positive = || pairs().filter(|(p, _)| *p > 0.0);
        match self {
            Self::Kl => positive().map(|(p, q)| p * libm::log(p / q)).sum::<f64>().max(0.0),
            Self::TotalVariation => 0.5 * pairs().map(|(p, q)| (p - q).abs()).sum::<f64>(),
            Self::ChiSquare => pairs().filter(|(p, q)| p != q).map(|(p, q)| (p - q) * ((p - q) / q)).sum(),
            Self::Renyi(a) => {
                // p (p/q)^(a-1) stays finite where p^a and q^(1-a) alone would not.
                let sum: f64 = positive().map(|(p, q)| p * power_of_ratio(p, q, a - 1.0)).sum();
                (libm::log(sum) / (a - 1.0)).max(0.0)
            }
        }
    }

    /// `H_D` of one law, by its closed form: `-sum p ln p`; `1 - sum p^2`; outcomes of positive probability less one;
    /// `ln(sum p^(2-a)) / (a - 1)`.
    #[must_use]
    pub fn entropy(self, law: &[f64]) -> f64 {
        let positive = || law.iter().copied().filter(|p| *p > 0.0);
        match self {
            Self::Kl => -positive().map(|p| p * libm::log(p)).sum::<f64>() + 0.0,
            Self::TotalVariation => 1.0 - positive().map(|p| p * p).sum::<f64>(),
            Self::ChiSquare => positive().count() as f64 - 1.0,
            Self::Renyi(a) => libm::log(positive().map(|p| libm::pow(p, 2.0 - a)).sum::<f64>()) / (a - 1.0),
        }
    }

    /// `H_D` of a kernel, from its definition: the copied output against two independent runs, `O(rows cols^2)`.
    ///
    /// # Errors
    /// When `input` has not one probability for each row.
    pub fn entropy_by_definition(self, kernel: &Kernel, input: &[f64]) -> Result<f64, Invalid> {
        kernel.check_input(input)?;
        let copied = kernel.then(&Kernel::copy(kernel.cols()))?;
        let mut sum = 0.0;
        for (x, p) in input.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            let once = Kernel::new("a row", 1, kernel.cols(), kernel.row(x).to_vec())?;
            sum += p * self.between(copied.row(x), once.tensor(&once).row(0));
        }
        Ok(sum)
    }

    /// `H_D` of a kernel: the mean of [`Divergence::entropy`] over inputs.
    ///
    /// # Errors
    /// When `input` has not one probability for each row.
    pub fn entropy_of(self, kernel: &Kernel, input: &[f64]) -> Result<f64, Invalid> {
        kernel.check_input(input)?;
        Ok(input.iter().enumerate().map(|(x, p)| p * self.entropy(kernel.row(x))).sum())
    }

    /// `I_D` between input and output of a kernel.
    ///
    /// # Errors
    /// When `input` has not one probability for each row.
    pub fn information(self, kernel: &Kernel, input: &[f64]) -> Result<f64, Invalid> {
        let (joint, output) = (kernel.joint(input)?, kernel.push(input)?);
        let product: Vec<f64> = input.iter().flat_map(|p| output.iter().map(move |q| p * q)).collect();
        Ok(self.between(&joint, &product))
    }
}

fn power_of_ratio(p: f64, q: f64, exponent: f64) -> f64 {
    if q > 0.0 {
        libm::pow(p / q, exponent)
    } else if exponent > 0.0 {
        f64::INFINITY
    } else {
        0.0
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kl => f.write_str("kl"),
            Self::TotalVariation => f.write_str("tv"),
            Self::ChiSquare => f.write_str("chi-square"),
            Self::Renyi(order) => write!(f, "renyi-{order}"),
        }
    }
}

impl FromStr for Divergence {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        let order = |text: &str| text.parse::<f64>().ok().filter(|a| a.is_finite() && *a > 0.0 && *a != 1.0);
        match name {
            "kl" => Ok(Self::Kl),
            "tv" => Ok(Self::TotalVariation),
            "chi-square" => Ok(Self::ChiSquare),
            _ => name.strip_prefix("renyi-").and_then(order).map(Self::Renyi).ok_or_else(|| {
                let wanted = "kl, tv, chi-square or renyi-A with an order A > 0 other than 1 (1 is kl), for instance renyi-2";
                Invalid::new("divergence", wanted, format!("`{name}`"))
            }),
        }
    }
}

/// Hellinger distance `(1/2 sum (sqrt p - sqrt q)^2)^(1/2)`, in `[0, 1]`.
#[must_use]
pub fn hellinger(p: &[f64], q: &[f64]) -> f64 {
    (0.5 * p.iter().zip(q).map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2)).sum::<f64>()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    const MORE: [Divergence; 6] = [
        Divergence::Kl,
        Divergence::TotalVariation,
        Divergence::ChiSquare,
        Divergence::Renyi(2.0),
        Divergence::Renyi(0.5),
        Divergence::Renyi(1.5),
    ];

    #[test]
    fn closed_forms_are_the_definition() {
        let mut rng = Stream::new(3, "divergence").at(0);
        for divergence in MORE {
            for concentration in [0.2, 1.0, 5.0] {
                let kernel = Kernel::random(4, 6, concentration, &mut rng);
                let input = super::super::kernel::dirichlet(4, 1.0, &mut rng);
                let wanted = divergence.entropy_by_definition(&kernel, &input).unwrap();
                let got = divergence.entropy_of(&kernel, &input).unwrap();
                assert!(
                    (wanted - got).abs() < 1e-9 * wanted.max(1.0),
                    "{divergence}: {got}, wanted {wanted}"
                );
            }
        }
    }

    #[test]
    fn certain_and_uniform_laws() {
        let certain = [0.0, 1.0, 0.0, 0.0];
        let uniform = [0.25; 4];
        for divergence in MORE {
            assert!(divergence.entropy(&certain).abs() < 1e-15, "{divergence}");
        }
        let ln4 = libm::log(4.0);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(near(Divergence::Kl.entropy(&uniform), ln4));
        assert!(near(Divergence::TotalVariation.entropy(&uniform), 0.75));
        assert!(near(Divergence::ChiSquare.entropy(&uniform), 3.0));
        assert!(near(Divergence::Renyi(2.0).entropy(&uniform), ln4));
        assert!(near(Divergence::Renyi(0.5).entropy(&uniform), ln4));
    }

    /// A noiseless channel on n inputs: I_KL = ln n, I_TV = 1 - 1/n, chi-square n - 1; a constant channel tells nothing.
    #[test]
    fn known_information() {
        let uniform = [0.25; 4];
        let noiseless = Kernel::identity(4);
        let of = |d: Divergence, k: &Kernel| d.information(k, &uniform).unwrap();
        assert!((of(Divergence::Kl, &noiseless) - libm::log(4.0)).abs() < 1e-12);
        assert!((of(Divergence::TotalVariation, &noiseless) - 0.75).abs() < 1e-12);
        assert!((of(Divergence::ChiSquare, &noiseless) - 3.0).abs() < 1e-12);
        for divergence in MORE {
            assert!(of(divergence, &Kernel::discard(4)).abs() < 1e-12);
        }
    }

    #[test]
    fn laws_without_common_support() {
        let (p, q) = ([0.5, 0.5, 0.0], [0.0, 0.5, 0.5]);
        assert_eq!(Divergence::Kl.between(&p, &q), f64::INFINITY);
        assert_eq!(Divergence::ChiSquare.between(&p, &q), f64::INFINITY);
        assert_eq!(Divergence::Renyi(2.0).between(&p, &q), f64::INFINITY);
        assert!((Divergence::Renyi(0.5).between(&p, &q) - 2.0 * libm::log(2.0)).abs() < 1e-12);
        assert!((Divergence::TotalVariation.between(&p, &q) - 0.5).abs() < 1e-15);
        assert!((hellinger(&[1.0, 0.0], &[0.0, 1.0]) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn renyi_tends_to_kl() {
        let (p, q) = ([0.7, 0.2, 0.1], [0.3, 0.3, 0.4]);
        let (near, kl) = (Divergence::Renyi(1.0 + 1e-6).between(&p, &q), Divergence::Kl.between(&p, &q));
        assert!((near - kl).abs() < 1e-5);
    }

    #[test]
    fn names_are_read_and_unknown_ones_refused() {
        for divergence in MORE {
            assert_eq!(divergence.to_string().parse::<Divergence>().unwrap(), divergence);
        }
        for name in ["kullback", "renyi-", "renyi-1", "renyi-0", "renyi-nan", "KL", ""] {
            let error = name.parse::<Divergence>().unwrap_err().to_string();
            assert!(error.contains("kl, tv, chi-square or renyi-A") && error.contains(&format!("`{name}`")));
        }
    }
}
