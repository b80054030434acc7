use super::*;
use crate::layers::AdaLn;
use crate::models::{Decoder, EncoderDecoder};
use crate::ops;
use crate::threads::set_threads;
use crate::{check_gradients, no_grad};
use ream_rand::Stream;

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Tensor::randn(shape, 0.8, &mut Stream::new(seed, "layers").at(0))
}

/// Parameters of order 1, so that finite differences see every one of them.
fn stir(module: &dyn Module) {
    for (i, param) in module.params().iter().enumerate() {
        let offset = if param.name().ends_with("norm.weight") { 1.0 } else { 0.0 };
        let values = Tensor::randn(&param.shape(), 0.4, &mut Stream::new(7, "stir").at(i as u64));
        param.set(values.affine(1.0, offset).data()).unwrap();
    }
}

fn small() -> TransformerConfig {
    TransformerConfig {
        vocabulary: 7,
        context: 12,
        d: 8,
        layers: 2,
        heads: 2,
        hidden: 12,
        ..TransformerConfig::default()
    }
}

fn kinds() -> Vec<TransformerConfig> {
    vec![
        small(),
        TransformerConfig {
            positions: Positions::Rope,
            norm: NormKind::Rms,
            mlp: MlpKind::SwiGlu,
            ..small()
        },
        TransformerConfig { positions: Positions::Rope2d, grid_width: 3, kv_heads: 1, ..small() },
        TransformerConfig { positions: Positions::Rope, qk_norm: true, kv_heads: 1, tied: false, ..small() },
        TransformerConfig { positions: Positions::None, bias: false, ..small() },
    ]
}

#[test]
fn every_parameter_of_every_kind_of_block_receives_its_gradient() {
    for config in kinds() {
        let block = Block::new(&Init::new(1), &config, true).unwrap();
        stir(&block);
        let encoding = PositionEncoding::new(&config).unwrap().rotation(5, None).unwrap();
        let inputs = [normal(&[2, 5, 8], 1), normal(&[2, 3, 8], 2)];
        check_gradients(&inputs, &block.params(), 2e-2, |x| {
            let memory = Memory { states: &x[1], mask: &Mask::full() };
            block.forward(&x[0], encoding.as_ref(), &Mask::causal(), Some(memory))
        })
        .unwrap_or_else(|e| panic!("{config:?}: {e}"));
    }
}

#[test]
fn every_parameter_of_the_models_receives_its_gradient() {
    for config in kinds() {
        let config = TransformerConfig { layers: 1, ..config };
        let model = Decoder::new(&Init::new(1), &config).unwrap();
        stir(&model);
        let ids = [0, 1, 2, 3, 4, 5, 6, 0];
        check_gradients(&[], &model.params(), 3e-2, |_| model.forward(&ids, [2, 4], &Mask::causal()))
            .unwrap_or_else(|e| panic!("{config:?}: {e}"));
    }
    let config = TransformerConfig { layers: 1, ..small() };
    let model = EncoderDecoder::new(&Init::new(1), &config, &config).unwrap();
    stir(&model);
    check_gradients(&[], &model.params(), 3e-2, |_| {
        let source = model.encode(&[1, 2, 3, 4, 5, 6], [2, 3], &Mask::full())?;
        let memory = Memory { states: &source, mask: &Mask::full().with_key_lengths(&[3, 2]) };
        model.decode(&[6, 5, 0, 1], [2, 2], &Mask::causal(), memory)
    })
    .unwrap();
}

#[test]
fn the_conditional_norm_begins_as_the_identity_and_has_gradients() {
    let norm = AdaLn::new(&Init::new(1), 6, 4);
    let (x, c) = (normal(&[2, 3, 6], 1), normal(&[2, 4], 2));
    let (y, gate) = norm.forward(&x, &c).unwrap();
    assert_eq!(y.data(), ops::layer_norm(&x, None, None, 1e-5).unwrap().data());
    assert!(gate.data().iter().all(|g| *g == 0.0));
    stir(&norm);
    check_gradients(&[x, c], &norm.params(), 1e-2, |x| {
        let (y, gate) = norm.forward(&x[0], &x[1])?;
        ops::gated_add(&x[0], &y, &gate)
    })
    .unwrap();
}

#[test]
fn later_tokens_change_no_bit_of_earlier_logits() {
    for config in kinds() {
        let model = Decoder::new(&Init::new(1), &config).unwrap();
        let ids: Vec<u32> = (0..9).map(|i| i % 7).collect();
        let before = no_grad(|| model.forward(&ids, [1, 9], &Mask::causal())).unwrap();
        for j in 0..9 {
            let mut changed = ids.clone();
            changed[j] = (changed[j] + 3) % 7;
            let after = no_grad(|| model.forward(&changed, [1, 9], &Mask::causal())).unwrap();
            assert_eq!(before.data()[..j * 7], after.data()[..j * 7], "{config:?}");
            assert_ne!(before.data()[j * 7..(j + 1) * 7], after.data()[j * 7..(j + 1) * 7], "{config:?}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit_of_a_step() {
    let config = TransformerConfig { d: 64, context: 64, vocabulary: 40, ..small() };
    let run = |threads| {
        set_threads(threads);
        let model = Decoder::new(&Init::new(1), &config).unwrap();
        let ids: Vec<u32> = (0..256).map(|i| i * 7 % 40).collect();
        let logits = model.forward(&ids, [4, 64], &Mask::causal()).unwrap();
        let grads = ops::cross_entropy(&logits, &ids, None).unwrap().backward().unwrap();
        let grads: Vec<Vec<f32>> = model.params().iter().map(|p| grads.get(p).unwrap().to_vec()).collect();
        (logits.to_vec(), grads)
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn positions_given_are_those_counted() {
    for config in kinds() {
        let model = Decoder::new(&Init::new(1), &config).unwrap();
        let ids = [1, 2, 3, 4, 5, 6];
        let counted = model.hidden(&ids, [2, 3], &Mask::causal()).unwrap();
        let given = model.hidden_at(&ids, [2, 3], Some(&[0, 1, 2]), &Mask::causal()).unwrap();
        let each = model.hidden_at(&ids, [2, 3], Some(&[0, 1, 2, 0, 1, 2]), &Mask::causal()).unwrap();
        assert_eq!(counted.data(), given.data());
        assert_eq!(counted.data(), each.data());
    }
}

#[test]
fn a_configuration_that_makes_no_network_is_named() {
    let message = |c: TransformerConfig| Decoder::new(&Init::new(1), &c).unwrap_err().to_string();
    assert_eq!(message(TransformerConfig { heads: 3, ..small() }), "heads must be a divisor of d = 8, got 3");
    assert_eq!(message(TransformerConfig { layers: 0, ..small() }), "layers must be at least 1, got 0");
    let odd = TransformerConfig { positions: Positions::Rope2d, heads: 4, ..small() };
    assert!(message(odd).contains("multiple of 4"));
    let parsed: std::result::Result<TransformerConfig, _> = serde_json::from_str(r#"{"head": 3}"#);
    assert!(parsed.unwrap_err().to_string().contains("unknown field `head`"));
    let json = serde_json::to_string(&kinds()[2]).unwrap();
    assert!(json.contains(r#""positions":"rope2d""#));
    assert_eq!(serde_json::from_str::<TransformerConfig>(&json).unwrap(), kinds()[2]);
}
