//! The user's own log: what inverse-gap policies would have earned, generation by generation, and what their
//! data look like to the next model.

use std::path::Path;

use ream_lab::{Cell, Error, Figure, Layer, Panel, Place, Result, Run, Spread, Table};
use ream_rand::Stream;

pub use super::own_log::{OwnLog, load};

use super::config::{Config, Schedule};
use super::data::{Contexts, Log, training_rows};
use super::diagnostics::{DataFacts, Scores, data_facts, scores, shifts};
use super::open_bandit::{Valued, bootstrapped, judge};
use super::oracle::fit;
use super::own_log::window;
use super::pictures;
use super::policy::{Rule, exploration_mass};
use super::serving::{Family, Serving, Training};
use super::tables;

/// A rise of the positive rate, and a fall of coverage relative to what it was, that together are worth a word.
const RISE: f64 = 0.03;
const FALL: f64 = 0.1;

/// A generation that was judged.
#[derive(Clone, Debug, PartialEq)]
struct Judged {
    name: String,
    trained: DataFacts,
    training_log_loss: f64,
    on_traffic: Scores,
    shifts: [f64; 2],
    gamma: f64,
    exploration: f64,
    /// Mean reward that was logged, with the doubly robust value of the policy and its standard error.
    logged: f64,
    value: [f64; 2],
}

/// Rows of all judged generations: the log, model's rewards, and for each policy the probabilities of the
/// available actions.
#[derive(Default)]
struct Replay {
    log: Log,
    predicted: Vec<Vec<f64>>,
    policies: Vec<(String, Vec<Vec<f64>>)>,
    generations: Vec<Judged>,
    /// Rows that no model could serve.
    left_out: usize,
    excluded: Vec<String>,
}

/// Judges policies on the user's log.
///
/// # Errors
/// See [`load`]; cancelled.
pub fn run(config: &Config, file: &Path, run: &mut Run) -> Result<()> {
    if !run.is_first_seed() {
        // The log is the same for all seeds.
        return Ok(());
    }
    let own = load(config, file)?;
    let mut replay = Replay::default();
    for g in 1..own.generations.len() {
        run.progress(0.8 * g as f64 / own.generations.len() as f64, &format!("generation {}", own.names[g]))?;
        one_generation(config, &own, g, run.stream("own log"), &mut replay)
            .map_err(|e| Error::failed(format!("generation {}: {e}", own.names[g])))?;
    }
    let values = values(config, &replay, run.stream("bootstrap"))
        .map_err(|e| Error::failed(format!("{}: {e}", file.display())))?;
    for of in &values {
        let at = [("log", Place::from("own")), ("estimator", Place::from(of.estimator))];
        run.observe_with("policy_value", &of.policy, &at, of.value.value, Spread::Se(of.value.se));
    }
    warn(&own, &replay, &values, run);
    run.table(value_table(&own, &replay, &values));
    run.table(generation_table(config, &replay));
    run.figure("values-own", pictures::values("your log", &values))?;
    run.figure("generations-own", generation_figure(&replay))?;
    run.figure("data-own", data_figure(&replay))?;
    let gammas = [config.own.gamma / 10.0, config.own.gamma, config.own.gamma * 10.0];
    run.figure("best-action-own", pictures::best_action(&gammas, config.own.class, &replay.predicted))
}

/// Fits the model of a generation, makes its policy, and adds the generation's rows to the replay.
fn one_generation(
    config: &Config,
    own: &OwnLog,
    g: usize,
    stream: Stream,
    replay: &mut Replay,
) -> Result<(), String> {
    let rows = training_rows(&own.generations[..g], window(&config.own));
    let training = Training { window: window(&config.own), ..Training::plain(1) };
    let oracle = fit(&own.recipe, &rows, &training, stream).map_err(|e| e.to_string())?;
    let missing = own.unseen(g, &rows);
    let log = without(&own.generations[g], &missing, replay);
    replay.excluded.extend(missing.iter().map(|a| own.actions[*a as usize].clone()));
    if log.is_empty() {
        return Ok(());
    }
    let predicted = oracle.predict(&log.contexts);
    let serving = match config.own.schedule {
        Schedule::Constant => Serving::Fixed(Rule::Squarecb { gamma: config.own.gamma }),
        Schedule::Error => Serving::Scheduled { factor: config.schedule },
        Schedule::Matched => Serving::Matched { family: Family::Squarecb, epsilon: config.exploration },
    };
    let excess = if serving.wants_excess() {
        super::generations::disagreement(&own.recipe, &rows, &training, &log.contexts, stream)?
    } else {
        0.0
    };
    let served = serving.prepare(&predicted, || excess).map_err(|e| e.to_string())?;
    let rules = [
        ("squarecb", served.rule),
        ("epsilon-greedy", Rule::EpsilonGreedy { epsilon: config.exploration }),
        ("greedy", Rule::Greedy),
        ("uniform", Rule::Uniform),
    ];
    let of = |rule: Rule| predicted.iter().map(|f| rule.probabilities(f)).collect::<Vec<_>>();
    let [.., (_, robust)] = judge(&log, &of(served.rule), &predicted)?;
    replay.generations.push(Judged {
        name: own.names[g].clone(),
        trained: data_facts(&rows, own.cells, own.actions.len()),
        training_log_loss: scores(&rows.rewards, &oracle.of_taken(&rows)).log_loss,
        on_traffic: scores(&log.rewards, &oracle.of_taken(&log)),
        shifts: shifts(&own.generations[g - 1], &own.generations[g], own.actions.len()),
        gamma: if let Rule::Squarecb { gamma } = served.rule { gamma } else { 0.0 },
        exploration: exploration_mass(&predicted, served.rule),
        logged: log.positive_rate(),
        value: [robust.value, robust.se],
    });
    for (k, (name, rule)) in rules.into_iter().enumerate() {
        if replay.policies.len() <= k {
            replay.policies.push((name.to_owned(), Vec::new()));
        }
        replay.policies[k].1.extend(of(rule));
    }
    replay.predicted.extend(predicted);
    replay.log.append(&log);
    Ok(())
}

/// A generation without actions that its model has never seen; rows that are left with none are counted and
/// left out. A logged action that is taken out keeps its row: the policy would not have
/// played it, and its weight is 0.
fn without(log: &Log, missing: &[u32], replay: &mut Replay) -> Log {
    let allowed = |i: usize| -> Vec<u32> {
        log.contexts.allowed[i].iter().filter(|a| !missing.contains(a)).copied().collect()
    };
    let rows: Vec<usize> = (0..log.len()).filter(|i| !allowed(*i).is_empty()).collect();
    replay.left_out += log.len() - rows.len();
    let lists = rows.iter().map(|i| allowed(*i)).collect();
    let kept = log.take(&rows);
    Log { contexts: Contexts { allowed: lists, ..kept.contexts }, ..kept }
}

/// The four estimates of every policy, and the mean of what was logged.
fn values(config: &Config, replay: &Replay, stream: Stream) -> Result<Vec<Valued>, String> {
    let mut told = Vec::new();
    for (name, p) in &replay.policies {
        for (estimator, value) in judge(&replay.log, p, &replay.predicted)? {
            told.push((name.clone(), estimator, value));
        }
    }
    let logged = ream_stats::off_policy::direct(&replay.log.rewards).map_err(|e| e.to_string())?;
    told.push(("as logged".to_owned(), "mean", logged));
    let all: Vec<_> = told.iter().map(|(_, _, value)| value).collect();
    let intervals = bootstrapped(&all, config.bootstrap, stream)?;
    let pairs = told.into_iter().zip(intervals);
    Ok(pairs
        .map(|((policy, estimator, value), interval)| Valued { policy, estimator, value, interval })
        .collect())
}

fn value_table(own: &OwnLog, replay: &Replay, values: &[Valued]) -> Table {
    let rows = (replay.log.len(), replay.log.rewards.iter().sum::<f64>());
    let mut table = tables::of_values("Values of policies on your log", values, rows);
    let kind = if own.estimated {
        "Probabilities of the logged actions: ESTIMATED from the log; standard errors do not count that."
    } else {
        "Probabilities of the logged actions: as logged."
    };
    let note = format!(
        "{} actions, {} generations judged, each by a model of earlier ones ({}). {kind} {}",
        own.actions.len(),
        replay.generations.len(),
        own.recipe.class.name(),
        table.note
    );
    table.note = note;
    table
}

fn generation_table(config: &Config, replay: &Replay) -> Table {
    let columns = [
        "generation",
        "trained on",
        "positive rate",
        "coverage",
        "action entropy",
        "effective share",
        "training log loss",
        "log loss",
        "AUC",
        "ECE",
        "action shift",
        "reward shift",
        "gamma",
        "exploration",
        "mean as logged",
        "DR value",
        "std. err.",
    ];
    let number = |v: f64| Cell::Number((v * 1e6).round() / 1e6);
    let mut table =
        replay.generations.iter().fold(Table::new("Generations of your log", &columns), |table, g| {
            table.row(vec![
                g.name.as_str().into(),
                Cell::Number(g.trained.rows),
                number(g.trained.positive_rate),
                number(g.trained.coverage),
                number(g.trained.action_entropy),
                number(g.trained.effective_share),
                number(g.training_log_loss),
                number(g.on_traffic.log_loss),
                g.on_traffic.auc.map_or(Cell::Empty, number),
                number(g.on_traffic.calibration_error),
                number(g.shifts[0]),
                number(g.shifts[1]),
                number(g.gamma),
                number(g.exploration),
                number(g.logged),
                number(g.value[0]),
                number(g.value[1]),
            ])
        });
    let memory = if config.own.memory == 0 {
        "all earlier generations".to_owned()
    } else {
        format!("the last {} generation(s)", config.own.memory)
    };
    table.note = format!(
        "Each model is fitted on {memory} and judged on the generation named. Coverage: share of cells \
         (first two context columns) and actions with five training rows or more. Shifts: divergence \
         of actions and rewards from the generation before, nats. DR value: of SquareCB."
    );
    table
}

/// Says what a reader of the figures must know.
fn warn(own: &OwnLog, replay: &Replay, values: &[Valued], run: &mut Run) {
    if own.estimated {
        run.warn(
            "the probabilities of the logged actions are estimated from the log itself: what made the old \
             policy choose and is not in the context columns biases every value but the direct one, and \
             no standard error counts the estimation",
        );
    }
    let rows = (replay.log.len(), replay.log.rewards.iter().sum());
    tables::about_values("your log", values, rows).into_iter().for_each(|words| run.warn(words));
    if !replay.excluded.is_empty() {
        let mut names = replay.excluded.clone();
        names.sort();
        names.dedup();
        run.warn(format!(
            "{} were available before any model had seen them and were taken out there; {} rows had no \
             other action and are left out",
            names.join(", "),
            replay.left_out
        ));
    }
    for pair in replay.generations.windows(2) {
        if let Some(words) = narrowing(&pair[0], &pair[1]) {
            run.warn(words);
        }
    }
}

/// Training data that become more one-sided and cover less at once: what makes later models worse in the paper.
fn narrowing(before: &Judged, after: &Judged) -> Option<String> {
    let (old, new) = (&before.trained, &after.trained);
    let narrows = new.positive_rate - old.positive_rate > RISE && new.coverage < (1.0 - FALL) * old.coverage;
    narrows.then(|| {
        format!(
            "generation {}: its training data are more one-sided than those of generation {} (positive rate \
             {:.3}, was {:.3}) and cover less ({:.3} of cells and actions, was {:.3}). A model of such \
             data can choose worse actions although its log loss looks better: compare it on uniform traffic, keep a longer memory or a small uniform slice",
            after.name, before.name, new.positive_rate, old.positive_rate, new.coverage, old.coverage
        )
    })
}

fn names(replay: &Replay) -> Vec<String> {
    replay.generations.iter().map(|g| g.name.clone()).collect()
}

fn places(replay: &Replay) -> Vec<f64> {
    (0..replay.generations.len()).map(|g| g as f64).collect()
}

fn series(replay: &Replay, of: impl Fn(&Judged) -> f64) -> Vec<f64> {
    replay.generations.iter().map(of).collect()
}

fn generation_figure(replay: &Replay) -> Figure {
    let x = places(replay);
    let end = |sign: f64| series(replay, |g| g.value[0] + sign * 1.96 * g.value[1]);
    let panel = Panel::new("Reward by generation")
        .x("generation")
        .y("mean reward")
        .categories_x(names(replay))
        .layer(Layer::band("95 % of SquareCB", x.clone(), end(-1.0), end(1.0)))
        .layer(Layer::line("SquareCB (doubly robust)", x.clone(), series(replay, |g| g.value[0])))
        .layer(Layer::dashed("as logged", x, series(replay, |g| g.logged)));
    let description = "Doubly robust value of the inverse-gap policy in each generation, by a model of \
        earlier generations, with its 95 % interval; dashed: the mean reward of the policy that was in force.";
    Figure::new("Your log: reward by generation", description).panel(panel)
}

fn data_figure(replay: &Replay) -> Figure {
    let line = |title: &str, label: &str, values: Vec<f64>| {
        Panel::new(title).x("generation").y(label).categories_x(names(replay)).layer(Layer::line(
            label,
            places(replay),
            values,
        ))
    };
    Figure::new(
        "Your log: what each model was trained on",
        "Left: share of rewards that are 1. Right: share of cells (first two context columns) and actions \
         with five rows or more.",
    )
    .panel(line("Class balance", "positive rate", series(replay, |g| g.trained.positive_rate)))
    .panel(line("Coverage", "share covered", series(replay, |g| g.trained.coverage)))
    .columns(2)
}

#[cfg(test)]
mod tests {
    use ream_lab::System;

    use super::super::config::{Own, Unseen};
    use super::super::data::Window;
    use super::super::oracle::Class;
    use super::super::own_log::window;
    use super::super::{AdyenCb, Config};
    use super::*;

    /// A log of three actions in four days; `blue` pays for small amounts, `red` for large ones. The old
    /// policy prefers `red`.
    fn cells(rows: usize) -> Vec<[String; 7]> {
        let mut rng = Stream::new(1, "log").at(0);
        (0..rows)
            .map(|i| {
                let (amount, risky) = (rng.uniform(), rng.chance(0.3));
                let u = rng.uniform();
                let (action, p) = if u < 0.5 {
                    ("red", 0.5)
                } else if u < 0.8 {
                    ("blue", 0.3)
                } else {
                    ("green", 0.2)
                };
                let good = match action {
                    "blue" => 0.9 - 0.6 * amount,
                    "red" => 0.3 + 0.6 * amount,
                    _ => 0.4,
                };
                let y = rng.chance(good - if risky { 0.1 } else { 0.0 });
                [
                    format!("2026-11-0{}", 1 + 4 * i / rows),
                    format!("{amount:.4}"),
                    if risky { "yes" } else { "no" }.to_owned(),
                    action.to_owned(),
                    u8::from(y).to_string(),
                    p.to_string(),
                    "blue|green|red".to_owned(),
                ]
            })
            .collect()
    }

    fn file(change: impl Fn(usize, &mut [String; 7])) -> (tempfile::TempDir, std::path::PathBuf) {
        let mut rows = cells(1200);
        rows.iter_mut().enumerate().for_each(|(i, row)| change(i, row));
        let body: String = rows.iter().map(|row| format!("{}\n", row.join(","))).collect();
        write(&format!("day,amount,risky,action,reward,propensity,available\n{body}"))
    }

    fn write(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.csv");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn config() -> Config {
        let own = Own {
            generation: Some("day".to_owned()),
            available: Some("available".to_owned()),
            ..Own::default()
        };
        Config { own, bootstrap: 200, ..Config::default() }
    }

    fn error(config: &Config, path: &Path) -> String {
        AdyenCb::check_data(config, path).unwrap_err().to_string()
    }

    fn done(config: &Config, path: &Path) -> Run {
        let mut run = Run::in_memory_on(1, path);
        AdyenCb::run(config, &mut run).unwrap();
        run
    }

    fn value(run: &Run, policy: &str, estimator: &str) -> (f64, f64) {
        let at = Place::from(estimator);
        let all = run.observations();
        let of = all.iter().find(|o| o.arm == policy && o.at.get("estimator") == Some(&at)).unwrap();
        let Some(Spread::Se(se)) = of.spread else { panic!("no standard error") };
        (of.value, se)
    }

    #[test]
    fn a_log_gives_values_that_meet_the_truth() {
        let (_dir, path) = file(|_, _| ());
        let own = load(&config(), &path).unwrap();
        assert_eq!((own.generations.len(), own.actions.join(" ")), (4, "blue green red".to_owned()));
        assert_eq!(own.generations[0].contexts.fields.len(), 2, "amount and risky are the context");
        let run = done(&config(), &path);
        // Uniform play: a third each of 0.6, 0.6 and 0.4 on average, less 0.03 for risk.
        for estimator in ["IPS", "SNIPS", "DR"] {
            let (mean, se) = value(&run, "uniform", estimator);
            assert!((mean - 0.5033).abs() < 3.5 * se, "{estimator}: {mean} {se}");
        }
        // The better of blue and red: 0.6 + E 0.6 |amount - 1/2| = 0.75, less 0.03.
        let (greedy, se) = value(&run, "greedy", "DR");
        assert!(
            (greedy - 0.71).abs() < 3.0 * se && greedy > value(&run, "as logged", "mean").0 + 0.1,
            "{greedy} {se}"
        );
        let titles: Vec<&str> = run.tables().iter().map(|t| t.title.as_str()).collect();
        assert_eq!(titles, ["Values of policies on your log", "Generations of your log"]);
        assert_eq!(run.tables()[1].rows.len(), 3);
        let names: Vec<&str> = run.figures().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["values-own", "generations-own", "data-own", "best-action-own"]);
        assert!(run.warnings().is_empty(), "{:?}", run.warnings());
    }

    #[test]
    fn schedules_classes_and_memories_run() {
        let (_dir, path) = file(|_, _| ());
        for (schedule, class, memory) in
            [(Schedule::Error, Class::Logistic, 0), (Schedule::Matched, Class::Trees, 2)]
        {
            let mut config = config();
            config.own = Own { schedule, class, memory, ..config.own };
            let run = done(&config, &path);
            let gammas: Vec<f64> = run.tables()[1]
                .rows
                .iter()
                .map(|row| if let Cell::Number(gamma) = row[12] { gamma } else { 0.0 })
                .collect();
            assert!(gammas.iter().all(|g| *g > 0.0) && gammas[0] != gammas[1], "{schedule:?}: {gammas:?}");
        }
        assert_eq!(window(&Own { memory: 0, ..Own::default() }), Window::All);
    }

    #[test]
    fn errors_say_where_and_what_would_be_right() {
        // Rows, column, what is written there, what is said.
        let cases = [
            (3..4, 5, "0", "column `propensity`: wanted a probability above 0, at most 1"),
            (3..4, 5, "1.2", "got 1.2 in row 4"),
            (3..4, 5, "", "propensity"),
            (2..3, 6, "pink|teal", "got `pink|teal` without"),
            (5..6, 4, "0.5", "column `reward`: wanted 0 or 1, got 0.5 in row 6"),
            (7..8, 3, "", "column `action`: wanted a value in every row"),
            (0..1200, 3, "red", "wanted actions that the model of generation 2026-11-02 has seen"),
            (0..300, 4, "1", "rewards of both kinds to fit the model of generation 2026-11-02"),
            (0..1200, 0, "2026-11-01", "two generations or more"),
            (901..1200, 6, "blue|green|red|teal", "got `teal`, available there and in none of its"),
        ];
        for (rows, column, text, wanted) in cases {
            let (_dir, path) = file(|i, c| {
                if rows.contains(&i) {
                    text.clone_into(&mut c[column]);
                }
            });
            let said = error(&config(), &path);
            assert!(said.contains(wanted) && said.contains("log.csv"), "{wanted}\n{said}");
        }
        let (_dir, path) = file(|_, c| c[3] = "red".into());
        let alone = Config { own: Own { available: None, ..config().own }, ..config() };
        assert!(error(&alone, &path).contains("two actions or more, got `red` only"));
        let (_dir, path) = file(|_, _| ());
        let mut wrong = config();
        wrong.own.propensity = "chance".to_owned();
        assert!(error(&wrong, &path).contains("without it no policy can be judged"));
        let mut wrong = config();
        wrong.own.context = vec!["amount".to_owned(), "reward".to_owned()];
        assert!(error(&wrong, &path).contains("`reward`, which has another role"));
        let mut wrong = config();
        wrong.own.action = "act".to_owned();
        assert!(error(&wrong, &path).contains("no column `act`"));
        let mut wrong = config();
        wrong.own.generation = None;
        wrong.own.slices = 900;
        assert!(error(&wrong, &path).contains("at least 1800 rows for 900 slices"));
    }

    #[test]
    fn estimated_probabilities_are_near_and_flagged() {
        let (_dir, path) = file(|_, _| ());
        let mut config = config();
        config.own.propensity = "chance".to_owned();
        config.own.estimate_propensity = true;
        // The column that is not asked for would be a context.
        config.own.context = vec!["amount".to_owned(), "risky".to_owned()];
        let own = load(&config, &path).unwrap();
        let log = &own.generations[1];
        let mean = |action: u32| {
            let rows: Vec<usize> = (0..log.len()).filter(|i| log.actions[*i] == action).collect();
            rows.iter().map(|i| log.propensities[*i]).sum::<f64>() / rows.len() as f64
        };
        for (action, wanted) in [(0, 0.3), (1, 0.2), (2, 0.5)] {
            assert!((mean(action) - wanted).abs() < 0.08, "{action}: {}", mean(action));
        }
        let run = done(&config, &path);
        assert!(
            run.warnings().iter().any(|w| w.contains("estimated from the log itself")),
            "{:?}",
            run.warnings()
        );
        assert!(run.tables()[0].note.contains("ESTIMATED"));
    }

    #[test]
    fn actions_that_no_model_has_seen_can_be_taken_out() {
        let (_dir, path) = file(|i, c| {
            if i > 900 {
                c[6] = "blue|green|red|teal".into();
            }
        });
        let mut config = config();
        config.own.unseen = Unseen::Exclude;
        let run = done(&config, &path);
        assert!(
            run.warnings().iter().any(|w| w.starts_with("teal were available before")),
            "{:?}",
            run.warnings()
        );
    }

    #[test]
    fn thin_weights_and_narrowing_data_are_told() {
        // The old policy hardly ever plays blue.
        let (_dir, path) = file(|i, c| {
            if c[3] == "blue" && i % 30 != 0 {
                c[3] = "red".into();
            } else if c[3] == "blue" {
                c[5] = "0.01".into();
            }
        });
        let run = done(&config(), &path);
        assert!(run.warnings().iter().any(|w| w.contains("hang on few")), "{:?}", run.warnings());
        let of = |positive_rate, coverage| Judged {
            name: "g".to_owned(),
            trained: DataFacts { positive_rate, coverage, ..DataFacts::default() },
            training_log_loss: 0.0,
            on_traffic: Scores::default(),
            shifts: [0.0; 2],
            gamma: 1.0,
            exploration: 0.0,
            logged: 0.0,
            value: [0.0; 2],
        };
        assert!(narrowing(&of(0.8, 0.9), &of(0.9, 0.5)).unwrap().contains("more one-sided"));
        assert!(narrowing(&of(0.8, 0.9), &of(0.9, 0.88)).is_none());
        assert!(narrowing(&of(0.8, 0.9), &of(0.8, 0.5)).is_none());
    }
}
