//! One list of blocks for a model, used for every task, step and token; and what is kept under it and under other lists.

use ream_nn::Result;
use ream_rand::Stream;
use serde::{Deserialize, Serialize};

use super::choice;
use super::config::Config;
use super::corpus::{Corpus, Item, Part, Task};
use super::looks::Look;
use super::network::{Kind, Network};
use super::tasks::{Losses, score};

/// Passes of which the fastest is timed.
const TIMED: usize = 3;

/// The lists that the rule gives a model, for each number of blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// How many blocks.
    pub k: usize,
    /// The most redundant ones.
    pub free: Option<Vec<usize>>,
    /// Neighbours.
    pub plateau: Option<Vec<usize>>,
    /// The one of the two with the lower loss on the calibration text: the model's own list.
    pub own: Option<Vec<usize>>,
}

/// What is kept without the blocks of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// How the list was chosen.
    pub list: String,
    /// The blocks, from 0.
    pub blocks: Vec<usize>,
    /// Scores of the tasks, in the order of [`Task::ALL`].
    pub scores: Vec<f64>,
    /// Loss less that of the full model, nats.
    pub increase: f64,
    /// Seconds of a pass over those of the full model.
    pub seconds: f64,
    /// Share of the multiply-adds that is saved: of those in blocks, and with the head.
    pub saved: [f64; 2],
}

/// A model's scores with and without blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Scores of the full model, in the order of [`Task::ALL`].
    pub full: Vec<f64>,
    /// Scores of a unigram predictor.
    pub chance: Vec<f64>,
    /// Loss of the full model, nats.
    pub loss: f64,
    /// Every list. Names: `own`, `free`, `plateau`, `uniform`, `first`, `last`, `random N`, `from-KIND`, `oracle`, and `own` for each
    /// number of blocks of the curve.
    pub rows: Vec<Row>,
}

impl Evaluated {
    /// Rows of a kind of list of `k` blocks.
    pub fn of(&self, list: &str, k: usize) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.blocks.len() == k && row.list.split(' ').next() == Some(list))
    }
}

/// Chooses lists on the calibration sequences, for `skip` and each number of the curve. Nothing of a task is looked at.
///
/// # Errors
/// Those of the network.
pub fn choose(
    network: &Network,
    corpus: &Corpus,
    look: &Look,
    config: &Config,
    stream: Stream,
) -> Result<Vec<Chosen>> {
    let len = config.shape.context;
    let windows = corpus.windows(Part::Training, config.calibration, len + 1, &mut stream.child(0).at(0));
    let losses = Losses::new(network, &windows, len, &config.noise, stream.child(1));
    let (score, allowed) = (&look.calibration.centred, look.allowed());
    let mut all = Vec::new();
    for &k in [config.skip].iter().chain(config.curve.iter().filter(|k| **k != config.skip)) {
        let (free, plateau) = (choice::free(score, &allowed, k), choice::plateau(score, &allowed, k));
        let own = match (&free, &plateau) {
            (Some(free), Some(plateau)) if free != plateau => {
                let better = losses.mean(network, plateau)? < losses.mean(network, free)?;
                Some(if better { plateau.clone() } else { free.clone() })
            }
            (free, plateau) => free.clone().or_else(|| plateau.clone()),
        };
        all.push(Chosen { k, free, plateau, own });
    }
    Ok(all)
}

/// The tasks' items, the same for all models and lists of a seed.
#[derive(Clone, Debug)]
pub struct Examination {
    /// Items of each task, in the order of [`Task::ALL`].
    pub items: Vec<Vec<Item>>,
    /// Windows for losses, of a context and one token.
    losses: Vec<u32>,
    /// Other windows, for the greedy search.
    search: Vec<u32>,
    stream: Stream,
}

impl Examination {
    /// From chapters that no model has read, and fresh chains.
    #[must_use]
    pub fn new(corpus: &Corpus, config: &Config, stream: Stream) -> Self {
        let len = config.shape.context + 1;
        let windows =
            |child| corpus.windows(Part::HeldOut, config.validation, len, &mut stream.child(child).at(0));
        let of = |(i, task): (usize, &Task)| {
            corpus.items(*task, config.items, config.item_length, &mut stream.child(2).at(i as u64))
        };
        Self {
            items: Task::ALL.iter().enumerate().map(of).collect(),
            losses: windows(0),
            search: windows(1),
            stream: stream.child(3),
        }
    }
}

struct Examined<'a> {
    network: &'a Network,
    examination: &'a Examination,
    losses: Losses,
    full_loss: f64,
    rows: Vec<Row>,
}

impl Examined<'_> {
    /// Adds a list; one that was there under another name is not measured again.
    fn add(&mut self, name: &str, blocks: &[usize]) -> Result<()> {
        if let Some(same) = self.rows.iter().find(|row| row.blocks == blocks).cloned() {
            self.rows.push(Row { list: name.to_owned(), ..same });
            return Ok(());
        }
        let scores = self.scores(blocks)?;
        let increase = self.losses.mean(self.network, blocks)? - self.full_loss;
        let (seconds, saved) = cost(self.network, blocks)?;
        let blocks = blocks.to_vec();
        self.rows.push(Row { list: name.to_owned(), blocks, scores, increase, seconds, saved });
        Ok(())
    }

    fn scores(&self, blocks: &[usize]) -> Result<Vec<f64>> {
        self.examination.items.iter().map(|items| score(self.network, items, blocks)).collect()
    }
}

/// Time of a pass over that of the full model, and the shares of multiply-adds saved, counted in the passes themselves.
fn cost(network: &Network, blocks: &[usize]) -> Result<(f64, [f64; 2])> {
    let len = network.decoder.config().context;
    let (ids, shape) = (vec![0; 4 * len], [4, len]);
    let mut fastest = [f64::INFINITY; 2];
    let mut counted = [0; 2];
    for _ in 0..TIMED {
        for (which, skip) in [&[][..], blocks].into_iter().enumerate() {
            let begun = std::time::Instant::now();
            counted[which] = network.read(&ids, shape, skip, false)?.multiply_adds;
            fastest[which] = fastest[which].min(begun.elapsed().as_secs_f64());
        }
    }
    let [full, cut] = counted.map(|c| c as f64);
    let with_head = full + network.head_multiply_adds(ids.len()) as f64;
    Ok((fastest[1] / fastest[0].max(1e-12), [(full - cut) / full, (full - cut) / with_head]))
}

/// Measures a model under its own lists, the baselines, the lists of other models, and the greedy search, which sees losses on windows of its own.
/// `report` is told the share that is done.
///
/// # Errors
/// Those of the network; those of `report`.
pub fn examine<E: From<ream_nn::NnError>>(
    network: &Network,
    corpus: &Corpus,
    examination: &Examination,
    (lists, look): (&[(Kind, Vec<Chosen>)], &Look),
    config: &Config,
    mut report: impl FnMut(f64) -> std::result::Result<(), E>,
) -> std::result::Result<Evaluated, E> {
    let (layers, k, len) = (network.layers(), config.skip, config.shape.context);
    let losses = |windows: &[u32], child| {
        Losses::new(network, windows, len, &config.noise, examination.stream.child(child))
    };
    let mut at = Examined {
        network,
        examination,
        losses: losses(&examination.losses, 0),
        full_loss: 0.0,
        rows: Vec::new(),
    };
    at.full_loss = at.losses.mean(network, &[])?;
    let full = at.scores(&[])?;
    let mut plan: Vec<(String, Vec<usize>)> = Vec::new();
    for (kind, chosen) in lists {
        for list in chosen.iter().filter(|c| c.k == k || *kind == network.kind) {
            if *kind != network.kind {
                plan.extend(list.own.clone().map(|blocks| (format!("from-{}", kind.name()), blocks)));
                continue;
            }
            plan.extend(list.own.clone().map(|blocks| ("own".to_owned(), blocks)));
            if list.k == k {
                plan.extend(list.free.clone().map(|blocks| ("free".to_owned(), blocks)));
                plan.extend(list.plateau.clone().map(|blocks| ("plateau".to_owned(), blocks)));
            }
        }
    }
    plan.push(("uniform".to_owned(), choice::uniform(layers, k)));
    plan.push(("first".to_owned(), choice::first(k)));
    plan.push(("last".to_owned(), choice::last(layers, k)));
    let allowed = look.allowed();
    for draw in 0..config.draws {
        let list = choice::random(&allowed, k, &mut examination.stream.child(9).at(draw as u64));
        plan.push((format!("random {}", draw + 1), list));
    }
    let parts = plan.len() as f64 + 4.0;
    for (i, (name, blocks)) in plan.iter().enumerate() {
        at.add(name, blocks)?;
        report((i + 1) as f64 / parts)?;
    }
    let search = losses(&examination.search, 1);
    let found = choice::greedy(layers, k, None, |list| search.mean(network, list))?;
    if let Some(list) = found.last() {
        at.add("oracle", list)?;
    }
    report(1.0)?;
    let chance =
        Task::ALL.iter().zip(&examination.items).map(|(task, items)| corpus.chance(*task, items)).collect();
    Ok(Evaluated { full, chance, loss: at.full_loss, rows: at.rows })
}

#[cfg(test)]
mod tests {
    use super::super::corpus::tests::corpus;
    use super::super::looks::look;
    use super::super::network::Shape;
    use super::super::network::tests::{shape, trained};
    use super::*;
    use ream_lab::Preset;

    fn config() -> Config {
        let mut config = Config::preset(Preset::Smoke);
        config.shape = Shape { context: 72, ..shape() };
        (config.skip, config.curve, config.items, config.draws) = (2, vec![1], 6, 3);
        config
    }

    /// One list for all tasks, chosen before any item is seen; every baseline there; the same list measured once.
    #[test]
    fn lists_are_chosen_without_the_tasks_and_measured_on_all_of_them() {
        let (config, corpus) = (config(), corpus(72));
        let networks = [Kind::Ar, Kind::Dlm].map(|kind| trained(kind, 60));
        let lists: Vec<(Kind, Vec<Chosen>)> = networks
            .iter()
            .map(|n| {
                let seen = look(n, &corpus, &config, Stream::new(1, "look")).unwrap();
                (n.kind, choose(n, &corpus, &seen, &config, Stream::new(1, "choose")).unwrap())
            })
            .collect();
        let network = &networks[1];
        let seen = look(network, &corpus, &config, Stream::new(1, "look")).unwrap();
        let examination = Examination::new(&corpus, &config, Stream::new(1, "items"));
        let mut told = Vec::new();
        let out = examine(network, &corpus, &examination, (&lists, &seen), &config, |share| {
            told.push(share);
            Ok::<(), ream_nn::NnError>(())
        })
        .unwrap();
        assert!(told.windows(2).all(|w| w[0] < w[1]) && told.last() == Some(&1.0));
        let chosen = &lists[1].1[0];
        assert_eq!((chosen.k, lists[1].1[1].k), (2, 1));
        for (name, want) in [("own", &chosen.own), ("free", &chosen.free), ("plateau", &chosen.plateau)] {
            let rows: Vec<&Row> = out.of(name, 2).collect();
            assert_eq!(rows.len(), usize::from(want.is_some()), "{name}");
            rows.iter().for_each(|row| assert_eq!(Some(&row.blocks), want.as_ref()));
        }
        for name in ["uniform", "first", "last", "from-ar", "oracle"] {
            assert_eq!(out.of(name, 2).count(), 1, "{name}");
        }
        assert_eq!(out.of("own", 1).count(), 1);
        assert_eq!(out.of("random", 2).count(), 3);
        for row in &out.rows {
            assert_eq!(row.scores.len(), Task::ALL.len());
            let share = row.blocks.len() as f64 / 6.0;
            assert!((row.saved[0] - share).abs() < 1e-12 && row.saved[1] < share && row.saved[1] > 0.0);
            for other in out.rows.iter().filter(|other| other.blocks == row.blocks) {
                assert_eq!((&other.scores, other.increase), (&row.scores, row.increase));
            }
        }
        // The greedy list costs no more on its windows than the others do.
        let losses =
            Losses::new(network, &examination.search, 72, &config.noise, examination.stream.child(1));
        let loss = |row: &Row| losses.mean(network, &row.blocks).unwrap();
        let oracle = loss(out.of("oracle", 2).next().unwrap());
        assert!(out.of("own", 2).chain(out.of("last", 2)).all(|row| loss(row) >= oracle - 0.02));
    }

    #[test]
    fn a_list_is_chosen_even_where_no_window_is_allowed() {
        let (config, corpus) = (config(), corpus(72));
        let network = trained(Kind::Dlm, 5);
        let mut seen = look(&network, &corpus, &config, Stream::new(1, "look")).unwrap();
        seen.calibration.jump = vec![1.0, 1.0, 9.0, 1.0, 1.0, 1.0];
        let lists = choose(&network, &corpus, &seen, &config, Stream::new(1, "choose")).unwrap();
        assert_eq!((&lists[0].free, &lists[0].plateau), (&Some(vec![1, 3]), &None));
        assert_eq!(lists[0].own, lists[0].free);
    }
}
