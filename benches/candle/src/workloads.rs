//! GPT, VQ autoencoder, TD3 and a matrix product, with the shapes and first weights of `benches/torch`.

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::{AdamW, Conv2d, Conv2dConfig, GroupNorm, Linear, Module, Optimizer, ParamsAdamW, loss, ops};

use crate::data::{self, BATCHES};

pub(crate) type Failure = Box<dyn std::error::Error>;
type Result<T> = candle_core::Result<T>;

const CPU: Device = Device::Cpu;

pub(crate) struct Cost {
    pub(crate) flop: usize,
    pub(crate) parameters: usize,
    pub(crate) items: usize,
    pub(crate) item: &'static str,
}

pub(crate) trait Step {
    fn step(&mut self) -> Result<f32>;
}

pub(crate) fn make(name: &str) -> std::result::Result<(Cost, Box<dyn Step>), Failure> {
    Ok(match name {
        "sgemm" => sgemm()?,
        "gpt" => gpt()?,
        "vqae" => vqae()?,
        "td3" => td3()?,
        _ => return Err(format!("there is no workload `{name}`").into()),
    })
}

/// Trained numbers as they are made.
#[derive(Default)]
struct Params(Vec<Var>);

impl Params {
    fn normal(&mut self, shape: &[usize], deviation: f64) -> Result<Tensor> {
        self.keep(Tensor::randn(0f32, deviation as f32, shape, &CPU)?)
    }

    fn constant(&mut self, size: usize, value: f32) -> Result<Tensor> {
        self.keep(Tensor::full(value, size, &CPU)?)
    }

    fn keep(&mut self, value: Tensor) -> Result<Tensor> {
        let var = Var::from_tensor(&value)?;
        self.0.push(var.clone());
        Ok(var.as_tensor().clone())
    }

    fn linear(&mut self, from: usize, to: usize, bias: bool, deviation: f64) -> Result<Linear> {
        let weight = self.normal(&[to, from], deviation)?;
        Ok(Linear::new(weight, if bias { Some(self.constant(to, 0.0)?) } else { None }))
    }

    fn count(&self) -> usize {
        self.0.iter().map(|v| v.elem_count()).sum()
    }

    /// AdamW whose decay spares vectors, as two optimisers.
    fn adamw(&self, lr: f64, weight_decay: f64) -> Result<[AdamW; 2]> {
        let (matrices, rest) = self.0.iter().cloned().partition(|v: &Var| v.rank() >= 2);
        let config = ParamsAdamW { lr, beta2: 0.95, weight_decay, ..ParamsAdamW::default() };
        Ok([
            AdamW::new(matrices, config.clone())?,
            AdamW::new(rest, ParamsAdamW { weight_decay: 0.0, ..config })?,
        ])
    }
}

struct Training<B, F> {
    optimisers: [AdamW; 2],
    batches: Vec<B>,
    loss: F,
    taken: usize,
}

impl<B, F: Fn(&B) -> Result<Tensor>> Step for Training<B, F> {
    fn step(&mut self) -> Result<f32> {
        let loss = (self.loss)(&self.batches[self.taken % self.batches.len()])?;
        let gradients: GradStore = loss.backward()?;
        for optimiser in &mut self.optimisers {
            optimiser.step(&gradients)?;
        }
        self.taken += 1;
        loss.to_scalar()
    }
}

// --- matrix product ---

struct Sgemm(Tensor, Tensor);

impl Step for Sgemm {
    fn step(&mut self) -> Result<f32> {
        self.0.matmul(&self.1)?.get(0)?.get(0)?.to_scalar()
    }
}

fn sgemm() -> Result<(Cost, Box<dyn Step>)> {
    const SIDE: usize = 2048;
    let matrix = |seed| Tensor::from_vec(data::uniform(seed, SIDE * SIDE), (SIDE, SIDE), &CPU);
    let cost = Cost { flop: 2 * SIDE * SIDE * SIDE, parameters: 0, items: 1, item: "step" };
    Ok((cost, Box::new(Sgemm(matrix(1)?, matrix(2)?))))
}

// --- GPT ---

const VOCABULARY: usize = 65;
const WIDTH: usize = 192;
const LAYERS: usize = 6;
const HEADS: usize = 6;
const TIME: usize = 128;
const ROWS: usize = 16;

struct Norm(Tensor, Tensor);

impl Norm {
    fn new(params: &mut Params) -> Result<Self> {
        Ok(Self(params.constant(WIDTH, 1.0)?, params.constant(WIDTH, 0.0)?))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm_slow(x, &self.0, &self.1, 1e-5)
    }
}

struct Block {
    norms: [Norm; 2],
    qkv: Linear,
    out: Linear,
    up: Linear,
    down: Linear,
}

impl Block {
    fn new(params: &mut Params) -> Result<Self> {
        let deviation = |inputs: usize| 1.0 / (inputs as f64).sqrt();
        let into_stream = |inputs: usize| deviation(inputs * 2 * LAYERS);
        Ok(Self {
            norms: [Norm::new(params)?, Norm::new(params)?],
            qkv: params.linear(WIDTH, 3 * WIDTH, true, deviation(WIDTH))?,
            out: params.linear(WIDTH, WIDTH, true, into_stream(WIDTH))?,
            up: params.linear(WIDTH, 4 * WIDTH, true, deviation(WIDTH))?,
            down: params.linear(4 * WIDTH, WIDTH, true, into_stream(4 * WIDTH))?,
        })
    }

    fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let head = WIDTH / HEADS;
        let qkv = self.qkv.forward(&self.norms[0].forward(x)?)?.reshape((ROWS, TIME, 3, HEADS, head))?;
        let part = |i: usize| qkv.narrow(2, i, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let scores = (part(0)?.matmul(&part(1)?.t()?)? * (1.0 / (head as f64).sqrt()))?;
        let weights = ops::softmax(&scores.broadcast_add(mask)?, D::Minus1)?;
        let attended = weights.matmul(&part(2)?)?.transpose(1, 2)?.reshape((ROWS, TIME, WIDTH))?;
        let x = (x + self.out.forward(&attended)?)?;
        let hidden = self.up.forward(&self.norms[1].forward(&x)?)?.gelu()?;
        x + self.down.forward(&hidden)?
    }
}

fn gpt() -> Result<(Cost, Box<dyn Step>)> {
    let mut params = Params::default();
    let token = params.normal(&[VOCABULARY, WIDTH], 0.02)?;
    let position = params.normal(&[TIME, WIDTH], 0.02)?;
    let blocks = (0..LAYERS).map(|_| Block::new(&mut params)).collect::<Result<Vec<_>>>()?;
    let norm = Norm::new(&mut params)?;
    let head = params.linear(WIDTH, VOCABULARY, false, 0.02)?;
    let mask: Vec<f32> =
        (0..TIME * TIME).map(|i| if i % TIME > i / TIME { f32::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (TIME, TIME), &CPU)?;
    let batches = data::walk(11, VOCABULARY as u32, BATCHES * ROWS, TIME + 1)
        .chunks(ROWS * (TIME + 1))
        .map(|rows| {
            let rows = Tensor::from_vec(rows.to_vec(), (ROWS, TIME + 1), &CPU)?;
            let part = |from| rows.narrow(1, from, TIME)?.contiguous()?.flatten_all();
            Ok((part(0)?, part(1)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let matrices = 12 * LAYERS * WIDTH * WIDTH + WIDTH * VOCABULARY;
    let flop = 3 * (2 * matrices + 4 * LAYERS * TIME * WIDTH) * TIME * ROWS;
    let cost = Cost { flop, parameters: params.count(), items: ROWS * TIME, item: "token" };
    let optimisers = params.adamw(1e-3, 0.05)?;
    let loss = move |(inputs, targets): &(Tensor, Tensor)| {
        let x = token.index_select(inputs, 0)?.reshape((ROWS, TIME, WIDTH))?.broadcast_add(&position)?;
        let x = blocks.iter().try_fold(x, |x, block| block.forward(&x, &mask))?;
        let logits = head.forward(&norm.forward(&x)?)?.reshape((ROWS * TIME, VOCABULARY))?;
        loss::cross_entropy(&logits, targets)
    };
    Ok((cost, Box::new(Training { optimisers, batches, loss, taken: 0 })))
}

// --- VQ autoencoder ---

fn conv(params: &mut Params, from: usize, to: usize, kernel: usize, stride: usize) -> Result<Conv2d> {
    let weight =
        params.normal(&[to, from, kernel, kernel], 1.0 / ((from * kernel * kernel) as f64).sqrt())?;
    let config = Conv2dConfig { padding: kernel / 2, stride, ..Conv2dConfig::default() };
    Ok(Conv2d::new(weight, Some(params.constant(to, 0.0)?), config))
}

struct Residual([GroupNorm; 2], [Conv2d; 2]);

impl Residual {
    fn new(params: &mut Params, channels: usize) -> Result<Self> {
        let norm = |params: &mut Params| {
            GroupNorm::new(
                params.constant(channels, 1.0)?,
                params.constant(channels, 0.0)?,
                channels,
                8,
                1e-5,
            )
        };
        let norms = [norm(params)?, norm(params)?];
        Ok(Self(norms, [conv(params, channels, channels, 3, 1)?, conv(params, channels, channels, 3, 1)?]))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let h = self.1[0].forward(&self.0[0].forward(x)?.silu()?)?;
        x + self.1[1].forward(&self.0[1].forward(&h)?.silu()?)?
    }
}

fn vqae() -> Result<(Cost, Box<dyn Step>)> {
    const IMAGES: usize = 64;
    const CODES: usize = 256;
    let mut params = Params::default();
    let p = &mut params;
    let down = [conv(p, 1, 32, 3, 2)?, conv(p, 32, 64, 3, 2)?, conv(p, 64, 32, 1, 1)?];
    let up = [conv(p, 32, 64, 3, 1)?, conv(p, 64, 32, 3, 1)?, conv(p, 32, 1, 3, 1)?];
    let residuals = [Residual::new(p, 64)?, Residual::new(p, 64)?];
    let codebook = p.normal(&[CODES, 32], 1.0 / 32f64.sqrt())?;
    let per_image = 2 * (196 * 9 * 32 + 49 * 9 * 32 * 64 + 2 * 49 * 9 * 64 * 64 + 49 * 64 * 32)
        + 2 * (49 * 9 * 32 * 64 + 2 * 49 * 9 * 64 * 64 + 196 * 9 * 64 * 32 + 784 * 9 * 32);
    let flop = IMAGES * (3 * per_image + 2 * 49 * CODES * 32);
    let cost = Cost { flop, parameters: params.count(), items: IMAGES, item: "image" };
    let batches = data::rectangles(51, BATCHES * IMAGES, 28)
        .chunks(IMAGES * 784)
        .map(|images| Tensor::from_vec(images.to_vec(), (IMAGES, 1, 28, 28), &CPU))
        .collect::<Result<Vec<_>>>()?;
    let optimisers = params.adamw(1e-3, 1e-4)?;
    let loss = move |images: &Tensor| {
        let h = down[1].forward(&down[0].forward(images)?.silu()?)?;
        let z = down[2].forward(&residuals[0].forward(&h)?)?;
        let flat = z.permute((0, 2, 3, 1))?.contiguous()?.reshape(((), 32))?;
        let fixed = codebook.detach();
        let products = (flat.detach().matmul(&fixed.t()?)? * -2.0)?;
        let index = products.broadcast_add(&fixed.sqr()?.sum(1)?)?.argmin(1)?;
        let code = codebook.index_select(&index, 0)?;
        let quantizer = (loss::mse(&code, &flat.detach())? + (loss::mse(&flat, &code.detach())? * 0.25)?)?;
        let through = (&flat + (code - &flat)?.detach())?;
        let through = through.reshape((IMAGES, 7, 7, 32))?.permute((0, 3, 1, 2))?.contiguous()?;
        let h = residuals[1].forward(&up[0].forward(&through)?)?.upsample_nearest2d(14, 14)?;
        let h = up[1].forward(&h)?.silu()?.upsample_nearest2d(28, 28)?;
        loss::mse(&up[2].forward(&h)?, images)? + quantizer
    };
    Ok((cost, Box::new(Training { optimisers, batches, loss, taken: 0 })))
}

// --- TD3 ---

const OBSERVATION: usize = 17;
const ACTION: usize = 6;
const HIDDEN: usize = 256;
const SAMPLES: usize = 256;

struct Mlp([Linear; 3]);

impl Mlp {
    fn new(params: &mut Params, from: usize, to: usize) -> Result<Self> {
        let deviation = |inputs: usize| 1.0 / (inputs as f64).sqrt();
        Ok(Self([
            params.linear(from, HIDDEN, true, deviation(from))?,
            params.linear(HIDDEN, HIDDEN, true, deviation(HIDDEN))?,
            params.linear(HIDDEN, to, true, deviation(HIDDEN))?,
        ]))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0[2].forward(&self.0[1].forward(&self.0[0].forward(x)?.relu()?)?.relu()?)
    }
}

/// Actor and twin critics with their numbers.
struct Nets {
    actor: Mlp,
    critics: [Mlp; 2],
    actor_params: Params,
    critic_params: Params,
}

impl Nets {
    fn new() -> Result<Self> {
        let (mut actor_params, mut critic_params) = (Params::default(), Params::default());
        let critic = |params: &mut Params| Mlp::new(params, OBSERVATION + ACTION, 1);
        Ok(Self {
            actor: Mlp::new(&mut actor_params, OBSERVATION, ACTION)?,
            critics: [critic(&mut critic_params)?, critic(&mut critic_params)?],
            actor_params,
            critic_params,
        })
    }

    fn vars(&self) -> impl Iterator<Item = &Var> {
        self.actor_params.0.iter().chain(&self.critic_params.0)
    }
}

struct Td3 {
    /// For each batch: observation, action, following observation, reward, 0 where the episode ends.
    batches: Vec<[Tensor; 5]>,
    nets: Nets,
    targets: Nets,
    actor_optimiser: AdamW,
    critic_optimiser: AdamW,
    taken: usize,
}

impl Td3 {
    /// Moves the targets by a share of the way.
    fn follow(&self, share: f64) -> Result<()> {
        for (target, source) in self.targets.vars().zip(self.nets.vars()) {
            let moved = ((target.as_tensor() * (1.0 - share))? + (source.as_tensor() * share)?)?;
            target.set(&moved.detach())?;
        }
        Ok(())
    }

    fn critic_loss(
        &self,
        [observation, action, following, reward, going_on]: &[Tensor; 5],
    ) -> Result<Tensor> {
        let noise = Tensor::randn(0f32, 0.2, (SAMPLES, ACTION), &CPU)?.clamp(-0.5f32, 0.5f32)?;
        let next = (self.targets.actor.forward(following)?.tanh()? + noise)?.clamp(-1f32, 1f32)?;
        let both = Tensor::cat(&[following, &next], 1)?;
        let [a, b] = &self.targets.critics;
        let value = a.forward(&both)?.minimum(&b.forward(&both)?)?;
        let target = (reward + (going_on * value)?.affine(0.99, 0.0)?)?.detach();
        let both = Tensor::cat(&[observation, action], 1)?;
        let [a, b] = &self.nets.critics;
        loss::mse(&a.forward(&both)?, &target)? + loss::mse(&b.forward(&both)?, &target)?
    }
}

impl Step for Td3 {
    fn step(&mut self) -> Result<f32> {
        let batch = &self.batches[self.taken % BATCHES];
        let loss = self.critic_loss(batch)?;
        self.critic_optimiser.backward_step(&loss)?;
        self.taken += 1;
        if self.taken.is_multiple_of(2) {
            let observation = &self.batches[(self.taken - 1) % BATCHES][0];
            let action = self.nets.actor.forward(observation)?.tanh()?;
            let value = self.nets.critics[0].forward(&Tensor::cat(&[observation, &action], 1)?)?;
            self.actor_optimiser.backward_step(&value.mean_all()?.neg()?)?;
            self.follow(0.005)?;
        }
        loss.to_dtype(DType::F32)?.to_scalar()
    }
}

fn td3() -> Result<(Cost, Box<dyn Step>)> {
    let count = BATCHES * SAMPLES;
    let going_on: Vec<f32> = data::uniform(45, count).into_iter().map(|u| f32::from(u >= 0.02)).collect();
    let all = [
        (data::symmetric(41, count * OBSERVATION), OBSERVATION),
        (data::symmetric(42, count * ACTION), ACTION),
        (data::symmetric(43, count * OBSERVATION), OBSERVATION),
        (data::uniform(44, count), 1),
        (going_on, 1),
    ];
    let batch = |i: usize, part: usize| {
        let (values, width) = &all[part];
        let length = SAMPLES * width;
        Tensor::from_slice(&values[i * length..(i + 1) * length], (SAMPLES, *width), &CPU)
    };
    let batches = (0..BATCHES)
        .map(|i| Ok([batch(i, 0)?, batch(i, 1)?, batch(i, 2)?, batch(i, 3)?, batch(i, 4)?]))
        .collect::<Result<Vec<_>>>()?;
    let (nets, targets) = (Nets::new()?, Nets::new()?);
    let config = ParamsAdamW { lr: 3e-4, weight_decay: 0.0, ..ParamsAdamW::default() };
    let actor = 2 * (OBSERVATION * HIDDEN + HIDDEN * HIDDEN + HIDDEN * ACTION);
    let critic = 2 * ((OBSERVATION + ACTION) * HIDDEN + HIDDEN * HIDDEN + HIDDEN);
    let flop = SAMPLES * (2 * (actor + 2 * critic + 6 * critic) + 3 * actor + 2 * critic) / 2;
    let parameters = nets.actor_params.count() + nets.critic_params.count();
    let cost = Cost { flop, parameters, items: SAMPLES, item: "transition" };
    let td3 = Td3 {
        batches,
        actor_optimiser: AdamW::new(nets.actor_params.0.clone(), config.clone())?,
        critic_optimiser: AdamW::new(nets.critic_params.0.clone(), config)?,
        nets,
        targets,
        taken: 0,
    };
    td3.follow(1.0)?;
    Ok((cost, Box::new(td3)))
}
