//! Parameters: named tensors that an optimiser changes, and how they begin.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ream_rand::Stream;

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::tensor::Tensor;

/// A named tensor that is trained. Cloning shares it, so tied weights are two handles of one parameter.
#[derive(Clone, Debug)]
pub struct Param(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    value: RwLock<Tensor>,
    frozen: AtomicBool,
}

impl Param {
    /// A parameter that begins with these values.
    #[must_use]
    pub fn new(name: impl Into<String>, value: &Tensor) -> Self {
        let leaf = Tensor::leaf(Buffer::copy_of(value.data()), value.shape(), true);
        Self(Arc::new(Inner { name: name.into(), value: RwLock::new(leaf), frozen: AtomicBool::new(false) }))
    }

    /// Its full name, for instance `blocks.0.attention.qkv.weight`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its present value, as a leaf of the graph; without a gradient when frozen.
    #[must_use]
    pub fn tensor(&self) -> Tensor {
        let value = self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone();
        if self.is_frozen() { value.detach() } else { value }
    }

    /// Sizes of the axes.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).shape().to_vec()
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of the elements.
    #[must_use]
    pub fn to_vec(&self) -> Vec<f32> {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).to_vec()
    }

    /// Replaces all elements.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn set(&self, values: &[f32]) -> Result<()> {
        if values.len() != self.len() {
            return shape(
                "Param::set",
                format!(
                    "`{}` has shape {:?}, {} numbers were given",
                    self.name(),
                    self.shape(),
                    values.len()
                ),
            );
        }
        self.update(|data| data.copy_from_slice(values));
        Ok(())
    }

    /// Changes the elements in place (in a copy while a graph or another tensor still holds them).
    pub fn update(&self, change: impl FnOnce(&mut [f32])) {
        let mut value = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        change(value.data_mut());
    }

    /// As [`Param::update`] for several parameters at once: `change` gets the position and the elements of each. A parameter that is
    /// given again is left out.
    pub(crate) fn update_all(params: &[&Self], change: impl FnOnce(&mut [(usize, &mut [f32])])) {
        // Locked in the order of their addresses, so that two threads with common parameters cannot wait for each other.
        let mut order: Vec<(*const Inner, usize)> =
            params.iter().enumerate().map(|(i, p)| (Arc::as_ptr(&p.0), i)).collect();
        order.sort_unstable();
        order.dedup_by_key(|(address, _)| *address);
        let mut values: Vec<_> = order
            .iter()
            .map(|(_, i)| (*i, params[*i].0.value.write().unwrap_or_else(PoisonError::into_inner)))
            .collect();
        values.sort_by_key(|(i, _)| *i);
        let mut elements: Vec<(usize, &mut [f32])> =
            values.iter_mut().map(|(i, value)| (*i, value.data_mut())).collect();
        change(&mut elements);
    }

    /// Stops collecting gradients: an optimiser leaves it alone.
    pub fn freeze(&self) {
        self.0.frozen.store(true, Ordering::Relaxed);
    }

    /// Collects gradients again.
    pub fn unfreeze(&self) {
        self.0.frozen.store(false, Ordering::Relaxed);
    }

    /// Whether gradients are collected.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.0.frozen.load(Ordering::Relaxed)
    }

    /// Whether both are handles of one parameter.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).id()
    }
}

/// Something with parameters. The order is fixed: checkpoints and optimisers rely on it.
pub trait Module {
    /// Its parameters, each once, in a fixed order.
    fn params(&self) -> Vec<Param>;

    /// Number of trained numbers.
    fn parameter_count(&self) -> usize {
        self.params().iter().map(Param::len).sum()
    }

    /// Freezes every parameter.
    fn freeze(&self) {
        self.params().iter().for_each(Param::freeze);
    }

    /// Unfreezes every parameter.
    fn unfreeze(&self) {
        self.params().iter().for_each(Param::unfreeze);
    }

    /// Copies the values of a module of the same make.
    ///
    /// # Errors
    /// When number or shapes of the parameters differ.
    fn copy_from(&self, other: &dyn Module) -> Result<()> {
        let (to, from) = (self.params(), other.params());
        if to.len() != from.len() {
            return shape("copy_from", format!("{} parameters, the other has {}", to.len(), from.len()));
        }
        to.iter().zip(&from).try_for_each(|(to, from)| to.set(&from.to_vec()))
    }
}

impl<M: Module> Module for [M] {
    fn params(&self) -> Vec<Param> {
        self.iter().flat_map(Module::params).collect()
    }
}

impl<M: Module> Module for Vec<M> {
    fn params(&self) -> Vec<Param> {
        self.as_slice().params()
    }
}

impl<M: Module> Module for Option<M> {
    fn params(&self) -> Vec<Param> {
        self.as_ref().map(Module::params).unwrap_or_default()
    }
}

impl Module for Param {
    fn params(&self) -> Vec<Param> {
        vec![self.clone()]
    }
}

/// Where the first values of parameters come from: random numbers keyed by seed and full name, so that adding a layer
/// changes no other layer's beginning.
///
/// ```
/// use ream_nn::{Init, Module, layers::Linear};
/// let init = Init::new(1);
/// let layer = Linear::new(&init.at("head"), 4, 2, true);
/// assert_eq!(layer.params()[0].name(), "head.weight");
/// ```
#[derive(Clone, Debug)]
pub struct Init {
    seed: u64,
    path: String,
}

impl Init {
    /// The root of a model.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, path: String::new() }
    }

    /// The place of a part.
    #[must_use]
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self { seed: self.seed, path: self.full(name) }
    }

    fn full(&self, name: impl std::fmt::Display) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    /// Random numbers for the parameter of this name.
    #[must_use]
    pub fn stream(&self, name: &str) -> Stream {
        Stream::new(self.seed, &format!("init {}", self.full(name)))
    }

    /// Normal with mean 0 and this standard deviation.
    #[must_use]
    pub fn normal(&self, name: &str, shape: &[usize], deviation: f32) -> Param {
        Param::new(self.full(name), &Tensor::randn(shape, deviation, &mut self.stream(name).at(0)))
    }

    /// Uniform on `[-limit, limit)`.
    #[must_use]
    pub fn uniform(&self, name: &str, shape: &[usize], limit: f32) -> Param {
        let mut rng = self.stream(name).at(0);
        let mut values = Buffer::scratch(shape.iter().product());
        values.iter_mut().for_each(|x| *x = (2.0 * rng.uniform_f32() - 1.0) * limit);
        Param::new(self.full(name), &Tensor::constant(values, shape))
    }

    /// All the same.
    #[must_use]
    pub fn constant(&self, name: &str, shape: &[usize], value: f32) -> Param {
        Param::new(self.full(name), &Tensor::full(shape, value))
    }

    /// These values.
    #[must_use]
    pub fn values(&self, name: &str, value: &Tensor) -> Param {
        Param::new(self.full(name), value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_depend_on_the_full_name_only() {
        let init = Init::new(3);
        let a = init.at("a").normal("weight", &[4, 4], 1.0);
        let _ = init.normal("other", &[9], 1.0);
        assert_eq!(a.to_vec(), Init::new(3).at("a").normal("weight", &[4, 4], 1.0).to_vec());
        assert_ne!(a.to_vec(), init.at("b").normal("weight", &[4, 4], 1.0).to_vec());
        assert_eq!(a.name(), "a.weight");
    }

    #[test]
    fn several_parameters_are_changed_at_once_and_each_once() {
        let init = Init::new(1);
        let (a, b) = (init.constant("a", &[2], 1.0), init.constant("b", &[1], 2.0));
        Param::update_all(&[&b, &a, &b], |all| {
            assert_eq!(all.iter().map(|(i, x)| (*i, x.len())).collect::<Vec<_>>(), [(0, 1), (1, 2)]);
            all.iter_mut().for_each(|(_, x)| x.iter_mut().for_each(|x| *x += 1.0));
        });
        assert_eq!((a.to_vec(), b.to_vec()), (vec![2.0, 2.0], vec![3.0]));
    }

    #[test]
    fn updates_happen_in_place_unless_somebody_holds_the_values() {
        let p = Init::new(1).constant("p", &[2], 1.0);
        let id = p.id();
        p.update(|x| x[0] = 2.0);
        assert_eq!((p.id(), p.to_vec()), (id, vec![2.0, 1.0]));
        let held = p.tensor();
        p.update(|x| x[0] = 3.0);
        assert_eq!((held.to_vec(), p.to_vec()), (vec![2.0, 1.0], vec![3.0, 1.0]));
        assert!(p.set(&[1.0]).unwrap_err().to_string().contains("`p` has shape [2]"));
    }
}
