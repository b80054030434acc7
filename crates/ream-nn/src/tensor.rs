//! Tensors: f32, row-major, contiguous, shared by reference, with a graph behind them when a gradient is wanted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ream_rand::Rng;

use crate::autograd::{Sink, grad_enabled};
use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::threads;

/// What an operation does with the gradient of its result: it owns that gradient and hands others to the sink.
pub(crate) type BackwardFn = Box<dyn FnOnce(Buffer, &mut Sink) -> Result<()> + Send>;

/// An operation in the graph: where its result came from and how gradients go back.
pub(crate) struct Node {
    pub(crate) parents: Vec<Tensor>,
    pub(crate) backward: BackwardFn,
    pub(crate) name: &'static str,
}

pub(crate) struct Inner {
    /// Grows with every tensor, so a parent's id is smaller than its child's.
    id: u64,
    shape: Vec<usize>,
    data: Arc<Buffer>,
    requires_grad: bool,
    /// Taken out by `backward`, which frees the graph as it goes.
    node: Mutex<Option<Node>>,
}

/// An array of f32 numbers, row-major and contiguous. Cloning shares it.
///
/// Operations are methods and return new tensors; those that need a gradient remember how they were made until
/// [`Tensor::backward`] walks back through them.
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

/// Normal numbers that are one job: an even number.
const NORMALS: usize = 256;

fn fill_normal(out: &mut [f32], deviation: f32, rng: &mut Rng) {
    out.iter_mut().for_each(|x| *x = rng.normal() as f32 * deviation);
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Tensor {
    fn build(shape: Vec<usize>, data: Arc<Buffer>, requires_grad: bool, node: Option<Node>) -> Self {
        Self(Arc::new(Inner { id: next_id(), shape, data, requires_grad, node: Mutex::new(node) }))
    }

    /// A tensor of these numbers.
    ///
    /// # Errors
    /// When the number of elements is not the product of the shape.
    pub fn from_vec(values: Vec<f32>, shape: &[usize]) -> Result<Self> {
        Self::from_buffer(values.into(), shape)
    }

    /// A tensor of these numbers.
    ///
    /// # Errors
    /// When the number of elements is not the product of the shape.
    pub fn from_buffer(values: Buffer, to: &[usize]) -> Result<Self> {
        if values.len() != to.iter().product::<usize>() {
            return shape("from_vec", format!("{} numbers do not fill the shape {to:?}", values.len()));
        }
        Ok(Self::constant(values, to))
    }

    /// As [`Tensor::from_buffer`], for callers that made the buffer by the shape.
    pub(crate) fn constant(values: Buffer, shape: &[usize]) -> Self {
        debug_assert_eq!(values.len(), shape.iter().product::<usize>());
        Self::build(shape.to_vec(), Arc::new(values), false, None)
    }

    /// A tensor that gradients are collected for.
    pub(crate) fn leaf(values: Buffer, shape: &[usize], requires_grad: bool) -> Self {
        Self::build(shape.to_vec(), Arc::new(values), requires_grad, None)
    }

    /// All elements the same.
    #[must_use]
    pub fn full(shape: &[usize], value: f32) -> Self {
        let mut buffer = Buffer::scratch(shape.iter().product());
        buffer.fill(value);
        Self::constant(buffer, shape)
    }

    /// Zeros.
    #[must_use]
    pub fn zeros(shape: &[usize]) -> Self {
        Self::full(shape, 0.0)
    }

    /// One number, shape `[]`.
    #[must_use]
    pub fn scalar(value: f32) -> Self {
        Self::full(&[], value)
    }

    /// Independent normal numbers with mean 0 and the given standard deviation.
    #[must_use]
    pub fn randn(shape: &[usize], deviation: f32, rng: &mut Rng) -> Self {
        let mut buffer = Buffer::scratch(shape.iter().product());
        let whole = buffer.len() / NORMALS * NORMALS;
        let (in_chunks, rest) = buffer.split_at_mut(whole);
        let begun = rng.clone();
        let at = |i: usize| begun.after_normals(i as u64);
        // Every chunk begins where the numbers before it end, so a chunk is a job.
        let rest = match at(whole) {
            Some(end) if whole > NORMALS => {
                threads::chunks(in_chunks, NORMALS, |i, part| {
                    if let Some(mut rng) = at(i) {
                        fill_normal(part, deviation, &mut rng);
                    }
                });
                *rng = end;
                rest
            }
            _ => &mut *buffer,
        };
        fill_normal(rest, deviation, rng);
        Self::constant(buffer, shape)
    }

    /// The result of a fused operation: `data` of the given shape, computed from `parents`; `backward` gets the gradient of the
    /// result (its own, to change in place) and gives each parent its part through [`Sink::add`].
    ///
    /// `backward` is dropped at once when no parent needs a gradient. See ARCHITECTURE.md, *Writing a fused operation*.
    #[must_use]
    pub fn custom(
        name: &'static str,
        shape: &[usize],
        data: Buffer,
        parents: &[&Tensor],
        backward: impl FnOnce(Buffer, &mut Sink) -> Result<()> + Send + 'static,
    ) -> Self {
        debug_assert_eq!(data.len(), shape.iter().product::<usize>(), "{name}");
        Self::derived(name, shape, Arc::new(data), parents, backward)
    }

    /// As [`Tensor::custom`], for a result that `backward` also reads: it keeps the numbers, not the tensor, so nothing holds itself.
    pub(crate) fn derived(
        name: &'static str,
        shape: &[usize],
        data: Arc<Buffer>,
        parents: &[&Tensor],
        backward: impl FnOnce(Buffer, &mut Sink) -> Result<()> + Send + 'static,
    ) -> Self {
        crate::profile::ended(name, false);
        let wanted = grad_enabled() && parents.iter().any(|p| p.requires_grad());
        let node = wanted.then(|| Node {
            parents: parents.iter().filter(|p| p.requires_grad()).map(|p| (*p).clone()).collect(),
            backward: Box::new(backward),
            name,
        });
        Self::build(shape.to_vec(), data, wanted, node)
    }

    /// Sizes of the axes.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// Number of axes.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.shape.len()
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.data.len()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of the last axis; 1 for a scalar.
    #[must_use]
    pub fn last(&self) -> usize {
        self.0.shape.last().copied().unwrap_or(1)
    }

    /// Number of rows when all axes but the last are taken together.
    #[must_use]
    pub fn rows(&self) -> usize {
        let last = self.last();
        self.len().checked_div(last).unwrap_or(0)
    }

    /// The elements, row-major.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.0.data
    }

    /// A copy of the elements.
    #[must_use]
    pub fn to_vec(&self) -> Vec<f32> {
        self.data().to_vec()
    }

    /// The only element.
    ///
    /// # Errors
    /// When there is not exactly one.
    pub fn item(&self) -> Result<f32> {
        match self.data() {
            [value] => Ok(*value),
            _ => shape("item", format!("one element is needed, the shape is {:?}", self.shape())),
        }
    }

    /// Whether gradients flow through this tensor.
    #[must_use]
    pub fn requires_grad(&self) -> bool {
        self.0.requires_grad
    }

    /// The same numbers without their history: gradients stop here.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self::build(self.0.shape.clone(), Arc::clone(&self.0.data), false, None)
    }

    /// The same numbers in another shape.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn reshape(&self, to: &[usize]) -> Result<Self> {
        if to.iter().product::<usize>() != self.len() {
            return shape("reshape", format!("{:?} ({} elements) to {to:?}", self.shape(), self.len()));
        }
        let parent = self.clone();
        Ok(Self::derived("reshape", to, Arc::clone(&self.0.data), &[self], move |grad, sink| {
            sink.add(&parent, grad);
            Ok(())
        }))
    }

    /// The numbers, for a backward that reads its operand.
    pub(crate) fn shared_data(&self) -> Arc<Buffer> {
        Arc::clone(&self.0.data)
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn take_node(&self) -> Option<Node> {
        self.0.node.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Parents and name of the operation that made this; a leaf has none and is called a parameter.
    pub(crate) fn history(&self) -> (Vec<Tensor>, &'static str) {
        let node = self.0.node.lock().unwrap_or_else(PoisonError::into_inner);
        node.as_ref()
            .map_or((Vec::new(), "a parameter or an input"), |node| (node.parents.clone(), node.name))
    }

    /// The elements to write to, when nobody else holds this tensor; otherwise a tensor of its own is made first.
    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        let shared = Arc::get_mut(&mut self.0).is_none_or(|inner| Arc::get_mut(&mut inner.data).is_none());
        if shared {
            *self = Self::leaf(Buffer::copy_of(self.data()), &self.0.shape.clone(), self.requires_grad());
        }
        match Arc::get_mut(&mut self.0).and_then(|inner| Arc::get_mut(&mut inner.data)) {
            Some(buffer) => buffer,
            None => &mut [],
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.data()[..self.len().min(8)];
        let more = if self.len() > 8 { ", ..." } else { "" };
        write!(f, "Tensor{:?} {head:?}{more}", self.shape())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn normal_numbers_are_those_of_the_stream_one_after_another() {
        for len in [0, 1, 7, NORMALS, 2 * NORMALS, 3 * NORMALS + 5] {
            for begin in 0..3 {
                let (mut one, mut all) = (Stream::new(1, "normal").at(2), Stream::new(1, "normal").at(2));
                // Begun at a block, within a pair, within a block.
                (0..begin).for_each(|_| assert_eq!(one.normal(), all.normal()));
                if begin == 2 {
                    assert_eq!(one.next_u32(), all.next_u32());
                }
                let want: Vec<f32> = (0..len).map(|_| one.normal() as f32 * 0.3).collect();
                assert_eq!(Tensor::randn(&[len], 0.3, &mut all).to_vec(), want, "{len} {begin}");
                assert_eq!(one.normal(), all.normal());
                assert_eq!(one.next_u64(), all.next_u64());
            }
        }
    }
}
