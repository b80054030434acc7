//! Integer kernels for AVX-512 with VNNI, and for AVX2.

use std::arch::x86_64::*;
use std::sync::OnceLock;

use super::format::{Constants, constants};
use super::integer::Panel;
use super::rows::Codes;
use super::{BLOCK, Format, LANES, Tile};

/// The instruction sets with kernels here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isa {
    /// AVX-512 F, BW, VL, VNNI.
    Vnni,
    /// AVX2, FMA, F16C.
    Avx2,
    /// Neither.
    None,
}

/// What this machine has.
pub(super) fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let vnni = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        match (vnni && avx2, avx2) {
            (true, _) => Isa::Vnni,
            (false, true) => Isa::Avx2,
            _ => Isa::None,
        }
    })
}

macro_rules! by_format {
    ($name:ident, $kernel:ident) => {
        /// The kernel of a format; only for machines that have the instruction set.
        pub(super) fn $name(format: Format) -> fn(Panel<'_>, Codes<'_>, usize, &mut Tile) {
            match format {
                Format::Q4 => $kernel::tile::<constants::Q4>,
                Format::Q4Min => $kernel::tile::<constants::Q4Min>,
                Format::Q4MinWide => $kernel::tile::<constants::Q4MinWide>,
                Format::Q6Wide => $kernel::tile::<constants::Q6Wide>,
                Format::Q8 | Format::F16 | Format::Bf16 | Format::F32 => $kernel::tile::<constants::Q8>,
            }
        }
    };
}

by_format!(vnni_kernel, vnni);
by_format!(avx2_kernel, avx2);

/// How far ahead of its use a panel is fetched, bytes.
const AHEAD: usize = 4096;

mod vnni {
    use super::*;

    /// Up to eight rows: as few passes of 8, 4, 2 and 1 rows as there can be.
    pub(super) fn tile<F: Constants>(panel: Panel<'_>, x: Codes<'_>, rows: usize, out: &mut Tile) {
        // SAFETY: this kernel is only chosen when the machine has these features; lengths were checked by the caller.
        unsafe {
            match rows {
                0 => {}
                1 => pass::<F, 1>(panel, x, 0, out),
                2 => pass::<F, 2>(panel, x, 0, out),
                3 => pass::<F, 3>(panel, x, 0, out),
                4 => pass::<F, 4>(panel, x, 0, out),
                5 => pass::<F, 5>(panel, x, 0, out),
                6 => pass::<F, 6>(panel, x, 0, out),
                7 => pass::<F, 7>(panel, x, 0, out),
                _ => pass::<F, 8>(panel, x, 0, out),
            }
        }
    }

    /// Scale and minimum (or second scale) of a block.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
    #[inline]
    unsafe fn scales<F: Constants>(at: *const u8) -> [__m512; 2] {
        let (two, wide) = (F::LAYOUT.mins || F::LAYOUT.halves, F::LAYOUT.wide);
        // SAFETY: the caller's block has these bytes.
        unsafe {
            let load = |i: usize| {
                if wide {
                    _mm512_loadu_ps(at.add(i * 64).cast())
                } else {
                    _mm512_cvtph_ps(_mm256_loadu_si256(at.add(i * 32).cast()))
                }
            };
            let first = load(0);
            [first, if two { load(1) } else { first }]
        }
    }

    /// The eight groups of a block's codes, as unsigned bytes.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
    #[inline]
    unsafe fn groups<F: Constants>(at: *const u8) -> [__m512i; 8] {
        // SAFETY: the caller's block has these bytes.
        unsafe {
            if F::LAYOUT.nibbles {
                let low = _mm512_set1_epi8(15);
                let mut all = [_mm512_setzero_si512(); 8];
                for l in 0..4 {
                    let line = _mm512_loadu_si512(at.add(64 * l).cast());
                    all[l] = _mm512_and_si512(line, low);
                    all[l + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(line), low);
                }
                all
            } else {
                let mut all = [_mm512_setzero_si512(); 8];
                for (l, group) in all.iter_mut().enumerate() {
                    *group = _mm512_loadu_si512(at.add(64 * l).cast());
                }
                all
            }
        }
    }

    /// `R` rows from `first` on.
    ///
    /// # Safety
    /// The machine has the features; panel and rows have the lengths that their fields promise.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn pass<F: Constants, const R: usize>(
        panel: Panel<'_>,
        x: Codes<'_>,
        first: usize,
        out: &mut Tile,
    ) {
        let (layout, blocks) = (F::LAYOUT, panel.blocks);
        let mut sums = [_mm512_setzero_ps(); R];
        // SAFETY: `block < blocks` and `first + r < rows`, so every address is within the slices.
        unsafe {
            for block in 0..blocks {
                let codes = panel.bytes.as_ptr().add(layout.codes_at(block));
                for line in 0..layout.panel_bytes(2) / 128 {
                    _mm_prefetch::<_MM_HINT_T1>(codes.wrapping_add(AHEAD + 64 * line).cast());
                }
                let groups = groups::<F>(codes);
                let [d, second] = scales::<F>(panel.bytes.as_ptr().add(layout.scales_at(block)));
                for (r, sum) in sums.iter_mut().enumerate() {
                    let at = (first + r) * blocks + block;
                    let row = x.codes.as_ptr().add(at * BLOCK).cast::<i32>();
                    let halves = x.halves.as_ptr().add(2 * at);
                    let scale = _mm512_set1_ps(*x.scales.as_ptr().add(at));
                    let start = |sum: i32| {
                        if layout.offset == 0 {
                            _mm512_setzero_si512()
                        } else {
                            _mm512_set1_epi32(-layout.offset * sum)
                        }
                    };
                    let step = |acc, g: usize| {
                        _mm512_dpbusd_epi32(acc, groups[g], _mm512_set1_epi32(row.add(g).read_unaligned()))
                    };
                    if layout.halves {
                        let mut a = start(*halves);
                        let mut b = start(*halves.add(1));
                        for g in 0..4 {
                            a = step(a, g);
                            b = step(b, g + 4);
                        }
                        *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a), _mm512_mul_ps(d, scale), *sum);
                        *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(b), _mm512_mul_ps(second, scale), *sum);
                    } else {
                        let mut a = start(*halves + *halves.add(1));
                        for g in 0..8 {
                            a = step(a, g);
                        }
                        *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a), _mm512_mul_ps(d, scale), *sum);
                    }
                    if layout.mins {
                        *sum = _mm512_fmadd_ps(second, _mm512_set1_ps(*x.sums.as_ptr().add(at)), *sum);
                    }
                }
            }
            for (r, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(out[first + r].as_mut_ptr(), *sum);
            }
        }
    }
}

mod avx2 {
    use super::*;

    /// Outputs of one register.
    const HALF: usize = LANES / 2;

    pub(super) fn tile<F: Constants>(panel: Panel<'_>, x: Codes<'_>, rows: usize, out: &mut Tile) {
        for (row, out) in out.iter_mut().enumerate().take(rows) {
            for side in 0..2 {
                // SAFETY: this kernel is only chosen when the machine has these features; lengths were checked by the caller.
                unsafe { pass::<F>(panel, x, row, side, out) };
            }
        }
    }

    /// Scale and minimum (or second scale) of eight outputs of a block.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scales<F: Constants>(at: *const u8, side: usize) -> [__m256; 2] {
        let (two, wide) = (F::LAYOUT.mins || F::LAYOUT.halves, F::LAYOUT.wide);
        // SAFETY: the caller's block has these bytes.
        unsafe {
            let load = |i: usize| {
                if wide {
                    _mm256_loadu_ps(at.add(i * 64 + side * 32).cast())
                } else {
                    _mm256_cvtph_ps(_mm_loadu_si128(at.add(i * 32 + side * 16).cast()))
                }
            };
            let first = load(0);
            [first, if two { load(1) } else { first }]
        }
    }

    /// Codes of a group for eight outputs.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn group<F: Constants>(at: *const u8, side: usize, g: usize) -> __m256i {
        // SAFETY: the caller's block has these bytes.
        unsafe {
            if !F::LAYOUT.nibbles {
                return _mm256_loadu_si256(at.add(64 * g + 32 * side).cast());
            }
            let line = _mm256_loadu_si256(at.add(64 * (g % 4) + 32 * side).cast());
            let line = if g < 4 { line } else { _mm256_srli_epi16::<4>(line) };
            _mm256_and_si256(line, _mm256_set1_epi8(15))
        }
    }

    /// `acc + codes . x` for groups of four. Pairs are added in 16 bits: codes up to 63 cannot overflow there; bytes around 128 are made
    /// signed first, and their signs moved to `x`, which leaves at most 2 * 128 * 127 < 2^15.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    fn step<F: Constants>(acc: __m256i, codes: __m256i, x: i32) -> __m256i {
        let x = _mm256_set1_epi32(x);
        let pairs = if F::LAYOUT.offset == 128 {
            let signed = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
            _mm256_maddubs_epi16(_mm256_abs_epi8(signed), _mm256_sign_epi8(x, signed))
        } else {
            _mm256_maddubs_epi16(codes, x)
        };
        _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }

    /// Eight outputs of a row.
    ///
    /// # Safety
    /// As for the kernel above.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn pass<F: Constants>(
        panel: Panel<'_>,
        x: Codes<'_>,
        row: usize,
        side: usize,
        out: &mut [f32; LANES],
    ) {
        let (layout, blocks) = (F::LAYOUT, panel.blocks);
        // Signed bytes need no correction for the code of zero.
        let offset = if layout.offset == 128 { 0 } else { layout.offset };
        let mut sum = _mm256_setzero_ps();
        // SAFETY: `block < blocks`, `row` is one of the rows, `side` is 0 or 1: every address is within the slices.
        unsafe {
            for block in 0..blocks {
                let codes = panel.bytes.as_ptr().add(layout.codes_at(block));
                let [d, second] = scales::<F>(panel.bytes.as_ptr().add(layout.scales_at(block)), side);
                let at = row * blocks + block;
                let x_codes = x.codes.as_ptr().add(at * BLOCK).cast::<i32>();
                let halves = [*x.halves.as_ptr().add(2 * at), *x.halves.as_ptr().add(2 * at + 1)];
                let scale = _mm256_set1_ps(*x.scales.as_ptr().add(at));
                let mut dots = halves.map(|sum| _mm256_set1_epi32(-offset * sum));
                for g in 0..8 {
                    let codes = group::<F>(codes, side, g);
                    dots[g / 4] = step::<F>(dots[g / 4], codes, x_codes.add(g).read_unaligned());
                }
                if layout.halves {
                    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[0]), _mm256_mul_ps(d, scale), sum);
                    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[1]), _mm256_mul_ps(second, scale), sum);
                } else {
                    let dots = _mm256_add_epi32(dots[0], dots[1]);
                    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), _mm256_mul_ps(d, scale), sum);
                }
                if layout.mins {
                    sum = _mm256_fmadd_ps(second, _mm256_set1_ps(*x.sums.as_ptr().add(at)), sum);
                }
            }
            _mm256_storeu_ps(out.as_mut_ptr().add(side * HALF), sum);
        }
    }
}
