//! Attention of a pass's rows over the slots that each sees.

use std::cell::RefCell;

use ream_nn::threads;

use super::cache::Layer;
use super::math::{self, Place};
use super::pass::Plan;
use super::{Cache, Config};
use crate::quant::{BLOCK, RowsWriter};

/// From so many rows on a job takes all query heads of a key head, which then stays in the core's cache.
const MANY: usize = 4;

thread_local! {
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// `softmax(q k / sqrt(head_size)) v` into the rows of `out`; `q` is `[rows, heads * head_size]`.
pub(super) fn attention(config: &Config, plan: &Plan, layer: &Layer, q: &[f32], out: RowsWriter<'_>) {
    let (heads, size) = (config.heads, config.head_size);
    let shared = heads / config.kv_heads;
    let rows = plan.rows.len();
    // A job writes whole blocks of its row.
    let together = if rows >= MANY { shared } else { 1 };
    let together = if (together * size).is_multiple_of(BLOCK) { together } else { heads };
    let jobs = heads.div_ceil(together);
    let attend = kernel(size);
    threads::for_each(rows * jobs, &|job| {
        let (row, first) = (job / jobs, job % jobs * together);
        let (start, len) = plan.seen[row];
        let slots = &plan.slots[start..start + len];
        let last = (first + together).min(heads);
        SCORES.with_borrow_mut(|scores| {
            // SAFETY: heads `first..last` of this row are this job's.
            unsafe {
                out.part(row, first * size, (last - first) * size, |out| {
                    for (head, out) in (first..last).zip(out.chunks_exact_mut(size)) {
                        let place = Place {
                            chunk: Cache::CHUNK,
                            width: config.kv_heads * size,
                            first: head / shared * size,
                        };
                        let q = &q[(row * heads + head) * size..(row * heads + head + 1) * size];
                        attend(q, &layer.keys, &layer.values, slots, place, scores, out);
                    }
                });
            }
        });
    });
}

type Kernel = fn(&[f32], &[Box<[f32]>], &[Box<[f32]>], &[u32], Place, &mut Vec<f32>, &mut [f32]);

/// The kernel of this machine for heads of this size.
fn kernel(size: usize) -> Kernel {
    #[cfg(target_arch = "x86_64")]
    if super::x86::can(size) {
        return super::x86::attend;
    }
    let _ = size;
    math::attend
}
