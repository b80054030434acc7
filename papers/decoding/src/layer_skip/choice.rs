//! Which blocks are skipped. Blocks are counted from 0 here and from 1 wherever a person reads them.

use ream_rand::Rng;

/// A block that makes the largest state so many times larger writes a huge activation into a few tokens; it is never skipped, however
/// alike the others' states stay.
pub const LARGEST_JUMP: f64 = 5.0;

/// Blocks that the rule may skip: not the first, not the last two, none that jumps.
#[must_use]
pub fn allowed(jump: &[f64]) -> Vec<usize> {
    (1..jump.len().saturating_sub(2)).filter(|l| jump[*l] <= LARGEST_JUMP).collect()
}

/// The `k` allowed blocks with the highest redundancy, in order; of equal ones the earlier. `None` when there are fewer.
#[must_use]
pub fn free(score: &[f64], allowed: &[usize], k: usize) -> Option<Vec<usize>> {
    let mut order = allowed.to_vec();
    order.sort_by(|a, b| score[*b].total_cmp(&score[*a]).then(a.cmp(b)));
    order.truncate(k);
    order.sort_unstable();
    (order.len() == k).then_some(order)
}

/// The `k` neighbouring allowed blocks with the highest mean redundancy; `None` when no window is allowed.
#[must_use]
pub fn plateau(score: &[f64], allowed: &[usize], k: usize) -> Option<Vec<usize>> {
    let windows = allowed.windows(k.max(1)).filter(|w| w[w.len() - 1] - w[0] + 1 == k);
    let mean = |w: &&[usize]| w.iter().map(|l| score[*l]).sum::<f64>();
    // The first of equals.
    let best = windows.fold(None, |best: Option<&[usize]>, w| match best {
        Some(b) if mean(&b) >= mean(&w) => Some(b),
        _ => Some(w),
    });
    best.map(<[usize]>::to_vec)
}

/// `k` of the given blocks, in order.
#[must_use]
pub fn random(blocks: &[usize], k: usize, rng: &mut Rng) -> Vec<usize> {
    let mut order = blocks.to_vec();
    rng.shuffle(&mut order);
    order.truncate(k);
    order.sort_unstable();
    order
}

/// Every `layers / k`-th block, the middles of `k` equal parts.
#[must_use]
pub fn uniform(layers: usize, k: usize) -> Vec<usize> {
    (0..k).map(|j| (2 * j + 1) * layers / (2 * k.max(1))).collect()
}

/// The first `k` blocks.
#[must_use]
pub fn first(k: usize) -> Vec<usize> {
    (0..k).collect()
}

/// The last `k` blocks.
#[must_use]
pub fn last(layers: usize, k: usize) -> Vec<usize> {
    (layers.saturating_sub(k)..layers).collect()
}

/// Greedy search: again and again the block without which `loss` is smallest. Gives the lists of 1, 2, ..., `most` blocks, each
/// in order.
///
/// With `candidates` only so many blocks are looked at from the second on: those whose absence alone costs least.
///
/// # Errors
/// Those of `loss`.
pub fn greedy<E>(
    layers: usize,
    most: usize,
    candidates: Option<usize>,
    mut loss: impl FnMut(&[usize]) -> Result<f64, E>,
) -> Result<Vec<Vec<usize>>, E> {
    let (mut chosen, mut lists) = (Vec::<usize>::new(), Vec::new());
    let mut pool: Vec<usize> = (0..layers).collect();
    while lists.len() < most.min(layers) && !pool.is_empty() {
        let mut losses = Vec::with_capacity(pool.len());
        for block in &pool {
            let mut list = chosen.clone();
            list.push(*block);
            list.sort_unstable();
            losses.push((loss(&list)?, *block));
        }
        losses.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        if let (true, Some(n)) = (lists.is_empty(), candidates) {
            losses.truncate(n.max(most));
        }
        let best = losses[0].1;
        pool = losses.into_iter().map(|(_, block)| block).filter(|block| *block != best).collect();
        pool.sort_unstable();
        chosen.push(best);
        chosen.sort_unstable();
        lists.push(chosen.clone());
    }
    Ok(lists)
}

/// A list as a person reads it: blocks from 1.
#[must_use]
pub fn show(list: &[usize]) -> String {
    if list.is_empty() {
        return "none".to_owned();
    }
    list.iter().map(|block| (block + 1).to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    const SCORE: [f64; 8] = [0.99, 0.5, 0.9, 0.8, 0.1, 0.95, 0.99, 0.99];

    #[test]
    fn first_last_two_and_jumping_blocks_are_never_skipped() {
        let mut jump = [1.0; 8];
        assert_eq!(allowed(&jump), [1, 2, 3, 4, 5]);
        jump[5] = 5.1;
        assert_eq!(allowed(&jump), [1, 2, 3, 4]);
        assert_eq!(free(&SCORE, &allowed(&jump), 2), Some(vec![2, 3]));
        assert_eq!(free(&SCORE, &allowed(&[1.0; 8]), 2), Some(vec![2, 5]));
        assert_eq!(free(&SCORE, &allowed(&jump), 5), None);
        assert!(allowed(&[1.0; 3]).is_empty());
    }

    #[test]
    fn a_plateau_is_contiguous() {
        assert_eq!(plateau(&SCORE, &[1, 2, 3, 4, 5], 2), Some(vec![2, 3]));
        assert_eq!(plateau(&SCORE, &[1, 2, 4, 5], 2), Some(vec![1, 2]));
        assert_eq!(plateau(&SCORE, &[1, 3, 5], 2), None);
        assert_eq!(plateau(&[0.5; 8], &[1, 2, 3], 2), Some(vec![1, 2]), "the first of equals");
    }

    #[test]
    fn baselines_are_what_their_names_say() {
        assert_eq!(uniform(16, 3), [2, 8, 13]);
        assert_eq!(uniform(30, 6), [2, 7, 12, 17, 22, 27]);
        assert_eq!((first(3), last(16, 3)), (vec![0, 1, 2], vec![13, 14, 15]));
        let mut rng = Stream::new(1, "random").at(0);
        for _ in 0..50 {
            let list = random(&[1, 2, 3, 4, 5], 3, &mut rng);
            assert!(list.len() == 3 && list.windows(2).all(|w| w[0] < w[1]) && list[0] > 0);
        }
        assert_eq!((show(&[0, 4]), show(&[])), ("1 5".to_owned(), "none".to_owned()));
    }

    #[test]
    fn greedy_takes_the_cheapest_again_and_again() {
        // Costs of blocks, and one pair that costs nothing together.
        let cost = [5.0, 1.0, 2.0, 3.0, 9.0];
        let loss = |list: &[usize]| {
            let pair = if list.contains(&1) && list.contains(&3) { -3.0 } else { 0.0 };
            Ok::<f64, ()>(list.iter().map(|l| cost[*l]).sum::<f64>() + pair)
        };
        assert_eq!(greedy(5, 3, None, loss).unwrap(), [vec![1], vec![1, 3], vec![1, 2, 3]]);
        let mut seen = 0;
        let counted = |list: &[usize]| {
            seen += 1;
            loss(list)
        };
        assert_eq!(greedy(5, 2, Some(2), counted).unwrap(), [vec![1], vec![1, 2]]);
        assert_eq!(seen, 5 + 1);
        assert_eq!(greedy(5, 1, None, |_| Err(7)), Err(7));
    }
}
