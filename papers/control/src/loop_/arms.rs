//! Which learner runs on which problem.

use ream_lab::Invalid;
use ream_rand::Stream;

use super::config::{Algorithm, Config, Environment};
use super::finite::{Choice, FiniteClass, FiniteLoop, FiniteOptions, FitSet};
use super::learner::{CircleWorld, Learner, TableWorld, Trace, Truth, World, simulate};
use super::linear::{Features, LinearLoop};
use super::mixture::{MixtureLoop, MixtureOptions, MixtureRule, linear_beta, specialised_beta};
use super::model_free::{Average, EpsilonGreedy, OptimisticQ, Uniform};
use super::tabular::{Known, ModelBased, ModelSet, PosteriorSampling, SwitchRule};
use crate::environments::average_reward::solver::{Solution, solve};
use crate::environments::average_reward::{self as suite, Circle, LinearMixture, TabularMdp};

/// Parts of the circle on which it is seen and planned.
pub const CIRCLE_CELLS: usize = 200;
/// Parts on which its best gain is computed.
const CIRCLE_FINE: usize = 400;
/// Most states with a finite class: solving hundreds of larger processes takes too long.
const MOST_FINITE_STATES: usize = 50;

/// A problem with its solution.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Name in observations.
    pub name: String,
    /// The process as learners see it.
    pub mdp: TabularMdp,
    /// Its solution.
    pub solution: Solution,
    /// `J*` of the process itself.
    pub gain: f64,
    /// Steps.
    pub horizon: u64,
    /// Known kernels, where it is a mixture.
    pub mixture: Option<LinearMixture>,
    /// Features, where there are any.
    pub features: Option<Features>,
    /// Whether states are continuous.
    pub circle: bool,
    /// Whether the finite class, and what is compared with it, run here.
    pub finite: bool,
    /// Whether variants that are shown on one problem only run here.
    pub variants: bool,
}

impl Problem {
    /// A problem of the suite.
    ///
    /// # Errors
    /// Its solver does not settle.
    pub fn of(environment: Environment, config: &Config) -> Result<Self, Invalid> {
        let name = environment.name();
        let mut mixture = None;
        let mdp = match environment {
            Environment::RiverSwim6 => suite::river_swim(6),
            Environment::RiverSwim12 => suite::river_swim(12),
            Environment::JumpRiverSwim6 => suite::jump_river_swim(6),
            Environment::TwoLoop => suite::two_loops(),
            Environment::AccessControl => suite::access_control(),
            Environment::LinMix5 | Environment::LinMix10 => {
                let of = LinearMixture::new(if environment == Environment::LinMix5 { 5 } else { 10 });
                let mdp = of.mdp.clone();
                mixture = Some(of);
                mdp
            }
            Environment::CircleKernel => Circle::discretised(CIRCLE_CELLS),
        };
        let horizon = if environment.is_linear() { config.linear_horizon } else { config.horizon };
        let mut problem = Self::new(name, mdp, horizon)?;
        problem.mixture = mixture;
        if environment == Environment::CircleKernel {
            problem.circle = true;
            problem.gain = solved(name, &Circle::discretised(CIRCLE_FINE))?.gain;
            problem.features = Some(Features::random_fourier(CIRCLE_CELLS, config.features));
        }
        problem.finite = environment == Environment::RiverSwim6;
        problem.variants = matches!(environment, Environment::RiverSwim6 | Environment::LinMix5);
        Ok(problem)
    }

    /// Any table.
    ///
    /// # Errors
    /// Its solver does not settle.
    pub fn new(name: &str, mdp: TabularMdp, horizon: u64) -> Result<Self, Invalid> {
        let solution = solved(name, &mdp)?;
        let gain = solution.gain;
        let (name, finite) = (name.to_owned(), mdp.states() <= MOST_FINITE_STATES);
        let (mixture, features) = (None, None);
        let (circle, variants) = (false, false);
        Ok(Self { name, mdp, solution, gain, horizon, mixture, features, circle, finite, variants })
    }

    /// What `d_hat` stands beside: the dimension of a linear class, else states times actions.
    #[must_use]
    pub fn dimension(&self) -> usize {
        match (&self.mixture, &self.features) {
            (Some(mixture), _) => mixture.kernels.len(),
            (None, Some(features)) if self.circle => features.dimension(),
            _ => self.mdp.cells(),
        }
    }
}

fn solved(name: &str, mdp: &TabularMdp) -> Result<Solution, Invalid> {
    solve(mdp).ok_or_else(|| {
        Invalid::new(name, "a process whose relative value iteration settles", "one that does not")
    })
}

/// A learner by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Name in observations.
    pub name: String,
    /// What it is.
    pub method: Method,
    /// Whether its exponent is measured on the mean curve of several seeds.
    pub averaged: bool,
    /// Whether it is LOOP itself, on its instance.
    pub is_loop: bool,
}

/// What a learner is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// LOOP on a finite class and what is compared with it.
    Finite {
        /// `c`.
        constant: f64,
        /// The set.
        set: FitSet,
        /// The choice.
        choice: Choice,
        /// Anew at every step.
        every_step: bool,
    },
    /// A learner with a set of models.
    Models(ModelSet, SwitchRule),
    /// Posterior sampling.
    Posterior,
    /// LOOP on a mixture; without `c`, the algorithm made for mixtures.
    Mixture {
        /// `c`.
        constant: Option<f64>,
        /// When it switches.
        rule: MixtureRule,
        /// Whether it is optimistic.
        optimistic: bool,
    },
    /// LOOP on a linear class.
    Linear {
        /// `c`.
        constant: f64,
        /// Whether it is optimistic.
        optimistic: bool,
    },
    /// Optimistic Q-learning.
    OptimisticQ,
    /// Epsilon-greedy Q-learning.
    EpsilonGreedy(Average),
    /// Actions at random.
    Uniform,
}

/// The learners of a problem, LOOP first.
#[must_use]
pub fn arms(config: &Config, problem: &Problem) -> Vec<Arm> {
    let mut arms = Vec::new();
    let mut add = |kind: Algorithm, name: String, method: Method| {
        if config.runs(kind) {
            let is_loop = matches!(
                kind,
                Algorithm::Finite | Algorithm::TabularMle | Algorithm::LinearMixture | Algorithm::Linear
            );
            let averaged = is_loop || kind == Algorithm::DifferentialQ;
            arms.push(Arm { name, method, averaged, is_loop });
        }
    };
    for &c in &config.constants {
        if problem.mixture.is_some() {
            mixture_arms(c, problem.variants, &mut add);
            continue;
        }
        if problem.features.is_some() {
            add(Algorithm::Linear, format!("linear-c{c}"), Method::Linear { constant: c, optimistic: true });
            let greedy = Method::Linear { constant: c, optimistic: false };
            add(Algorithm::BestFit, format!("linear-best-fit-c{c}"), greedy);
        }
        if !problem.circle {
            table_arms(config, c, problem, &mut add);
        }
    }
    if problem.mixture.is_some() {
        let (rule, optimistic) = (MixtureRule::Determinant, true);
        let method = Method::Mixture { constant: None, rule, optimistic };
        add(Algorithm::Ucrl2, "ucrl2-vtr".to_owned(), method);
    }
    if !problem.circle {
        let doubling = |set| Method::Models(set, SwitchRule::Doubling);
        add(Algorithm::KlUcrl, "kl-ucrl".to_owned(), doubling(ModelSet::KlUcrl));
        add(Algorithm::Ucrl2, "ucrl2".to_owned(), doubling(ModelSet::L1));
        add(Algorithm::Psrl, "psrl".to_owned(), Method::Posterior);
    }
    add(Algorithm::OptimisticQ, "optimistic-q".to_owned(), Method::OptimisticQ);
    let greedy = Method::EpsilonGreedy;
    add(Algorithm::DifferentialQ, "differential-q".to_owned(), greedy(Average::Differential));
    add(Algorithm::RLearning, "r-learning".to_owned(), greedy(Average::Greedy));
    add(Algorithm::Random, "random".to_owned(), Method::Uniform);
    arms
}

type Add<'a> = dyn FnMut(Algorithm, String, Method) + 'a;

fn mixture_arms(c: f64, variants: bool, add: &mut Add<'_>) {
    let of = |rule, optimistic| Method::Mixture { constant: Some(c), rule, optimistic };
    add(Algorithm::LinearMixture, format!("linear-mixture-c{c}"), of(MixtureRule::Loop, true));
    add(Algorithm::BestFit, format!("linear-mixture-best-fit-c{c}"), of(MixtureRule::Loop, false));
    if variants {
        let every_step = of(MixtureRule::EveryStep, true);
        add(Algorithm::Replanning, format!("linear-mixture-replanning-c{c}"), every_step);
    }
}

fn table_arms(config: &Config, c: f64, problem: &Problem, add: &mut Add<'_>) {
    let finite = |set, choice, every_step| Method::Finite { constant: c, set, choice, every_step };
    if problem.finite {
        let paper = finite(FitSet::Local, Choice::Optimistic, false);
        add(Algorithm::Finite, format!("finite-c{c}"), paper);
        let greedy = finite(FitSet::Local, Choice::BestFit, false);
        add(Algorithm::BestFit, format!("finite-best-fit-c{c}"), greedy);
        add(Algorithm::Plain, format!("finite-plain-c{c}"), finite(FitSet::Plain, Choice::Optimistic, false));
    }
    let likelihood = ModelSet::Likelihood(c);
    let root = SwitchRule::Root(config.mle_root);
    add(Algorithm::TabularMle, format!("tabular-mle-c{c}"), Method::Models(likelihood, root));
    let greedy = Method::Models(ModelSet::BestFit(c), root);
    add(Algorithm::BestFit, format!("tabular-mle-best-fit-c{c}"), greedy);
    if problem.variants {
        let every_step = finite(FitSet::Local, Choice::Optimistic, true);
        add(Algorithm::Replanning, format!("finite-replanning-c{c}"), every_step);
        let every_step = Method::Models(likelihood, SwitchRule::EveryStep);
        add(Algorithm::Replanning, format!("tabular-mle-replanning-c{c}"), every_step);
        let patient = Method::Models(likelihood, SwitchRule::Deficit(config.mle_patience));
        add(Algorithm::Patient, format!("tabular-mle-patient-c{c}"), patient);
    }
}

/// A problem for one seed: with the class of hypotheses that belongs to it.
#[derive(Clone, Debug)]
pub struct Bench<'a> {
    problem: &'a Problem,
    delta: f64,
    class: Option<FiniteClass>,
    stream: Stream,
}

impl<'a> Bench<'a> {
    /// `stream.child(0)` is the world's, `child(1)` the learners' own, `child(2)` draws the class.
    ///
    /// # Errors
    /// The class cannot be drawn.
    pub fn new(problem: &'a Problem, config: &Config, seed: u64) -> Result<Self, Invalid> {
        let stream = Stream::new(seed, &problem.name);
        let draw = || FiniteClass::draw(&problem.mdp, &problem.solution, config.hypotheses, stream.child(2));
        let class = if problem.finite { Some(draw()?) } else { None };
        Ok(Self { problem, delta: config.delta, class, stream })
    }

    /// The class.
    #[must_use]
    pub fn class(&self) -> Option<&FiniteClass> {
        self.class.as_ref()
    }

    /// Runs a learner. A method whose class or features the problem lacks acts at random: [`arms`] never asks for one.
    #[must_use]
    pub fn run(&self, method: Method, ranges: bool) -> Trace {
        let problem = self.problem;
        let mut learner = self.learner(method);
        let mut table = TableWorld::new(&problem.mdp);
        let mut circle = CircleWorld::new(problem.mdp.states());
        let world: &mut dyn World = if problem.circle { &mut circle } else { &mut table };
        let truth = Truth { mdp: &problem.mdp, gain: problem.gain };
        simulate(world, learner.as_mut(), truth, problem.horizon, self.stream, ranges)
    }

    fn learner(&self, method: Method) -> Box<dyn Learner + '_> {
        let problem = self.problem;
        let (span, horizon, delta) = (problem.solution.span, problem.horizon, self.delta);
        let (states, actions) = (problem.mdp.states(), problem.mdp.actions());
        let known = || Known::of(&problem.mdp, span, horizon, delta);
        let own = self.stream.child(1);
        let uniform = || Box::new(Uniform::new(actions, own));
        match method {
            Method::Finite { constant, set, choice, every_step } => {
                let Some(class) = &self.class else { return uniform() };
                let beta = class.beta(constant, span, horizon, delta);
                let options = FiniteOptions { set, choice, every_step, ..FiniteOptions::paper(beta) };
                Box::new(FiniteLoop::new(class, options))
            }
            Method::Models(set, rule) => Box::new(ModelBased::new(known(), set, rule)),
            Method::Posterior => Box::new(PosteriorSampling::new(known(), own)),
            Method::Mixture { constant, rule, optimistic } => {
                let Some(mixture) = &problem.mixture else { return uniform() };
                let d = mixture.kernels.len();
                let beta = constant.map_or_else(
                    || specialised_beta(span, d, horizon, delta),
                    |c| linear_beta(c, span, d, horizon, delta),
                );
                Box::new(MixtureLoop::new(known(), mixture, MixtureOptions { beta, rule, optimistic }))
            }
            Method::Linear { constant, optimistic } => {
                let Some(features) = &problem.features else { return uniform() };
                let beta = linear_beta(constant, span, features.dimension(), horizon, delta);
                Box::new(LinearLoop::new(features, beta, span, optimistic))
            }
            Method::OptimisticQ => Box::new(OptimisticQ::new(&known())),
            Method::EpsilonGreedy(average) => Box::new(EpsilonGreedy::new(states, actions, average, own)),
            Method::Uniform => uniform(),
        }
    }
}
