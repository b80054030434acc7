//! Convolutions with gradients. Images are `[batch, height, width, channels]`, sequences `[batch, time, channels]`.

use super::linear;
use crate::buffer::Buffer;
use crate::conv::Geometry;
use crate::error::{Result, shape};
use crate::kernels;
use crate::tensor::Tensor;

/// How a convolution moves: the same along both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Conv {
    /// Pixels from one place of the kernel to the next.
    pub stride: usize,
    /// Zeros around the image, on every side.
    pub padding: usize,
    /// Input and output channels are cut into so many groups, and each group sees its own alone. As many as channels: depthwise.
    pub groups: usize,
}

impl Default for Conv {
    /// Stride 1, no padding, one group.
    fn default() -> Self {
        Self { stride: 1, padding: 0, groups: 1 }
    }
}

impl Conv {
    /// Stride 1 and the padding that keeps the size, for an odd kernel.
    #[must_use]
    pub fn same(kernel: usize) -> Self {
        Self { padding: kernel / 2, ..Self::default() }
    }

    /// With this stride.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// With this padding.
    #[must_use]
    pub fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// With so many groups.
    #[must_use]
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}

/// Cross-correlation, as the field calls convolution: `x` `[batch, height, width, in]`, `weight` `[out, kh, kw, in / groups]`, `bias`
/// `[out]`, result `[batch, height', width', out]` with `height' = (height + 2 padding - kh) / stride + 1`, rounded down.
///
/// Always f32, whatever [`crate::gemm::precision`] says, but for 1 x 1 kernels with stride 1, which are [`super::linear`].
///
/// # Errors
/// When sizes do not fit; the message names the axes.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, conv: Conv) -> Result<Tensor> {
    let &[batch, height, width, channels] = x.shape() else {
        return shape(
            "conv2d",
            format!("an input [batch, height, width, in] is needed, got {:?}", x.shape()),
        );
    };
    let &[out, kh, kw, inner] = weight.shape() else {
        return shape(
            "conv2d",
            format!("a weight [out, kh, kw, in / groups] is needed, got {:?}", weight.shape()),
        );
    };
    check_channels("conv2d", x, channels, weight, [out, inner], conv)?;
    if [kh, kw] == [1, 1] && conv == Conv::default() && bias.is_none_or(|b| b.shape() == [out]) {
        return linear(x, &weight.reshape(&[out, inner])?, bias);
    }
    let geometry = Geometry {
        batch,
        size: [height, width],
        channels,
        out_size: [
            out_size("conv2d", "height", height, kh, 2 * conv.padding, conv.stride)?,
            out_size("conv2d", "width", width, kw, 2 * conv.padding, conv.stride)?,
        ],
        out_channels: out,
        kernel: [kh, kw],
        stride: [conv.stride; 2],
        padding: [conv.padding; 2],
        groups: conv.groups,
    };
    let to = [batch, geometry.out_size[0], geometry.out_size[1], out];
    convolve("conv2d", x, weight, bias, geometry, &to)
}

/// [`conv2d`] along one axis: `x` `[batch, time, in]`, `weight` `[out, k, in / groups]`, result `[batch, time', out]`.
///
/// # Errors
/// When sizes do not fit; the message names the axes.
pub fn conv1d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, conv: Conv) -> Result<Tensor> {
    sequence("conv1d", x, weight, bias, conv, false)
}

/// A convolution in which no output sees a later input: `k - 1` zeros come before the sequence and none after it. With `groups`
/// equal to the channels it is the short filter of Mamba (Gu & Dao, 2023).
///
/// `x` `[batch, time, in]`, `weight` `[out, k, in / groups]` (its last tap is the present), result `[batch, time, out]`.
///
/// # Errors
/// When sizes do not fit; the message names the axes.
pub fn conv1d_causal(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, groups: usize) -> Result<Tensor> {
    let conv = Conv { groups, ..Conv::default() };
    sequence("conv1d_causal", x, weight, bias, conv, true)
}

fn sequence(
    operation: &'static str,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    conv: Conv,
    causal: bool,
) -> Result<Tensor> {
    let &[batch, time, channels] = x.shape() else {
        return shape(operation, format!("an input [batch, time, in] is needed, got {:?}", x.shape()));
    };
    let &[out, k, inner] = weight.shape() else {
        return shape(
            operation,
            format!("a weight [out, k, in / groups] is needed, got {:?}", weight.shape()),
        );
    };
    check_channels(operation, x, channels, weight, [out, inner], conv)?;
    let (padding, both) =
        if causal { (k.max(1) - 1, k.max(1) - 1) } else { (conv.padding, 2 * conv.padding) };
    let geometry = Geometry {
        batch,
        size: [1, time],
        channels,
        out_size: [1, out_size(operation, "time", time, k, both, conv.stride)?],
        out_channels: out,
        kernel: [1, k],
        stride: [1, conv.stride],
        padding: [0, padding],
        groups: conv.groups,
    };
    let to = [batch, geometry.out_size[1], out];
    convolve(operation, x, weight, bias, geometry, &to)
}

/// The transpose of [`conv2d`] (also called deconvolution): `x` `[batch, height, width, in]`, `weight` `[in, kh, kw, out / groups]`, `bias`
/// `[out]`, result `[batch, height', width', out]` with `height' = (height - 1) stride + kh - 2 padding`.
///
/// # Errors
/// When sizes do not fit; the message names the axes.
pub fn conv_transpose2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, conv: Conv) -> Result<Tensor> {
    let operation = "conv_transpose2d";
    let &[batch, height, width, channels] = x.shape() else {
        return shape(
            operation,
            format!("an input [batch, height, width, in] is needed, got {:?}", x.shape()),
        );
    };
    let &[w_in, kh, kw, inner] = weight.shape() else {
        return shape(
            operation,
            format!("a weight [in, kh, kw, out / groups] is needed, got {:?}", weight.shape()),
        );
    };
    check_transposed(operation, x, channels, weight, w_in, conv)?;
    let geometry = Geometry {
        batch,
        size: [
            grown_size(operation, "height", height, kh, conv)?,
            grown_size(operation, "width", width, kw, conv)?,
        ],
        channels: inner * conv.groups,
        out_size: [height, width],
        out_channels: channels,
        kernel: [kh, kw],
        stride: [conv.stride; 2],
        padding: [conv.padding; 2],
        groups: conv.groups,
    };
    let to = [batch, geometry.size[0], geometry.size[1], geometry.channels];
    convolve_back(operation, x, weight, bias, geometry, &to)
}

/// [`conv_transpose2d`] along one axis: `x` `[batch, time, in]`, `weight` `[in, k, out / groups]`, result `[batch, time', out]`.
///
/// # Errors
/// When sizes do not fit; the message names the axes.
pub fn conv_transpose1d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, conv: Conv) -> Result<Tensor> {
    let operation = "conv_transpose1d";
    let &[batch, time, channels] = x.shape() else {
        return shape(operation, format!("an input [batch, time, in] is needed, got {:?}", x.shape()));
    };
    let &[w_in, k, inner] = weight.shape() else {
        return shape(
            operation,
            format!("a weight [in, k, out / groups] is needed, got {:?}", weight.shape()),
        );
    };
    check_transposed(operation, x, channels, weight, w_in, conv)?;
    let geometry = Geometry {
        batch,
        size: [1, grown_size(operation, "time", time, k, conv)?],
        channels: inner * conv.groups,
        out_size: [1, time],
        out_channels: channels,
        kernel: [1, k],
        stride: [1, conv.stride],
        padding: [0, conv.padding],
        groups: conv.groups,
    };
    let to = [batch, geometry.size[1], geometry.channels];
    convolve_back(operation, x, weight, bias, geometry, &to)
}

/// `conv2d(upsample_nearest(x, 2), weight, bias, padding 1)` for 3 x 3 weights, in 16/36 of its multiplications: the nine taps
/// meet only four different pixels, so their weights are added first. It is the transposed convolution with a 4 x 4 kernel, stride 2
/// and padding 1 whose kernel is a sum of shifted copies of the weights.
///
/// `x` `[batch, height, width, in]`, `weight` `[out, 3, 3, in]`, `bias` `[out]`, result `[batch, 2 height, 2 width, out]`.
///
/// # Errors
/// When sizes do not fit; the message names the axes.
pub fn upsample_conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let operation = "upsample_conv2d";
    let &[batch, height, width, channels] = x.shape() else {
        return shape(
            operation,
            format!("an input [batch, height, width, in] is needed, got {:?}", x.shape()),
        );
    };
    let &[out, 3, 3, inner] = weight.shape() else {
        return shape(operation, format!("a weight [out, 3, 3, in] is needed, got {:?}", weight.shape()));
    };
    check_channels(operation, x, channels, weight, [out, inner], Conv::default())?;
    check_bias(operation, bias, out)?;
    let geometry = Geometry {
        batch,
        size: [2 * height, 2 * width],
        channels: out,
        out_size: [height, width],
        out_channels: channels,
        kernel: [4, 4],
        stride: [2, 2],
        padding: [1, 1],
        groups: 1,
    };
    let kernel = doubled_kernel(weight.data(), out, channels);
    let y = geometry.input_gradient(x.data(), &kernel, bias.map(Tensor::data));
    let (px, pw, pb) = (x.clone(), weight.clone(), bias.cloned());
    let mut parents = vec![x, weight];
    parents.extend(bias);
    let to = [batch, 2 * height, 2 * width, out];
    Ok(Tensor::custom(operation, &to, y, &parents, move |grad, sink| {
        if px.requires_grad() {
            sink.add(&px, geometry.forward(&grad, &kernel, None));
        }
        if pw.requires_grad() {
            let d_kernel = geometry.weight_gradient(&grad, px.data());
            sink.add(&pw, halved_kernel(&d_kernel, out, channels));
        }
        add_bias_gradient(sink, pb.as_ref(), &grad);
        Ok(())
    }))
}

/// Places of the 4 x 4 kernel that tap `k` of 9 goes to: along each axis tap `i` goes to `2 - i` and `3 - i`.
fn doubled_places(k: usize) -> [usize; 4] {
    let (y, x) = (2 - k / 3, 2 - k % 3);
    [y * 4 + x, y * 4 + x + 1, (y + 1) * 4 + x, (y + 1) * 4 + x + 1]
}

/// `[out, 3, 3, in]` to `[in, 4, 4, out]`.
fn doubled_kernel(w: &[f32], out: usize, channels: usize) -> Buffer {
    let mut kernel = Buffer::zeros(channels * 16 * out);
    for (i, w) in w.chunks_exact(channels.max(1)).enumerate() {
        let (o, k) = (i / 9, i % 9);
        for place in doubled_places(k) {
            for (c, w) in w.iter().enumerate() {
                kernel[(c * 16 + place) * out + o] += w;
            }
        }
    }
    kernel
}

/// The transpose of [`doubled_kernel`].
fn halved_kernel(d_kernel: &[f32], out: usize, channels: usize) -> Buffer {
    let mut dw = Buffer::zeros(out * 9 * channels);
    for (i, dw) in dw.chunks_exact_mut(channels.max(1)).enumerate() {
        let (o, k) = (i / 9, i % 9);
        for place in doubled_places(k) {
            for (c, dw) in dw.iter_mut().enumerate() {
                *dw += d_kernel[(c * 16 + place) * out + o];
            }
        }
    }
    dw
}

fn check_moves(operation: &'static str, conv: Conv) -> Result<()> {
    if conv.stride == 0 || conv.groups == 0 {
        return shape(
            operation,
            format!("stride and groups must be at least 1, got {} and {}", conv.stride, conv.groups),
        );
    }
    Ok(())
}

fn check_channels(
    operation: &'static str,
    x: &Tensor,
    channels: usize,
    weight: &Tensor,
    [out, inner]: [usize; 2],
    conv: Conv,
) -> Result<()> {
    check_moves(operation, conv)?;
    if inner * conv.groups != channels {
        return shape(
            operation,
            format!(
                "the channels (last axis) of the input {:?} must be {} = the last axis of the weight {:?} times {} groups",
                x.shape(),
                inner * conv.groups,
                weight.shape(),
                conv.groups
            ),
        );
    }
    if !out.is_multiple_of(conv.groups) {
        return shape(
            operation,
            format!(
                "axis 0 (out) of the weight {:?} must be a multiple of {} groups",
                weight.shape(),
                conv.groups
            ),
        );
    }
    Ok(())
}

fn check_transposed(
    operation: &'static str,
    x: &Tensor,
    channels: usize,
    weight: &Tensor,
    w_in: usize,
    conv: Conv,
) -> Result<()> {
    check_moves(operation, conv)?;
    if w_in != channels || !channels.is_multiple_of(conv.groups) {
        return shape(
            operation,
            format!(
                "the channels (last axis) of the input {:?} must equal axis 0 (in) of the weight {:?} and be a multiple of {} groups",
                x.shape(),
                weight.shape(),
                conv.groups
            ),
        );
    }
    Ok(())
}

fn out_size(
    operation: &'static str,
    axis: &str,
    size: usize,
    kernel: usize,
    padding: usize,
    stride: usize,
) -> Result<usize> {
    if kernel == 0 || size + padding < kernel {
        return shape(
            operation,
            format!(
                "{axis} {size} with {padding} of padding must hold the kernel, whose {axis} is {kernel} (at least 1)"
            ),
        );
    }
    Ok((size + padding - kernel) / stride + 1)
}

fn grown_size(operation: &'static str, axis: &str, size: usize, kernel: usize, conv: Conv) -> Result<usize> {
    let full = size.saturating_sub(1) * conv.stride + kernel;
    if size == 0 || kernel == 0 || full <= 2 * conv.padding {
        return shape(
            operation,
            format!(
                "{axis} {size} with a kernel of {kernel} and stride {} gives {full}, of which the padding {} takes both ends: nothing is left",
                conv.stride, conv.padding
            ),
        );
    }
    Ok(full - 2 * conv.padding)
}

fn check_bias(operation: &'static str, bias: Option<&Tensor>, out: usize) -> Result<()> {
    match bias.filter(|b| b.shape() != [out]) {
        Some(bias) => shape(operation, format!("the bias {:?} must be [out] = [{out}]", bias.shape())),
        None => Ok(()),
    }
}

fn convolve(
    name: &'static str,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: Geometry,
    to: &[usize],
) -> Result<Tensor> {
    check_bias(name, bias, geometry.out_channels)?;
    let out = geometry.forward(x.data(), weight.data(), bias.map(Tensor::data));
    let (px, pw, pb) = (x.clone(), weight.clone(), bias.cloned());
    let mut parents = vec![x, weight];
    parents.extend(bias);
    Ok(Tensor::custom(name, to, out, &parents, move |grad, sink| {
        if px.requires_grad() {
            sink.add(&px, geometry.input_gradient(&grad, pw.data(), None));
        }
        if pw.requires_grad() {
            sink.add(&pw, geometry.weight_gradient(px.data(), &grad));
        }
        add_bias_gradient(sink, pb.as_ref(), &grad);
        Ok(())
    }))
}

/// The transposed convolution: `geometry` is that of the convolution which leads from the result to `x`.
fn convolve_back(
    name: &'static str,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: Geometry,
    to: &[usize],
) -> Result<Tensor> {
    check_bias(name, bias, geometry.channels)?;
    let out = geometry.input_gradient(x.data(), weight.data(), bias.map(Tensor::data));
    let (px, pw, pb) = (x.clone(), weight.clone(), bias.cloned());
    let mut parents = vec![x, weight];
    parents.extend(bias);
    Ok(Tensor::custom(name, to, out, &parents, move |grad, sink| {
        if px.requires_grad() {
            sink.add(&px, geometry.forward(&grad, pw.data(), None));
        }
        if pw.requires_grad() {
            sink.add(&pw, geometry.weight_gradient(&grad, px.data()));
        }
        add_bias_gradient(sink, pb.as_ref(), &grad);
        Ok(())
    }))
}

fn add_bias_gradient(sink: &mut crate::Sink, bias: Option<&Tensor>, grad: &Buffer) {
    if let Some(bias) = bias.filter(|b| b.requires_grad()) {
        sink.add(bias, kernels::sum_rows(grad, bias.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "x").at(0))
    }

    #[test]
    fn gradients_of_images_agree_with_finite_differences() {
        for (kernel, stride, padding, groups) in
            [(1, 1, 0, 1), (1, 2, 0, 1), (3, 1, 1, 1), (3, 2, 1, 2), (4, 2, 1, 1), (5, 3, 2, 4), (3, 1, 1, 4)]
        {
            let conv = Conv { stride, padding, groups };
            let w = normal(&[8, kernel, kernel, 4 / groups], 2);
            let inputs = [normal(&[2, 6, 5, 4], 1), w, normal(&[8], 3)];
            check_gradients(&inputs, &[], 1e-2, |x| conv2d(&x[0], &x[1], Some(&x[2]), conv)).unwrap();
            let w = normal(&[4, kernel, kernel, 8 / groups], 2);
            let inputs = [normal(&[2, 4, 3, 4], 1), w, normal(&[8], 3)];
            check_gradients(&inputs, &[], 1e-2, |x| conv_transpose2d(&x[0], &x[1], Some(&x[2]), conv))
                .unwrap();
        }
        let depthwise = [normal(&[2, 6, 5, 7], 1), normal(&[7, 3, 3, 1], 2), normal(&[7], 3)];
        let conv = Conv::same(3).groups(7);
        check_gradients(&depthwise, &[], 1e-2, |x| conv2d(&x[0], &x[1], Some(&x[2]), conv)).unwrap();
        check_gradients(&depthwise, &[], 1e-2, |x| conv_transpose2d(&x[0], &x[1], Some(&x[2]), conv))
            .unwrap();
    }

    #[test]
    fn gradients_of_sequences_agree_with_finite_differences() {
        // candle 0.11 has no gradient for conv_transpose1d.
        for (k, stride, padding, groups) in [(3, 1, 1, 1), (4, 2, 1, 2), (4, 1, 0, 6), (1, 1, 0, 1)] {
            let conv = Conv { stride, padding, groups };
            let inputs = [normal(&[2, 9, 6], 1), normal(&[6, k, 6 / groups], 2), normal(&[6], 3)];
            check_gradients(&inputs, &[], 1e-2, |x| conv1d(&x[0], &x[1], Some(&x[2]), conv)).unwrap();
            check_gradients(&inputs, &[], 1e-2, |x| conv1d_causal(&x[0], &x[1], Some(&x[2]), groups))
                .unwrap();
            check_gradients(&inputs, &[], 1e-2, |x| conv_transpose1d(&x[0], &x[1], Some(&x[2]), conv))
                .unwrap();
        }
    }

    #[test]
    fn upsampling_and_convolving_at_once_is_one_after_the_other() {
        for (channels, out, height, width) in [(3, 5, 4, 3), (16, 17, 1, 6), (1, 1, 2, 2), (20, 33, 5, 5)] {
            let inputs = [normal(&[2, height, width, channels], 1), normal(&[out, 3, 3, channels], 2)];
            let bias = normal(&[out], 3);
            let at_once = upsample_conv2d(&inputs[0], &inputs[1], Some(&bias)).unwrap();
            let up = crate::ops::upsample_nearest(&inputs[0], 2).unwrap();
            let want = conv2d(&up, &inputs[1], Some(&bias), Conv::same(3)).unwrap();
            assert_eq!(at_once.shape(), want.shape());
            assert!(at_once.data().iter().zip(want.data()).all(|(a, b)| (a - b).abs() < 1e-4));
        }
        let inputs = [normal(&[2, 3, 4, 3], 1), normal(&[5, 3, 3, 3], 2), normal(&[5], 3)];
        check_gradients(&inputs, &[], 1e-2, |x| upsample_conv2d(&x[0], &x[1], Some(&x[2]))).unwrap();
        let error = upsample_conv2d(&inputs[0], &normal(&[5, 4, 4, 3], 2), None).unwrap_err().to_string();
        assert!(error.contains("[out, 3, 3, in]"), "{error}");
    }

    #[test]
    fn two_branches_of_one_input_and_one_weight_add_up() {
        let inputs = [normal(&[1, 4, 4, 3], 1), normal(&[3, 3, 3, 3], 2)];
        check_gradients(&inputs, &[], 1e-2, |x| {
            let a = conv2d(&x[0], &x[1], None, Conv::same(3))?;
            let b = conv2d(&a, &x[1], None, Conv::same(3))?;
            a.mul(&b)?.add(&x[0])
        })
        .unwrap();
    }

    #[test]
    fn a_causal_output_sees_nothing_later() {
        let (x, w) = (normal(&[1, 10, 4], 1), normal(&[4, 4, 1], 2));
        let before = conv1d_causal(&x, &w, None, 4).unwrap();
        let mut values = x.to_vec();
        values[6 * 4..].fill(9.0);
        let after = conv1d_causal(&Tensor::from_vec(values, &[1, 10, 4]).unwrap(), &w, None, 4).unwrap();
        assert_eq!(before.data()[..24], after.data()[..24]);
        assert_ne!(before.data()[24..28], after.data()[24..28]);
        // The first output is the first input by the last tap.
        assert_eq!(before.data()[0], x.data()[0] * w.data()[3]);
    }

    #[test]
    fn a_1_x_1_convolution_is_a_linear_map() {
        let (x, w, b) = (normal(&[2, 3, 3, 5], 1), normal(&[4, 1, 1, 5], 2), normal(&[4], 3));
        let y = conv2d(&x, &w, Some(&b), Conv::default()).unwrap();
        let want = linear(&x, &w.reshape(&[4, 5]).unwrap(), Some(&b)).unwrap();
        assert_eq!(y.to_vec(), want.to_vec());
        assert_eq!(y.shape(), [2, 3, 3, 4]);
    }

    #[test]
    fn sizes_that_do_not_fit_are_named() {
        let x = normal(&[1, 4, 5, 6], 1);
        let says = |result: Result<Tensor>, parts: &[&str]| {
            let error = result.unwrap_err().to_string();
            assert!(parts.iter().all(|p| error.contains(p)), "{error}");
        };
        let w = normal(&[8, 3, 3, 6], 2);
        says(
            conv2d(&x, &normal(&[8, 3, 3, 5], 2), None, Conv::default()),
            &["conv2d", "channels", "[1, 4, 5, 6]", "must be 5"],
        );
        says(conv2d(&x, &normal(&[8, 5, 3, 6], 2), None, Conv::default()), &["height 4", "is 5"]);
        says(conv2d(&x, &w, Some(&normal(&[7], 3)), Conv::default()), &["bias [7]", "[out] = [8]"]);
        says(conv2d(&x, &normal(&[8, 3, 3], 2), None, Conv::default()), &["[out, kh, kw, in / groups]"]);
        says(conv2d(&x, &w, None, Conv::default().stride(0)), &["stride", "at least 1"]);
        says(
            conv2d(&x, &normal(&[8, 3, 3, 2], 2), None, Conv::same(3).groups(3)),
            &["axis 0 (out)", "multiple of 3"],
        );
        says(conv1d(&x, &w, None, Conv::default()), &["[batch, time, in]"]);
        says(conv_transpose2d(&x, &w, None, Conv::default()), &["axis 0 (in)", "[8, 3, 3, 6]"]);
        let w = normal(&[6, 1, 1, 8], 2);
        says(conv_transpose2d(&x, &w, None, Conv::default().padding(2)), &["height 4", "nothing is left"]);
    }
}
