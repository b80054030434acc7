//! Perceptrons, and several of one make, as one operation.
//!
//! `z_l = h_{l-1} W_l' + b_l`, `h_l = act(z_l)`, `h_0 = x`, and `z_L` is the result. Small networks at the batches of control spend
//! more time between their products than in them, so a block of rows passes through all layers on one thread while it is in the cache,
//! and the loops over threads do not meet at every layer: weights are packed, rows pass; back, weights are packed, gradients of rows
//! pass (`dz_{l-1} = (dz_l W_l) act'`), and the gradients of all weights (`dz_l' h_{l-1}`) are one more loop.
//!
//! Blocks of rows do not depend on the number of threads, and every number is the same sum in the same order as layer by layer.

use std::cell::RefCell;
use std::ops::Range;

use super::activation::Activation;
use crate::autograd::{Sink, grad_enabled};
use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::gemm::{Mat, Packed, SERIAL, SKINNY, Start, gemm_serial, precision};
use crate::kernels::{self, ROWS};
use crate::ops;
use crate::tensor::Tensor;
use crate::threads::{self, Shared};

thread_local! {
    /// Activations of a block of rows, kept for the next block.
    static OWN: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Weight and bias of a layer.
type Dense = (Tensor, Option<Tensor>);

/// A perceptron over the last axis, `[.., d_0]` to `[.., d_L]`: layer `l` has a weight `[d_l, d_{l-1}]` and a bias `[d_l]`; the activation
/// stands between the layers.
///
/// # Errors
/// When the sizes do not fit.
pub fn mlp(x: &Tensor, layers: &[Dense], activation: Activation) -> Result<Tensor> {
    let sizes = sizes(layers, &[]).filter(|sizes| x.rank() > 0 && x.last() == sizes[0]);
    let net = sizes.map(|sizes| Network { sizes, rows: x.rows(), members: 0..1, all: 1, shared: true });
    let Some(net) = net.filter(Network::is_worth_it) else {
        return layer_by_layer(x, layers, activation, ops::linear);
    };
    let mut to = x.shape().to_vec();
    if let (Some(last), Some(d_out)) = (to.last_mut(), net.sizes.last()) {
        *last = *d_out;
    }
    Ok(net.apply(x, layers, activation, &to))
}

/// Several perceptrons of one make: layer `l` has weights `[all, d_l, d_{l-1}]` and biases `[all, d_l]`, of which `members` are evaluated. `x`
/// is `[rows, d_0]`, read by every member, or `[members, rows, d_0]`; the result is `[members, rows, d_L]`.
///
/// # Errors
/// When the sizes do not fit, or there are no such members.
pub fn batched_mlp(
    x: &Tensor,
    layers: &[Dense],
    activation: Activation,
    members: Range<usize>,
) -> Result<Tensor> {
    let all = layers.first().and_then(|(weight, _)| weight.shape().first().copied()).unwrap_or(0);
    if members.start >= members.end || members.end > all {
        return shape("batched_mlp", format!("members {members:?}, there are {all}"));
    }
    let net = sizes(layers, &[all]).and_then(|sizes| {
        let (rows, shared) = match *x.shape() {
            [rows, d] if d == sizes[0] => (rows, true),
            [m, rows, d] if m == members.len() && d == sizes[0] => (rows, false),
            _ => return None,
        };
        Some(Network { sizes, rows, members: members.clone(), all, shared })
    });
    let Some(net) = net.filter(Network::is_worth_it) else {
        let some = |x: &Tensor| {
            if members.len() == all { Ok(x.clone()) } else { x.narrow(0, members.start, members.len()) }
        };
        return layer_by_layer(x, layers, activation, |h, weight, bias| {
            ops::batched_linear(h, &some(weight)?, bias.map(some).transpose()?.as_ref())
        });
    };
    let to = [net.members.len(), net.rows, net.width(net.depth())];
    Ok(net.apply(x, layers, activation, &to))
}

/// The same with an operation for every step: for few rows, for sizes that do not fit (its errors name the axes), and the twin in tests.
fn layer_by_layer(
    x: &Tensor,
    layers: &[Dense],
    activation: Activation,
    linear: impl Fn(&Tensor, &Tensor, Option<&Tensor>) -> Result<Tensor>,
) -> Result<Tensor> {
    let mut h = x.clone();
    for (l, (weight, bias)) in layers.iter().enumerate() {
        h = linear(&h, weight, bias.as_ref())?;
        if l + 1 < layers.len() {
            h = activation.apply(&h);
        }
    }
    Ok(h)
}

/// `[d_0, .., d_L]` when every weight is `[lead.., d_l, d_{l-1}]` and every bias `[lead.., d_l]`.
fn sizes(layers: &[Dense], lead: &[usize]) -> Option<Vec<usize>> {
    let mut sizes = vec![layers.first()?.0.last()];
    for (weight, bias) in layers {
        let [first @ .., d_out, d_in] = weight.shape() else { return None };
        let bias_fits = bias.as_ref().is_none_or(|bias| bias.shape() == [lead, &[*d_out]].concat());
        if first != lead || sizes.last() != Some(d_in) || !bias_fits {
            return None;
        }
        sizes.push(*d_out);
    }
    Some(sizes)
}

/// What is evaluated.
struct Network {
    /// `[d_0, .., d_L]`.
    sizes: Vec<usize>,
    /// Of each member.
    rows: usize,
    /// Which are evaluated, of how many.
    members: Range<usize>,
    all: usize,
    /// Whether all members read the same rows.
    shared: bool,
}

/// Activations of one hidden layer, `[members, rows, d_l]`.
struct Hidden {
    h: Buffer,
    /// Before the activation, when its derivative is written in it.
    z: Option<Buffer>,
}

/// Rows of one member.
struct Block {
    member: usize,
    rows: Range<usize>,
}

impl Network {
    /// A few rows are better off with the products of decoding, which never pack.
    fn is_worth_it(&self) -> bool {
        self.rows > SKINNY && !self.sizes.contains(&0)
    }

    fn depth(&self) -> usize {
        self.sizes.len() - 1
    }

    /// Of the numbers that enter layer `l`.
    fn width(&self, l: usize) -> usize {
        self.sizes[l]
    }

    fn blocks(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// Calls `work` for every block of rows of every member.
    fn for_each_block(&self, work: impl Fn(&Block) + Sync) {
        let blocks = self.blocks();
        threads::for_each(self.members.len() * blocks, &|job| {
            let first = job % blocks * ROWS;
            work(&Block { member: job / blocks, rows: first..(first + ROWS).min(self.rows) });
        });
    }

    /// Where a block's rows of `width` numbers are in `[members, rows, width]`.
    fn place(&self, block: &Block, width: usize) -> Range<usize> {
        let first = block.member * self.rows;
        (first + block.rows.start) * width..(first + block.rows.end) * width
    }

    /// Where a block's rows of x are.
    fn place_in_x(&self, block: &Block) -> Range<usize> {
        let d = self.width(0);
        if self.shared { block.rows.start * d..block.rows.end * d } else { self.place(block, d) }
    }

    /// Room for `width` numbers of every row.
    fn room(&self, width: usize) -> Buffer {
        Buffer::scratch(self.members.len() * self.rows * width)
    }

    /// Weights of a member that is evaluated, `[d_out, d_in]`.
    fn weight<'a>(&self, weight: &'a Tensor, l: usize, member: usize) -> Mat<'a> {
        let (d_out, d_in) = (self.width(l + 1), self.width(l));
        let size = d_out * d_in;
        Mat::new(&weight.data()[(self.members.start + member) * size..][..size], d_out, d_in)
    }

    fn bias<'a>(&self, bias: Option<&'a Tensor>, l: usize, member: usize) -> Start<'a> {
        let d_out = self.width(l + 1);
        bias.map_or(Start::Zero, |b| Start::Bias(&b.data()[(self.members.start + member) * d_out..][..d_out]))
    }

    fn apply(self, x: &Tensor, layers: &[Dense], activation: Activation, to: &[usize]) -> Tensor {
        let mut parents = vec![x];
        parents.extend(layers.iter().map(|(weight, _)| weight));
        parents.extend(layers.iter().filter_map(|(_, bias)| bias.as_ref()));
        let keep = grad_enabled() && parents.iter().any(|p| p.requires_grad());
        let (hidden, out) = self.forward(x, layers, activation, keep);
        let kept = Kept { net: self, x: x.clone(), layers: layers.to_vec(), hidden, activation };
        Tensor::custom("mlp", to, out, &parents, move |grad, sink| {
            kept.backward(&grad, sink);
            Ok(())
        })
    }

    /// The hidden activations, when they are to be kept, and the result.
    fn forward(
        &self,
        x: &Tensor,
        layers: &[Dense],
        activation: Activation,
        keep: bool,
    ) -> (Vec<Hidden>, Buffer) {
        let (depth, loops) = (self.depth(), activation.loops());
        // Member after member, so that a thread packs what its rows will pass through.
        let weights = (0..self.members.len()).flat_map(|i| {
            layers.iter().enumerate().map(move |(l, (weight, _))| self.weight(weight, l, i).t())
        });
        let packed = Packed::new(weights);
        let hidden = |l: usize| Hidden {
            h: self.room(self.width(l)),
            z: loops.keeps_input.then(|| self.room(self.width(l))),
        };
        let mut hidden: Vec<Hidden> = if keep { (1..depth).map(hidden).collect() } else { Vec::new() };
        let kept: Vec<(Shared, Option<Shared>)> = hidden
            .iter_mut()
            .map(|hidden| (Shared::new(&mut hidden.h), hidden.z.as_mut().map(|z| Shared::new(z))))
            .collect();
        let mut out = self.room(self.width(depth));
        let out_shared = Shared::new(&mut out);
        self.for_each_block(|block| {
            let rows = block.rows.len();
            // Without a gradient to come, activations stay in the cache of this thread.
            let mut own = if keep { Vec::new() } else { OWN.take() };
            own.resize_with(if keep { 0 } else { depth - 1 }, Vec::new);
            for (l, own) in own.iter_mut().enumerate() {
                own.resize(rows * self.width(l + 1), 0.0);
            }
            let mut rooms = own.iter_mut();
            let mut input = &x.data()[self.place_in_x(block)];
            for (l, (_, bias)) in layers.iter().enumerate() {
                let (a, at) = (Mat::new(input, rows, self.width(l)), self.place(block, self.width(l + 1)));
                let start = self.bias(bias.as_ref(), l, block.member);
                let product = |c: &mut [f32]| packed.product(block.member * depth + l, c, a, start);
                // SAFETY: every block owns its rows of the result and of all activations.
                let part = |room: Shared| unsafe { room.owned_part(at.clone()) };
                let h: &mut [f32] = match (rooms.next(), kept.get(l)) {
                    (Some(own), _) => own,
                    (None, Some((h, _))) => part(*h),
                    (None, None) => {
                        product(part(out_shared));
                        break;
                    }
                };
                if let Some((_, Some(z))) = kept.get(l) {
                    let z = part(*z);
                    product(z);
                    (loops.forward)(h, z);
                } else {
                    product(h);
                    (loops.in_place)(h);
                }
                input = h;
            }
            OWN.set(own);
        });
        (hidden, out)
    }
}

/// What backward needs.
struct Kept {
    net: Network,
    x: Tensor,
    layers: Vec<Dense>,
    hidden: Vec<Hidden>,
    activation: Activation,
}

/// The gradients that arrive before each activation, `dz[l]` at the output of layer `l`, and sums of them.
struct Passed<'a> {
    /// Of the layers below the last one, from `lowest` on.
    dz: Vec<Buffer>,
    lowest: usize,
    last: &'a [f32],
    /// Sums over the rows of each block, `[members, blocks, d_l]`, for the same layers and the last one, where a bias wants them.
    sums: Vec<Buffer>,
    dx: Option<Buffer>,
}

impl Passed<'_> {
    fn dz(&self, l: usize) -> &[f32] {
        self.dz.get(l - self.lowest).map_or(self.last, |dz| dz)
    }
}

impl Kept {
    fn backward(&self, grad: &[f32], sink: &mut Sink) {
        let wanted = |(weight, bias): &Dense| {
            weight.requires_grad() || bias.as_ref().is_some_and(Tensor::requires_grad)
        };
        let lowest =
            if self.x.requires_grad() { 0 } else { self.layers.iter().position(wanted).unwrap_or(0) };
        let mut passed = self.pass_rows(grad, lowest);
        for (l, weight) in self.weight_gradients(&passed) {
            sink.add(&self.layers[l].0, weight);
        }
        for (l, (_, bias)) in self.layers.iter().enumerate() {
            if let Some(bias) = bias.as_ref().filter(|b| b.requires_grad()) {
                sink.add(bias, self.bias_gradient(&passed.sums[l - lowest], l));
            }
        }
        if let Some(dx) = passed.dx.take() {
            sink.add(&self.x, dx);
        }
    }

    /// Takes the gradient of every block of rows down to the output of layer `lowest`, and to x when that is wanted.
    fn pass_rows<'a>(&self, grad: &'a [f32], lowest: usize) -> Passed<'a> {
        let net = &self.net;
        let (depth, members) = (net.depth(), net.members.len());
        let to_x = self.x.requires_grad();
        // Layers whose weights are passed on the way down.
        let first = if to_x { 0 } else { lowest + 1 };
        let weights =
            (0..members).flat_map(|i| (first..depth).map(move |l| net.weight(&self.layers[l].0, l, i)));
        let packed = Packed::new(weights);
        let product = |l: usize, block: &Block, dx: &mut [f32], dz: &[f32], start: Start<'_>| {
            let a = Mat::new(dz, block.rows.len(), net.width(l + 1));
            packed.product(block.member * (depth - first) + l - first, dx, a, start);
        };
        let mut dz: Vec<Buffer> = (lowest + 1..depth).map(|l| net.room(net.width(l))).collect();
        let sum_room = |l| Buffer::scratch(members * net.blocks() * net.width(l + 1));
        let mut sums: Vec<Buffer> = (lowest..depth).map(sum_room).collect();
        let mut dx = to_x.then(|| Buffer::scratch(self.x.len()));
        let dz_rooms: Vec<Shared> = dz.iter_mut().map(|dz| Shared::new(dz)).collect();
        let sum_rooms: Vec<Shared> = sums.iter_mut().map(|sums| Shared::new(sums)).collect();
        let dx_room = dx.as_mut().map(|dx| Shared::new(dx));
        let backward = self.activation.loops().backward;
        let many_to_x = net.shared && members > 1;
        net.for_each_block(|block| {
            let sum_up = |l: usize, dz: &[f32]| {
                if !self.layers[l].1.as_ref().is_some_and(Tensor::requires_grad) {
                    return;
                }
                let width = net.width(l + 1);
                let index = block.member * net.blocks() + block.rows.start / ROWS;
                // SAFETY: every block owns its sums.
                let sums = unsafe { sum_rooms[l - lowest].owned_part(index * width..(index + 1) * width) };
                sums.fill(0.0);
                kernels::add_rows(sums, dz);
            };
            let mut current = &grad[net.place(block, net.width(depth))];
            sum_up(depth - 1, current);
            for l in (lowest + 1..depth).rev() {
                let at = net.place(block, net.width(l));
                // SAFETY: every block owns its rows.
                let below = unsafe { dz_rooms[l - 1 - lowest].owned_part(at.clone()) };
                product(l, block, below, current, Start::Zero);
                let hidden = &self.hidden[l - 1];
                backward(below, &hidden.z.as_ref().unwrap_or(&hidden.h)[at]);
                sum_up(l - 1, below);
                current = below;
            }
            if let Some(dx) = dx_room.filter(|_| !many_to_x) {
                // SAFETY: every block owns its rows.
                product(0, block, unsafe { dx.owned_part(net.place_in_x(block)) }, current, Start::Zero);
            }
        });
        let passed = Passed { dz, lowest, last: grad, sums, dx };
        if let Some(dx) = dx_room.filter(|_| many_to_x) {
            // Rows that all members read: their gradients are added in the order of the members.
            threads::for_each(net.blocks(), &|job| {
                let rows = job * ROWS..(job * ROWS + ROWS).min(net.rows);
                for member in 0..members {
                    let block = Block { member, rows: rows.clone() };
                    let start = if member == 0 { Start::Zero } else { Start::Keep };
                    // SAFETY: every job owns its rows.
                    let dx = unsafe { dx.owned_part(net.place_in_x(&block)) };
                    product(0, &block, dx, &passed.dz(0)[net.place(&block, net.width(1))], start);
                }
            });
        }
        passed
    }

    /// `dz_l' h_{l-1}` of every layer that wants it, all in one loop.
    fn weight_gradients(&self, passed: &Passed<'_>) -> Vec<(usize, Buffer)> {
        let net = &self.net;
        let members = net.members.len();
        let wanted = (0..net.depth()).filter(|l| self.layers[*l].0.requires_grad());
        let mut gradients: Vec<(usize, Buffer)> = wanted
            .map(|l| {
                let len = net.all * net.width(l + 1) * net.width(l);
                (l, if members == net.all { Buffer::scratch(len) } else { Buffer::zeros(len) })
            })
            .collect();
        let rooms: Vec<(usize, Shared)> = gradients.iter_mut().map(|(l, g)| (*l, Shared::new(g))).collect();
        // Rows of one member's gradient, in as many parts as threads share a member.
        let mut jobs: Vec<(usize, Shared, Block)> = Vec::new();
        for (l, room) in rooms {
            let d_out = net.width(l + 1);
            let work = d_out * net.width(l) * net.rows;
            let parts = if work < SERIAL { 1 } else { threads::threads().div_ceil(members) };
            let size = d_out.div_ceil(parts).next_multiple_of(SKINNY);
            for (member, start) in (0..members).flat_map(|m| (0..d_out).step_by(size).map(move |r| (m, r))) {
                jobs.push((l, room, Block { member, rows: start..(start + size).min(d_out) }));
            }
        }
        // A part of all layers for each thread, the largest first, so that the threads end together.
        jobs.sort_by_key(|(l, _, block)| {
            let size = block.rows.len() * net.width(*l);
            (block.member, block.rows.start * 1024 / net.width(l + 1), std::cmp::Reverse(size))
        });
        let precision = precision();
        threads::for_each(jobs.len(), &|job| {
            let (l, room, Block { member, rows }) = &jobs[job];
            let (d_out, d_in) = (net.width(l + 1), net.width(*l));
            let first = (net.members.start + member) * d_out;
            // SAFETY: every job owns its rows of the gradient.
            let c = unsafe { room.owned_part((first + rows.start) * d_in..(first + rows.end) * d_in) };
            let dz = &passed.dz(*l)[member * net.rows * d_out..][..net.rows * d_out];
            let a = Mat::strided(&dz[rows.start..], rows.len(), net.rows, 1, d_out);
            gemm_serial(c, d_in, a, self.input(*l, *member), Start::Zero, precision);
        });
        gradients
    }

    /// What a member's layer `l` read, `[rows, d_l]`.
    fn input(&self, l: usize, member: usize) -> Mat<'_> {
        let (net, width) = (&self.net, self.net.width(l));
        let data = if l == 0 { self.x.data() } else { &self.hidden[l - 1].h };
        let member = if l == 0 && net.shared { 0 } else { member };
        Mat::new(&data[member * net.rows * width..][..net.rows * width], net.rows, width)
    }

    /// From the sums of its blocks, in their order.
    fn bias_gradient(&self, sums: &[f32], l: usize) -> Buffer {
        let (net, width) = (&self.net, self.net.width(l + 1));
        let mut gradient = Buffer::zeros(net.all * width);
        let evaluated = gradient[net.members.start * width..].chunks_exact_mut(width);
        for (gradient, sums) in evaluated.zip(sums.chunks_exact(net.blocks() * width)) {
            kernels::add_rows(gradient, sums);
        }
        gradient
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::{Precision, with_precision};
    use crate::gradcheck::check_gradients;
    use ream_rand::Stream;

    const ALL: [Activation; 5] =
        [Activation::Relu, Activation::Tanh, Activation::Gelu, Activation::Silu, Activation::Elu];

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "mlp").at(0))
    }

    /// Layers of these sizes, with a bias where `biased` says so, that gradients are collected for.
    fn layers(lead: &[usize], sizes: &[usize], biased: impl Fn(usize) -> bool) -> Vec<Dense> {
        (0..sizes.len() - 1)
            .map(|l| {
                let weight = normal(&[lead, &[sizes[l + 1], sizes[l]]].concat(), l as u64 + 1).watched();
                let bias = normal(&[lead, &[sizes[l + 1]]].concat(), l as u64 + 10).watched();
                (weight, biased(l).then_some(bias))
            })
            .collect()
    }

    /// The result and every gradient, as bits.
    fn bits(y: &Tensor, x: &Tensor, layers: &[Dense]) -> Vec<Vec<u32>> {
        let gradients = y.backward_with(Buffer::copy_of(normal(y.shape(), 99).data())).unwrap();
        let tensors = layers.iter().flat_map(|(w, b)| std::iter::once(w).chain(b));
        let gradients = std::iter::once(x).chain(tensors).map(|t| gradients.of(t).unwrap_or(&[]).to_vec());
        let all = std::iter::once(y.to_vec()).chain(gradients);
        all.map(|values| values.iter().map(|v| v.to_bits()).collect()).collect()
    }

    #[test]
    fn it_has_the_bits_of_one_operation_after_another() {
        for precision in [Precision::F32, Precision::Bf16] {
            with_precision(precision, || {
                for (rows, sizes) in
                    [(17, &[3, 1][..]), (64, &[23, 50, 1]), (65, &[5, 16, 49, 6]), (200, &[1, 70, 200, 33])]
                {
                    for activation in ALL {
                        let layers = layers(&[], sizes, |l| l != 1);
                        for x in [normal(&[rows, sizes[0]], 5), normal(&[rows, sizes[0]], 5).watched()] {
                            let got = mlp(&x, &layers, activation).unwrap();
                            let want = layer_by_layer(&x, &layers, activation, ops::linear).unwrap();
                            let (got, want) = (bits(&got, &x, &layers), bits(&want, &x, &layers));
                            assert!(got == want, "{precision:?} {rows} {sizes:?} {activation:?}");
                            assert_eq!(got[1].is_empty(), !x.requires_grad());
                        }
                    }
                }
            });
        }
    }

    #[test]
    fn members_have_the_bits_of_batched_products() {
        let sizes = [4, 20, 33, 2];
        let layers = layers(&[3], &sizes, |_| true);
        for activation in [Activation::Relu, Activation::Gelu] {
            for members in [0..3, 1..2, 1..3] {
                let own = [members.len(), 70, 4];
                for x in [normal(&[70, 4], 5).watched(), normal(&own, 6).watched(), normal(&own, 6)] {
                    let got = batched_mlp(&x, &layers, activation, members.clone()).unwrap();
                    assert_eq!(got.shape(), [members.len(), 70, 2]);
                    let some = |x: &Tensor| x.narrow(0, members.start, members.len()).unwrap();
                    let want = layer_by_layer(&x, &layers, activation, |h, weight, bias| {
                        ops::batched_linear(h, &some(weight), bias.map(some).as_ref())
                    });
                    assert!(bits(&got, &x, &layers) == bits(&want.unwrap(), &x, &layers), "{members:?}");
                }
            }
        }
    }

    #[test]
    fn gradients_are_exact() {
        let inputs = |lead: &[usize], x: Tensor| -> Vec<Tensor> {
            let tensors = layers(lead, &[3, 7, 5, 2], |_| true).into_iter().map(|(w, b)| [w, b.unwrap()]);
            std::iter::once(x).chain(tensors.flatten()).collect()
        };
        let dense = |t: &[Tensor]| -> Vec<Dense> {
            t[1..].chunks_exact(2).map(|pair| (pair[0].clone(), Some(pair[1].clone()))).collect()
        };
        for activation in [Activation::Tanh, Activation::Silu] {
            check_gradients(&inputs(&[], normal(&[2, 10, 3], 7)), &[], 1e-2, |t| {
                mlp(&t[0], &dense(t), activation)
            })
            .unwrap();
            for x in [normal(&[20, 3], 8), normal(&[2, 20, 3], 9)] {
                check_gradients(&inputs(&[2], x), &[], 1e-2, |t| {
                    batched_mlp(&t[0], &dense(t), activation, 0..2)
                })
                .unwrap();
            }
        }
    }

    #[test]
    fn only_what_is_wanted_is_computed() {
        let trained = layers(&[], &[3, 8, 8, 2], |_| true);
        let mut partly = trained.clone();
        for (weight, bias) in &mut partly[..2] {
            (*weight, *bias) = (weight.detach(), bias.as_ref().map(Tensor::detach));
        }
        let gradients = |x: &Tensor, layers: &[Dense]| {
            let y = mlp(x, layers, Activation::Tanh).unwrap();
            y.backward_with(Buffer::copy_of(normal(y.shape(), 99).data())).unwrap()
        };
        let x = normal(&[40, 3], 5);
        let (all, last) = (gradients(&x, &trained), gradients(&x, &partly));
        assert_eq!(all.of(&trained[2].0), last.of(&trained[2].0));
        assert!(all.of(&trained[0].0).is_some() && last.of(&trained[0].0).is_none());
        // A frozen network passes the gradient of its input on.
        let frozen: Vec<Dense> =
            trained.iter().map(|(w, b)| (w.detach(), b.as_ref().map(Tensor::detach))).collect();
        let x = x.watched();
        assert_eq!(gradients(&x, &frozen).of(&x), gradients(&x, &trained).of(&x));
    }

    #[test]
    fn sizes_that_do_not_fit_are_named() {
        let net = layers(&[], &[3, 8, 2], |_| true);
        let error = mlp(&normal(&[40, 4], 1), &net, Activation::Relu).unwrap_err().to_string();
        assert!(error.contains("d_in = 3"), "{error}");
        let twins = layers(&[2], &[3, 8, 2], |_| true);
        let error =
            batched_mlp(&normal(&[40, 4], 1), &twins, Activation::Relu, 0..2).unwrap_err().to_string();
        assert!(error.contains("[2, rows, 3] or [rows, 3]"), "{error}");
        let error =
            batched_mlp(&normal(&[40, 3], 1), &twins, Activation::Relu, 1..3).unwrap_err().to_string();
        assert!(error.contains("members 1..3, there are 2"), "{error}");
    }
}
