//! The user's own records: columns `score` (or features from which a score is fitted), `group` and `outcome`.

use std::path::Path;

use ream_data::Table as Columns;
use ream_lab::{Cell, Error, Invalid, Result, Run, Table};

use super::config::{Config, Own};
use super::environment::{Environment, Limits, Records, Rewards, Scored, grid};
use super::experiment::{observe, rounded, summary_table};
use super::oracle::Oracle;
use super::pictures::{Curve, loop_figure};
use super::score::{Feature, People};
use super::simulation::{Method, Plan, simulate};

/// The user's records, ready for a loop.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnRecords {
    /// The scored records.
    pub records: Vec<Scored>,
    /// Names of the groups in alphabetical order; a record's group is a position here.
    pub groups: Vec<String>,
    /// Area under the ROC curve of the score; `None` where all outcomes are the same.
    pub auc: Option<f64>,
}

/// Reads and checks a file.
///
/// # Errors
/// File, column and row: a column that is not there, a missing or wrong outcome, a single group, a score outside
/// `[0, 1]` or the same for everyone.
pub fn load(config: &Config, file: &Path) -> Result<OwnRecords> {
    let own = &config.own;
    let table = Columns::open(file)?;
    let good = outcomes(&table, &own.outcome)?;
    let (groups, members) = groups(&table, &own.group)?;
    let scores = if own.features.is_empty() {
        given_scores(&table, own)?
    } else {
        fitted_scores(&table, own, &members, &good)?
    };
    let scores = if own.rank_scores { ranks(&scores) } else { scores };
    if scores.iter().all(|s| *s == scores[0]) {
        return Err(wrong(
            &table,
            &own.score,
            "scores that differ: with a constant score all thresholds are the same two",
            &format!("{} in every row", scores[0]),
        ));
    }
    let auc = super::score::auc(&scores, &good);
    let records = scores
        .iter()
        .zip(&members)
        .zip(&good)
        .map(|((&score, &group), &good)| Scored { score, group, good })
        .collect();
    Ok(OwnRecords { records, groups, auc: auc.is_finite().then_some(auc) })
}

fn wrong(table: &Columns, column: &str, wanted: &str, got: &str) -> Error {
    Invalid::new(format!("{}, column `{column}`", table.file()), wanted, got).into()
}

fn outcomes(table: &Columns, column: &str) -> Result<Vec<bool>> {
    let values = table.numbers_or_missing(column)?;
    let missing: Vec<usize> = (0..values.len()).filter(|&i| values[i].is_none()).collect();
    if let Some(first) = missing.first() {
        return Err(wrong(
            table,
            column,
            "an outcome in every row (leave out rows whose outcome is not known yet)",
            &format!("{} missing, the first in row {}", missing.len(), first + 1),
        ));
    }
    let mut good = Vec::with_capacity(values.len());
    for (row, value) in values.into_iter().flatten().enumerate() {
        if value != 0.0 && value != 1.0 {
            return Err(wrong(table, column, "0 or 1", &format!("{value} in row {}", row + 1)));
        }
        good.push(value == 1.0);
    }
    Ok(good)
}

fn groups(table: &Columns, column: &str) -> Result<(Vec<String>, Vec<usize>)> {
    let words = table.texts(column)?;
    if let Some(row) = words.iter().position(Option::is_none) {
        return Err(wrong(table, column, "a group in every row", &format!("none in row {}", row + 1)));
    }
    let words: Vec<String> = words.into_iter().flatten().map(|w| w.trim().to_owned()).collect();
    let mut names = words.clone();
    names.sort();
    names.dedup();
    if names.len() < 2 {
        return Err(wrong(table, column, "two groups or more", &format!("`{}` only", names.join(", "))));
    }
    if names.len() > 20 {
        let got = format!("{} different values", names.len());
        return Err(wrong(table, column, "at most 20 groups: is this the right column?", &got));
    }
    let members = words.iter().map(|w| names.binary_search(w).unwrap_or(0)).collect();
    Ok((names, members))
}

fn given_scores(table: &Columns, own: &Own) -> Result<Vec<f64>> {
    let scores = table.numbers(&own.score)?;
    let outside = scores.iter().position(|s| !(0.0..=1.0).contains(s));
    match outside {
        Some(row) if !own.rank_scores => Err(wrong(
            table,
            &own.score,
            "scores in [0, 1], or `--set own.rank_scores=true` to use their ranks",
            &format!("{} in row {}", scores[row], row + 1),
        )),
        _ => Ok(scores),
    }
}

fn fitted_scores(table: &Columns, own: &Own, groups: &[usize], good: &[bool]) -> Result<Vec<f64>> {
    let mut features = Vec::new();
    for column in &own.features {
        if *column == own.outcome || *column == own.group {
            let got = format!(
                "`{column}`, which is the {}",
                if *column == own.outcome { "outcome" } else { "group" }
            );
            return Err(Invalid::new("own.features", "columns that the score may rest on", got).into());
        }
        if table.is_numeric(column)? {
            features.push(Feature::Numbers(table.numbers(column)?));
            continue;
        }
        let words = table.texts(column)?;
        if let Some(row) = words.iter().position(Option::is_none) {
            let wanted = "a value in every row (fill it in or leave the row out)";
            return Err(wrong(table, column, wanted, &format!("none in row {}", row + 1)));
        }
        features.push(Feature::Categories(words.into_iter().flatten().collect()));
    }
    let of = |class: bool| good.iter().filter(|g| **g == class).count();
    let least = of(true).min(of(false));
    if least < super::score::FOLDS {
        let wanted = format!("at least {} rows of each outcome to fit a score", super::score::FOLDS);
        return Err(wrong(table, &own.outcome, &wanted, &least.to_string()));
    }
    let people = People { features, groups: groups.to_vec(), good: good.to_vec() };
    let model = people
        .score()
        .map_err(|error| Error::failed(format!("{}: the score cannot be fitted: {error}", table.file())))?;
    Ok(model.records.iter().map(|r| r.score).collect())
}

/// Ranks scaled to `[0, 1]`; ties share their mean rank.
fn ranks(scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut ranks = vec![0.5; scores.len()];
    let last = scores.len().saturating_sub(1).max(1) as f64;
    let mut below = 0;
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let middle = below as f64 + (tied.len() - 1) as f64 / 2.0;
        for &i in tied {
            ranks[i] = middle / last;
        }
        below += tied.len();
    }
    ranks
}

/// The loop that the configuration puts around the records.
#[must_use]
pub fn environment(config: &Config, own: &OwnRecords) -> Records {
    let keys = &config.own;
    let rewards = Rewards {
        reject_bad: keys.reject_bad,
        reject_good: keys.reject_good,
        accept_bad: keys.accept_bad,
        accept_good: keys.accept_good,
    };
    let kappa = if keys.open_loop { 0.0 } else { keys.kappa };
    Records::new(&own.records, own.groups.len(), grid(config.thresholds), rewards, kappa, keys.eta)
}

fn limits(own: &Own) -> Limits {
    Limits { gap: own.eps, service: own.rho, capacity: (own.capacity < 1.0).then_some(own.capacity) }
}

/// Below this many rounds the last fifth is still exploration.
const ENOUGH: u64 = 2000;

/// Runs OFS and its baselines on the user's file.
///
/// # Errors
/// See [`load`]; cancelled.
pub fn run(config: &Config, file: &Path, run: &mut Run) -> Result<()> {
    let own = load(config, file)?;
    let environment = environment(config, &own);
    let limits = limits(&config.own);
    let plan = Plan { rounds: config.rounds, batch: config.batch, delta: config.delta, limits };
    let oracle = Oracle::closed_loop(&environment, &limits);
    let theta = environment.thresholds();
    if oracle.feasible.is_none() {
        let least = oracle.least_violating;
        run.warn(format!(
            "no threshold satisfies the limits (eps {}, rho {}); the least violating one is {} with a violation of {:.4}",
            limits.gap, limits.service, theta[least], oracle.steady[least].violation
        ));
    }
    if config.rounds < ENOUGH {
        run.warn(format!(
            "{} rounds are few: the intervals are still wide and OFS still explores; use `--preset full` or `--set rounds=5000`",
            config.rounds
        ));
    }
    let methods = [
        ("ofs", config.method()),
        ("ucb", Method::Ucb),
        ("epsilon-greedy", Method::EpsilonGreedy(0.05)),
        ("primal-dual", Method::PrimalDual(0.05)),
        ("thompson", Method::Thompson),
        ("oracle", Method::Oracle),
    ];
    let stream = run.stream("own data");
    let mut traces = Vec::new();
    for (i, (name, method)) in methods.iter().enumerate() {
        run.progress(i as f64 / methods.len() as f64, name)?;
        traces.push(simulate(&environment, &plan, method, &oracle, stream));
    }
    let at = [("environment", "own".into())];
    let summaries: Vec<_> = methods
        .iter()
        .zip(&traces)
        .map(|((name, _), trace)| (*name, trace.summary(theta, &oracle)))
        .collect();
    for (name, summary) in &summaries {
        observe(run, name, &at, summary);
    }
    if run.is_first_seed() {
        run.table(choice_table(&own, &environment, &oracle, traces[0].settled(theta.len())));
        run.table(summary_table("Methods on your records, first seed", &summaries));
        run.table(sweep_table(&own, &environment, &oracle));
        let frozen = Oracle::frozen(&environment, &limits);
        let curves: Vec<Curve<'_>> =
            methods.iter().zip(&traces).map(|((name, _), trace)| Curve { name, trace }).collect();
        run.figure(
            "loop-own",
            loop_figure("Your records", &environment, &limits, &oracle, &frozen, &curves),
        )?;
    }
    Ok(())
}

/// The threshold that OFS settled on beside the oracle's.
fn choice_table(own: &OwnRecords, environment: &Records, oracle: &Oracle, settled: usize) -> Table {
    let columns = ["choice", "threshold", "reward", "gap", "acceptance", "violation"];
    let rows = [
        ("OFS, most often in the last fifth", settled),
        ("oracle within the limits", oracle.arm()),
        ("best without limits", oracle.unconstrained),
    ];
    let mut table = rows.into_iter().fold(Table::new("Chosen threshold", &columns), |table, (name, arm)| {
        table.row([vec![Cell::from(name)], figures(environment, oracle, arm)].concat())
    });
    let auc = own
        .auc
        .map_or_else(|| "not defined, all outcomes are the same".to_owned(), |auc| format!("{auc:.3}"));
    table.note = format!(
        "Each threshold at its steady state. {} records, groups {}; area under the score's ROC curve: {auc}.",
        own.records.len(),
        own.groups.join(", ")
    );
    table
}

fn figures(environment: &Records, oracle: &Oracle, arm: usize) -> Vec<Cell> {
    let steady = &oracle.steady[arm];
    let numbers = [
        environment.thresholds()[arm],
        steady.at.reward,
        steady.at.gap,
        steady.at.accepted,
        steady.violation,
    ];
    numbers.map(|v| Cell::from(rounded(v))).to_vec()
}

/// The oracle's sweep: every threshold at its steady state.
fn sweep_table(own: &OwnRecords, environment: &Records, oracle: &Oracle) -> Table {
    let mut columns = vec!["threshold", "reward", "gap", "acceptance", "violation"];
    let names: Vec<String> = own.groups.iter().map(|group| format!("share of {group}")).collect();
    columns.extend(names.iter().map(String::as_str));
    (0..oracle.steady.len()).fold(
        Table::new("Every threshold at its steady state", &columns),
        |table, arm| {
            let shares = oracle.steady[arm].state.iter().map(|p| Cell::from(rounded(*p)));
            table.row(figures(environment, oracle, arm).into_iter().chain(shares).collect())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ofs::Ofs;
    use ream_lab::{Preset, System};
    use ream_rand::Stream;

    /// Three hundred rows; `edit` may change a row's cells (score, group, outcome, income, job).
    fn file(edit: impl Fn(usize, &mut [String; 5])) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.csv");
        let mut rng = Stream::new(1, "own file").at(0);
        let mut text = "score,group,outcome,income,job\n".to_owned();
        for row in 0..300 {
            let score = rng.uniform();
            let good = u8::from(rng.chance(score));
            let group = if row % 3 == 0 { "a" } else { "b" };
            let job = if score > 0.5 { "x" } else { "y" };
            let mut cells = [
                score.to_string(),
                group.to_owned(),
                good.to_string(),
                (score * 9.0).to_string(),
                job.to_owned(),
            ];
            edit(row, &mut cells);
            text.push_str(&cells.join(","));
            text.push('\n');
        }
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn config() -> Config {
        Ofs::preset(Preset::Smoke)
    }

    #[test]
    fn a_good_file_gives_sweep_choice_and_pictures() {
        let (_dir, path) = file(|_, _| ());
        let mut run = Run::in_memory_on(1, &path);
        Ofs::check_data(&config(), &path).unwrap();
        Ofs::run(&config(), &mut run).unwrap();
        let titles: Vec<&str> = run.tables().iter().map(|t| t.title.as_str()).collect();
        assert!(
            titles.contains(&"Chosen threshold") && titles.contains(&"Every threshold at its steady state")
        );
        assert_eq!(run.figures().len(), 1);
        assert!(run.observations().iter().any(|o| o.measure == "mean_reward" && o.arm == "ofs"));
    }

    #[test]
    fn errors_say_where_and_what_would_be_right() {
        type Edit = fn(usize, &mut [String; 5]);
        let cases: [(Edit, &str); 6] = [
            (
                |row, c| {
                    if row == 4 {
                        c[0] = "1.5".to_owned();
                    }
                },
                "own.rank_scores=true` to use their ranks, got 1.5 in row 5",
            ),
            (|_, c| c[1] = "a".to_owned(), "column `group`: wanted two groups or more, got `a` only"),
            (
                |row, c| {
                    if row > 297 {
                        c[2] = String::new();
                    }
                },
                "column `outcome`: wanted an outcome in every row",
            ),
            (
                |row, c| {
                    if row == 0 {
                        c[2] = "2".to_owned();
                    }
                },
                "wanted 0 or 1, got 2 in row 1",
            ),
            (|_, c| c[0] = "0.5".to_owned(), "scores that differ"),
            (
                |row, c| {
                    if row == 7 {
                        c[1] = String::new();
                    }
                },
                "a group in every row, got none in row 8",
            ),
        ];
        for (edit, wanted) in cases {
            let (_dir, path) = file(edit);
            let error = Ofs::check_data(&config(), &path).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let (_dir, path) = file(|_, _| ());
        let mut unknown = config();
        unknown.own.score = "skore".to_owned();
        let error = Ofs::check_data(&unknown, &path).unwrap_err().to_string();
        assert!(error.contains("`skore`") && error.contains("score"), "{error}");
        let mut leaking = config();
        leaking.own.features = vec!["outcome".to_owned()];
        assert!(Ofs::check_data(&leaking, &path).unwrap_err().to_string().contains("which is the outcome"));
    }

    #[test]
    fn ranks_replace_scores_of_any_scale() {
        assert_eq!(ranks(&[10.0, -3.0, 10.0, 40.0]), [0.5, 0.0, 0.5, 1.0]);
        let (_dir, path) = file(|_, c| c[0] = (c[0].parse::<f64>().unwrap() * 700.0).to_string());
        let mut config = config();
        config.own.rank_scores = true;
        let own = load(&config, &path).unwrap();
        assert!(own.records.iter().all(|r| (0.0..=1.0).contains(&r.score)));
    }

    #[test]
    fn features_become_a_score_out_of_fold() {
        let (_dir, path) = file(|_, _| ());
        let mut config = config();
        config.own.features = vec!["income".to_owned(), "job".to_owned()];
        let own = load(&config, &path).unwrap();
        assert!(own.auc.unwrap() > 0.7, "{:?}", own.auc);
        assert_eq!(own.groups, ["a", "b"]);
    }

    #[test]
    fn limits_that_nothing_satisfies_are_said() {
        let (_dir, path) = file(|row, c| c[0] = if row % 3 == 0 { "0.1" } else { "0.9" }.to_owned());
        let mut config = config();
        config.own.rho = 0.3;
        config.own.capacity = 0.8;
        config.own.eps = 0.0;
        let mut run = Run::in_memory_on(1, &path);
        Ofs::run(&config, &mut run).unwrap();
        assert!(run.warnings().iter().any(|w| w.starts_with("no threshold satisfies the limits")));
    }

    #[test]
    fn an_open_loop_never_moves_and_three_groups_run() {
        let (_dir, path) = file(|row, c| {
            if row % 5 == 0 {
                c[1] = "c".to_owned();
            }
        });
        let mut config = config();
        config.own.open_loop = true;
        let own = load(&config, &path).unwrap();
        assert_eq!(own.groups.len(), 3);
        let world = environment(&config, &own);
        let mut state = world.start();
        world.advance(&mut state, 20);
        assert!(super::super::oracle::distance(&state, &world.start()) < 1e-15);
        Ofs::run(&config, &mut Run::in_memory_on(1, &path)).unwrap();
    }
}
