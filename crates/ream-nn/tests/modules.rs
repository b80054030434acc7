//! What holds for every module: each parameter that is not frozen receives a gradient, what was saved is loaded to the bit, and the
//! number of threads changes no bit.

use ream_nn::layers::{
    Activation, AdaLn, Attention, AttentionSizes, BatchNorm, Block, Conv2d, ConvTranspose2d, CrossAttention,
    Downsample, Embedding, EnsembleMlp, Film, GaussianHead, GroupNorm, Gru, LayerNorm, LearnedPositions,
    Linear, Lora, Lstm, Mamba, MambaConfig, Mlp, MlpConfig, MlpKind, MlpNet, Moe, MoeConfig, NormKind,
    Positions, ResBlock, RmsNorm, SwiGlu, TimestepEmbedding, TransformerConfig, Upsample,
};
use ream_nn::models::{Decoder, EncoderDecoder, MixtureOfTransformers};
use ream_nn::ops::{Conv, Mask};
use ream_nn::training::Checkpoint;
use ream_nn::{Init, Module, Param, Result, Tensor, set_threads};
use ream_rand::Stream;

type Forward = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

/// A module behind its parameters and its forward, with the shape of its input.
struct Case {
    name: &'static str,
    params: Vec<Param>,
    input: Vec<usize>,
    forward: Forward,
}

fn case(
    name: &'static str,
    input: &[usize],
    params: Vec<Param>,
    forward: impl Fn(&Tensor) -> Result<Tensor> + 'static,
) -> Case {
    Case { name, params, input: input.to_vec(), forward: Box::new(forward) }
}

fn transformer(positions: Positions, norm: NormKind, mlp: MlpKind) -> TransformerConfig {
    TransformerConfig {
        vocabulary: 11,
        context: 6,
        d: 16,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        positions,
        grid_width: 3,
        norm,
        mlp,
        tied: false,
        ..TransformerConfig::default()
    }
}

/// Small modules, made from a seed.
fn cases(seed: u64) -> Result<Vec<Case>> {
    let init = Init::new(seed);
    let at = |name: &str| init.at(name);
    let mut cases = Vec::new();
    macro_rules! add {
        ($name:literal, $input:expr, $module:expr, |$m:ident, $x:ident| $forward:expr) => {{
            let $m = $module;
            let params = $m.params();
            cases.push(case($name, &$input, params, move |$x| $forward));
        }};
    }
    add!("linear", [3, 8], Linear::new(&at("linear"), 8, 5, true), |m, x| m.forward(x));
    add!("mlp", [3, 8], Mlp::new(&at("mlp"), 8, 12, true), |m, x| m.forward(x));
    add!("swiglu", [3, 8], SwiGlu::new(&at("swiglu"), 8, 12), |m, x| m.forward(x));
    add!("embedding", [1], Embedding::new(&at("embedding"), 4, 6, 1.0), |m, _x| m
        .forward(&[0, 3, 1, 2], &[4]));
    add!("layer norm", [3, 8], LayerNorm::new(&at("layer_norm"), 8, true), |m, x| m.forward(x));
    add!("rms norm", [3, 8], RmsNorm::new(&at("rms_norm"), 8), |m, x| m.forward(x));
    add!("adaptive norm", [2, 3, 8], AdaLn::new(&at("ada"), 8, 4), |m, x| {
        let (y, gate) = m.forward(x, &Tensor::full(&[2, 4], 0.5))?;
        y.add(&gate.sum())
    });
    add!("attention", [2, 5, 8], Attention::new(&at("attention"), AttentionSizes::new(8, 2))?, |m, x| {
        m.forward(x, None, &Mask::causal())
    });
    add!(
        "cross attention",
        [2, 5, 8],
        CrossAttention::new(&at("cross"), AttentionSizes::new(8, 2), 8)?,
        |m, x| { m.forward(x, &x.narrow(1, 0, 3)?.square(), &Mask::full()) }
    );
    let config = transformer(Positions::None, NormKind::Rms, MlpKind::SwiGlu);
    add!("block", [2, 5, 16], Block::new(&at("block"), &config, false)?, |m, x| {
        m.forward(x, None, &Mask::causal(), None)
    });
    add!("conv2d", [2, 6, 6, 3], Conv2d::new(&at("conv"), 3, 4, 3, Conv::same(3), true), |m, x| m.forward(x));
    add!(
        "conv transpose",
        [2, 4, 4, 3],
        { ConvTranspose2d::new(&at("transpose"), 3, 4, 4, Conv::same(3).stride(2), true) },
        |m, x| m.forward(x)
    );
    add!("group norm", [2, 4, 4, 8], GroupNorm::new(&at("group"), 2, 8), |m, x| m.forward_silu(x));
    add!("batch norm", [4, 3, 3, 4], BatchNorm::new(&at("batch"), 4), |m, x| m.forward(x, false));
    add!("residual block", [2, 6, 6, 8], ResBlock::new(&at("res"), 8, 16, 4), |m, x| m.forward(x));
    add!("downsample", [2, 6, 6, 4], Downsample::new(&at("down"), 4, 6), |m, x| m.forward(x));
    add!("upsample", [2, 3, 3, 4], Upsample::new(&at("up"), 4, 6), |m, x| m.forward(x));
    let net = MlpConfig::new(&[6, 16, 3], Activation::Tanh);
    add!("perceptron", [150, 6], MlpNet::new(&at("net"), &net)?, |m, x| m.forward(x));
    add!("ensemble", [150, 6], EnsembleMlp::new(&at("ensemble"), &net, 3)?, |m, x| m.forward(x));
    // Rows that each thread passes through all layers, and the few that go layer by layer.
    let wide = MlpConfig::new(&[6, 96, 96, 1], Activation::Relu);
    add!("wide perceptron", [150, 6], MlpNet::new(&at("wide_net"), &wide)?, |m, x| m.forward(x));
    add!("wide ensemble", [150, 6], EnsembleMlp::new(&at("wide_twins"), &wide, 2)?, |m, x| m.forward(x));
    add!("perceptron of few rows", [5, 6], MlpNet::new(&at("few_net"), &net)?, |m, x| m.forward(x));
    add!("policy", [5, 6], GaussianHead::new(&at("policy"), 6, 2, (-5.0, 2.0))?, |m, x| {
        let law = m.forward(x)?;
        law.mode().add(&law.sample_with(&Tensor::full(&[5, 2], 0.3))?.0)
    });
    add!("film", [2, 4, 4, 6], Film::new(&at("film"), 3, 6), |m, x| m.forward(
        x,
        &Tensor::full(&[2, 3], 0.4),
        3
    ));
    add!("gru", [2, 5, 6], Gru::bidirectional(&at("gru"), 6, 8), |m, x| m.forward(x, None));
    add!("lstm", [2, 5, 6], Lstm::new(&at("lstm"), 6, 8), |m, x| Ok(m.forward(x, None)?.0));
    add!("mamba", [2, 7, 8], Mamba::new(&at("mamba"), &MambaConfig::new(8))?, |m, x| m.forward(x));
    let experts = MoeConfig { d: 8, hidden: 12, experts: 2, top_k: 2, gates: Default::default(), shared: 6 };
    add!("mixture of experts", [3, 4, 8], Moe::new(&at("moe"), &experts)?, |m, x| Ok(m.forward(x)?.y));
    add!("positions", [2, 4, 6], LearnedPositions::new(&at("positions"), 4, 6, 0.5), |m, x| m.forward(x, 0));
    add!("time", [1], TimestepEmbedding::new(&at("time"), 8, 6, 1.0)?, |m, _x| m.forward(&[0.1, 0.7]));
    let mut lora = Lora::new(&at("lora"), Linear::new(&at("lora_base"), 6, 5, true), 2, 4.0)?;
    lora.params().iter().for_each(|p| p.update(|w| w.iter_mut().for_each(|w| *w += 0.1)));
    lora.merge();
    lora.unmerge()?;
    add!("low-rank adapter", [3, 6], lora, |m, x| m.forward(x));
    let ids = [1_u32, 4, 2, 9, 0, 3, 5, 6, 7, 8, 10, 2];
    for (name, config) in [
        ("decoder, learned positions", transformer(Positions::Learned, NormKind::Layer, MlpKind::Gelu)),
        ("decoder, rotary positions", transformer(Positions::Rope, NormKind::Rms, MlpKind::SwiGlu)),
        ("decoder, image positions", transformer(Positions::Rope2d, NormKind::Rms, MlpKind::SwiGlu)),
    ] {
        let model = Decoder::new(&at(name), &config)?;
        cases.push(case(name, &[1], model.params(), move |_| {
            let every: Vec<u32> = (0..12).map(|i| i % 11).collect();
            model.forward(&every, [2, 6], &Mask::causal())
        }));
    }
    let config =
        TransformerConfig { tied: true, ..transformer(Positions::Learned, NormKind::Layer, MlpKind::Gelu) };
    let model = EncoderDecoder::new(&at("translator"), &config, &config)?;
    cases.push(case("encoder and decoder", &[1], model.params(), move |_| {
        let every: Vec<u32> = (0..12).map(|i| i % 11).collect();
        let memory = model.encode(&every, [2, 6], &Mask::full())?;
        model.decode(
            &every,
            [2, 6],
            &Mask::causal(),
            ream_nn::layers::Memory { states: &memory, mask: &Mask::full() },
        )
    }));
    let model = MixtureOfTransformers::new(&at("mixture"), &config, 2)?;
    cases.push(case("mixture of transformers", &[1], model.params(), move |_| {
        model.forward(&ids, &[0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1], [2, 6], &Mask::causal())
    }));
    Ok(cases)
}

fn input(case: &Case) -> Tensor {
    Tensor::randn(&case.input, 1.0, &mut Stream::new(7, case.name).at(0)).watched()
}

/// A loss that is no plain sum: norms make those constant.
fn loss(y: &Tensor) -> Tensor {
    let weights = Tensor::randn(y.shape(), 1.0, &mut Stream::new(8, "weights").at(0));
    y.mul(&weights).and_then(|y| y.add(&y.square())).map_or_else(|e| panic!("{e}"), |y| y.sum())
}

/// Rows of tables that no input asks for have no gradient; whole parameters must.
#[test]
fn every_parameter_receives_its_gradient() {
    for case in cases(1).unwrap() {
        let y = (case.forward)(&input(&case)).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let gradients = loss(&y).backward().unwrap();
        for p in case.params.iter().filter(|p| !p.is_frozen()) {
            let gradient =
                gradients.get(p).unwrap_or_else(|| panic!("{}: `{}` got none", case.name, p.name()));
            assert!(gradient.iter().any(|g| *g != 0.0), "{}: `{}` is all zero", case.name, p.name());
            assert!(gradient.iter().all(|g| g.is_finite()), "{}: `{}`", case.name, p.name());
        }
    }
}

#[test]
fn names_of_parameters_are_unique() {
    for case in cases(1).unwrap() {
        let names: std::collections::BTreeSet<&str> = case.params.iter().map(Param::name).collect();
        assert_eq!(names.len(), case.params.len(), "{}: {names:?}", case.name);
    }
}

#[test]
fn what_was_saved_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    for (case, other) in cases(1).unwrap().into_iter().zip(cases(2).unwrap()) {
        let want = (case.forward)(&input(&case)).unwrap().to_vec();
        let path = dir.path().join("module.safetensors");
        // The other seed's names are the same: they come from places, not from numbers.
        Checkpoint::of(&case.name, 1, "none", 0, &case.params).unwrap().write(&path).unwrap();
        Checkpoint::read(&path).unwrap().restore(&other.params).unwrap();
        assert_eq!((other.forward)(&input(&other)).unwrap().to_vec(), want, "{}", case.name);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads: usize| -> Vec<Vec<u32>> {
        set_threads(threads);
        let mut all = Vec::new();
        for case in cases(1).unwrap() {
            let y = (case.forward)(&input(&case)).unwrap();
            all.push(y.data().iter().map(|v| v.to_bits()).collect());
            let gradients = loss(&y).backward().unwrap();
            for p in &case.params {
                all.push(gradients.get(p).unwrap_or_default().iter().map(|v| v.to_bits()).collect());
            }
        }
        all
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}
