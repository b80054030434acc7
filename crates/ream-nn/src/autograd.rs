//! The way back: gradients of a scalar for every parameter it was made from.

use std::cell::Cell;
use std::collections::{BinaryHeap, HashMap};

use crate::buffer::Buffer;
use crate::error::{NnError, Result};
use crate::gemm::Start;
use crate::kernels::{add_into, scale, sum_of_squares};
use crate::param::Param;
use crate::tensor::Tensor;

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(true) };
}

pub(crate) fn grad_enabled() -> bool {
    ENABLED.get()
}

/// Runs `work` without building a graph: for evaluation and sampling.
pub fn no_grad<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ENABLED.set(self.0);
        }
    }
    let _restore = Restore(ENABLED.replace(false));
    work()
}

/// Where an operation puts the gradients of its parents.
#[derive(Default)]
pub struct Sink {
    grads: HashMap<u64, Buffer>,
}

impl Sink {
    /// Adds `grad` to the gradient of `parent`; dropped when the parent needs none.
    pub fn add(&mut self, parent: &Tensor, grad: Buffer) {
        if !parent.requires_grad() {
            return;
        }
        debug_assert_eq!(grad.len(), parent.len());
        match self.grads.entry(parent.id()) {
            std::collections::hash_map::Entry::Occupied(mut have) => add_into(have.get_mut(), &grad),
            std::collections::hash_map::Entry::Vacant(none) => {
                none.insert(grad);
            }
        }
    }

    /// The gradient of `parent` to add to in place, zeros when there is none yet; `None` when the parent needs none.
    pub fn accumulate(&mut self, parent: &Tensor) -> Option<&mut Buffer> {
        parent
            .requires_grad()
            .then(|| self.grads.entry(parent.id()).or_insert_with(|| Buffer::zeros(parent.len())))
    }
}

impl Sink {
    /// Where to put the gradient of `parent` with a matrix product, and whether something is there already.
    pub(crate) fn start(&mut self, parent: &Tensor) -> (&mut Buffer, Start<'static>) {
        match self.grads.entry(parent.id()) {
            std::collections::hash_map::Entry::Occupied(have) => (have.into_mut(), Start::Keep),
            std::collections::hash_map::Entry::Vacant(none) => {
                (none.insert(Buffer::scratch(parent.len())), Start::Zero)
            }
        }
    }
}

/// Gradients of one backward pass, by parameter.
pub struct Gradients {
    grads: HashMap<u64, Buffer>,
}

impl Gradients {
    /// The gradient of a parameter; `None` when the loss does not depend on it.
    #[must_use]
    pub fn get(&self, param: &Param) -> Option<&[f32]> {
        self.grads.get(&param.id()).map(|buffer| &**buffer)
    }

    /// The gradient to change in place.
    pub fn get_mut(&mut self, param: &Param) -> Option<&mut [f32]> {
        self.grads.get_mut(&param.id()).map(|buffer| &mut **buffer)
    }

    /// The gradient of an input made with [`Tensor::watched`].
    #[must_use]
    pub fn of(&self, tensor: &Tensor) -> Option<&[f32]> {
        self.grads.get(&tensor.id()).map(|buffer| &**buffer)
    }

    /// Euclidean norm over all gradients of these parameters.
    #[must_use]
    pub fn norm(&self, params: &[Param]) -> f64 {
        params.iter().filter_map(|p| self.get(p)).map(sum_of_squares).sum::<f64>().sqrt()
    }

    /// Shrinks all gradients so that their norm is at most `limit`; gives the norm from before.
    pub fn clip_norm(&mut self, params: &[Param], limit: f32) -> f64 {
        let norm = self.norm(params);
        if norm > f64::from(limit) {
            self.scale(params, (f64::from(limit) / norm) as f32);
        }
        norm
    }

    /// Multiplies all gradients of these parameters.
    pub fn scale(&mut self, params: &[Param], factor: f32) {
        for param in params {
            if let Some(gradient) = self.get_mut(param) {
                scale(gradient, factor);
            }
        }
    }

    /// Adds the gradients of another pass, for accumulation over small batches.
    ///
    /// Both passes must have used the same values of the parameters.
    pub fn merge(&mut self, params: &[Param], mut other: Self) {
        for param in params {
            let Some(more) = other.grads.remove(&param.id()) else { continue };
            match self.grads.entry(param.id()) {
                std::collections::hash_map::Entry::Occupied(mut have) => add_into(have.get_mut(), &more),
                std::collections::hash_map::Entry::Vacant(none) => {
                    none.insert(more);
                }
            }
        }
    }
}

struct Pending(Tensor);

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}
impl Eq for Pending {}
impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id().cmp(&other.0.id())
    }
}

impl Tensor {
    /// A copy without history that gradients are collected for; read them with [`Gradients::of`].
    #[must_use]
    pub fn watched(&self) -> Self {
        Self::leaf(Buffer::copy_of(self.data()), self.shape(), true)
    }

    /// Gradients of this scalar for everything it was made from. The graph is freed on the way.
    ///
    /// # Errors
    /// When this is not a scalar, or nothing it was made from needs a gradient, or the graph was used before.
    pub fn backward(&self) -> Result<Gradients> {
        if self.len() != 1 {
            return Err(NnError::Backward("only a scalar has a gradient: sum or average first"));
        }
        self.backward_with(Buffer::from(vec![1.0]))
    }

    /// As [`Tensor::backward`] for a tensor of any shape, given the gradient that arrives at it.
    ///
    /// # Errors
    /// When the lengths differ, nothing needs a gradient, or the graph was used before.
    pub fn backward_with(&self, grad: Buffer) -> Result<Gradients> {
        if !self.requires_grad() {
            return Err(NnError::Backward("nothing this was made from needs a gradient"));
        }
        if grad.len() != self.len() {
            return Err(NnError::Backward("the gradient given has another length than the tensor"));
        }
        // A parent's id is smaller than its child's: taking the largest first meets every tensor after all of its children.
        let mut sink = Sink::default();
        let mut pending = BinaryHeap::from([Pending(self.clone())]);
        let mut last = u64::MAX;
        sink.grads.insert(self.id(), grad);
        let mut first = true;
        while let Some(Pending(tensor)) = pending.pop() {
            if tensor.id() == last {
                continue;
            }
            last = tensor.id();
            let Some(node) = tensor.take_node() else {
                if first {
                    return Err(NnError::Backward("this graph was used before, or this is a leaf"));
                }
                continue;
            };
            first = false;
            let Some(grad) = sink.grads.remove(&tensor.id()) else { continue };
            drop(tensor);
            (node.backward)(grad, &mut sink)?;
            crate::profile::ended(node.name, true);
            pending.extend(node.parents.into_iter().map(Pending));
        }
        Ok(Gradients { grads: sink.grads })
    }

    /// Where the first non-finite value behind this tensor arose, in words: the graph is read, not used.
    pub(crate) fn first_not_finite(&self, params: &[Param]) -> Option<String> {
        let mut pending = vec![self.clone()];
        let mut seen = std::collections::HashSet::new();
        let mut found: Option<(u64, String)> = None;
        while let Some(tensor) = pending.pop() {
            if !seen.insert(tensor.id()) {
                continue;
            }
            let (parents, operation) = tensor.history();
            let broken = tensor.data().iter().any(|x| !x.is_finite());
            if broken && found.as_ref().is_none_or(|(id, _)| tensor.id() < *id) {
                found = Some((tensor.id(), place(&tensor, &parents, operation, params)));
            }
            pending.extend(parents);
        }
        found.map(|(_, place)| place)
    }
}

/// "parameter `head.weight`", or the operation with the parameters it used.
fn place(tensor: &Tensor, parents: &[Tensor], operation: &str, params: &[Param]) -> String {
    let name = |tensor: &Tensor| params.iter().find(|p| p.id() == tensor.id()).map(Param::name);
    if let Some(name) = name(tensor) {
        return format!("parameter `{name}`");
    }
    match parents.iter().find_map(name) {
        Some(used) => format!("`{operation}` of `{used}`"),
        None => format!("`{operation}`"),
    }
}
