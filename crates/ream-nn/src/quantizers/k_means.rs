//! Codes of finished features: k-means and its balanced forms.
//!
//! k-means minimises `sum_i |x_i - c_{a(i)}|^2` by turns (Lloyd, 1957, published 1982) from centroids drawn by k-means++ (Arthur & Vassilvitskii, 2007):
//! each new one is a vector drawn with probability proportional to its squared distance from those before. Sums run in f64 in order.

use ream_rand::Rng;

use super::nearest::{MOST_CODES, nearest, squared_distance};
use crate::error::{Result, config, shape, value};
use crate::tensor::Tensor;

/// Clusters of vectors.
#[derive(Clone, Debug)]
pub struct KMeans {
    /// `[k, d]`.
    pub centroids: Tensor,
    /// Cluster of every vector.
    pub assignment: Vec<u32>,
    /// Sum of squared distances to the assigned centroids.
    pub inertia: f64,
    /// Rounds that ran.
    pub rounds: usize,
    /// Whether the last round changed nothing.
    pub converged: bool,
}

/// Positions of `k` vectors of `x` (`[n, d]`, n at least 1) drawn by k-means++. When all remaining vectors coincide with chosen ones, the
/// rest is drawn uniformly.
pub(super) fn plus_plus(x: &[f32], d: usize, k: usize, rng: &mut Rng) -> Vec<usize> {
    let n = x.len() / d;
    let at = |i: usize| &x[i * d..(i + 1) * d];
    let mut chosen = vec![rng.below(n)];
    let mut least: Vec<f64> = (0..n).map(|i| squared_distance(at(i), at(chosen[0]))).collect();
    while chosen.len() < k {
        let total: f64 = least.iter().sum();
        let next = if total > 0.0 { pick(&least, rng.uniform() * total) } else { rng.below(n) };
        chosen.push(next);
        for (i, least) in least.iter_mut().enumerate() {
            *least = least.min(squared_distance(at(i), at(next)));
        }
    }
    chosen
}

fn pick(weights: &[f64], wanted: f64) -> usize {
    let mut reached = 0.0;
    let mut last = 0;
    for (i, w) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
        reached += w;
        last = i;
        if wanted < reached {
            break;
        }
    }
    last
}

/// Number of vectors and their width.
fn matrix(operation: &'static str, x: &Tensor) -> Result<(usize, usize)> {
    let &[n, d] = x.shape() else {
        return shape(operation, format!("vectors [n, d] are needed, got {:?}", x.shape()));
    };
    if n == 0 || d == 0 {
        return shape(operation, format!("nothing to cluster in {:?}", x.shape()));
    }
    match x.data().iter().position(|x| !x.is_finite()) {
        Some(i) => value(operation, format!("element {} of vector {} is not finite", i % d, i / d)),
        None => Ok((n, d)),
    }
}

fn check_clusters(k: usize, n: usize) -> Result<()> {
    let most = n.min(MOST_CODES);
    if k == 0 || k > most { config("k", format!("1..={most}, there are {n} vectors"), k) } else { Ok(()) }
}

/// k-means of vectors `[n, d]`: at most `rounds` rounds, fewer when nothing changes.
///
/// A cluster that comes out empty takes the vector farthest from its own centroid (the first of several) among clusters of more than one
/// vector; several empty clusters, lowest first, take different ones.
///
/// # Errors
/// When there are no vectors, one is not finite, or k is not in 1..=n.
pub fn k_means(x: &Tensor, k: usize, rounds: usize, rng: &mut Rng) -> Result<KMeans> {
    let (n, d) = matrix("k_means", x)?;
    check_clusters(k, n)?;
    let assign = |centroids: &[f32]| {
        let mut assignment = nearest(x.data(), centroids, d);
        fill_empty(x.data(), d, centroids, k, &mut assignment);
        assignment
    };
    Ok(lloyd(x, d, k, rounds, rng, assign))
}

/// Rounds of assignment and means until nothing changes.
fn lloyd(
    x: &Tensor,
    d: usize,
    k: usize,
    rounds: usize,
    rng: &mut Rng,
    assign: impl Fn(&[f32]) -> Vec<u32>,
) -> KMeans {
    let rows = plus_plus(x.data(), d, k, rng);
    let mut centroids: Vec<f32> = rows.iter().flat_map(|i| &x.data()[i * d..(i + 1) * d]).copied().collect();
    let mut assignment = assign(&centroids);
    let (mut ran, mut converged) = (0, false);
    while ran < rounds && !converged {
        ran += 1;
        centroids = means(x.data(), d, k, &assignment, &centroids);
        let next = assign(&centroids);
        converged = next == assignment;
        assignment = next;
    }
    if !converged {
        centroids = means(x.data(), d, k, &assignment, &centroids);
    }
    let inertia = inertia(x.data(), d, &centroids, &assignment);
    KMeans {
        centroids: Tensor::constant(centroids.into(), &[k, d]),
        assignment,
        inertia,
        rounds: ran,
        converged,
    }
}

fn inertia(x: &[f32], d: usize, centroids: &[f32], assignment: &[u32]) -> f64 {
    let of = |(x, a): (&[f32], &u32)| squared_distance(x, &centroids[*a as usize * d..][..d]);
    x.chunks_exact(d).zip(assignment).map(of).sum()
}

/// Means of the clusters; an empty one keeps its centroid.
fn means(x: &[f32], d: usize, k: usize, assignment: &[u32], before: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0_f64; k * d];
    let counts = sizes(k, assignment);
    for (x, a) in x.chunks_exact(d).zip(assignment) {
        sums[*a as usize * d..][..d].iter_mut().zip(x).for_each(|(s, x)| *s += f64::from(*x));
    }
    let mut out = before.to_vec();
    for (c, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let mean = sums[c * d..][..d].iter().map(|s| (s / *count as f64) as f32);
        out[c * d..][..d].iter_mut().zip(mean).for_each(|(o, m)| *o = m);
    }
    out
}

fn sizes(k: usize, assignment: &[u32]) -> Vec<usize> {
    let mut counts = vec![0; k];
    assignment.iter().for_each(|a| counts[*a as usize] += 1);
    counts
}

fn fill_empty(x: &[f32], d: usize, centroids: &[f32], k: usize, assignment: &mut [u32]) {
    let mut counts = sizes(k, assignment);
    if counts.iter().all(|c| *c > 0) {
        return;
    }
    let mut far: Vec<f64> = x
        .chunks_exact(d)
        .zip(assignment.iter())
        .map(|(x, a)| squared_distance(x, &centroids[*a as usize * d..][..d]))
        .collect();
    for empty in 0..k {
        if counts[empty] > 0 {
            continue;
        }
        let movable = (0..assignment.len()).filter(|i| counts[assignment[*i] as usize] > 1);
        let Some(i) = movable.reduce(|best, i| if far[i] > far[best] { i } else { best }) else { return };
        counts[assignment[i] as usize] -= 1;
        counts[empty] = 1;
        assignment[i] = empty as u32;
        far[i] = 0.0;
    }
}

/// k-means with clusters of equal size: every cluster has `floor(n / k)` or `ceil(n / k)` vectors.
///
/// Each round assigns the pairs (vector, centroid) nearest first where there is room, then exchanges vectors between two clusters as long
/// as that lowers the sum of squared distances: the assignment cannot be improved by any exchange of two vectors. `k` may exceed `n`: then
/// `k - n` clusters stay empty.
///
/// Takes `O(n k log(n k))` time a round and `n k` numbers of memory.
///
/// # Errors
/// When there are no vectors, one is not finite, or k is 0.
pub fn balanced_k_means(x: &Tensor, k: usize, rounds: usize, rng: &mut Rng) -> Result<KMeans> {
    let (n, d) = matrix("balanced_k_means", x)?;
    if k == 0 || k > MOST_CODES {
        return config("k", format!("1..={MOST_CODES}"), k);
    }
    let assign = |centroids: &[f32]| {
        let mut distances = Vec::with_capacity(n * k);
        for x in x.data().chunks_exact(d) {
            distances.extend(centroids.chunks_exact(d).map(|c| squared_distance(x, c)));
        }
        let mut assignment = nearest_first(&distances, n, k);
        exchange(&distances, k, &mut assignment);
        assignment
    };
    Ok(lloyd(x, d, k, rounds, rng, assign))
}

/// Pairs in order of distance, where there is room.
fn nearest_first(distances: &[f64], n: usize, k: usize) -> Vec<u32> {
    let mut pairs: Vec<usize> = (0..n * k).collect();
    pairs.sort_unstable_by(|a, b| distances[*a].total_cmp(&distances[*b]).then(a.cmp(b)));
    let (floor, mut larger) = (n / k, n % k);
    let mut counts = vec![0; k];
    let mut assignment = vec![u32::MAX; n];
    for pair in pairs {
        let (i, c) = (pair / k, pair % k);
        let room = counts[c] < floor || (counts[c] == floor && larger > 0);
        if assignment[i] == u32::MAX && room {
            larger -= usize::from(counts[c] == floor);
            counts[c] += 1;
            assignment[i] = c as u32;
        }
    }
    assignment
}

/// Exchanges two vectors of two clusters while that helps. Every exchange lowers the sum, so this ends.
fn exchange(distances: &[f64], k: usize, assignment: &mut [u32]) {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); k];
    assignment.iter().enumerate().for_each(|(i, a)| members[*a as usize].push(i));
    // What moving a vector from one cluster to another adds to the sum; the least of a cluster, the lowest of equal ones.
    let cheapest = |members: &[usize], from: usize, to: usize| {
        let cost = |i: usize| distances[i * k + to] - distances[i * k + from];
        (0..members.len()).map(|at| (cost(members[at]), at)).reduce(|a, b| if b.0 < a.0 { b } else { a })
    };
    loop {
        let mut changed = false;
        for a in 0..k {
            for b in a + 1..k {
                while let (Some((there, i)), Some((back, j))) =
                    (cheapest(&members[a], a, b), cheapest(&members[b], b, a))
                {
                    // A margin far above rounding, far below anything that matters.
                    if there + back >= -1e-12 * (there.abs() + back.abs()) {
                        break;
                    }
                    let (from_a, from_b) = (members[a][i], members[b][j]);
                    (members[a][i], members[b][j]) = (from_b, from_a);
                    (assignment[from_a], assignment[from_b]) = (b as u32, a as u32);
                    changed = true;
                }
            }
        }
        if !changed {
            return;
        }
    }
}

/// Codes of items, one number for each level.
#[derive(Clone, Debug)]
pub struct ItemCodes {
    /// `codes[i][l]` in `0..levels[l]`.
    pub codes: Vec<Vec<u32>>,
    /// Centroids of each level, `[levels[0] .. levels[l], d]` with the prefix as a number in mixed base; a cell without items has its
    /// parent's centroid.
    pub centroids: Vec<Tensor>,
}

/// Codes by splitting every cell into `levels[l]` balanced cells, level by level (Si et al., 2023, arXiv 2309.13375 use such codes for
/// recommendation).
///
/// Items with equal prefixes lie near each other. When the product of `levels` is at least `n`, no two items have the same code.
///
/// # Errors
/// When there are no vectors, one is not finite, no level, a level is 0, or there are more than 2^24 cells.
pub fn hierarchical_balanced(
    x: &Tensor,
    levels: &[usize],
    rounds: usize,
    rng: &mut Rng,
) -> Result<ItemCodes> {
    let (n, d) = matrix("hierarchical_balanced", x)?;
    let cells = levels.iter().try_fold(1_usize, |all, l| all.checked_mul(*l));
    if levels.is_empty() || levels.contains(&0) || cells.is_none_or(|c| c > MOST_CODES) {
        return config(
            "levels",
            format!("positive numbers with a product of at most {MOST_CODES}"),
            format!("{levels:?}"),
        );
    }
    let mut codes = vec![Vec::with_capacity(levels.len()); n];
    let mut cells: Vec<Vec<usize>> = vec![(0..n).collect()];
    let mut above: Vec<f32> = means(x.data(), d, 1, &vec![0; n], &vec![0.0; d]);
    let mut centroids = Vec::with_capacity(levels.len());
    for &k in levels {
        let mut next: Vec<Vec<usize>> = Vec::with_capacity(cells.len() * k);
        let mut here: Vec<f32> = Vec::with_capacity(cells.len() * k * d);
        for (cell, parent) in cells.iter().zip(above.chunks_exact(d)) {
            let mut split = vec![Vec::new(); k];
            if cell.is_empty() {
                here.extend(parent.iter().cycle().take(k * d));
            } else {
                let part = balanced_k_means(&x.index_select(0, cell)?.detach(), k, rounds, rng)?;
                for (&item, &code) in cell.iter().zip(&part.assignment) {
                    split[code as usize].push(item);
                    codes[item].push(code);
                }
                for (members, centroid) in split.iter().zip(part.centroids.data().chunks_exact(d)) {
                    here.extend(if members.is_empty() { parent } else { centroid });
                }
            }
            next.extend(split);
        }
        centroids.push(Tensor::from_vec(here.clone(), &[next.len(), d])?);
        (cells, above) = (next, here);
    }
    Ok(ItemCodes { codes, centroids })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    fn rng(step: u64) -> Rng {
        Stream::new(17, "k-means").at(step)
    }

    /// Clouds around the corners of a square.
    fn clouds(n: usize, seed: u64) -> Tensor {
        let mut rng = rng(seed);
        let corner = |i: usize| [[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]][i % 4];
        let data = (0..n).flat_map(|i| corner(i).map(|c| c + rng.normal() as f32)).collect();
        Tensor::from_vec(data, &[n, 2]).unwrap()
    }

    #[test]
    fn clouds_are_found_and_the_result_is_a_fixed_point() {
        let x = clouds(200, 1);
        let found = k_means(&x, 4, 100, &mut rng(2)).unwrap();
        assert!(found.converged && found.rounds < 100);
        for i in 0..200 {
            assert_eq!(found.assignment[i], found.assignment[i % 4], "{i}");
        }
        // Each vector is with its nearest centroid, each centroid is its cluster's mean.
        assert_eq!(nearest(x.data(), found.centroids.data(), 2), found.assignment);
        let again = means(x.data(), 2, 4, &found.assignment, found.centroids.data());
        assert_eq!(again, found.centroids.to_vec());
        assert!((found.inertia - inertia(x.data(), 2, &again, &found.assignment)).abs() < 1e-9);
        assert!(found.inertia < 200.0 * 2.0 * 1.3);
    }

    #[test]
    fn more_rounds_never_lose() {
        let x = Tensor::randn(&[300, 5], 1.0, &mut rng(3));
        let inertia: Vec<f64> = (0..12).map(|r| k_means(&x, 20, r, &mut rng(4)).unwrap().inertia).collect();
        assert!(inertia.windows(2).all(|w| w[1] <= w[0] + 1e-9), "{inertia:?}");
    }

    #[test]
    fn no_cluster_stays_empty_even_among_equal_vectors() {
        let x = Tensor::from_vec([vec![1.0; 10], vec![5.0]].concat(), &[11, 1]).unwrap();
        for k in [1, 2, 5, 11] {
            let found = k_means(&x, k, 10, &mut rng(k as u64)).unwrap();
            assert!(sizes(k, &found.assignment).iter().all(|c| *c > 0), "{k}");
        }
        // The farthest vectors go to the empty clusters, lowest cluster first.
        let mut assignment = vec![0, 0, 0, 0];
        fill_empty(&[0.0, 7.0, -9.0, 1.0], 1, &[0.0, 50.0, 60.0], 3, &mut assignment);
        assert_eq!(assignment, [0, 2, 1, 0]);
    }

    #[test]
    fn plus_plus_draws_by_squared_distance() {
        // From 0, the others are at squared distances 1 and 9; from 1: 1 and 4; from 3: 9 and 4.
        let x = [0.0_f32, 1.0, 3.0];
        let mut law = vec![0.0; 9];
        for (first, others) in [(0, [0.0, 1.0, 9.0]), (1, [1.0, 0.0, 4.0]), (2, [9.0, 4.0, 0.0])] {
            let total: f64 = others.iter().sum();
            (0..3).for_each(|j| law[first * 3 + j] = others[j] / total / 3.0);
        }
        let mut rng = rng(9);
        crate::sampling::testing::assert_law("k-means++", &law, 30_000, || {
            let chosen = plus_plus(&x, 1, 2, &mut rng);
            chosen[0] * 3 + chosen[1]
        });
        assert_eq!(plus_plus(&[2.0; 4], 1, 3, &mut rng).len(), 3);
    }

    #[test]
    fn balanced_clusters_have_equal_sizes_and_no_exchange_helps() {
        for (n, k) in [(40, 4), (43, 5), (7, 7), (5, 8), (30, 1)] {
            let x = Tensor::randn(&[n, 3], 1.0, &mut rng(n as u64));
            let found = balanced_k_means(&x, k, 20, &mut rng(1)).unwrap();
            let sizes = sizes(k, &found.assignment);
            assert!(sizes.iter().all(|s| *s == n / k || *s == n.div_ceil(k)), "{n} {k}: {sizes:?}");
            let c = |i: usize, a: u32| {
                squared_distance(&x.data()[i * 3..][..3], &found.centroids.data()[a as usize * 3..][..3])
            };
            if found.converged {
                for (i, j) in (0..n).flat_map(|i| (0..i).map(move |j| (i, j))) {
                    let (a, b) = (found.assignment[i], found.assignment[j]);
                    assert!(c(i, b) + c(j, a) >= c(i, a) + c(j, b) - 1e-6, "{n} {k}: {i} {j}");
                }
            }
        }
        // Where clusters are equal by themselves, balance costs nothing.
        let x = clouds(80, 5);
        let (plain, balanced) =
            (k_means(&x, 4, 50, &mut rng(6)).unwrap(), balanced_k_means(&x, 4, 50, &mut rng(6)).unwrap());
        assert!((plain.inertia - balanced.inertia).abs() < 1e-6 * plain.inertia);
    }

    #[test]
    fn item_codes_are_unique_balanced_and_near() {
        let x = clouds(100, 8);
        let items = hierarchical_balanced(&x, &[4, 5, 5], 20, &mut rng(1)).unwrap();
        let mut seen = items.codes.clone();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 100);
        for (prefix, size) in [(1, 25), (2, 5)] {
            let mut counts = std::collections::BTreeMap::new();
            items.codes.iter().for_each(|c| *counts.entry(&c[..prefix]).or_insert(0) += 1);
            assert!(counts.values().all(|c| *c == size), "{counts:?}");
        }
        assert!((0..100).all(|i| items.codes[i][0] == items.codes[i % 4][0]));
        let shapes: Vec<&[usize]> = items.centroids.iter().map(Tensor::shape).collect();
        assert_eq!(shapes, [&[4, 2][..], &[20, 2], &[100, 2]]);
        // The last level holds one item in each cell: its centroid is the item.
        for (i, code) in items.codes.iter().enumerate() {
            let cell = code.iter().zip([4, 5, 5]).fold(0, |cell, (c, k)| cell * k + *c as usize);
            assert_eq!(items.centroids[2].data()[cell * 2..][..2], x.data()[i * 2..][..2]);
        }
        // Fewer items than cells.
        let few = hierarchical_balanced(&clouds(6, 3), &[2, 2, 4], 20, &mut rng(1)).unwrap();
        assert!(few.codes.iter().all(|c| c.len() == 3) && few.centroids[2].shape() == [16, 2]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let x = clouds(4, 1);
        let says = |error: crate::NnError, text: &str| assert!(error.to_string().contains(text), "{error}");
        says(k_means(&x, 0, 1, &mut rng(0)).unwrap_err(), "k must be 1..=4, there are 4 vectors, got 0");
        says(k_means(&x, 5, 1, &mut rng(0)).unwrap_err(), "got 5");
        says(k_means(&Tensor::zeros(&[3]), 1, 1, &mut rng(0)).unwrap_err(), "vectors [n, d] are needed");
        let bad = Tensor::from_vec(vec![0.0, f32::NAN], &[1, 2]).unwrap();
        says(k_means(&bad, 1, 1, &mut rng(0)).unwrap_err(), "element 1 of vector 0 is not finite");
        says(hierarchical_balanced(&x, &[2, 0], 1, &mut rng(0)).unwrap_err(), "levels must be");
    }
}
