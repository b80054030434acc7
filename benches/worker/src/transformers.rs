//! Transformer workloads, as in `benches/torch/transformers.py`.

use ream_nn::gemm::Precision;
use ream_nn::layers::{Embedding, Linear, Mlp, MlpKind, NormKind, Positions, Stack, TransformerConfig};
use ream_nn::models::{Decoder, KvCache};
use ream_nn::ops::{self, Heads, Mask};
use ream_nn::{Init, Module, Param, Tensor, no_grad};

use crate::data::{self, BATCHES};
use crate::workload::{Cost, Failure, Model, Training, Workload, adamw};

/// Two for a multiplication with its addition; the whole square of the attention counts, also where a mask hides half of it.
fn flop(matrix_parameters: usize, layers: usize, width: usize, time: usize, rows: usize) -> u64 {
    (3 * (2 * matrix_parameters + 4 * layers * time * width) * time * rows) as u64
}

// --- GPT ---

pub(crate) const GPT_TIME: usize = 128;
pub(crate) const GPT_ROWS: usize = 16;
pub(crate) const GPT_VOCABULARY: usize = 65;

/// d 192, 6 layers, 6 heads, 128 tokens.
pub(crate) fn gpt_config() -> TransformerConfig {
    TransformerConfig {
        vocabulary: GPT_VOCABULARY,
        context: GPT_TIME,
        d: 192,
        layers: 6,
        heads: 6,
        tied: false,
        ..TransformerConfig::default()
    }
}

pub(crate) fn gpt_matrix_parameters() -> usize {
    let c = gpt_config();
    12 * c.layers * c.d * c.d + c.d * c.vocabulary
}

pub(crate) fn gpt() -> Result<Box<dyn Workload>, Failure> {
    gpt_training(Precision::F32)
}

pub(crate) fn gpt_bf16() -> Result<Box<dyn Workload>, Failure> {
    gpt_training(Precision::Bf16)
}

fn gpt_training(precision: Precision) -> Result<Box<dyn Workload>, Failure> {
    let tokens = data::walk(11, GPT_VOCABULARY as u32, BATCHES * GPT_ROWS, GPT_TIME + 1);
    let batches = tokens.chunks(GPT_ROWS * (GPT_TIME + 1)).map(GptBatch::of).collect();
    Ok(Box::new(gpt_on(1, precision, batches)?))
}

/// Tokens and what follows each, `[rows, time]`.
pub(crate) struct GptBatch {
    inputs: Vec<u32>,
    targets: Vec<u32>,
}

impl GptBatch {
    /// From rows of one token more than the model sees.
    pub(crate) fn of(rows: &[u32]) -> Self {
        let rows = rows.chunks(GPT_TIME + 1);
        let inputs = rows.clone().flat_map(|row| &row[..GPT_TIME]).copied().collect();
        Self { inputs, targets: rows.flat_map(|row| &row[1..]).copied().collect() }
    }
}

/// A decoder that guesses the next token.
pub(crate) struct Gpt(Decoder);

impl Model for Gpt {
    type Batch = GptBatch;

    fn params(&self) -> Vec<Param> {
        self.0.params()
    }

    fn loss(&self, batch: &GptBatch) -> ream_nn::Result<Tensor> {
        let logits = self.0.forward(&batch.inputs, [GPT_ROWS, GPT_TIME], &Mask::causal())?;
        ops::cross_entropy(&logits, &batch.targets, None)
    }
}

/// The training of a GPT on the given batches.
pub(crate) fn gpt_on(
    seed: u64,
    precision: Precision,
    batches: Vec<GptBatch>,
) -> Result<Training<Gpt>, Failure> {
    let config = gpt_config();
    let model = Gpt(Decoder::new(&Init::new(seed), &config)?);
    let cost = Cost {
        flop: flop(gpt_matrix_parameters(), config.layers, config.d, GPT_TIME, GPT_ROWS),
        parameters: 0,
        items: GPT_ROWS * GPT_TIME,
        item: "token",
    };
    Ok(Training::new(model, batches, adamw(1e-3, 0.05), cost).with_precision(precision))
}

/// Tokens of one step of [`decode`].
const DECODED: usize = GPT_TIME - 1;

struct Decoding {
    model: Decoder,
    cache: KvCache,
}

/// 127 tokens one after the other, greedily, batch 1, with a KV cache.
pub(crate) fn decode() -> Result<Box<dyn Workload>, Failure> {
    let config = gpt_config();
    let cache = KvCache::new(&config, 1, GPT_TIME);
    Ok(Box::new(Decoding { model: Decoder::new(&Init::new(1), &config)?, cache }))
}

impl Workload for Decoding {
    fn cost(&self) -> Cost {
        let c = gpt_config();
        let seen = DECODED * (DECODED + 1) / 2;
        Cost {
            flop: (2 * gpt_matrix_parameters() * DECODED + 4 * c.layers * c.d * seen) as u64,
            parameters: self.model.parameter_count(),
            items: DECODED,
            item: "token",
        }
    }

    /// Gives the root mean square of the last logits.
    fn step(&mut self) -> Result<f32, Failure> {
        self.cache.truncate(0);
        let mut token = 1;
        let mut logits = Tensor::scalar(0.0);
        for _ in 0..DECODED {
            logits = no_grad(|| self.model.step(&[token], [1, 1], None, &Mask::causal(), &mut self.cache))?;
            token = *logits.argmax().first().ok_or("no logits")? as u32;
        }
        Ok(ops::mse(&logits, &Tensor::zeros(logits.shape()))?.item()?.sqrt())
    }
}

// --- raster: AR-L ---

const RASTER_ROWS: usize = 32;
const RASTER_CODES: usize = 512;
const RASTER_TIME: usize = 64;
const CLASSES: usize = 11;

/// Classes and codes of a batch of images.
struct RasterBatch {
    labels: Vec<u32>,
    codes: Vec<u32>,
}

struct Raster {
    label: Embedding,
    code: Embedding,
    stack: Stack,
    head: Linear,
    /// Places in the image; the class comes first.
    places: Vec<u32>,
}

impl Raster {
    fn new(init: &Init, config: &TransformerConfig) -> ream_nn::Result<Self> {
        Ok(Self {
            label: Embedding::new(&init.at("label"), CLASSES, config.d, 0.02),
            code: Embedding::new(&init.at("code"), RASTER_CODES, config.d, 0.02),
            stack: Stack::new(init, config, false)?,
            head: Linear::with_deviation(&init.at("head"), config.d, RASTER_CODES, false, 0.02),
            // The place (0, 0) turns nothing, so the class may share it with the first code.
            places: std::iter::once(0).chain(0..RASTER_TIME as u32 - 1).collect(),
        })
    }
}

impl Model for Raster {
    type Batch = RasterBatch;

    fn params(&self) -> Vec<Param> {
        [self.label.params(), self.code.params(), self.stack.params(), self.head.params()].concat()
    }

    fn loss(&self, batch: &RasterBatch) -> ream_nn::Result<Tensor> {
        let seen: Vec<u32> =
            batch.codes.chunks(RASTER_TIME).flat_map(|row| &row[..RASTER_TIME - 1]).copied().collect();
        let class = self.label.forward(&batch.labels, &[RASTER_ROWS, 1])?;
        let x = ops::concat(&[&class, &self.code.forward(&seen, &[RASTER_ROWS, RASTER_TIME - 1])?], 1)?;
        let hidden = self.stack.forward(&x, Some(&self.places), &Mask::causal(), None)?;
        ops::cross_entropy(&self.head.forward(&hidden)?, &batch.codes, None)
    }
}

/// d 160, 6 layers, 5 heads; the class and 63 of 64 codes, each guessing the next.
pub(crate) fn raster() -> Result<Box<dyn Workload>, Failure> {
    let config = TransformerConfig {
        vocabulary: RASTER_CODES,
        context: RASTER_TIME,
        d: 160,
        layers: 6,
        heads: 5,
        hidden: 432,
        positions: Positions::Rope2d,
        grid_width: 8,
        norm: NormKind::Rms,
        mlp: MlpKind::SwiGlu,
        bias: false,
        ..TransformerConfig::default()
    };
    let matrices = config.layers * (4 * config.d + 3 * config.hidden) * config.d + config.d * RASTER_CODES;
    let cost = Cost {
        flop: flop(matrices, config.layers, config.d, RASTER_TIME, RASTER_ROWS),
        parameters: 0,
        items: RASTER_ROWS * RASTER_TIME,
        item: "token",
    };
    let codes = data::walk(21, RASTER_CODES as u32, BATCHES * RASTER_ROWS, RASTER_TIME);
    let labels = data::integers(23, 10, BATCHES * RASTER_ROWS);
    let batches = labels
        .chunks(RASTER_ROWS)
        .zip(codes.chunks(RASTER_ROWS * RASTER_TIME))
        .map(|(labels, codes)| RasterBatch { labels: labels.to_vec(), codes: codes.to_vec() })
        .collect();
    let model = Raster::new(&Init::new(1), &config)?;
    Ok(Box::new(Training::new(model, batches, adamw(1.5e-3, 0.05), cost)))
}

// --- next-scale: VAR-L ---

const SCALES: [usize; 5] = [1, 2, 3, 5, 8];
const SCALE_TIME: usize = 103;
const SCALE_ROWS: usize = 32;
const SCALE_CODES: usize = 256;
const CHANNELS: usize = 16;
const WIDTH: usize = 128;
const LAYERS: usize = 8;
const HEADS: usize = 4;

/// A block whose norms have no weights of their own: shift, scale and gate come from the class.
struct ModulatedBlock {
    modulation: Param,
    temperature: Param,
    qkv: Linear,
    out: Linear,
    mlp: Mlp,
}

impl ModulatedBlock {
    fn new(init: &Init) -> ream_nn::Result<Self> {
        // Gates start open, so that every branch works from the first step.
        let gates: Vec<f32> = (0..6 * WIDTH).map(|i| f32::from(matches!(i / WIDTH, 2 | 5))).collect();
        let into_stream = |inputs: usize| 1.0 / ((2 * LAYERS * inputs) as f32).sqrt();
        let mut mlp = Mlp::new(&init.at("mlp"), WIDTH, 4 * WIDTH, true);
        mlp.down = Linear::with_deviation(&init.at("down"), 4 * WIDTH, WIDTH, true, into_stream(4 * WIDTH));
        Ok(Self {
            modulation: init.values("modulation", &Tensor::from_vec(gates, &[6 * WIDTH])?),
            temperature: init.constant("temperature", &[HEADS, 1], 2.0 * std::f32::consts::LN_2),
            qkv: Linear::new(&init.at("qkv"), WIDTH, 3 * WIDTH, true),
            out: Linear::with_deviation(&init.at("out"), WIDTH, WIDTH, true, into_stream(WIDTH)),
            mlp,
        })
    }

    fn forward(&self, x: &Tensor, condition: &Tensor, mask: &Mask) -> ream_nn::Result<Tensor> {
        let parts = condition.add(&self.modulation.tensor())?.split(1, &[WIDTH; 6])?;
        let modulated = |x: &Tensor, at: usize| {
            ops::modulate(&ops::layer_norm(x, None, None, 1e-6)?, &parts[at], &parts[at + 1])
        };
        let attended = self.out.forward(&self.attention(&modulated(x, 0)?, mask)?)?;
        let x = ops::gated_add(x, &attended, &parts[2])?;
        ops::gated_add(&x, &self.mlp.forward(&modulated(&x, 3)?)?, &parts[5])
    }

    /// Queries and keys of unit length, a learned temperature for each head.
    fn attention(&self, x: &Tensor, mask: &Mask) -> ream_nn::Result<Tensor> {
        let head = WIDTH / HEADS;
        let parts = self.qkv.forward(x)?.split(2, &[WIDTH; 3])?;
        // A root mean square of one is a length of sqrt(head).
        let unit = |x: &Tensor| -> ream_nn::Result<Tensor> {
            let by_head = [SCALE_ROWS * SCALE_TIME * HEADS, head];
            ops::rms_norm(&x.reshape(&by_head)?, None, 1e-12)?.reshape(x.shape())
        };
        let temperature = self.temperature.tensor().exp().broadcast_to(&[HEADS, head])?.reshape(&[WIDTH])?;
        let q = unit(&parts[0])?.mul(&temperature)?;
        let heads = Heads::new(HEADS).scaled(1.0 / head as f32);
        ops::attention(&q, &unit(&parts[1])?, &parts[2], heads, mask)
    }
}

impl Module for ModulatedBlock {
    fn params(&self) -> Vec<Param> {
        let own = vec![self.modulation.clone(), self.temperature.clone()];
        [own, self.qkv.params(), self.out.params(), self.mlp.params()].concat()
    }
}

struct NextScale {
    label: Embedding,
    project: Linear,
    position: Embedding,
    level: Embedding,
    condition: Linear,
    blocks: Vec<ModulatedBlock>,
    head: Linear,
    levels: Vec<u32>,
    mask: Mask,
}

impl NextScale {
    fn new(init: &Init) -> ream_nn::Result<Self> {
        let levels: Vec<u32> =
            (0..).zip(SCALES).flat_map(|(level, side)| std::iter::repeat_n(level, side * side)).collect();
        let table = |name: &str, rows| Embedding::new(&init.at(name), rows, WIDTH, 0.02);
        Ok(Self {
            label: table("label", CLASSES),
            project: Linear::new(&init.at("project"), CHANNELS, WIDTH, true),
            position: table("position", SCALE_TIME),
            level: table("level", SCALES.len()),
            condition: Linear::new(&init.at("condition"), WIDTH, 6 * WIDTH, false),
            blocks: (0..LAYERS)
                .map(|i| ModulatedBlock::new(&init.at("blocks").at(i)))
                .collect::<ream_nn::Result<_>>()?,
            head: Linear::with_deviation(&init.at("head"), WIDTH, SCALE_CODES, true, 0.02),
            mask: Mask::block_causal(&levels)?,
            levels,
        })
    }

    fn logits(&self, labels: &[u32], features: &Tensor) -> ream_nn::Result<Tensor> {
        let label = self.label.forward(labels, &[labels.len()])?;
        let first = label.reshape(&[labels.len(), 1, WIDTH])?;
        let x = ops::concat(&[&first, &self.project.forward(features)?], 1)?;
        let level = self.level.forward(&self.levels, &[SCALE_TIME])?;
        let mut x = x.add(&self.position.weight.tensor().add(&level)?)?;
        let condition = self.condition.forward(&label.silu())?;
        for block in &self.blocks {
            x = block.forward(&x, &condition, &self.mask)?;
        }
        self.head.forward(&ops::layer_norm(&x, None, None, 1e-6)?)
    }
}

/// Classes, what each scale sees of those before it `[rows, time - 1, channels]`, and codes.
struct ScaleBatch {
    labels: Vec<u32>,
    features: Tensor,
    codes: Vec<u32>,
}

impl Model for NextScale {
    type Batch = ScaleBatch;

    fn params(&self) -> Vec<Param> {
        let tables = [&self.label, &self.position, &self.level].map(Module::params).concat();
        let maps = [&self.project, &self.condition, &self.head].map(Module::params).concat();
        [tables, maps, self.blocks.params()].concat()
    }

    fn loss(&self, batch: &ScaleBatch) -> ream_nn::Result<Tensor> {
        ops::cross_entropy(&self.logits(&batch.labels, &batch.features)?, &batch.codes, None)
    }
}

/// d 128, 8 layers, 4 heads, 103 tokens over five scales.
pub(crate) fn next_scale() -> Result<Box<dyn Workload>, Failure> {
    let matrices = 12 * LAYERS * WIDTH * WIDTH + WIDTH * (SCALE_CODES + CHANNELS);
    let cost = Cost {
        flop: flop(matrices, LAYERS, WIDTH, SCALE_TIME, SCALE_ROWS),
        parameters: 0,
        items: SCALE_ROWS * SCALE_TIME,
        item: "token",
    };
    let count = BATCHES * SCALE_ROWS;
    let features = data::symmetric(31, count * (SCALE_TIME - 1) * CHANNELS);
    let codes = data::walk(32, SCALE_CODES as u32, count, SCALE_TIME);
    let labels = data::integers(34, 10, count);
    let batches = labels
        .chunks(SCALE_ROWS)
        .zip(codes.chunks(SCALE_ROWS * SCALE_TIME))
        .zip(features.chunks(SCALE_ROWS * (SCALE_TIME - 1) * CHANNELS))
        .map(|((labels, codes), features)| {
            let features = Tensor::from_vec(features.to_vec(), &[SCALE_ROWS, SCALE_TIME - 1, CHANNELS])?;
            Ok(ScaleBatch { labels: labels.to_vec(), features, codes: codes.to_vec() })
        })
        .collect::<ream_nn::Result<_>>()?;
    let model = NextScale::new(&Init::new(1))?;
    Ok(Box::new(Training::new(model, batches, adamw(1.5e-3, 0.05), cost)))
}
