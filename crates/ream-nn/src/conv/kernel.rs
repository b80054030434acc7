//! Micro-kernels of convolutions: a tile of the result, `height` rows by up to three vectors of sixteen columns, stays in
//! registers while the inner dimension runs through several segments (kernel rows, or image rows) of two operands.

use std::sync::OnceLock;

use crate::simd::{Isa, fma, isa};

/// The highest tile of any instruction set.
const MAX_HEIGHT: usize = 14;

/// Where one stretch of the inner dimension begins in both operands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) a: usize,
    pub(super) b: usize,
}

/// Which elements of A lie next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adjacent {
    /// Steps of the inner dimension; rows are `a_step` apart.
    Steps,
    /// Rows; steps of the inner dimension are `a_step` apart.
    Rows,
}

/// The operands of one tile.
pub(super) struct Call<'a> {
    pub(super) segments: &'a [Segment],
    /// Steps of the inner dimension in each segment.
    pub(super) depth: usize,
    pub(super) a: *const f32,
    /// The distance in A that is not one: see [`Adjacent`].
    pub(super) a_step: usize,
    pub(super) b: *const f32,
    /// Distance between steps of B.
    pub(super) b_row: usize,
    pub(super) c: *mut f32,
    /// Distance between rows of C.
    pub(super) c_row: usize,
    /// Columns of the tile; the last vector is cut.
    pub(super) columns: usize,
    /// Whether the tile starts from C.
    pub(super) add: bool,
    /// Otherwise from this row, or from zero when null.
    pub(super) bias: *const f32,
}

type Kernel = unsafe fn(&Call<'_>);
type Table = [[Option<Kernel>; MAX_HEIGHT]; 3];

/// The kernels of one instruction set.
pub(super) struct Kernels {
    /// Rows of a full tile of one, two, three vectors; 0 when there is none so wide.
    heights: [usize; 3],
    steps: Table,
    rows: Table,
}

impl Kernels {
    pub(super) fn best() -> &'static Self {
        static BEST: OnceLock<Kernels> = OnceLock::new();
        BEST.get_or_init(|| Self::of(isa()))
    }

    fn of(isa: Isa) -> Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Self { heights: [14, 14, 9], steps: avx512::table::<false>(), rows: avx512::table::<true>() }
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Self {
                heights: [6, 0, 0],
                steps: plain::avx2_table::<false>(),
                rows: plain::avx2_table::<true>(),
            },
            _ => Self {
                heights: [4, 0, 0],
                steps: plain::portable_table::<false>(),
                rows: plain::portable_table::<true>(),
            },
        }
    }

    /// Cuts columns into panels: first column and number of vectors of each.
    pub(super) fn panels(&self, columns: usize) -> Vec<(usize, usize)> {
        let mut left = columns.div_ceil(16);
        let mut panels = Vec::new();
        let mut first = 0;
        while left > 0 {
            let vectors = match left {
                3 if self.heights[2] > 0 => 3,
                2.. if self.heights[1] > 0 => 2,
                _ => 1,
            };
            panels.push((first, vectors));
            first += 16 * vectors;
            left -= vectors;
        }
        panels
    }

    /// Cuts rows into tiles of nearly equal height: calls `work(first row, height)`.
    pub(super) fn tiles(&self, vectors: usize, rows: usize, mut work: impl FnMut(usize, usize)) {
        let count = rows.div_ceil(self.heights[vectors - 1]);
        let mut first = 0;
        for left in (1..=count).rev() {
            let height = (rows - first).div_ceil(left);
            work(first, height);
            first += height;
        }
    }

    /// # Safety
    /// At every segment the operands of `call` must hold `height` rows, `depth` steps and `columns` columns at the given
    /// distances; nobody else may write the tile of C meanwhile.
    pub(super) unsafe fn run(&self, adjacent: Adjacent, height: usize, vectors: usize, call: &Call<'_>) {
        let table = if adjacent == Adjacent::Rows { &self.rows } else { &self.steps };
        if let Some(kernel) = table[vectors - 1][height - 1] {
            // SAFETY: the caller's promise; the table holds only kernels of this machine.
            unsafe { kernel(call) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use core::arch::x86_64::{
        __m512, __mmask16, _mm512_fmadd_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_ps,
        _mm512_setzero_ps,
    };

    use super::{Call, Kernel, MAX_HEIGHT, Table};

    macro_rules! row {
        ($v:literal: $($h:literal)*) => {{
            let mut row = [None; MAX_HEIGHT];
            $(row[$h - 1] = Some(tile::<$h, $v, ROWS> as Kernel);)*
            row
        }};
    }

    pub(super) fn table<const ROWS: bool>() -> Table {
        [
            row!(1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            row!(2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            row!(3: 1 2 3 4 5 6 7 8 9),
        ]
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
    unsafe fn begin<const H: usize, const V: usize>(
        call: &Call<'_>,
        masks: &[__mmask16; V],
    ) -> [[__m512; V]; H] {
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
    unsafe fn tile<const H: usize, const V: usize, const ROWS: bool>(call: &Call<'_>) {
        let masks = masks::<V>(call.columns);
        let (a_row, a_column) = if ROWS { (1, call.a_step) } else { (call.a_step, 1) };
        // SAFETY: the caller's promise on the operands.
        unsafe {
            let mut acc = begin::<H, V>(call, &masks);
            for segment in call.segments {
                let (mut a, mut b) = (call.a.add(segment.a), call.b.add(segment.b));
                for _ in 0..call.depth {
                    let column: [__m512; V] =
                        core::array::from_fn(|v| _mm512_maskz_loadu_ps(masks[v], b.add(16 * v)));
                    for (r, row) in acc.iter_mut().enumerate() {
                        let value = _mm512_set1_ps(*a.add(r * a_row));
                        for v in 0..V {
                            row[v] = _mm512_fmadd_ps(value, column[v], row[v]);
                        }
                    }
                    a = a.add(a_column);
                    b = b.add(call.b_row);
                }
            }
            for (r, row) in acc.iter().enumerate() {
                for (v, value) in row.iter().enumerate() {
                    _mm512_mask_storeu_ps(call.c.add(r * call.c_row + 16 * v), masks[v], *value);
                }
            }
        }
    }
}

/// Tiles written as plain loops, compiled for AVX2 and for the baseline.
mod plain {
    use super::{Call, Kernel, MAX_HEIGHT, Table, fma};

    const LANES: usize = 16;

    /// # Safety
    /// As [`super::Kernels::run`].
    #[inline(always)]
    unsafe fn tile<const FMA: bool, const H: usize, const ROWS: bool>(call: &Call<'_>) {
        let mut acc = [[0.0_f32; LANES]; H];
        let columns = call.columns.min(LANES);
        let (a_row, a_column) = if ROWS { (1, call.a_step) } else { (call.a_step, 1) };
        // SAFETY: the caller's promise on the operands; B is read under `columns`.
        unsafe {
            for (r, row) in acc.iter_mut().enumerate() {
                let from = if call.add { call.c.add(r * call.c_row).cast_const() } else { call.bias };
                if !from.is_null() {
                    core::ptr::copy_nonoverlapping(from, row.as_mut_ptr(), columns);
                }
            }
            for segment in call.segments {
                let (mut a, mut b) = (call.a.add(segment.a), call.b.add(segment.b));
                for _ in 0..call.depth {
                    let mut column = [0.0_f32; LANES];
                    if columns == LANES {
                        column = b.cast::<[f32; LANES]>().read_unaligned();
                    } else {
                        core::ptr::copy_nonoverlapping(b, column.as_mut_ptr(), columns);
                    }
                    for (r, row) in acc.iter_mut().enumerate() {
                        let value = *a.add(r * a_row);
                        for (out, b) in row.iter_mut().zip(&column) {
                            *out = fma::<FMA>(value, *b, *out);
                        }
                    }
                    a = a.add(a_column);
                    b = b.add(call.b_row);
                }
            }
            for (r, row) in acc.iter().enumerate() {
                core::ptr::copy_nonoverlapping(row.as_ptr(), call.c.add(r * call.c_row), columns);
            }
        }
    }

    /// # Safety
    /// As [`super::Kernels::run`].
    unsafe fn portable<const H: usize, const ROWS: bool>(call: &Call<'_>) {
        // SAFETY: passed on.
        unsafe { tile::<false, H, ROWS>(call) }
    }

    /// # Safety
    /// As [`super::Kernels::run`], on a machine with AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2<const H: usize, const ROWS: bool>(call: &Call<'_>) {
        // SAFETY: passed on.
        unsafe { tile::<true, H, ROWS>(call) }
    }

    macro_rules! table {
        ($kernel:ident: $($h:literal)*) => {{
            let mut row = [None; MAX_HEIGHT];
            $(row[$h - 1] = Some($kernel::<$h, ROWS> as Kernel);)*
            [row, [None; MAX_HEIGHT], [None; MAX_HEIGHT]]
        }};
    }

    pub(super) fn portable_table<const ROWS: bool>() -> Table {
        table!(portable: 1 2 3 4)
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn avx2_table<const ROWS: bool>() -> Table {
        table!(avx2: 1 2 3 4 5 6)
    }
}

#[cfg(test)]
pub(super) fn sets_of_this_machine() -> Vec<Kernels> {
    let mut sets = vec![Kernels::of(Isa::Portable)];
    if isa() != Isa::Portable {
        sets.push(Kernels::of(Isa::Avx2));
    }
    if isa() == Isa::Avx512 {
        sets.push(Kernels::of(Isa::Avx512));
    }
    sets
}
