//! One concept on one model: every method is trained, its strength is found, and what it does is measured on pairs that nothing was trained on.

use ream_lab::Result;
use ream_rand::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contrast::{Contrast, Direction, Example, Factors, difference_of_means, probe, random_basis};
use super::divergence::Divergence;
use super::evaluation::{Distances, Evaluator, Judged, Language, accuracy, distances, recovery, utility};
use super::scoring::{Concept, Scores};
use super::steering::{Steering, latents, orthonormalise};
use super::subject::{Subject, Tokens};
use super::training::{Objective, Settings, fit};

/// A way to find and to apply an intervention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The paper's: matched laws, Jensen-Shannon, clamped with factors from data.
    Cdas,
    /// The same direction, clamped to the largest latent of the training prompts with the concept instead of their mean.
    CdasMax,
    /// Cross entropy of the answer after the interchange.
    Das,
    /// As the paper's with `KL(source || intervened)`.
    KlForward,
    /// As the paper's with `KL(intervened || source)`.
    KlReverse,
    /// Preference for the right answer after the interchange.
    Pdas,
    /// Direction of a logistic probe, clamped.
    Probe,
    /// The same direction, added with a factor that is searched for.
    ProbeAdd,
    /// Difference of means, added with a factor that is searched for.
    Diffmean,
    /// Its direction, clamped.
    DiffmeanClamp,
    /// An added vector trained as a language model, with a factor that is searched for.
    AdditiveLm,
    /// An added vector trained by preferences in both directions, with a factor that is searched for.
    Reps,
    /// A random direction, clamped.
    Random,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Cdas,
        Self::CdasMax,
        Self::Das,
        Self::KlForward,
        Self::KlReverse,
        Self::Pdas,
        Self::Probe,
        Self::ProbeAdd,
        Self::Diffmean,
        Self::DiffmeanClamp,
        Self::AdditiveLm,
        Self::Reps,
        Self::Random,
    ];

    /// Its name in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cdas => "cdas",
            Self::CdasMax => "cdas-max",
            Self::Das => "das",
            Self::KlForward => "kl-forward",
            Self::KlReverse => "kl-reverse",
            Self::Pdas => "pdas",
            Self::Probe => "probe",
            Self::ProbeAdd => "probe-add",
            Self::Diffmean => "diffmean",
            Self::DiffmeanClamp => "diffmean-clamp",
            Self::AdditiveLm => "additive-lm",
            Self::Reps => "reps",
            Self::Random => "random",
        }
    }

    /// What is trained, where something is.
    #[must_use]
    pub fn objective(self) -> Option<Objective> {
        match self {
            Self::Cdas => Some(Objective::Match(Divergence::JensenShannon)),
            Self::KlForward => Some(Objective::Match(Divergence::Forward)),
            Self::KlReverse => Some(Objective::Match(Divergence::Reverse)),
            Self::Das => Some(Objective::Answer),
            Self::Pdas => Some(Objective::Prefer),
            Self::AdditiveLm => Some(Objective::AddedAnswer),
            Self::Reps => Some(Objective::AddedPrefer),
            Self::CdasMax
            | Self::Probe
            | Self::ProbeAdd
            | Self::Diffmean
            | Self::DiffmeanClamp
            | Self::Random => None,
        }
    }
}

/// An intervention whose strength is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Deployed {
    /// Clamped to latents of training prompts.
    Clamped {
        /// `[rank, width]`.
        basis: Vec<f32>,
        /// The latents.
        factors: Factors,
    },
    /// Added with a factor.
    Added {
        /// `[width]`.
        vector: Vec<f32>,
        /// The factor.
        factor: f64,
    },
}

impl Deployed {
    /// The intervention for a direction with strength `m`. Clamping has no strength when it removes; adding uses it both ways.
    #[must_use]
    pub fn steering(&self, direction: Direction, m: f64) -> Steering {
        match self {
            Self::Clamped { basis, factors } => {
                Steering::Clamp { basis: basis.clone(), targets: factors.targets(direction, m) }
            }
            Self::Added { vector, factor } => {
                let sign = if direction == Direction::Add { m * factor } else { -m * factor };
                Steering::Add { vector: vector.iter().map(|a| (f64::from(*a) * sign) as f32).collect() }
            }
        }
    }
}

/// A concept with its pairs.
pub struct Case<'a> {
    /// Its name in observations.
    pub name: &'a str,
    /// Its name for readers.
    pub title: &'a str,
    /// Pairs for training and for factors.
    pub train: &'a [Example],
    /// Pairs for measuring.
    pub test: &'a [Example],
    /// What is scored.
    pub concept: &'a Concept,
    /// Prompts with answers that have nothing to do with the concept.
    pub neutral: &'a [(Tokens, Tokens)],
    /// Whether the neutral answers are the only right ones.
    pub exact_neutral: bool,
}

/// How methods are trained and looked at.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The methods.
    pub methods: Vec<Method>,
    /// Their training.
    pub training: &'a Settings,
    /// Factors that additive methods may try.
    pub factors: &'a [f64],
    /// Training prompts on which they try them.
    pub searched: usize,
    /// Strengths at which all are measured; 1 among them.
    pub multipliers: &'a [f64],
}

/// What was seen of a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmSeen {
    /// The method.
    pub method: Method,
    /// What was deployed.
    pub deployed: Deployed,
    /// Factors that were tried on training prompts.
    pub searches: usize,
    /// Added: strengths and answers.
    pub add: Vec<(f64, Judged)>,
    /// Removed.
    pub remove: Judged,
    /// At strength 1, added and removed: divergence of the steered run's laws from those of the contrasting run, a mean for each pair.
    pub distance: [Vec<f64>; 2],
    /// The same for the tokens of the first pair.
    pub first_pair: [Vec<f64>; 2],
    /// Neutral text at strength 1: nats a token, share of right answers.
    pub neutral: [[f64; 2]; 2],
    /// Share of the answers to prompts without the concept that stay as they are under removal.
    pub unchanged: f64,
    /// The training's losses.
    pub losses: Vec<f32>,
}

impl ArmSeen {
    /// Scores at strength 1.
    #[must_use]
    pub fn at_one(&self, direction: Direction) -> Scores {
        match direction {
            Direction::Add => self.added(1.0).map_or_else(Scores::default, |judged| judged.scores),
            Direction::Remove => self.remove.scores,
        }
    }

    /// What was added with this strength.
    #[must_use]
    pub fn added(&self, m: f64) -> Option<&Judged> {
        self.add.iter().find(|(strength, _)| *strength == m).map(|(_, judged)| judged)
    }

    /// Smallest and largest overall score over strengths.
    #[must_use]
    pub fn overall_range(&self) -> [f64; 2] {
        let all = self.add.iter().map(|(_, judged)| judged.scores.overall);
        [all.clone().fold(f64::INFINITY, f64::min), all.fold(f64::NEG_INFINITY, f64::max)]
    }
}

/// Latents along the first direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatentsSeen {
    /// Of all prompts without the concept.
    pub negative: Vec<f64>,
    /// Of all prompts with it.
    pub positive: Vec<f64>,
    /// Means of the training prompts: what is clamped to.
    pub means: [f64; 2],
    /// The largest of the training prompts with the concept.
    pub largest: f64,
}

/// What was seen of a concept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseSeen {
    /// Its name in observations.
    pub name: String,
    /// Its name for readers.
    pub title: String,
    /// The methods.
    pub arms: Vec<ArmSeen>,
    /// Unsteered answers to prompts without and with the concept.
    pub unsteered: [Judged; 2],
    /// Prompting instead of steering, added and removed.
    pub prompted: [Judged; 2],
    /// Divergence of the unsteered run's laws from the contrasting run's, added and removed, a mean for each pair.
    pub distance: [Vec<f64>; 2],
    /// The same for the tokens of the first pair.
    pub first_pair: [Vec<f64>; 2],
    /// Those tokens.
    pub first_tokens: [Vec<String>; 2],
    /// Neutral text without intervention: nats a token, share of right answers.
    pub neutral: [f64; 2],
    /// Latents of the paper's direction.
    pub latents: LatentsSeen,
    /// What the test prompts are about.
    pub titles: Vec<String>,
}

impl CaseSeen {
    /// A method's arm.
    #[must_use]
    pub fn arm(&self, method: Method) -> Option<&ArmSeen> {
        self.arms.iter().find(|arm| arm.method == method)
    }

    /// How much of the way to the contrasting run's laws an arm recovers.
    #[must_use]
    pub fn recovery(&self, arm: &ArmSeen, direction: Direction) -> f64 {
        let i = direction.base();
        recovery(&arm.distance[i], &self.distance[i])
    }
}

/// Place of the strength at which claims are read.
const ONE: f64 = 1.0;

struct Bench<'a, 'm> {
    subject: &'a Subject<'m>,
    language: &'a Language<'a>,
    case: &'a Case<'a>,
    plan: &'a Plan<'a>,
    train: Vec<Contrast>,
    test: Vec<Contrast>,
    evaluator: Evaluator<'a, 'm>,
    /// On training prompts, for factors.
    search: Option<Evaluator<'a, 'm>>,
}

/// Trains all methods of the plan on a case and measures them; `told` is given the share done and the method.
///
/// # Errors
/// Those of the engine and of trainings; of `told`.
pub fn study<'m>(
    subject: &Subject<'m>,
    language: &Language<'_>,
    case: &Case<'_>,
    plan: &Plan<'_>,
    stream: Stream,
    told: &mut dyn FnMut(f64, &str) -> Result<()>,
) -> Result<CaseSeen> {
    told(0.0, "runs of all pairs")?;
    let mut bench = Bench {
        subject,
        language,
        case,
        plan,
        train: Contrast::prepare(subject, case.train)?,
        test: Contrast::prepare(subject, case.test)?,
        evaluator: Evaluator::new(subject, language, case.concept, case.test)?,
        search: None,
    };
    let mut seen = bench.unsteered()?;
    let n = plan.methods.len().max(1) as f64;
    for (i, method) in plan.methods.iter().enumerate() {
        let begin = i as f64 / n;
        told(begin, method.name())?;
        let mut inner = |share: f64| told(begin + 0.6 * share / n, method.name());
        let found = match (method, seen.arm(Method::Cdas)) {
            (Method::CdasMax, Some(arm)) => Found::at_largest(arm),
            _ => bench.find(*method, stream.child(i as u64), &mut inner)?,
        };
        told(begin + 0.6 / n, method.name())?;
        let arm = bench.measure(*method, found, &seen)?;
        if *method == Method::Cdas {
            seen.latents = bench.latents(&arm.deployed);
        }
        seen.arms.push(arm);
    }
    Ok(seen)
}

/// An intervention with what it took.
struct Found {
    deployed: Deployed,
    searches: usize,
    losses: Vec<f32>,
}

impl Found {
    /// A method's directions with the largest latents in place of the mean ones.
    fn at_largest(arm: &ArmSeen) -> Self {
        let mut deployed = arm.deployed.clone();
        if let Deployed::Clamped { factors, .. } = &mut deployed {
            factors.positive.clone_from(&factors.largest);
        }
        Self { deployed, searches: 0, losses: Vec::new() }
    }
}

impl<'a, 'm> Bench<'a, 'm> {
    fn unsteered(&mut self) -> Result<CaseSeen> {
        let case = self.case;
        let [add, remove] =
            Direction::BOTH.map(|direction| distances(self.subject, &self.test, direction, &Steering::None));
        let [add, remove] = [add?, remove?];
        let tokens = |which: usize| -> Vec<String> {
            let answer = case.test.first().map(|e| e.answers[which].clone()).unwrap_or_default();
            answer.iter().map(|token| (self.language.decode)(&[*token])).collect()
        };
        Ok(CaseSeen {
            name: case.name.to_owned(),
            title: case.title.to_owned(),
            arms: Vec::new(),
            unsteered: self.evaluator.unsteered.clone(),
            prompted: Direction::BOTH.map(|direction| self.evaluator.prompted(direction)),
            distance: [add.means(), remove.means()],
            first_pair: [first(&add), first(&remove)],
            first_tokens: [tokens(1), tokens(0)],
            neutral: self.neutral(&Steering::None)?,
            latents: LatentsSeen::default(),
            titles: case.test.iter().map(|e| e.title.clone()).collect(),
        })
    }

    fn neutral(&self, steering: &Steering) -> Result<[f64; 2]> {
        let (subject, case) = (self.subject, self.case);
        if case.neutral.is_empty() {
            return Ok([0.0, 1.0]);
        }
        let nats = utility(subject, case.neutral, steering)?;
        let right =
            if case.exact_neutral { accuracy(subject, self.language, case.neutral, steering)? } else { 1.0 };
        Ok([nats, right])
    }

    fn clamped(&self, mut basis: Vec<f32>) -> Deployed {
        let factors = Factors::gather(&mut basis, &self.train);
        Deployed::Clamped { basis, factors }
    }

    fn find(
        &mut self,
        method: Method,
        stream: Stream,
        told: &mut dyn FnMut(f64) -> Result<()>,
    ) -> Result<Found> {
        let width = self.subject.width();
        let mut losses = Vec::new();
        let rows = match method.objective() {
            Some(objective) => {
                let trained = fit(self.subject, &self.train, objective, self.plan.training, stream, told)?;
                losses = trained.losses;
                trained.rows
            }
            None => match method {
                Method::Probe | Method::ProbeAdd => probe(&self.train),
                Method::Random => random_basis(self.plan.training.rank, width, stream),
                _ => difference_of_means(&self.train),
            },
        };
        let vector = match method {
            Method::AdditiveLm | Method::Reps | Method::Diffmean => rows,
            Method::ProbeAdd => {
                // As long as the latents of both kinds of prompt are apart.
                let mut rows = rows;
                let factors = Factors::gather(&mut rows, &self.train);
                let apart = factors.positive[0] - factors.negative[0];
                rows.iter().map(|x| x * apart).collect()
            }
            _ => {
                let mut basis = rows;
                orthonormalise(&mut basis, width);
                return Ok(Found { deployed: self.clamped(basis), searches: 0, losses });
            }
        };
        let factor = self.search(&vector)?;
        let searches = self.plan.factors.len();
        Ok(Found { deployed: Deployed::Added { vector, factor }, searches, losses })
    }

    /// The factor with the best overall score on training prompts, both directions together; the first of equals.
    fn search(&mut self, vector: &[f32]) -> Result<f64> {
        if self.search.is_none() {
            let some = &self.case.train[..self.plan.searched.min(self.case.train.len())];
            self.search = Some(Evaluator::new(self.subject, self.language, self.case.concept, some)?);
        }
        let Some(evaluator) = &mut self.search else { return Ok(ONE) };
        let mut best = (ONE, f64::NEG_INFINITY);
        for factor in self.plan.factors {
            let deployed = Deployed::Added { vector: vector.to_vec(), factor: *factor };
            let mut overall = 0.0;
            for direction in Direction::BOTH {
                overall += evaluator.judge(&deployed.steering(direction, ONE), direction)?.scores.overall;
            }
            if overall > best.1 {
                best = (*factor, overall);
            }
        }
        Ok(best.0)
    }

    fn measure(&mut self, method: Method, found: Found, seen: &CaseSeen) -> Result<ArmSeen> {
        let deployed = found.deployed;
        let at_one = Direction::BOTH.map(|direction| deployed.steering(direction, ONE));
        let mut add = Vec::new();
        // A random direction is only a floor for the laws.
        let only_one = method == Method::Random;
        for m in self.plan.multipliers.iter().filter(|m| !only_one || **m == ONE) {
            let steering = deployed.steering(Direction::Add, *m);
            add.push((*m, self.evaluator.judge(&steering, Direction::Add)?));
        }
        let remove = self.evaluator.judge(&at_one[1], Direction::Remove)?;
        let both = [
            distances(self.subject, &self.test, Direction::Add, &at_one[0])?,
            distances(self.subject, &self.test, Direction::Remove, &at_one[1])?,
        ];
        let neutral = [self.neutral(&at_one[0])?, self.neutral(&at_one[1])?];
        Ok(ArmSeen {
            method,
            searches: found.searches,
            add,
            remove,
            distance: [both[0].means(), both[1].means()],
            first_pair: [first(&both[0]), first(&both[1])],
            neutral,
            unchanged: self.unchanged(&at_one[1], seen)?,
            losses: found.losses,
            deployed,
        })
    }

    fn unchanged(&self, steering: &Steering, seen: &CaseSeen) -> Result<f64> {
        if !self.case.exact_neutral {
            return Ok(1.0);
        }
        let prompts: Vec<Tokens> = self.case.test.iter().map(|e| e.prompts[0].clone()).collect();
        let answers = self.subject.generate(&prompts, steering, self.language.ends, self.language.length)?;
        let same = answers.iter().zip(&seen.unsteered[0].answers);
        let same = same.filter(|(answer, before)| self.language.text(answer) == **before).count();
        Ok(same as f64 / prompts.len().max(1) as f64)
    }

    fn latents(&self, deployed: &Deployed) -> LatentsSeen {
        let Deployed::Clamped { basis, factors } = deployed else { return LatentsSeen::default() };
        let of = |which: usize| -> Vec<f64> {
            let all = self.train.iter().chain(&self.test);
            all.map(|c| latents(basis, c.header(which)).first().map_or(0.0, |z| f64::from(*z))).collect()
        };
        let head = |z: &[f32]| z.first().map_or(0.0, |z| f64::from(*z));
        LatentsSeen {
            negative: of(0),
            positive: of(1),
            means: [head(&factors.negative), head(&factors.positive)],
            largest: head(&factors.largest),
        }
    }
}

fn first(distances: &Distances) -> Vec<f64> {
    distances.tokens.first().cloned().unwrap_or_default()
}
