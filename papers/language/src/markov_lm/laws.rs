//! The equations of the category and the data-processing inequality, held against random kernels.

use super::divergence::Divergence;
use super::kernel::{Kernel, dirichlet};
use rayon::prelude::*;
use ream_lab::Invalid;
use ream_rand::{Rng, Stream};

/// Both sides of a law.
type Sides = (Kernel, Kernel);

/// Sizes of the random sets: kernels on tensors of three of them stay small.
const SIZES: std::ops::Range<usize> = 1..5;

fn size(rng: &mut Rng) -> usize {
    SIZES.start + rng.below(SIZES.len())
}

/// Concentration from 0.05 (nearly deterministic rows) to 5 (nearly uniform ones).
fn concentration(rng: &mut Rng) -> f64 {
    libm::exp(rng.between(libm::log(0.05), libm::log(5.0)))
}

/// Every law on one set of random kernels.
fn laws(rng: &mut Rng) -> Result<Vec<(&'static str, Sides)>, Invalid> {
    let [x, y, z, w] = [(); 4].map(|()| size(rng));
    let mut random = |rows, cols| {
        let concentration = concentration(rng);
        Kernel::random(rows, cols, concentration, rng)
    };
    let (f, g, h) = (random(x, y), random(y, z), random(z, w));
    let (f2, g2) = (random(w, x), random(x, y));
    let map: Vec<usize> = (0..x).map(|i| (i * 7 + 3) % y).collect();
    let certain = Kernel::deterministic(&map, y)?;
    let (id, copy, discard) = (Kernel::identity, Kernel::copy, Kernel::discard);
    let middle = id(x).tensor(&Kernel::swap(x, y)).tensor(&id(y));
    Ok(vec![
        ("associativity", (f.then(&g)?.then(&h)?, f.then(&g.then(&h)?)?)),
        ("identity", (id(x).then(&f)?, f.then(&id(y))?)),
        ("tensor-associativity", (f.tensor(&g).tensor(&h), f.tensor(&g.tensor(&h)))),
        ("interchange", (f.tensor(&f2).then(&g.tensor(&g2))?, f.then(&g)?.tensor(&f2.then(&g2)?))),
        (
            "copy-associativity",
            (copy(x).then(&copy(x).tensor(&id(x)))?, copy(x).then(&id(x).tensor(&copy(x)))?),
        ),
        ("copy-discard-left", (copy(x).then(&discard(x).tensor(&id(x)))?, id(x))),
        ("copy-discard-right", (copy(x).then(&id(x).tensor(&discard(x)))?, id(x))),
        ("copy-commutativity", (copy(x).then(&Kernel::swap(x, x))?, copy(x))),
        ("copy-tensor", (copy(x * y), copy(x).tensor(&copy(y)).then(&middle)?)),
        ("discard-naturality", (f.then(&discard(y))?, discard(x))),
        (
            "swap-naturality",
            (f.tensor(&h).then(&Kernel::swap(y, w))?, Kernel::swap(x, z).then(&h.tensor(&f))?),
        ),
        ("swap-inverse", (Kernel::swap(x, y).then(&Kernel::swap(y, x))?, id(x * y))),
        ("deterministic-copy", (certain.then(&copy(y))?, copy(x).then(&certain.tensor(&certain))?)),
    ])
}

/// Largest difference between the two sides of each law over `draws` sets of random kernels.
///
/// # Errors
/// None for the sets drawn here; kernels that do not fit would be.
pub fn law_residuals(draws: u64, stream: Stream) -> Result<Vec<(&'static str, f64)>, Invalid> {
    let mut residuals: Vec<(&'static str, f64)> = Vec::new();
    for draw in 0..draws {
        for (at, (name, (left, right))) in laws(&mut stream.at(draw))?.into_iter().enumerate() {
            if residuals.len() == at {
                residuals.push((name, 0.0));
            }
            residuals[at].1 = residuals[at].1.max(left.distance(&right));
        }
    }
    Ok(residuals)
}

/// How the information of a chain `V -> X -> Y -> Z` of random kernels changes from `(X, Y)` to `(X, Z)` and to `(V, Y)`.
fn growth(divergence: Divergence, rng: &mut Rng) -> Result<f64, Invalid> {
    let [v, x, y, z] = [(); 4].map(|()| size(rng) + 1);
    let mut random = |rows, cols| {
        let concentration = concentration(rng);
        Kernel::random(rows, cols, concentration, rng)
    };
    let (before, kernel, after) = (random(v, x), random(x, y), random(y, z));
    let first = dirichlet(v, 1.0, rng);
    let input = before.push(&first)?;
    let information = divergence.information(&kernel, &input)?;
    let processed = divergence.information(&kernel.then(&after)?, &input)?;
    let prepared = divergence.information(&before.then(&kernel)?, &first)?;
    Ok((processed - information).max(prepared - information))
}

/// Largest growth of `I_D` under composition on either side over `draws` random chains; data-processing says that there is
/// none, so only rounding is left.
///
/// # Errors
/// None for the chains drawn here; kernels that do not fit would be.
pub fn largest_growth(divergence: Divergence, draws: u64, stream: Stream) -> Result<f64, Invalid> {
    let each: Result<Vec<f64>, Invalid> =
        (0..draws).into_par_iter().map(|draw| growth(divergence, &mut stream.at(draw))).collect();
    Ok(each?.into_iter().fold(f64::NEG_INFINITY, f64::max))
}

/// Largest difference between `H_D` by its definition and by its closed form over `draws` random kernels.
///
/// # Errors
/// None for the kernels drawn here; kernels that do not fit would be.
pub fn entropy_residual(divergence: Divergence, draws: u64, stream: Stream) -> Result<f64, Invalid> {
    let mut most: f64 = 0.0;
    for draw in 0..draws {
        let mut rng = stream.at(draw);
        let (x, y) = (size(&mut rng), size(&mut rng) + 1);
        let concentration = concentration(&mut rng);
        let kernel = Kernel::random(x, y, concentration, &mut rng);
        let input = dirichlet(x, 1.0, &mut rng);
        let (definition, closed) =
            (divergence.entropy_by_definition(&kernel, &input)?, divergence.entropy_of(&kernel, &input)?);
        most = most.max((definition - closed).abs());
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_law_holds() {
        let residuals = law_residuals(200, Stream::new(1, "laws")).unwrap();
        assert_eq!(residuals.len(), 13);
        for (law, residual) in residuals {
            assert!(residual <= 1e-12, "{law}: {residual}");
        }
    }

    /// The check can fail: a stochastic kernel does not commute with copy, which is what its entropy measures.
    #[test]
    fn copying_and_running_twice_differ_for_a_coin() {
        let coin = Kernel::new("coin", 1, 2, vec![0.5, 0.5]).unwrap();
        let copied = coin.then(&Kernel::copy(2)).unwrap();
        let twice = Kernel::copy(1).then(&coin.tensor(&coin)).unwrap();
        assert!((copied.distance(&twice) - 0.25).abs() < 1e-15);
    }

    #[test]
    fn information_never_grows() {
        for divergence in Divergence::ALL.into_iter().chain([Divergence::Renyi(0.5)]) {
            let growth = largest_growth(divergence, 1000, Stream::new(1, "processing")).unwrap();
            assert!(growth <= 1e-12, "{divergence}: {growth}");
        }
    }

    /// The inequality is not empty: a quantity that is no divergence between joint and marginals does grow.
    #[test]
    fn a_sum_of_squares_is_no_divergence() {
        let squared = |kernel: &Kernel, input: &[f64]| {
            let (joint, output) = (kernel.joint(input).unwrap(), kernel.push(input).unwrap());
            let product: Vec<f64> = input.iter().flat_map(|p| output.iter().map(move |q| p * q)).collect();
            joint.iter().zip(&product).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()
        };
        // Merging the outcomes of a fine partition makes squares of sums out of sums of squares.
        let fine = Kernel::new("fine", 2, 4, vec![0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]).unwrap();
        let merged = fine.then(&Kernel::deterministic(&[0, 0, 1, 1], 2).unwrap()).unwrap();
        assert!(squared(&merged, &[0.5, 0.5]) > squared(&fine, &[0.5, 0.5]));
    }
}
