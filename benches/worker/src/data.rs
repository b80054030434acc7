//! Data that every worker can make for itself: SplitMix64 numbers, the same as in `benches/torch/data.py`.

/// Batches are made once and used in turn.
pub(crate) const BATCHES: usize = 32;

/// Words of SplitMix64 (Steele, Lea & Flood, 2014), started at `seed`.
fn words(seed: u64) -> impl Iterator<Item = u64> {
    (1_u64..).map(move |i| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Uniform on `[0, 1)` with 24 bits.
pub(crate) fn uniform(seed: u64, count: usize) -> Vec<f32> {
    words(seed).take(count).map(|w| (w >> 40) as f32 * (1.0 / (1_u64 << 24) as f32)).collect()
}

/// Uniform on `[-1, 1)`.
pub(crate) fn symmetric(seed: u64, count: usize) -> Vec<f32> {
    uniform(seed, count).into_iter().map(|u| 2.0 * u - 1.0).collect()
}

/// Integers in `[0, bound)`.
pub(crate) fn integers(seed: u64, bound: u32, count: usize) -> Vec<u32> {
    words(seed).take(count).map(|w| ((w >> 33) % u64::from(bound)) as u32).collect()
}

/// Token sequences `[rows, length]` whose next token is the last one plus 1, 2, 3 or 4: ln 4 nats each.
pub(crate) fn walk(seed: u64, vocabulary: u32, rows: usize, length: usize) -> Vec<u32> {
    let steps = integers(seed, 4, rows * length);
    let starts = integers(seed + 1, vocabulary, rows);
    let mut tokens = Vec::with_capacity(rows * length);
    for (steps, start) in steps.chunks(length).zip(starts) {
        let mut token = start;
        for step in steps {
            token = (token + step + 1) % vocabulary;
            tokens.push(token);
        }
    }
    tokens
}

/// Images `[count, 1, size, size]` of one bright rectangle each on -1, with a little noise.
pub(crate) fn rectangles(seed: u64, count: usize, size: usize) -> Vec<f32> {
    let draws = integers(seed, 256, 5 * count);
    let noise = uniform(seed + 1, count * size * size);
    let half = size / 2;
    let mut images = Vec::with_capacity(noise.len());
    for (draw, noise) in draws.chunks(5).zip(noise.chunks(size * size)) {
        let [top, left, height, width] = [0, 1, 2, 3].map(|i| draw[i] as usize % half);
        let bright = draw[4] as f32 / 256.0;
        for (place, noise) in noise.iter().enumerate() {
            let (row, column) = (place / size, place % size);
            let inside =
                (top..=top + height + 3).contains(&row) && (left..=left + width + 3).contains(&column);
            let paper = if inside { bright } else { -1.0 };
            images.push(paper + 0.1 * noise);
        }
    }
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN_INTEGERS: [u32; 6] = [42, 63, 56, 20, 11, 23];
    const GOLDEN_WALK: [u32; 8] = [14, 16, 17, 18, 45, 46, 47, 48];
    const GOLDEN_UNIFORM: [f32; 3] = [0.841_210_7, 0.737_623_04, 0.504_850_27];
    const GOLDEN_RECTANGLES: f64 = -1747.8477120809257;

    /// `python3 -c 'import data; ...'` in `benches/torch` gives these numbers.
    #[test]
    fn the_python_worker_makes_the_same_data() {
        assert_eq!(integers(11, 65, 6), GOLDEN_INTEGERS);
        assert_eq!(walk(11, 65, 2, 4), GOLDEN_WALK);
        assert_eq!(uniform(31, 3), GOLDEN_UNIFORM);
        let images = rectangles(51, 3, 28);
        let total: f64 = images.iter().map(|&v| f64::from(v)).sum();
        assert!((total - GOLDEN_RECTANGLES).abs() < 1e-3, "{total}");
    }
}
