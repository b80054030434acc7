//! Matrix products on the CPU: `C = A B` and `C += A B` in f32, for operands of any strides.
//!
//! The plan is that of BLIS (Van Zee & van de Geijn, 2015): a micro-kernel keeps a small tile of C in registers while it runs
//! along the inner dimension; B is packed into panels that the kernel reads in order, once per product, or by the jobs when A is
//! short; A is read in place when its rows are contiguous and packed when they are not. Tiles of C are dealt to threads one by one. The inner
//! dimension is cut at multiples of a fixed length whatever the number of threads, so every element of C is the same sum in the same order.
//!
//! With [`Precision::Bf16`] the operands are rounded to bfloat16 while they are packed, and products are summed in f32: AVX-512-BF16
//! where the machine has it, otherwise f32 arithmetic on the rounded operands.

mod dots;
mod kernel;
mod pack;
mod packed;
mod pairs;

use std::cell::{Cell, RefCell};

use crate::simd::{self, Isa};
use crate::threads::{self, Shared};
use kernel::{Call, Kernels};
pub(crate) use packed::Packed;

/// Length of the inner dimension that one pass of the micro-kernel runs along.
const KC: usize = 192;
/// Rows of C in one job.
const MC: usize = 96;
/// Up to this many rows, all of A is one job's, which packs the panels of B that it uses ...
const FEW_ROWS: usize = 192;
/// ... when B has this many elements or more, so that not all of its panels would stay in the second-level cache.
const MANY_ELEMENTS: usize = 1 << 17;
/// Below this many multiply-adds a product runs on the calling thread.
pub(crate) const SERIAL: usize = 200_000;
/// Up to this many rows of A, B is read in place rather than packed when its rows are contiguous.
pub(crate) const SKINNY: usize = 16;

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

/// Where the kernels find B.
#[derive(Clone, Copy)]
enum Panels<'p> {
    /// Where the caller has it.
    InPlace,
    /// All panels, packed before the tiles.
    Packed(&'p [f32]),
    /// Each job packs the panel that it comes to: B passes through the cache instead of being written and read back.
    ByJob,
}

/// An operand of a tile and the distances in it.
#[derive(Clone, Copy)]
struct Side {
    data: *const f32,
    /// Between rows of A.
    row: usize,
    /// Between steps of the inner dimension.
    step: usize,
}

/// What one call of [`Plan::panel`] computes.
struct Part<'r> {
    rows: &'r std::ops::Range<usize>,
    panel: usize,
    block: usize,
}

/// Rows of A for one block of the inner dimension.
#[derive(Clone, Copy)]
enum Rows<'p> {
    InPlace,
    /// In groups of the kernel's height.
    Grouped(&'p [f32]),
    /// Pairs, rows and steps so far apart.
    Pairs(&'p [f32], (usize, usize)),
}

impl Plan<'_> {
    fn run(&self) {
        let kernels = Kernels::best(self.half);
        if !self.half && self.m <= SKINNY && self.b.column == 1 {
            return self.tiles(kernels, Panels::InPlace);
        }
        if self.jobs_pack() {
            return self.tiles(kernels, Panels::ByJob);
        }
        with_scratch(0, self.packed_b_len(kernels), |packed| {
            self.pack_b(kernels, packed);
            self.tiles(kernels, Panels::Packed(packed));
        });
    }

    fn jobs_pack(&self) -> bool {
        self.b.column == 1 && self.m <= FEW_ROWS && self.k > 2 * KC && self.n * self.k >= MANY_ELEMENTS
    }

    /// Panels of B are `kernels.width` columns wide, the last one a multiple of sixteen.
    fn padded_n(&self) -> usize {
        self.n.next_multiple_of(16)
    }

    fn packed_b_len(&self, kernels: &Kernels) -> usize {
        self.padded_n() * kernels.packed_depth(self.k)
    }

    /// First column and padded width of a panel.
    fn columns(&self, kernels: &Kernels, panel: usize) -> (usize, usize) {
        let first = panel * kernels.width;
        (first, kernels.width.min(self.padded_n() - first))
    }

    fn pack_b(&self, kernels: &Kernels, packed: &mut [f32]) {
        let shared = Shared::new(packed);
        run_jobs(self.packing_jobs(kernels), self.parallel, &|job| self.pack_panel(kernels, shared, 0, job));
    }

    /// One for every block of every panel of B.
    fn packing_jobs(&self, kernels: &Kernels) -> usize {
        self.n.div_ceil(kernels.width) * self.k.div_ceil(KC)
    }

    /// Packs the panel and block of this job to its place after `start`.
    fn pack_panel(&self, kernels: &Kernels, packed: Shared, start: usize, job: usize) {
        let panels = self.n.div_ceil(kernels.width);
        let (block, panel) = (job / panels, job % panels);
        let (k0, kc) = self.block(block);
        let depth = kernels.packed_depth(kc);
        let (first, width) = self.columns(kernels, panel);
        let offset = start + kernels.packed_depth(k0) * self.padded_n() + first * depth;
        // SAFETY: every panel of every block has its own place.
        let out = unsafe { packed.part(offset, width * depth) };
        pack::panel(out, self.b, k0, kc, first, width, kernels.half);
    }

    /// Start and length of a block of the inner dimension.
    fn block(&self, block: usize) -> (usize, usize) {
        (block * KC, KC.min(self.k - block * KC))
    }

    fn tiles(&self, kernels: &Kernels, b: Panels<'_>) {
        let threads = if self.parallel { threads::threads() } else { 1 };
        let (height, jobs_a_thread) = match b {
            Panels::ByJob => (FEW_ROWS, 2),
            _ => (MC, 4),
        };
        let panels = self.n.div_ceil(kernels.width);
        let row_jobs = self.m.div_ceil(height);
        let mut group = panels;
        let wanted = if threads > 1 { jobs_a_thread * threads } else { 1 };
        while group > 1 && row_jobs * panels.div_ceil(group) < wanted {
            group = group.div_ceil(2);
        }
        let columns = panels.div_ceil(group);
        run_jobs(row_jobs * columns, self.parallel, &|job| {
            let (rows, column) = (job / columns, job % columns);
            let rows = rows * height..((rows + 1) * height).min(self.m);
            let panels = column * group..((column + 1) * group).min(panels);
            self.tile(kernels, b, rows, panels);
        });
    }

    /// The rows and panels of one job, block by block of the inner dimension.
    fn tile(
        &self,
        kernels: &Kernels,
        b: Panels<'_>,
        rows: std::ops::Range<usize>,
        panels: std::ops::Range<usize>,
    ) {
        let depth = kernels.packed_depth(KC.min(self.k));
        let in_place = self.a.column == 1 && !kernels.half;
        let a_len = if in_place { 0 } else { rows.len() * depth };
        let b_len = if matches!(b, Panels::ByJob) { kernels.width * depth } else { 0 };
        with_scratch(1, a_len + b_len, |room| {
            let (a_room, b_room) = room.split_at_mut(a_len);
            for block in 0..self.k.div_ceil(KC) {
                let (k0, kc) = self.block(block);
                let a = if in_place {
                    Rows::InPlace
                } else if kernels.half {
                    let distances = pairs::rows(a_room, self.a, rows.clone(), k0, kc);
                    Rows::Pairs(a_room, distances)
                } else {
                    pack::rows(a_room, self.a, rows.clone(), k0, kc, kernels);
                    Rows::Grouped(a_room)
                };
                for panel in panels.clone() {
                    let b = self.panel_of(kernels, b, panel, block, b_room);
                    self.panel(kernels, a, b, &Part { rows: &rows, panel, block });
                }
            }
        });
    }

    /// One block of one panel of B.
    fn panel_of(
        &self,
        kernels: &Kernels,
        b: Panels<'_>,
        panel: usize,
        block: usize,
        room: &mut [f32],
    ) -> Side {
        let (k0, kc) = self.block(block);
        let depth = kernels.packed_depth(kc);
        let (first, width) = self.columns(kernels, panel);
        let (data, step): (&[f32], usize) = match b {
            Panels::InPlace => (&self.b.data[k0 * self.b.row + first..], self.b.row),
            Panels::Packed(packed) => {
                (&packed[kernels.packed_depth(k0) * self.padded_n() + first * depth..], width)
            }
            Panels::ByJob => {
                let room = &mut room[..width * depth];
                pack::panel(room, self.b, k0, kc, first, width, kernels.half);
                (room, width)
            }
        };
        Side { data: data.as_ptr(), row: 0, step }
    }

    /// Rows of A from row `i` on, of the rows that begin at `start`.
    fn rows_of(&self, a: Rows<'_>, start: usize, i: usize, height: usize, (k0, kc): (usize, usize)) -> Side {
        let (data, row, step): (&[f32], usize, usize) = match a {
            Rows::InPlace => (&self.a.data[i * self.a.row + k0..], self.a.row, 1),
            Rows::Grouped(room) => (&room[(i - start) * kc..], 1, height),
            Rows::Pairs(room, (row, step)) => (&room[(i - start) * row..], row, step),
        };
        Side { data: data.as_ptr(), row, step }
    }

    fn panel(&self, kernels: &Kernels, a: Rows<'_>, b: Side, part: &Part<'_>) {
        let (k0, kc) = self.block(part.block);
        let rows = part.rows;
        let first = part.panel * kernels.width;
        let columns = kernels.width.min(self.n - first);
        let (add, bias) = match (part.block, self.start) {
            (0, Start::Zero) => (false, std::ptr::null()),
            (0, Start::Bias(bias)) => (false, bias[first..].as_ptr()),
            _ => (true, std::ptr::null()),
        };
        let mut i = rows.start;
        while i < rows.end {
            let height = kernels.height.min(rows.end - i);
            let side = self.rows_of(a, rows.start, i, height, (k0, kc));
            let call = Call {
                depth: kernels.packed_depth(kc),
                a: side.data,
                a_row: side.row,
                a_column: side.step,
                b: b.data,
                b_row: b.step,
                // SAFETY: row i, column `first` of C, which the caller checked to be large enough.
                c: unsafe { self.c.pointer().add(i * self.c_row + first) },
                c_row: self.c_row,
                columns,
                add,
                bias,
            };
            // SAFETY: the operands hold `height` rows, `depth` steps and `columns` columns; this job owns the tile of C.
            unsafe { kernels.run(height, columns.div_ceil(16), &call) };
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
