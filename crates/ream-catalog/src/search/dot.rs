//! Scalar products of vectors of signed bytes, exact in 32-bit integers: the same result on every instruction set.

/// Longest vector whose products cannot leave 32 bits: `d * 128 * 128 * 2 < 2^31`, with room for the shifted products of [`Kernel::Vnni`].
pub(crate) const MAX_DIMENSIONS: usize = 32_768;

/// An instruction set that the scan can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// AVX-512 with VNNI: 64 products an instruction.
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// AVX2: 16 products an instruction.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every machine has.
    Portable,
}

impl Kernel {
    /// The best of this machine.
    pub(crate) fn best() -> Self {
        Self::all().into_iter().next().unwrap_or(Self::Portable)
    }

    /// Those that this machine has, best first.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("avx512vnni")
            {
                all.push(Self::Vnni);
            }
            if std::is_x86_feature_detected!("avx2") {
                all.push(Self::Avx2);
            }
        }
        all.push(Self::Portable);
        all
    }

    /// The product of `query` with each row of `rows` (`[rows, d]`, row-major), into `products` (`[rows]`).
    ///
    /// # Panics
    /// Where lengths do not fit, or `d` is over [`MAX_DIMENSIONS`].
    pub(crate) fn rows(self, query: &[i8], rows: &[i8], products: &mut [i32]) {
        assert!(query.len() <= MAX_DIMENSIONS, "too many dimensions");
        assert_eq!(rows.len(), query.len() * products.len(), "one row for each product");
        match self {
            // SAFETY: `all` found these features on this machine, and the lengths fit.
            #[cfg(target_arch = "x86_64")]
            Self::Vnni => unsafe { vnni(query, rows, products) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2(query, rows, products) },
            Self::Portable => portable(query, rows, products),
        }
    }
}

fn one(query: &[i8], row: &[i8]) -> i32 {
    query.iter().zip(row).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

fn portable(query: &[i8], rows: &[i8], products: &mut [i32]) {
    if query.is_empty() {
        return products.fill(0);
    }
    for (row, product) in rows.chunks_exact(query.len()).zip(products) {
        *product = one(query, row);
    }
}

/// `vpdpbusd` wants one operand without sign: the query is shifted by 128, and `128 * sum(row)`, from a second accumulator, is taken off.
///
/// # Safety
/// The machine has AVX-512 F, BW and VNNI; `rows` holds `query.len() * products.len()` bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn vnni(query: &[i8], rows: &[i8], products: &mut [i32]) {
    use std::arch::x86_64::{
        __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_reduce_add_epi32, _mm512_set1_epi8,
        _mm512_setzero_si512, _mm512_xor_si512,
    };
    const LANES: usize = 64;
    let d = query.len();
    let whole = d / LANES * LANES;
    let sign = _mm512_set1_epi8(i8::MIN);
    let ones = _mm512_set1_epi8(1);
    for (r, product) in products.iter_mut().enumerate() {
        let row = &rows[r * d..][..d];
        let (mut sum, mut shift) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for at in (0..whole).step_by(LANES) {
            // SAFETY: `at + LANES <= whole <= d`, the length of both slices; unaligned loads.
            let (q, v): (__m512i, __m512i) = unsafe {
                (
                    _mm512_loadu_si512(query.as_ptr().add(at).cast()),
                    _mm512_loadu_si512(row.as_ptr().add(at).cast()),
                )
            };
            sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(q, sign), v);
            shift = _mm512_dpbusd_epi32(shift, ones, v);
        }
        *product = _mm512_reduce_add_epi32(sum) - 128 * _mm512_reduce_add_epi32(shift)
            + one(&query[whole..], &row[whole..]);
    }
}

/// # Safety
/// The machine has AVX2; `rows` holds `query.len() * products.len()` bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2(query: &[i8], rows: &[i8], products: &mut [i32]) {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_madd_epi16,
        _mm256_setzero_si256, _mm256_storeu_si256,
    };
    const LANES: usize = 16;
    let d = query.len();
    let whole = d / LANES * LANES;
    for (r, product) in products.iter_mut().enumerate() {
        let row = &rows[r * d..][..d];
        let mut sum = _mm256_setzero_si256();
        for at in (0..whole).step_by(LANES) {
            // SAFETY: `at + LANES <= whole <= d`, the length of both slices; unaligned loads.
            let (q, v): (__m256i, __m256i) = unsafe {
                (
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(query.as_ptr().add(at).cast())),
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(row.as_ptr().add(at).cast())),
                )
            };
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(q, v));
        }
        let mut lanes = [0_i32; 8];
        // SAFETY: eight lanes of 32 bits; unaligned store.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        *product = lanes.iter().sum::<i32>() + one(&query[whole..], &row[whole..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_kernel_agrees((d, bytes) in (0_usize..300).prop_flat_map(|d| {
            (Just(d), prop::collection::vec(any::<i8>(), d * 4))
        })) {
            let (query, rows) = bytes.split_at(d);
            let mut want = vec![0; 3];
            portable(query, rows, &mut want);
            for kernel in Kernel::all() {
                let mut got = vec![1; 3];
                kernel.rows(query, rows, &mut got);
                prop_assert_eq!(&got, &want, "{:?}", kernel);
            }
        }
    }

    #[test]
    fn the_extremes_stay_exact() {
        for (a, b) in [(i8::MIN, i8::MIN), (i8::MIN, i8::MAX), (i8::MAX, i8::MIN), (i8::MAX, i8::MAX)] {
            let (query, row) = (vec![a; MAX_DIMENSIONS], vec![b; MAX_DIMENSIONS]);
            let want = i32::from(a) * i32::from(b) * i32::try_from(MAX_DIMENSIONS).unwrap();
            for kernel in Kernel::all() {
                let mut got = [0];
                kernel.rows(&query, &row, &mut got);
                assert_eq!(got[0], want, "{kernel:?} {a} {b}");
            }
        }
    }
}
