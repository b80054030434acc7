//! Counter-based random numbers keyed by seed, purpose, step and index.
//!
//! A [`Stream`] is a key made from a seed and a purpose ("tasks", "initialisation", "bootstrap"); [`Stream::at`]
//! gives the numbers of one step. No generator state is ever saved: a resumed run asks for the same
//! `(seed, purpose, step)` and gets the same numbers, whatever ran before and on however many threads.
//!
//! The generator is Philox4x32-10 (Salmon, Moraes, Dror & Shaw, *Parallel random numbers: as easy as 1, 2, 3*,
//! SC 2011). Transcendental functions come from the `libm` crate, so the numbers are the same on every machine.
//!
//! ```
//! use ream_rand::Stream;
//! let tasks = Stream::new(1, "tasks");
//! let mut a = tasks.at(7);
//! let mut b = tasks.at(7);
//! assert_eq!(a.uniform(), b.uniform());
//! ```

mod normals;

/// The numbers of one seed for one purpose: a key, no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: u64,
}

impl Stream {
    /// The stream of `seed` for `purpose`. Different purposes of one seed are independent.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in purpose.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self { key: mix(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ hash) }
    }

    /// A stream below this one, for instance one for each replication.
    #[must_use]
    pub fn child(self, index: u64) -> Self {
        Self { key: mix(self.key ^ mix(index.wrapping_add(0xd1b5_4a32_d192_ed03))) }
    }

    /// The numbers of one step.
    #[must_use]
    pub fn at(self, step: u64) -> Rng {
        Rng {
            key: [self.key as u32, (self.key >> 32) as u32],
            step,
            block: 0,
            words: [0; 4],
            used: 4,
            spare: None,
        }
    }
}

/// Finaliser of SplitMix64 (Steele, Lea & Flood, 2014): a bijection that scatters nearby keys.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Ten rounds of Philox4x32.
#[inline(always)]
fn philox(mut key: [u32; 2], mut c: [u32; 4]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(c[0]) * 0xd251_1f53;
        let b = u64::from(c[2]) * 0xcd9e_8d57;
        c = [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

/// Random numbers of one `(seed, purpose, step)`, in order of index.
#[derive(Clone, Debug)]
pub struct Rng {
    key: [u32; 2],
    step: u64,
    block: u64,
    words: [u32; 4],
    used: usize,
    spare: Option<f64>,
}

impl Rng {
    /// Thirty-two random bits.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            let counter =
                [self.block as u32, (self.block >> 32) as u32, self.step as u32, (self.step >> 32) as u32];
            self.words = philox(self.key, counter);
            self.block += 1;
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Sixty-four random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) | (u64::from(self.next_u32()) << 32)
    }

    /// Uniform on `[0, 1)` with 53 bits.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform on `[0, 1)` with 24 bits.
    #[inline]
    pub fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / (1_u32 << 24) as f32)
    }

    /// Uniform on `[low, high)`.
    #[inline]
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform on `0..n` without bias (Lemire's multiply and reject); 0 when `n` is 0.
    #[inline]
    pub fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        if n == 0 {
            return 0;
        }
        let threshold = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(n);
            if (wide as u64) >= threshold {
                return (wide >> 64) as usize;
            }
        }
    }

    /// True with probability `p`.
    #[inline]
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Standard normal (Box & Muller; the second value of a pair is kept).
    #[inline]
    pub fn normal(&mut self) -> f64 {
        if let Some(value) = self.spare.take() {
            return value;
        }
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        let (sin, cos) = libm::sincos(core::f64::consts::TAU * self.uniform());
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// Fills `out` with the numbers of as many calls of [`Rng::normal`], to the bit; several times as fast for hundreds of them.
    pub fn normals(&mut self, out: &mut [f64]) {
        let kept = usize::from(self.spare.is_some()).min(out.len());
        let (first, rest) = out.split_at_mut(kept);
        first.iter_mut().for_each(|x| *x = self.normal());
        // Pairs that begin with a block of their own.
        let many = if self.used == 4 { rest.len() / normals::GROUP * normals::GROUP } else { 0 };
        let (many, last) = rest.split_at_mut(many);
        normals::pairs(self.key, self.step, self.block, many);
        self.block += many.len() as u64 / 2;
        last.iter_mut().for_each(|x| *x = self.normal());
    }

    /// These numbers from the place that `count` more calls of [`Rng::normal`] lead to, without making them: for jobs that share a long draw.
    /// `None` for an odd count, or when this is not where a pair of normal numbers begins with a block of its own.
    #[must_use]
    pub fn after_normals(&self, count: u64) -> Option<Self> {
        // A pair takes two uniform numbers of two words: one block of four.
        let at_a_block = self.used == 4 && self.spare.is_none() && count.is_multiple_of(2);
        at_a_block.then(|| Self { block: self.block + count / 2, ..self.clone() })
    }

    /// Exponential with mean 1.
    #[inline]
    pub fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.uniform())
    }

    /// Gamma with the given shape and scale 1 (Marsaglia & Tsang 2000); 0 for a shape that is not positive.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape.is_nan() || shape <= 0.0 {
            return 0.0;
        }
        if shape < 1.0 {
            let boost = libm::pow(1.0 - self.uniform(), 1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            if libm::log(1.0 - self.uniform()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
    }

    /// Beta with the given shapes.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let x = self.gamma(a);
        let y = self.gamma(b);
        if x + y > 0.0 { x / (x + y) } else { f64::from(u8::from(self.chance(a / (a + b)))) }
    }

    /// Fisher-Yates shuffle.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// `n` indices of `0..n` drawn with replacement: one bootstrap sample.
    pub fn resample(&mut self, n: usize) -> Vec<usize> {
        (0..n).map(|_| self.below(n)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the reference implementation (Random123, `kat_vectors`).
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 2], [u32::MAX; 4]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
    }

    #[test]
    fn many_normal_numbers_are_those_of_one_by_one() {
        for before in 0..4 {
            for count in [0_usize, 1, 2, 15, 16, 17, 100, 100_003] {
                let mut many = Stream::new(9, "normals").at(u64::MAX - 1);
                (0..before).for_each(|k| if k == 2 { _ = many.next_u32() } else { _ = many.normal() });
                let mut one = many.clone();
                let mut out = vec![f64::NAN; count];
                many.normals(&mut out);
                assert!(out.iter().all(|x| x.to_bits() == one.normal().to_bits()), "{before} {count}");
                assert_eq!((many.normal(), many.next_u64()), (one.normal(), one.next_u64()));
            }
        }
    }

    #[test]
    fn normal_numbers_can_be_begun_further_on() {
        let begun = Stream::new(1, "normal").at(3);
        for count in [0_u64, 2, 10] {
            let mut there = begun.clone();
            (0..count).for_each(|_| _ = there.normal());
            let mut jumped = begun.after_normals(count).unwrap();
            assert_eq!([jumped.normal(), jumped.normal()], [there.normal(), there.normal()]);
        }
        assert!(begun.after_normals(3).is_none());
        let mut within = begun.clone();
        within.normal();
        assert!(within.after_normals(2).is_none());
        let mut word = begun;
        word.next_u32();
        assert!(word.after_normals(2).is_none());
    }

    #[test]
    fn keys_separate_seed_purpose_step_and_child() {
        let base = Stream::new(1, "a").at(0).next_u64();
        assert_ne!(base, Stream::new(2, "a").at(0).next_u64());
        assert_ne!(base, Stream::new(1, "b").at(0).next_u64());
        assert_ne!(base, Stream::new(1, "a").at(1).next_u64());
        assert_ne!(base, Stream::new(1, "a").child(0).at(0).next_u64());
        assert_eq!(base, Stream::new(1, "a").at(0).next_u64());
    }

    fn moments(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let n = 200_000;
        let values: Vec<f64> = (0..n).map(|_| draw()).collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n - 1);
        (mean, variance)
    }

    #[test]
    fn moments_are_those_of_the_law() {
        let near = |got: (f64, f64), mean: f64, variance: f64| {
            let se = (variance / 200_000.0).sqrt();
            assert!((got.0 - mean).abs() < 5.0 * se, "mean {} wanted {mean}", got.0);
            assert!((got.1 / variance - 1.0).abs() < 0.05, "variance {} wanted {variance}", got.1);
        };
        let stream = Stream::new(3, "moments");
        let mut rng = stream.at(0);
        near(moments(|| rng.uniform()), 0.5, 1.0 / 12.0);
        near(moments(|| f64::from(rng.uniform_f32())), 0.5, 1.0 / 12.0);
        near(moments(|| rng.normal()), 0.0, 1.0);
        near(moments(|| rng.exponential()), 1.0, 1.0);
        near(moments(|| rng.gamma(2.5)), 2.5, 2.5);
        near(moments(|| rng.gamma(0.4)), 0.4, 0.4);
        near(moments(|| rng.beta(2.0, 3.0)), 0.4, 0.04);
        near(moments(|| rng.below(7) as f64), 3.0, 4.0);
    }
}
