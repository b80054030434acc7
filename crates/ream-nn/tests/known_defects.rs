//! Mistakes that another library's CPU operations make (candle 0.11), one test each: ours must not fall into them.

use ream_nn::layers::{Embedding, LayerNorm, RmsNorm};
use ream_nn::ops::{self, Conv};
use ream_nn::{Init, Module, Result, Tensor, check_gradients};
use ream_rand::Stream;

fn normal(shape: &[usize]) -> Tensor {
    Tensor::randn(shape, 1.0, &mut Stream::new(3, "input").at(0))
}

fn check(shape: &[usize], f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
    check_gradients(&[normal(shape)], &[], 1e-2, |x| f(&x[0]))
}

#[test]
fn softmax_over_the_last_axis_gives_a_gradient() {
    check(&[3, 5], |x| Ok(x.softmax())).unwrap();
    check(&[3, 5], |x| Ok(x.log_softmax())).unwrap();
}

#[test]
fn norms_give_gradients_to_their_input_and_their_parameters() {
    let (layer, rms) =
        (LayerNorm::new(&Init::new(1).at("l"), 6, true), RmsNorm::new(&Init::new(1).at("r"), 6));
    check_gradients(&[normal(&[4, 6])], &layer.params(), 1e-2, |x| layer.forward(&x[0])).unwrap();
    check_gradients(&[normal(&[4, 6])], &rms.params(), 1e-2, |x| rms.forward(&x[0])).unwrap();
}

#[test]
fn max_pooling_sends_the_gradient_to_the_largest_only() {
    let x = Tensor::from_vec(vec![1.0, 5.0, 2.0, 3.0, 9.0, 8.0, 4.0, 7.0], &[1, 2, 4, 1]).unwrap().watched();
    let gradients = ops::max_pool2d(&x, 2, 2).unwrap().mul_scalar(2.0).sum().backward().unwrap();
    // The largest of {1, 5, 9, 8} is 9, of {2, 3, 4, 7} it is 7.
    assert_eq!(gradients.of(&x).unwrap(), [0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 2.0]);
}

#[test]
fn nearest_upsampling_adds_to_gradients_that_are_there() {
    let (a, b) = (normal(&[1, 2, 2, 1]).watched(), 4.0 + 3.0);
    let both = ops::upsample_nearest(&a, 2).unwrap().sum().add(&a.mul_scalar(3.0).sum()).unwrap();
    assert_eq!(both.backward().unwrap().of(&a).unwrap(), [b; 4]);
    let both = a.mul_scalar(3.0).sum().add(&ops::upsample_nearest(&a, 2).unwrap().sum()).unwrap();
    assert_eq!(both.backward().unwrap().of(&a).unwrap(), [b; 4]);
}

#[test]
fn gathering_fewer_or_more_rows_than_there_are_scatters_back() {
    check(&[4, 3], |x| x.index_select(0, &[1, 1, 3, 0, 1, 2])).unwrap();
    check(&[4, 3], |x| x.index_select(0, &[2])).unwrap();
    let table = Embedding::new(&Init::new(1).at("table"), 5, 3, 1.0);
    check_gradients(&[], &table.params(), 1e-2, |_| table.forward(&[4, 4, 0, 4, 1, 2, 3], &[7])).unwrap();
}

#[test]
fn transposed_convolution_in_one_dimension_has_a_gradient() {
    let inputs = [normal(&[2, 5, 3]), normal(&[3, 4, 2])];
    let stride = Conv { stride: 2, padding: 1, ..Conv::default() };
    check_gradients(&inputs, &[], 1e-2, |x| ops::conv_transpose1d(&x[0], &x[1], None, stride)).unwrap();
}

#[test]
fn random_numbers_are_those_of_the_seed() {
    let draw = |seed| Tensor::randn(&[8], 1.0, &mut Stream::new(seed, "draw").at(0)).to_vec();
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}
