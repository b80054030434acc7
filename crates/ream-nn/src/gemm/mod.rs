//! Matrix products on the CPU: `C = A B` and `C += A B` in f32, for operands of any strides.
//!
//! The plan is that of BLIS (Van Zee & van de Geijn, 2015): a micro-kernel keeps a small tile of C in registers while it runs
//! along the inner dimension; B is packed once per product into panels that the kernel reads in order; A is read in place
//! when its rows are contiguous and packed when they are not. Tiles of C are dealt to threads one by one. The inner
//! dimension is cut at multiples of [`KC`] whatever the number of threads, so every element of C is the same sum in the same order.
//!
//! With [`Precision::Bf16`] the operands are rounded to bfloat16 while they are packed, and products are summed in f32: AVX-512-BF16
//! where the machine has it, otherwise f32 arithmetic on the rounded operands.

mod dots;
mod kernel;
mod pack;

use std::cell::{Cell, RefCell};

use crate::simd::{self, Isa};
use crate::threads::{self, Shared};
use kernel::{Call, Kernels};

/// Length of the inner dimension that one pass of the micro-kernel runs along.
const KC: usize = 192;
/// Rows of C in one job.
const MC: usize = 96;
/// Below this many multiply-adds a product runs on the calling thread.
pub(crate) const SERIAL: usize = 200_000;
/// Up to this many rows of A, B is read in place rather than packed when its rows are contiguous.
const SKINNY: usize = 16;

/// How the operands of a matrix product are held while they are multiplied. Sums are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32 operands.
    #[default]
    F32,
    /// Operands rounded to bfloat16 (8 bits of mantissa).
    Bf16,
}

thread_local! {
    static PRECISION: Cell<Precision> = const { Cell::new(Precision::F32) };
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// The precision that matrix products asked for by this thread use.
#[must_use]
pub fn precision() -> Precision {
    PRECISION.get()
}

/// Runs `work` with matrix products of this thread in the given precision. Master weights and sums stay f32.
///
/// A choice of the experimenter, never of the machine: on a machine without bfloat16 arithmetic the operands are rounded all the same.
pub fn with_precision<T>(precision: Precision, work: impl FnOnce() -> T) -> T {
    struct Restore(Precision);
    impl Drop for Restore {
        fn drop(&mut self) {
            PRECISION.set(self.0);
        }
    }
    let _restore = Restore(PRECISION.replace(precision));
    work()
}

/// A matrix in a slice: element `(i, j)` is `data[i * row + j * column]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row: usize,
    column: usize,
}

impl<'a> Mat<'a> {
    /// Row-major `[rows, columns]`, rows next to each other.
    ///
    /// # Panics
    /// When the slice is too short.
    #[must_use]
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns, 1)
    }

    /// `[rows, columns]` with the given strides.
    ///
    /// # Panics
    /// When an element would lie outside the slice.
    #[must_use]
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, row: usize, column: usize) -> Self {
        let last = if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row + (columns - 1) * column + 1 };
        assert!(last <= data.len(), "a matrix {rows} x {columns} does not fit its {} numbers", data.len());
        Self { data, rows, columns, row, column }
    }

    /// The transpose, without moving anything.
    #[must_use]
    pub fn t(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row: self.column, column: self.row, ..self }
    }
}

/// What C holds before the product is added.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// Nothing: `C = A B`.
    Zero,
    /// What it holds: `C += A B`.
    Keep,
    /// This row in every row: `C = bias + A B`.
    Bias(&'a [f32]),
}

/// `C = start + A B` on the pool's threads; `c` is `[a.rows, b.columns]` with rows `c_row` apart.
///
/// # Panics
/// When the shapes do not fit.
pub fn gemm(c: &mut [f32], c_row: usize, a: Mat<'_>, b: Mat<'_>, start: Start<'_>) {
    product(c, c_row, a, b, start, true, precision());
}

/// As [`gemm`], on the calling thread alone: for jobs of a parallel loop, which are told the precision of the thread that
/// asked for the loop.
///
/// # Panics
/// When the shapes do not fit.
pub fn gemm_serial(
    c: &mut [f32],
    c_row: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    start: Start<'_>,
    precision: Precision,
) {
    product(c, c_row, a, b, start, false, precision);
}

fn product(
    c: &mut [f32],
    c_row: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    start: Start<'_>,
    parallel: bool,
    precision: Precision,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(k, b.rows, "inner dimensions of a product");
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * c_row + n <= c.len() && c_row >= n, "C of a product is too small");
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), n, "length of the bias of a product");
    }
    if k == 0 {
        return fill(c, c_row, m, n, start);
    }
    let half = precision == Precision::Bf16;
    if m <= SKINNY && !half && b.row == 1 && b.column >= k && a.column == 1 {
        return dots::dots(c, c_row, a, b, start, parallel);
    }
    let parallel = parallel && m * n * k >= SERIAL;
    Plan { m, n, k, a, b, c: Shared::new(c), c_row, start, parallel, half }.run();
}

fn fill(c: &mut [f32], c_row: usize, m: usize, n: usize, start: Start<'_>) {
    for i in 0..m {
        let row = &mut c[i * c_row..i * c_row + n];
        match start {
            Start::Zero => row.fill(0.0),
            Start::Keep => {}
            Start::Bias(bias) => row.copy_from_slice(bias),
        }
    }
}

/// Runs jobs on the pool, or one after another on the calling thread when the work is too small for that.
pub(crate) fn run_jobs(jobs: usize, parallel: bool, work: &(dyn Fn(usize) + Sync)) {
    if parallel { threads::for_each(jobs, work) } else { (0..jobs).for_each(work) }
}

/// Room for packing that a thread keeps between products.
fn with_scratch<T>(which: usize, len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    // Taken out of the cell, so that a product inside `work` finds an empty one and makes its own.
    let mut room = SCRATCH.with(|cell| std::mem::take(&mut cell.borrow_mut()[which]));
    if room.len() < len {
        room.resize(len, 0.0);
    }
    let result = work(&mut room[..len]);
    SCRATCH.with(|cell| cell.borrow_mut()[which] = room);
    result
}

struct Plan<'a> {
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'a>,
    b: Mat<'a>,
    c: Shared,
    c_row: usize,
    start: Start<'a>,
    parallel: bool,
    half: bool,
}

impl Plan<'_> {
    fn run(&self) {
        let kernels = Kernels::best(self.half);
        if !self.half && self.m <= SKINNY && self.b.column == 1 {
            return self.tiles(kernels, None);
        }
        with_scratch(0, self.packed_b_len(kernels), |packed| {
            self.pack_b(kernels, packed);
            self.tiles(kernels, Some(packed));
        });
    }

    /// Panels of B are `kernels.width` columns wide, the last one a multiple of sixteen.
    fn padded_n(&self) -> usize {
        self.n.next_multiple_of(16)
    }

    fn packed_b_len(&self, kernels: &Kernels) -> usize {
        self.padded_n() * kernels.packed_depth(self.k)
    }

    fn pack_b(&self, kernels: &Kernels, packed: &mut [f32]) {
        let panels = self.n.div_ceil(kernels.width);
        let shared = Shared::new(packed);
        let jobs = panels * self.k.div_ceil(KC);
        run_jobs(jobs, self.parallel, &|job| {
            let (block, panel) = (job / panels, job % panels);
            let (k0, kc) = self.block(block);
            let depth = kernels.packed_depth(kc);
            let first = panel * kernels.width;
            let width = kernels.width.min(self.padded_n() - first);
            let offset = kernels.packed_depth(k0) * self.padded_n() + first * depth;
            // SAFETY: every panel of every block has its own place.
            let out = unsafe { shared.part(offset, width * depth) };
            pack::panel(out, self.b, k0, kc, first, width, kernels.half);
        });
    }

    /// Start and length of a block of the inner dimension.
    fn block(&self, block: usize) -> (usize, usize) {
        (block * KC, KC.min(self.k - block * KC))
    }

    fn tiles(&self, kernels: &Kernels, packed: Option<&[f32]>) {
        let panels = self.n.div_ceil(kernels.width);
        let row_jobs = self.m.div_ceil(MC);
        let mut group = panels;
        let wanted = if self.parallel { 4 * threads::threads() } else { 1 };
        while group > 1 && row_jobs * panels.div_ceil(group) < wanted {
            group = group.div_ceil(2);
        }
        let columns = panels.div_ceil(group);
        run_jobs(row_jobs * columns, self.parallel, &|job| {
            let (rows, column) = (job / columns, job % columns);
            let rows = rows * MC..((rows + 1) * MC).min(self.m);
            let panels = column * group..((column + 1) * group).min(panels);
            self.tile(kernels, packed, rows, panels);
        });
    }

    /// The rows and panels of one job, block by block of the inner dimension.
    fn tile(
        &self,
        kernels: &Kernels,
        packed: Option<&[f32]>,
        rows: std::ops::Range<usize>,
        panels: std::ops::Range<usize>,
    ) {
        let in_place = self.a.column == 1 && !kernels.half;
        let len = if in_place { 0 } else { rows.len() * kernels.packed_depth(KC.min(self.k)) };
        with_scratch(1, len, |a_room| {
            for block in 0..self.k.div_ceil(KC) {
                let (k0, kc) = self.block(block);
                if !in_place {
                    pack::rows(a_room, self.a, rows.clone(), k0, kc, kernels);
                }
                for panel in panels.clone() {
                    self.panel(
                        kernels,
                        packed,
                        &rows,
                        panel,
                        block,
                        if in_place { None } else { Some(a_room) },
                    );
                }
            }
        });
    }

    fn panel(
        &self,
        kernels: &Kernels,
        packed: Option<&[f32]>,
        rows: &std::ops::Range<usize>,
        panel: usize,
        block: usize,
        packed_a: Option<&[f32]>,
    ) {
        let (k0, kc) = self.block(block);
        let depth = kernels.packed_depth(kc);
        let first = panel * kernels.width;
        let columns = kernels.width.min(self.n - first);
        let vectors = columns.div_ceil(16);
        let (b, b_row) = match packed {
            Some(packed) => {
                let offset = kernels.packed_depth(k0) * self.padded_n() + first * depth;
                let width = kernels.width.min(self.padded_n() - first);
                (packed[offset..].as_ptr(), width)
            }
            None => (self.b.data[k0 * self.b.row + first..].as_ptr(), self.b.row),
        };
        let mut i = rows.start;
        while i < rows.end {
            let height = kernels.height.min(rows.end - i);
            let (a, a_row, a_column) = match packed_a {
                Some(room) => (room[(i - rows.start) * depth..].as_ptr(), 1, height),
                None => (self.a.data[i * self.a.row + k0..].as_ptr(), self.a.row, 1),
            };
            let (add, bias) = match (block, self.start) {
                (0, Start::Zero) => (false, std::ptr::null()),
                (0, Start::Bias(bias)) => (false, bias[first..].as_ptr()),
                _ => (true, std::ptr::null()),
            };
            let call = Call {
                depth,
                a,
                a_row,
                a_column,
                b,
                b_row,
                // SAFETY: row i, column `first` of C, which the caller checked to be large enough.
                c: unsafe { self.c.pointer().add(i * self.c_row + first) },
                c_row: self.c_row,
                columns,
                add,
                bias,
            };
            // SAFETY: the operands hold `height` rows, `depth` steps and `columns` columns; this job owns the tile of C.
            unsafe { kernels.run(height, vectors, &call) };
            i += height;
        }
    }
}

/// The kernels' instruction set, for reports.
#[must_use]
pub fn kernel_name(precision: Precision) -> &'static str {
    match (simd::isa(), precision, kernel::has_bf16()) {
        (Isa::Avx512, Precision::Bf16, true) => "avx512-bf16",
        (Isa::Avx512, ..) => "avx512",
        (Isa::Avx2, ..) => "avx2",
        (Isa::Portable, ..) => "portable",
    }
}

#[cfg(test)]
mod tests;
