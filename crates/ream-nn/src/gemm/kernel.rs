//! Micro-kernels: a tile of C, `height` rows by up to three vectors of sixteen columns, kept in registers.

use std::sync::OnceLock;

use crate::simd::{Isa, fma, isa};

/// The operands of one tile.
pub(super) struct Call {
    /// Steps of the inner dimension; for bfloat16, pairs of them.
    pub(super) depth: usize,
    pub(super) a: *const f32,
    /// Distance between rows of A.
    pub(super) a_row: usize,
    /// Distance between steps of A.
    pub(super) a_column: usize,
    pub(super) b: *const f32,
    /// Distance between steps of B.
    pub(super) b_row: usize,
    pub(super) c: *mut f32,
    pub(super) c_row: usize,
    /// Columns of the tile; the last vector is cut.
    pub(super) columns: usize,
    /// Whether the tile starts from C.
    pub(super) add: bool,
    /// Otherwise from this row, or from zero when null.
    pub(super) bias: *const f32,
}

type Kernel = unsafe fn(&Call);

/// The kernels of one instruction set: `table[vectors - 1][height - 1]`.
pub(super) struct Kernels {
    /// Columns of a panel of B.
    pub(super) width: usize,
    /// Rows of a full tile.
    pub(super) height: usize,
    /// Whether operands are pairs of bfloat16.
    pub(super) half: bool,
    table: [[Option<Kernel>; 8]; 3],
}

impl Kernels {
    pub(super) fn best(half: bool) -> &'static Self {
        static SETS: OnceLock<[Kernels; 2]> = OnceLock::new();
        let sets = SETS.get_or_init(|| [Self::of(isa(), false), Self::of(isa(), true)]);
        &sets[usize::from(half)]
    }

    fn of(isa: Isa, half: bool) -> Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if !half => Self { width: 48, height: 8, half, table: avx512::f32_table() },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if has_bf16() => Self { width: 48, height: 8, half, table: avx512::bf16_table() },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx2 => Self { width: 16, height: 6, half, table: plain::avx2_table(half) },
            _ => Self { width: 16, height: 4, half, table: plain::portable_table(half) },
        }
    }

    /// Numbers that one column takes in a packed block of `kc` steps.
    pub(super) fn packed_depth(&self, kc: usize) -> usize {
        if self.half { kc.div_ceil(2) } else { kc }
    }

    /// # Safety
    /// The operands of `call` must hold `height` rows, `depth` steps and `columns` columns at the given distances, B padded to
    /// a multiple of sixteen columns or readable under the mask of `columns`.
    pub(super) unsafe fn run(&self, height: usize, vectors: usize, call: &Call) {
        if let Some(kernel) = self.table[vectors - 1][height - 1] {
            // SAFETY: the caller's promise; the table holds only kernels of this machine.
            unsafe { kernel(call) }
        }
    }
}

/// Whether the machine multiplies pairs of bfloat16.
pub(super) fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return isa() == Isa::Avx512 && std::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use core::arch::x86_64::{
        __m512, __m512bh, __mmask16, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_mask_storeu_ps,
        _mm512_maskz_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    };

    use super::{Call, Kernel};

    macro_rules! table {
        ($kernel:ident) => {
            [row!($kernel, 1), row!($kernel, 2), row!($kernel, 3)]
        };
    }
    macro_rules! row {
        ($kernel:ident, $v:literal) => {
            [
                Some($kernel::<1, $v> as Kernel),
                Some($kernel::<2, $v> as Kernel),
                Some($kernel::<3, $v> as Kernel),
                Some($kernel::<4, $v> as Kernel),
                Some($kernel::<5, $v> as Kernel),
                Some($kernel::<6, $v> as Kernel),
                Some($kernel::<7, $v> as Kernel),
                Some($kernel::<8, $v> as Kernel),
            ]
        };
    }

    pub(super) fn f32_table() -> [[Option<Kernel>; 8]; 3] {
        table!(tile)
    }

    pub(super) fn bf16_table() -> [[Option<Kernel>; 8]; 3] {
        table!(tile_bf16)
    }

    /// Which columns of each vector exist.
    #[target_feature(enable = "avx512f")]
    fn masks<const V: usize>(columns: usize) -> [__mmask16; V] {
        core::array::from_fn(|v| {
            let here = columns.saturating_sub(16 * v).min(16);
            ((1_u32 << here) - 1) as __mmask16
        })
    }

    /// # Safety
    /// As [`super::Kernels::run`].
    #[target_feature(enable = "avx512f")]
    unsafe fn begin<const H: usize, const V: usize>(call: &Call, masks: &[__mmask16; V]) -> [[__m512; V]; H] {
        let mut acc = [[_mm512_setzero_ps(); V]; H];
        for (r, row) in acc.iter_mut().enumerate() {
            for (v, value) in row.iter_mut().enumerate() {
                // SAFETY: masked to the columns that exist.
                unsafe {
                    if call.add {
                        *value = _mm512_maskz_loadu_ps(masks[v], call.c.add(r * call.c_row + 16 * v));
                    } else if !call.bias.is_null() {
                        *value = _mm512_maskz_loadu_ps(masks[v], call.bias.add(16 * v));
                    }
                }
            }
        }
        acc
    }

    /// # Safety
    /// As [`super::Kernels::run`].
    #[target_feature(enable = "avx512f")]
    unsafe fn end<const H: usize, const V: usize>(
        call: &Call,
        masks: &[__mmask16; V],
        acc: &[[__m512; V]; H],
    ) {
        for (r, row) in acc.iter().enumerate() {
            for (v, value) in row.iter().enumerate() {
                // SAFETY: masked to the columns that exist.
                unsafe { _mm512_mask_storeu_ps(call.c.add(r * call.c_row + 16 * v), masks[v], *value) };
            }
        }
    }

    /// # Safety
    /// As [`super::Kernels::run`].
    #[target_feature(enable = "avx512f")]
    unsafe fn tile<const H: usize, const V: usize>(call: &Call) {
        let masks = masks::<V>(call.columns);
        // SAFETY: the caller's promise on the operands.
        unsafe {
            let mut acc = begin::<H, V>(call, &masks);
            let (mut a, mut b) = (call.a, call.b);
            for _ in 0..call.depth {
                let column: [__m512; V] =
                    core::array::from_fn(|v| _mm512_maskz_loadu_ps(masks[v], b.add(16 * v)));
                for (r, row) in acc.iter_mut().enumerate() {
                    let value = _mm512_set1_ps(*a.add(r * call.a_row));
                    for v in 0..V {
                        row[v] = _mm512_fmadd_ps(value, column[v], row[v]);
                    }
                }
                a = a.add(call.a_column);
                b = b.add(call.b_row);
            }
            end(call, &masks, &acc);
        }
    }

    /// # Safety
    /// As [`super::Kernels::run`].
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn tile_bf16<const H: usize, const V: usize>(call: &Call) {
        // SAFETY: the two types are the same 512 bits.
        let pairs = |x: __m512| unsafe { core::mem::transmute::<__m512, __m512bh>(x) };
        let masks = masks::<V>(call.columns);
        // SAFETY: the caller's promise on the operands.
        unsafe {
            let mut acc = begin::<H, V>(call, &masks);
            let (mut a, mut b) = (call.a, call.b);
            for _ in 0..call.depth {
                let column: [__m512bh; V] =
                    core::array::from_fn(|v| pairs(_mm512_maskz_loadu_ps(masks[v], b.add(16 * v))));
                for (r, row) in acc.iter_mut().enumerate() {
                    let value = pairs(_mm512_set1_ps(*a.add(r * call.a_row)));
                    for v in 0..V {
                        row[v] = _mm512_dpbf16_ps(row[v], value, column[v]);
                    }
                }
                a = a.add(call.a_column);
                b = b.add(call.b_row);
            }
            end(call, &masks, &acc);
        }
    }
}

/// Tiles written as plain loops, compiled for AVX2 and for the baseline.
mod plain {
    use super::{Call, Kernel, fma};

    const LANES: usize = 16;

    #[inline(always)]
    fn halves(x: f32) -> (f32, f32) {
        let bits = x.to_bits();
        (f32::from_bits(bits << 16), f32::from_bits(bits & 0xffff_0000))
    }

    /// # Safety
    /// As [`super::Kernels::run`].
    #[inline(always)]
    unsafe fn tile<const FMA: bool, const H: usize, const HALF: bool>(call: &Call) {
        let mut acc = [[0.0_f32; LANES]; H];
        let columns = call.columns.min(LANES);
        // SAFETY: the caller's promise on the operands; B is read under `columns`.
        unsafe {
            for (r, row) in acc.iter_mut().enumerate() {
                let from = if call.add { call.c.add(r * call.c_row).cast_const() } else { call.bias };
                if !from.is_null() {
                    core::ptr::copy_nonoverlapping(from, row.as_mut_ptr(), columns);
                }
            }
            let (mut a, mut b) = (call.a, call.b);
            for _ in 0..call.depth {
                let mut column = [0.0_f32; LANES];
                if columns == LANES {
                    column = b.cast::<[f32; LANES]>().read_unaligned();
                } else {
                    core::ptr::copy_nonoverlapping(b, column.as_mut_ptr(), columns);
                }
                for (r, row) in acc.iter_mut().enumerate() {
                    let value = *a.add(r * call.a_row);
                    for (out, b) in row.iter_mut().zip(&column) {
                        if HALF {
                            let ((a0, a1), (b0, b1)) = (halves(value), halves(*b));
                            *out = fma::<FMA>(a1, b1, fma::<FMA>(a0, b0, *out));
                        } else {
                            *out = fma::<FMA>(value, *b, *out);
                        }
                    }
                }
                a = a.add(call.a_column);
                b = b.add(call.b_row);
            }
            for (r, row) in acc.iter().enumerate() {
                core::ptr::copy_nonoverlapping(row.as_ptr(), call.c.add(r * call.c_row), columns);
            }
        }
    }

    /// # Safety
    /// As [`super::Kernels::run`].
    unsafe fn portable<const H: usize, const HALF: bool>(call: &Call) {
        // SAFETY: passed on.
        unsafe { tile::<false, H, HALF>(call) }
    }

    /// # Safety
    /// As [`super::Kernels::run`], on a machine with AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2<const H: usize, const HALF: bool>(call: &Call) {
        // SAFETY: passed on.
        unsafe { tile::<true, H, HALF>(call) }
    }

    macro_rules! row {
        ($kernel:ident, $half:literal) => {
            [
                Some($kernel::<1, $half> as Kernel),
                Some($kernel::<2, $half> as Kernel),
                Some($kernel::<3, $half> as Kernel),
                Some($kernel::<4, $half> as Kernel),
                Some($kernel::<5, $half> as Kernel),
                Some($kernel::<6, $half> as Kernel),
                None,
                None,
            ]
        };
    }

    pub(super) fn portable_table(half: bool) -> [[Option<Kernel>; 8]; 3] {
        let row = if half { row!(portable, true) } else { row!(portable, false) };
        [row, [None; 8], [None; 8]]
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn avx2_table(half: bool) -> [[Option<Kernel>; 8]; 3] {
        let row = if half { row!(avx2, true) } else { row!(avx2, false) };
        [row, [None; 8], [None; 8]]
    }
}

#[cfg(test)]
pub(super) fn sets_of_this_machine(half: bool) -> Vec<Kernels> {
    let mut sets = vec![Kernels::of(Isa::Portable, half)];
    if isa() != Isa::Portable {
        sets.push(Kernels::of(Isa::Avx2, half));
    }
    if isa() == Isa::Avx512 {
        sets.push(Kernels::of(Isa::Avx512, half));
    }
    sets
}
