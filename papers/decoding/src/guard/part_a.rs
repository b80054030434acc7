//! Part A: strings of a Markov source, where everything is known.

use ream_lab::{Cell, Place, Result, Run, Table};

use super::config::Config;
use super::estimates::Pool;
use super::law::{Law, Tokens, failed};
use super::markov::{Ideal, Markov, Tabular, automaton_probability};
use super::training::{Task, likelihood, policy_gradient_on_reward, policy_gradient_to_g};

/// A condition that no order-1 law can follow: the last symbol must be the first one, which by then is forgotten.
fn first_is_last(string: &[u32]) -> bool {
    string.first() == string.last()
}

/// The same condition, and the last of the symbols occurs: rarer.
fn holds(string: &[u32], rare: u32) -> bool {
    first_is_last(string) && string.contains(&rare)
}

/// Trains tabular proposals; checks the identity exactly and the estimators against what is known; the counter-example.
pub(super) fn run(config: &Config, run: &mut Run) -> Result<()> {
    run.part("strings", |run| {
        let s = &config.strings;
        let source =
            Markov::random(s.symbols, s.length, s.concentration, &mut run.stream("source of strings").at(0))?;
        let rare = (0..s.symbols as u32).min_by(|a, b| rate(&source, *a).total_cmp(&rate(&source, *b)));
        let rare = rare.unwrap_or(0);
        let ideal = Ideal::enumerate(&source, |string| holds(string, rare));
        let programmed = by_programme(&source, rare);
        if (programmed - ideal.z).abs() > 1e-9 * ideal.z {
            return Err(failed(format!("Z by enumeration is {}, by dynamic programming {programmed}", ideal.z)));
        }
        let laws = proposals(config, run, &source, &ideal, rare)?;
        let columns =
            ["proposal", "AR", "KL(g‖a')", "KL(g‖g')", "KL(g'‖g)", "TV(g, g')", "residual of the identity"];
        let mut table = Table::new("Strings: exact values", &columns);
        table.note = format!(
            "Order-1 Markov strings of {} symbols and length {}; condition: the last symbol is the first one, and symbol {rare} occurs; Z = {} by enumeration of {} strings, {programmed} by dynamic programming.",
            s.symbols,
            s.length,
            ideal.z,
            s.symbols.pow(s.length as u32)
        );
        for (name, law) in &laws {
            let exact = ideal.judge(law);
            let at = [("proposal", Place::from(*name))];
            run.observe("identity_residual", "exact", &at, exact.residual().abs());
            if *name == "best" {
                run.observe("least_kl", "order-1", &[], exact.to_proposal);
                run.observe("least_kl_satisfaction", "order-1", &[], exact.acceptance);
            }
            table.rows.push(vec![
                (*name).into(),
                exact.acceptance.into(),
                exact.to_proposal.into(),
                exact.to_output.into(),
                exact.from_output.into(),
                exact.variation.into(),
                exact.residual().into(),
            ]);
        }
        run.table(table);
        estimators(config, run, &source, &ideal, rare, &laws)
    })
}

/// How often a symbol follows, on average over rows.
fn rate(source: &Markov, symbol: u32) -> f64 {
    let n = source.symbols();
    (0..=n).map(|row| libm::exp(source.log_rows()[row * n + symbol as usize])).sum()
}

fn by_programme(source: &Markov, rare: u32) -> f64 {
    let n = source.symbols();
    // State: nothing read yet, or first symbol, last symbol, whether the rare one was there.
    let step = |state: usize, v: u32| {
        let (first, met) =
            if state == 0 { (v as usize, false) } else { ((state - 1) / 2 / n, (state - 1) % 2 == 1) };
        1 + 2 * (first * n + v as usize) + usize::from(met || v == rare)
    };
    automaton_probability(source, 1 + 2 * n * n, step, |state| {
        let pair = (state.max(1) - 1) / 2;
        state > 0 && (state - 1) % 2 == 1 && pair / n == pair % n
    })
}

fn proposals(
    config: &Config,
    run: &mut Run,
    source: &Markov,
    ideal: &Ideal,
    rare: u32,
) -> Result<Vec<(&'static str, Markov)>> {
    let settings = &config.strings.training;
    let condition = |string: &Tokens| Ok(holds(string, rare));
    let task = Task { base: source, holds: &condition, length: source.length() };
    let stream = run.stream("training on strings");
    let mut told = |_: f64| run.progress(0.01, "strings");
    let pool = task.gather(&[(source, settings.draws)], stream.child(0), &mut told)?;
    let sft = Tabular::new(source)?;
    likelihood(&sft, &pool, &task, settings, stream.child(1), &mut told)?;
    let dpg = Tabular::new(source)?;
    policy_gradient_to_g(&dpg, &task, settings.draws, (0.0, 0.0), settings, stream.child(2), &mut told)?;
    let reward = Tabular::new(source)?;
    policy_gradient_on_reward(&reward, &task, settings.draws, settings, stream.child(3), &mut told)?;
    Ok(vec![
        ("source", source.clone()),
        ("sft", sft.law()?),
        ("dpg", dpg.law()?),
        ("ppo", reward.law()?),
        ("best", ideal.best_markov(source)?),
    ])
}

/// Draws of all proposals in one pool: each estimate less its exact value, in standard errors.
fn estimators(
    config: &Config,
    run: &mut Run,
    source: &Markov,
    ideal: &Ideal,
    rare: u32,
    laws: &[(&'static str, Markov)],
) -> Result<()> {
    let n = config.strings.draws;
    let condition = |string: &Tokens| Ok(holds(string, rare));
    let task = Task { base: source, holds: &condition, length: source.length() };
    // The best law has zeros, where its divergence to other laws is not finite.
    let judged: Vec<&(&'static str, Markov)> = laws.iter().filter(|(name, _)| *name != "best").collect();
    let listed: Vec<(&dyn Law, usize)> = judged.iter().map(|(_, law)| (law as &dyn Law, n)).collect();
    let stream = run.stream("judging strings");
    let pool: Pool = task.gather(&listed, stream.child(0), &mut |_| Ok(()))?;
    let (z, estimates) = pool.estimate(&vec![1.0; pool.texts.len()]);
    let resampled: Vec<_> =
        pool.resamples(config.resamples, stream.child(1)).iter().map(|times| pool.estimate(times)).collect();
    let mut table = Table::new(
        "Strings: estimators",
        &["proposal", "quantity", "estimate", "exact", "standard errors off"],
    );
    let mut one = |run: &mut Run, name: &str, quantity: &str, value: f64, exact: f64, draws: Vec<f64>| {
        let se = ream_stats::descriptive::standard_deviation(&draws).unwrap_or(f64::NAN);
        // Rejection from the source has KL(g || g') = 0 exactly, and so has its estimate up to rounding.
        if se.is_nan() || se < 1e-9 {
            return;
        }
        let off = (value - exact) / se;
        let at = [("proposal", Place::from(name)), ("quantity", Place::from(quantity))];
        run.observe("estimator_error", "pool", &at, off.abs());
        table.rows.push(vec![name.into(), quantity.into(), value.into(), exact.into(), Cell::from(off)]);
    };
    one(run, "source", "Z", z, ideal.z, resampled.iter().map(|r| r.0).collect());
    for (k, (name, law)) in judged.iter().enumerate().skip(1) {
        let (e, exact) = (estimates[k], ideal.judge(law));
        one(
            run,
            name,
            "AR",
            e.acceptance,
            exact.acceptance,
            resampled.iter().map(|r| r.1[k].acceptance).collect(),
        );
        let draws = resampled.iter().map(|r| r.1[k].to_proposal).collect();
        one(run, name, "KL(g‖a')", e.to_proposal, exact.to_proposal, draws);
        let draws = resampled.iter().map(|r| r.1[k].to_output).collect();
        one(run, name, "KL(g‖g')", e.to_output, exact.to_output, draws);
    }
    run.table(table);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn the_automaton_reads_the_condition() {
        let source = Markov::random(3, 5, 1.0, &mut Stream::new(1, "s").at(0)).unwrap();
        let z = Ideal::enumerate(&source, |s| holds(s, 2)).z;
        assert!((by_programme(&source, 2) - z).abs() < 1e-12 && z < 0.5);
        assert!(holds(&[1, 2, 1], 2) && !holds(&[1, 2, 2], 2) && !holds(&[1, 0, 1], 2));
    }
}
