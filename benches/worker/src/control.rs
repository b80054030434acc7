//! One TD3 update (Fujimoto, van Hoof & Meger, 2018), as in `benches/torch/control.py`.

use ream_nn::layers::{Activation, EnsembleMlp, MlpConfig, MlpNet, polyak};
use ream_nn::training::{Adam, AdamConfig, Optimiser};
use ream_nn::{Init, Module, Tensor, no_grad, ops};
use ream_rand::Stream;

use crate::data::{self, BATCHES};
use crate::workload::{Cost, Failure, Workload};

const OBSERVATION: usize = 17;
const ACTION: usize = 6;
const HIDDEN: usize = 256;
const ROWS: usize = 256;

/// Two hidden layers with ReLU; weights from N(0, 1 / inputs), biases zero.
fn sizes(inputs: usize, outputs: usize) -> MlpConfig {
    MlpConfig::new(&[inputs, HIDDEN, HIDDEN, outputs], Activation::Relu)
}

struct Td3 {
    /// For each batch: observation, action, following observation, reward, 0 where the episode ends.
    batches: Vec<[Tensor; 5]>,
    actor: MlpNet,
    critics: EnsembleMlp,
    target_actor: MlpNet,
    target_critics: EnsembleMlp,
    actor_optimiser: Adam,
    critic_optimiser: Adam,
    noise: Stream,
    taken: usize,
}

pub(crate) fn td3() -> Result<Box<dyn Workload>, Failure> {
    let init = Init::new(1);
    let actor = || MlpNet::new(&init.at("actor"), &sizes(OBSERVATION, ACTION));
    let critics = || EnsembleMlp::new(&init.at("critics"), &sizes(OBSERVATION + ACTION, 1), 2);
    // The same seed and names: targets begin as copies.
    let (target_actor, target_critics) = (actor()?, critics()?);
    target_actor.freeze();
    target_critics.freeze();
    let (actor, critics) = (actor()?, critics()?);
    let config = AdamConfig { learning_rate: 3e-4, ..AdamConfig::default() };
    Ok(Box::new(Td3 {
        batches: batches()?,
        actor_optimiser: Adam::new(&actor.params(), config),
        critic_optimiser: Adam::new(&critics.params(), config),
        actor,
        critics,
        target_actor,
        target_critics,
        noise: Stream::new(1, "policy noise"),
        taken: 0,
    }))
}

fn batches() -> ream_nn::Result<Vec<[Tensor; 5]>> {
    let count = BATCHES * ROWS;
    let observation = data::symmetric(41, count * OBSERVATION);
    let action = data::symmetric(42, count * ACTION);
    let following = data::symmetric(43, count * OBSERVATION);
    let reward = data::uniform(44, count);
    let going_on: Vec<f32> = data::uniform(45, count).into_iter().map(|u| f32::from(u >= 0.02)).collect();
    let batch = |all: &[f32], width: usize, index: usize| {
        let length = ROWS * width;
        Tensor::from_vec(all[index * length..(index + 1) * length].to_vec(), &[ROWS, width])
    };
    (0..BATCHES)
        .map(|i| {
            Ok([
                batch(&observation, OBSERVATION, i)?,
                batch(&action, ACTION, i)?,
                batch(&following, OBSERVATION, i)?,
                batch(&reward, 1, i)?,
                batch(&going_on, 1, i)?,
            ])
        })
        .collect()
}

impl Td3 {
    fn critic_loss(&self, index: usize) -> ream_nn::Result<Tensor> {
        let [observation, action, following, reward, going_on] = &self.batches[index];
        let target = no_grad(|| {
            let mut rng = self.noise.at(self.taken as u64);
            let noise = Tensor::randn(&[ROWS, ACTION], 0.2, &mut rng).clamp(-0.5, 0.5);
            let next = self.target_actor.forward(following)?.tanh().add(&noise)?.clamp(-1.0, 1.0);
            let both = ops::concat(&[following, &next], 1)?;
            let value = self.target_critics.smallest(&both)?;
            reward.add(&going_on.mul(&value)?.mul_scalar(0.99))
        })?;
        let both = ops::concat(&[observation, action], 1)?;
        // The mean over both critics, of which the loss is the sum.
        Ok(self.critics.forward(&both)?.sub(&target)?.square().mean().mul_scalar(2.0))
    }

    fn actor_loss(&self, index: usize) -> ream_nn::Result<Tensor> {
        let observation = &self.batches[index][0];
        let both = ops::concat(&[observation, &self.actor.forward(observation)?.tanh()], 1)?;
        Ok(self.critics.member(0, &both)?.mean().neg())
    }

    /// Targets move by 0.005 towards what they follow.
    fn follow(&self) -> ream_nn::Result<()> {
        polyak(&self.target_actor, &self.actor, 0.005)?;
        polyak(&self.target_critics, &self.critics, 0.005)
    }
}

impl Workload for Td3 {
    /// The mean of two steps: backward counts twice forward, where gradients are taken.
    fn cost(&self) -> Cost {
        let actor = 2 * (OBSERVATION * HIDDEN + HIDDEN * HIDDEN + HIDDEN * ACTION);
        let critic = 2 * ((OBSERVATION + ACTION) * HIDDEN + HIDDEN * HIDDEN + HIDDEN);
        let critics_step = actor + 2 * critic + 3 * 2 * critic;
        let actor_step = 3 * actor + 2 * critic;
        Cost {
            flop: (ROWS * (2 * critics_step + actor_step) / 2) as u64,
            parameters: self.actor.parameter_count() + self.critics.parameter_count(),
            items: ROWS,
            item: "transition",
        }
    }

    fn step(&mut self) -> Result<f32, Failure> {
        let index = self.taken % BATCHES;
        let loss = self.critic_loss(index)?;
        self.critic_optimiser.step(&loss.backward()?, 1.0);
        self.taken += 1;
        if self.taken.is_multiple_of(2) {
            self.critics.freeze();
            let gradients = self.actor_loss(index)?.backward();
            self.critics.unfreeze();
            self.actor_optimiser.step(&gradients?, 1.0);
            self.follow()?;
        }
        Ok(loss.item()?)
    }
}
