//! The user's own process: JSON (`transitions` and `rewards`) or CSV (`s, a, s', p, r`), and features as CSV.

use std::collections::BTreeMap;
use std::path::Path;

use ream_data::Table as Columns;
use ream_lab::{Cell, Error, Invalid, Result, Run, Table};
use serde::Deserialize;

use super::arms::{Bench, Problem, arms};
use super::config::Config;
use super::experiment::{observe, show, table, warn_of_idle};
use super::linear::Features;
use crate::environments::average_reward::TabularMdp;
use crate::environments::average_reward::structure::{end_components, reachable};

/// Largest process that is taken: planning goes over all pairs of states.
const MOST_STATES: usize = 500;
const MOST_ACTIONS: usize = 100;
/// Steps for each pair of state and action below which nothing can be learned.
const STEPS_PER_PAIR: u64 = 10;

/// A process as it stands in a JSON file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// `[s, a, s', p]`.
    transitions: Vec<(usize, usize, usize, f64)>,
    /// `[s, a, r]`; pairs that are not named pay 0.
    rewards: Vec<(usize, usize, f64)>,
    /// Where the trajectory begins.
    start: Option<usize>,
}

/// The user's process, ready to be walked.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnProcess {
    /// With rewards in `[0, 1]`.
    pub mdp: TabularMdp,
    /// Rewards of the file are `low + scale * reward`.
    pub low: f64,
    /// Units of the file in one unit of reward here.
    pub scale: f64,
    /// Features, where they are given.
    pub features: Option<Features>,
}

/// Transitions and rewards by pair.
#[derive(Default)]
struct Rows {
    next: BTreeMap<(usize, usize), Vec<(usize, f64)>>,
    rewards: BTreeMap<(usize, usize), f64>,
}

/// Reads and checks a file.
///
/// # Errors
/// File and place, what would be right: a row that does not sum to 1, a negative probability, a reward outside `[0, 1]`, a
/// pair without transitions, a state that is never reached, several closed classes, a horizon that is too small.
pub fn load(config: &Config, file: &Path) -> Result<OwnProcess> {
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let is_json = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let (rows, start) = if is_json { read_json(file, &name)? } else { (read_csv(file, &name)?, None) };
    let start = start.unwrap_or(config.own.start);
    let mdp = process(&name, &rows, start)?;
    let (mdp, low, scale) = with_unit_rewards(config, &name, mdp)?;
    check_structure(&name, &mdp)?;
    let least = STEPS_PER_PAIR * mdp.cells() as u64;
    if config.horizon < least {
        let wanted = format!("at least {STEPS_PER_PAIR} steps for each of {} pairs: {least}", mdp.cells());
        return Err(Invalid::new("horizon", wanted, config.horizon.to_string()).into());
    }
    let features = match &config.own.features {
        Some(path) => Some(read_features(Path::new(path), &mdp)?),
        None => None,
    };
    Ok(OwnProcess { mdp, low, scale, features })
}

fn invalid(file: &str, place: &str, wanted: &str, got: impl Into<String>) -> Error {
    Invalid::new(format!("{file}, {place}"), wanted, got).into()
}

fn read_json(file: &Path, name: &str) -> Result<(Rows, Option<usize>)> {
    let text = std::fs::read_to_string(file).map_err(|source| Error::Io {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    let parsed: File = serde_json::from_str(&text).map_err(|error| {
        let wanted = "{\"transitions\": [[s, a, s', p], ...], \"rewards\": [[s, a, r], ...], \"start\": 0}";
        invalid(name, &format!("line {}, column {}", error.line(), error.column()), wanted, error.to_string())
    })?;
    let mut rows = Rows::default();
    for (s, a, next, p) in parsed.transitions {
        rows.next.entry((s, a)).or_default().push((next, p));
    }
    for (s, a, r) in parsed.rewards {
        if !rows.next.contains_key(&(s, a)) {
            let wanted = "rewards of pairs that have transitions";
            return Err(invalid(name, &format!("state {s}, action {a}"), wanted, "a reward without any"));
        }
        if rows.rewards.insert((s, a), r).is_some_and(|before| before != r) {
            return Err(invalid(name, &format!("state {s}, action {a}"), "one reward", "two that differ"));
        }
    }
    Ok((rows, parsed.start))
}

/// A column of whole numbers from 0.
fn indices(table: &Columns, column: &str) -> Result<Vec<usize>> {
    let whole = |(row, value): (usize, f64)| {
        if (0.0..1e9).contains(&value) && value == value.trunc() {
            return Ok(value as usize);
        }
        let place = format!("{}, column `{column}`", table.file());
        Err(Invalid::new(place, "whole numbers from 0", format!("{value} in row {}", row + 1)).into())
    };
    table.numbers(column)?.into_iter().enumerate().map(whole).collect()
}

fn read_csv(file: &Path, name: &str) -> Result<Rows> {
    let table = Columns::open(file)?;
    let next_column = if table.has("next") { "next" } else { "s'" };
    let (states, actions) = (indices(&table, "s")?, indices(&table, "a")?);
    let next = indices(&table, next_column)?;
    let (probabilities, rewards) = (table.numbers("p")?, table.numbers("r")?);
    let mut rows = Rows::default();
    for row in 0..table.rows() {
        let pair = (states[row], actions[row]);
        rows.next.entry(pair).or_default().push((next[row], probabilities[row]));
        let before = rows.rewards.insert(pair, rewards[row]);
        if before.is_some_and(|before| before != rewards[row]) {
            let place = format!("state {}, action {}", pair.0, pair.1);
            let wanted = "one reward for all its rows (rewards depend on state and action only)";
            return Err(invalid(name, &place, wanted, format!("another one in row {}", row + 1)));
        }
    }
    Ok(rows)
}

fn process(name: &str, rows: &Rows, start: usize) -> Result<TabularMdp> {
    let most = |numbers: &mut dyn Iterator<Item = usize>| numbers.max().map_or(0, |n| n.saturating_add(1));
    let from = most(&mut rows.next.keys().map(|(s, _)| *s));
    let to = most(&mut rows.next.values().flatten().map(|(s, _)| *s));
    let (states, actions) = (from.max(to), most(&mut rows.next.keys().map(|(_, a)| *a)));
    if states == 0 {
        return Err(invalid(name, "transitions", "one or more", "none"));
    }
    if states > MOST_STATES || actions > MOST_ACTIONS {
        let wanted = format!("at most {MOST_STATES} states and {MOST_ACTIONS} actions, numbered from 0");
        return Err(invalid(name, "states and actions", &wanted, format!("{states} and {actions}")));
    }
    if start >= states {
        return Err(Invalid::new(
            "own.start",
            format!("a state from 0 to {}", states - 1),
            start.to_string(),
        )
        .into());
    }
    let (mut kernel, mut rewards) = (Vec::new(), Vec::new());
    for s in 0..states {
        for a in 0..actions {
            let place = format!("state {s}, action {a}");
            let Some(row) = rows.next.get(&(s, a)) else {
                let wanted = "transitions for every action in every state (repeat another action's where it is not allowed)";
                return Err(invalid(name, &place, wanted, "none"));
            };
            kernel.push(checked_row(name, &place, row)?);
            rewards.push(rows.rewards.get(&(s, a)).copied().unwrap_or(0.0));
        }
    }
    Ok(TabularMdp::new(actions, start, kernel, rewards))
}

fn checked_row(name: &str, place: &str, row: &[(usize, f64)]) -> Result<Vec<(usize, f64)>> {
    let mut merged: BTreeMap<usize, f64> = BTreeMap::new();
    for &(next, p) in row {
        if p < 0.0 || !p.is_finite() {
            return Err(invalid(
                name,
                place,
                "probabilities from 0 to 1",
                format!("{p} for next state {next}"),
            ));
        }
        *merged.entry(next).or_default() += p;
    }
    let sum: f64 = merged.values().sum();
    if (sum - 1.0).abs() > 1e-6 {
        return Err(invalid(name, place, "probabilities that sum to 1", format!("{sum}")));
    }
    // What rounding in the file left over.
    Ok(merged.into_iter().filter(|(_, p)| *p > 0.0).map(|(next, p)| (next, p / sum)).collect())
}

fn with_unit_rewards(config: &Config, name: &str, mdp: TabularMdp) -> Result<(TabularMdp, f64, f64)> {
    let rewards = mdp.rewards();
    let place = |cell: usize| format!("state {}, action {}", cell / mdp.actions(), cell % mdp.actions());
    if let Some(cell) = rewards.iter().position(|r| !r.is_finite()) {
        return Err(invalid(name, &place(cell), "a finite reward", rewards[cell].to_string()));
    }
    let low = rewards.iter().copied().fold(f64::INFINITY, f64::min);
    let high = rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if low == high {
        return Err(invalid(name, "rewards", "at least two that differ", format!("{low} everywhere")));
    }
    if config.own.rescale {
        let scaled = rewards.iter().map(|r| (r - low) / (high - low)).collect();
        return Ok((mdp.with_rewards(scaled), low, high - low));
    }
    if let Some(cell) = rewards.iter().position(|r| !(0.0..=1.0).contains(r)) {
        let wanted = "a reward in [0, 1], or `--set own.rescale=true` to map rewards there (regret is shown in your units)";
        return Err(invalid(name, &place(cell), wanted, rewards[cell].to_string()));
    }
    Ok((mdp, 0.0, 1.0))
}

fn check_structure(name: &str, mdp: &TabularMdp) -> Result<()> {
    if let Some(state) = reachable(mdp).iter().position(|seen| !seen) {
        let wanted = format!("one that some policy reaches from the start, state {}", mdp.start());
        return Err(invalid(name, &format!("state {state}"), &wanted, "none does: leave it out"));
    }
    let classes = end_components(mdp);
    if let [first, second, ..] = &classes[..] {
        let wanted = "a weakly communicating process: one class of states in which a policy can stay for ever, so that a \
                      mistake can be made good and the best gain does not depend on where one is";
        let got = format!(
            "{}: under some policy {} and {} are both closed, and there is no way between them and back",
            classes.len(),
            brief(first),
            brief(second)
        );
        return Err(invalid(name, "classes of states", wanted, got));
    }
    Ok(())
}

fn brief(states: &[usize]) -> String {
    let shown: Vec<String> = states.iter().take(5).map(ToString::to_string).collect();
    let more = if states.len() > 5 { ", ..." } else { "" };
    format!("{{{}{more}}}", shown.join(", "))
}

fn read_features(file: &Path, mdp: &TabularMdp) -> Result<Features> {
    let table = Columns::open(file)?;
    let (states, actions) = (indices(&table, "s")?, indices(&table, "a")?);
    let names: Vec<String> = table
        .names()
        .into_iter()
        .filter(|name| *name != "s" && *name != "a")
        .map(ToOwned::to_owned)
        .collect();
    if names.is_empty() {
        return Err(invalid(table.file(), "columns", "s, a and one for each feature", "no feature"));
    }
    let width = names.len();
    let mut phi = vec![0.0; mdp.cells() * width];
    let mut given = vec![false; mdp.cells()];
    let columns = names.iter().map(|name| table.numbers(name)).collect::<Result<Vec<_>, _>>()?;
    for row in 0..table.rows() {
        let (s, a) = (states[row], actions[row]);
        if s >= mdp.states() || a >= mdp.actions() {
            let wanted = format!("states below {} and actions below {}", mdp.states(), mdp.actions());
            return Err(invalid(table.file(), &format!("row {}", row + 1), &wanted, format!("{s}, {a}")));
        }
        let cell = mdp.cell(s, a);
        if std::mem::replace(&mut given[cell], true) {
            let place = format!("state {s}, action {a}");
            return Err(invalid(table.file(), &place, "one row", format!("another in row {}", row + 1)));
        }
        for (i, column) in columns.iter().enumerate() {
            phi[cell * width + i] = column[row];
        }
    }
    if let Some(cell) = given.iter().position(|given| !given) {
        let place = format!("state {}, action {}", cell / mdp.actions(), cell % mdp.actions());
        return Err(invalid(table.file(), &place, "features for every pair", "none"));
    }
    // The bonus is made for vectors of length up to 1.
    let longest = phi.chunks(width).map(|x| x.iter().map(|v| v * v).sum::<f64>()).fold(0.0, f64::max).sqrt();
    if longest <= 0.0 {
        return Err(invalid(table.file(), "features", "some that are not 0", "only zeros"));
    }
    phi.iter_mut().for_each(|x| *x /= longest);
    Ok(Features { states: mdp.states(), actions: mdp.actions(), width, by_action: false, phi })
}

/// Runs the learners on the user's process.
///
/// # Errors
/// See [`load`]; cancelled.
pub fn run(config: &Config, file: &Path, run: &mut Run) -> Result<()> {
    let own = load(config, file)?;
    let mut problem = Problem::new("own", own.mdp, config.horizon)?;
    problem.features = own.features;
    if !problem.finite && run.is_first_seed() {
        run.warn(format!("{} states: the finite class is left out above 50", problem.mdp.states()));
    }
    let bench = Bench::new(&problem, config, run.seed())?;
    let arms = arms(config, &problem);
    let names: Vec<String> = arms.iter().map(|arm| arm.name.clone()).collect();
    warn_of_idle(config, &names, run);
    let mut told = Vec::new();
    let count = arms.len() as f64;
    for (k, arm) in arms.into_iter().enumerate() {
        run.progress(k as f64 / count, &arm.name)?;
        let ranges = run.is_first_seed() && problem.finite && arm.is_loop;
        let mut trace = run.part(&arm.name, |_| Ok(bench.run(arm.method, ranges)))?;
        trace.regret.iter_mut().for_each(|r| *r *= own.scale);
        observe(run, &problem, &arm, &trace);
        told.push((arm, trace));
    }
    if !run.is_first_seed() {
        return Ok(());
    }
    if let Some(features) = &problem.features {
        let misfit = features.misspecification(&problem.solution.q) * own.scale;
        if misfit > 1e-6 {
            run.warn(format!(
                "your features miss the best action values by up to {misfit:.4}: for a misspecified class neither optimism \
                 nor a small regret is promised"
            ));
        }
    }
    run.table(policy_table(&problem, own.low, own.scale));
    if !told.is_empty() {
        run.table(table(&problem, &told, &[]));
        show(run, &problem, &told)?;
    }
    Ok(())
}

/// The best policy, in the user's units.
fn policy_table(problem: &Problem, low: f64, scale: f64) -> Table {
    let best = &problem.solution;
    let mut table = best.policy.iter().zip(&best.bias).enumerate().fold(
        Table::new("Best policy of your process", &["state", "action", "bias"]),
        |table, (s, (action, bias))| {
            table.row(vec![Cell::from(s as f64), Cell::from(*action as f64), Cell::from(bias * scale)])
        },
    );
    table.note = format!(
        "Best gain J* = {:.6} a step; span of the bias {:.4}.{}",
        low + scale * best.gain,
        scale * best.span,
        if scale == 1.0 { "" } else { " Your units; learners saw rewards mapped to [0, 1]." }
    );
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environments::average_reward::{TabularMdp, river_swim};
    use crate::loop_::{Algorithm, Loop};
    use ream_lab::{Preset, System};

    fn config() -> Config {
        Config { horizon: 2000, hypotheses: 40, ..Loop::preset(Preset::Smoke) }
    }

    /// Rows `s, a, s', p, r` of RiverSwim, which `edit` may change.
    fn rows(edit: impl Fn(&mut Vec<[f64; 5]>)) -> Vec<[f64; 5]> {
        let mdp = river_swim(4);
        let mut rows = Vec::new();
        for cell in 0..mdp.cells() {
            for &(next, p) in mdp.row(cell) {
                rows.push([(cell / 2) as f64, (cell % 2) as f64, next as f64, p, mdp.rewards()[cell]]);
            }
        }
        edit(&mut rows);
        rows
    }

    type Written = (tempfile::TempDir, std::path::PathBuf);

    fn write(name: &str, text: &str) -> Written {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn csv(rows: &[[f64; 5]]) -> Written {
        let lines: Vec<String> =
            rows.iter().map(|[s, a, n, p, r]| format!("{s},{a},{n},{p},{r}\n")).collect();
        write("own.csv", &format!("s,a,s',p,r\n{}", lines.concat()))
    }

    fn json(rows: &[[f64; 5]], start: usize) -> Written {
        let transitions: Vec<String> =
            rows.iter().map(|[s, a, n, p, _]| format!("[{s}, {a}, {n}, {p}]")).collect();
        let rewards: Vec<String> = rows
            .iter()
            .filter(|row| row[4] != 0.0)
            .map(|[s, a, _, _, r]| format!("[{s}, {a}, {r}]"))
            .collect();
        let (transitions, rewards) = (transitions.join(","), rewards.join(","));
        write(
            "own.json",
            &format!("{{\"transitions\": [{transitions}], \"rewards\": [{rewards}], \"start\": {start}}}"),
        )
    }

    fn error(config: &Config, file: &Path) -> String {
        Loop::check_data(config, file).unwrap_err().to_string()
    }

    fn assert_close(a: &TabularMdp, b: &TabularMdp) {
        assert_eq!((a.states(), a.actions(), a.start()), (b.states(), b.actions(), b.start()));
        for cell in 0..a.cells() {
            assert_eq!(a.rewards()[cell], b.rewards()[cell]);
            for (x, y) in a.row(cell).iter().zip(b.row(cell)) {
                assert!(x.0 == y.0 && (x.1 - y.1).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn both_formats_give_the_process() {
        let rows = rows(|_| ());
        let (_dir, path) = csv(&rows);
        assert_close(&load(&config(), &path).unwrap().mdp, &river_swim(4));
        let (_dir, path) = json(&rows, 2);
        let own = load(&config(), &path).unwrap();
        assert_eq!((own.mdp.start(), own.low, own.scale), (2, 0.0, 1.0));
        assert_eq!(own.mdp.rewards(), river_swim(4).rewards());
    }

    #[test]
    fn a_run_gives_policy_learners_and_pictures() {
        let (_dir, path) = csv(&rows(|_| ()));
        let mut run = Run::in_memory_on(1, &path);
        Loop::run(&config(), &mut run).unwrap();
        let titles: Vec<&str> = run.tables().iter().map(|t| t.title.as_str()).collect();
        assert_eq!(titles, ["Best policy of your process", "own, T = 2000, first seed"]);
        let names: Vec<&str> = run.figures().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["regret-own", "visits-own", "confidence-set-own"]);
        let arms: Vec<String> =
            run.observations().into_iter().filter(|o| o.measure == "regret").map(|o| o.arm).collect();
        assert!(["finite-c1", "tabular-mle-c0.05", "psrl"].iter().all(|arm| arms.iter().any(|a| a == arm)));
    }

    #[test]
    fn an_algorithm_that_does_not_apply_is_said() {
        let (_dir, path) = csv(&rows(|_| ()));
        let config = Config { algorithms: vec![Algorithm::Linear, Algorithm::Psrl], ..config() };
        let mut run = Run::in_memory_on(1, &path);
        Loop::run(&config, &mut run).unwrap();
        assert!(run.warnings().iter().any(|w| w.contains("Linear does not apply")), "{:?}", run.warnings());
    }

    #[test]
    fn errors_say_where_and_what_would_be_right() {
        type Edit = fn(&mut Vec<[f64; 5]>);
        let cases: [(Edit, &str); 9] = [
            (
                |rows| rows[1][3] = 0.5,
                "own.csv, state 0, action 1: wanted probabilities that sum to 1, got 1.1",
            ),
            (|rows| rows[1][3] = -0.4, "state 0, action 1: wanted probabilities from 0 to 1, got -0.4"),
            (
                |rows| rows[0][4] = 5.0,
                "state 0, action 0: wanted a reward in [0, 1], or `--set own.rescale=true`",
            ),
            (|rows| rows[1][4] = 0.5, "state 0, action 1: wanted one reward for all its rows"),
            (|rows| rows.retain(|r| r[0] != 2.0 || r[1] != 0.0), "state 2, action 0: wanted transitions"),
            (|rows| rows.iter_mut().for_each(|r| r[4] = 0.2), "rewards: wanted at least two that differ"),
            (|rows| rows[0][0] = 0.5, "column `s`: wanted whole numbers from 0, got 0.5 in row 1"),
            (
                |rows| {
                    rows.push([4.0, 0.0, 0.0, 1.0, 0.0]);
                    rows.push([4.0, 1.0, 0.0, 1.0, 0.0]);
                },
                "state 4: wanted one that some policy reaches from the start, state 0",
            ),
            (
                // The far end keeps whoever comes, and so does the source where it is wished.
                |rows| {
                    rows.retain(|r| r[0] != 3.0);
                    rows.push([3.0, 0.0, 3.0, 1.0, 0.0]);
                    rows.push([3.0, 1.0, 3.0, 1.0, 1.0]);
                },
                "wanted a weakly communicating process",
            ),
        ];
        for (edit, wanted) in cases {
            let (_dir, path) = csv(&rows(edit));
            let error = error(&config(), &path);
            assert!(error.contains(wanted), "{error}");
        }
        let (_dir, path) = csv(&rows(|_| ()));
        let short = Config { horizon: 10, ..config() };
        assert!(error(&short, &path).contains("at least 10 steps for each of 8 pairs: 80, got 10"));
        let mut far = config();
        far.own.start = 9;
        assert!(error(&far, &path).contains("own.start: wanted a state from 0 to 3, got 9"));
        let (_dir, path) = write("own.json", "{\"transitions\": [[0, 0, 0]], \"rewards\": []}");
        let text = error(&config(), &path);
        assert!(text.contains("own.json, line 1, column") && text.contains("[[s, a, s', p], ...]"), "{text}");
        let (_dir, path) = write("own.json", "{\"transitions\": [[0,0,0,1]], \"rewards\": [[1, 0, 1]]}");
        assert!(error(&config(), &path).contains("state 1, action 0: wanted rewards of pairs that have"));
        let (_dir, path) = write("own.csv", "s,a,p,r\n0,0,1,1\n");
        assert!(error(&config(), &path).contains("no column `s'`"));
    }

    #[test]
    fn rescaled_rewards_give_regret_in_the_user_s_units() {
        let regret = |scale: f64, rescale: bool| {
            let (_dir, path) = csv(&rows(|rows| rows.iter_mut().for_each(|r| r[4] *= scale)));
            let mut config = config();
            config.own.rescale = rescale;
            config.algorithms = vec![Algorithm::Random, Algorithm::TabularMle];
            let mut run = Run::in_memory_on(1, &path);
            Loop::run(&config, &mut run).unwrap();
            let of = |arm: &str| {
                let found = run.observations().into_iter().find(|o| o.measure == "regret" && o.arm == arm);
                found.unwrap().value
            };
            ["random", "tabular-mle-c1"].map(of)
        };
        let (plain, large) = (regret(1.0, false), regret(40.0, true));
        for (a, b) in plain.iter().zip(large) {
            assert!((40.0 * a - b).abs() < 1e-6 * b.abs(), "{a} {b}");
        }
    }

    #[test]
    fn features_run_the_linear_version_and_their_errors_are_told() {
        let (_dir, path) = csv(&rows(|_| ()));
        let with = |text: &str| {
            let (dir, features) = write("features.csv", text);
            let mut config = config();
            config.own.features = Some(features.display().to_string());
            config.algorithms = vec![Algorithm::Linear, Algorithm::Random];
            (dir, config)
        };
        let line = |cell: usize| format!("{},{},{},1\n", cell / 2, cell % 2, cell as f64 / 8.0);
        let all: String = (0..8).map(line).collect();
        let (_features, config) = with(&format!("s,a,x,one\n{all}"));
        let mut run = Run::in_memory_on(1, &path);
        Loop::run(&config, &mut run).unwrap();
        assert!(run.observations().iter().any(|o| o.arm == "linear-c1"));
        assert!(run.warnings().iter().any(|w| w.contains("your features miss the best action values")));
        let cases = [
            (
                format!("s,a\n{}", (0..8).map(|c| format!("{},{}\n", c / 2, c % 2)).collect::<String>()),
                "no feature",
            ),
            (
                format!("s,a,x,one\n{}", (0..7).map(line).collect::<String>()),
                "state 3, action 1: wanted features",
            ),
            (format!("s,a,x,one\n{all}0,0,1,1\n"), "state 0, action 0: wanted one row, got another in row 9"),
            (format!("s,a,x,one\n{all}9,0,1,1\n"), "row 9: wanted states below 4 and actions below 2"),
            (
                format!("s,a,x\n{}", (0..8).map(|c| format!("{},{},0\n", c / 2, c % 2)).collect::<String>()),
                "only zeros",
            ),
        ];
        for (text, wanted) in cases {
            let (_features, config) = with(&text);
            let error = error(&config, &path);
            assert!(error.contains(wanted), "{error}");
        }
    }
}
