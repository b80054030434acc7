//! All systems on the same prompts by the clock, and where their time goes.

use super::{LOOKUP, Ready, Seen, Study};
use crate::hydra::costs::{CostCurve, Plan, best};
use crate::hydra::decode::{Acceptance, Speculative, Spent};
use crate::hydra::drafter::{Drafter, NoDrafts, PromptLookup};
use crate::hydra::replay::Continuation;
use crate::hydra::tree::StaticTree;
use ream_lab::{Result, Run, Spread, Table};
use std::time::Instant;

/// Timed sizes of trees.
const TIMED_SIZES: [usize; 5] = [1, 4, 8, 16, 32];

impl Study<'_> {
    /// Wall-clock throughput of all systems on the same prompts, interleaved.
    pub(super) fn wall(
        &self,
        run: &mut Run,
        ready: &[Ready],
        texts: &[Continuation],
        curve: &CostCurve,
        seen: &mut Seen,
    ) -> Result<()> {
        let e = &self.config.evaluation;
        let texts = &texts[..e.timed_prompts.min(texts.len())];
        let mut contestants = vec![Contestant::new("autoregressive", Box::new(NoDrafts), StaticTree::root())];
        let mut chosen: Vec<(&Ready, &Plan)> = Vec::new();
        for r in ready.iter().filter(|r| matches!(r.name.as_str(), "medusa" | "hydra" | "hydra++")) {
            let Some(plan) = self.chosen(r) else { continue };
            let drafter = Box::new(r.heads.drafter(&self.lm.model));
            contestants.push(Contestant::new(&r.name, drafter, r.counts.tree(plan.nodes)?));
            chosen.push((r, plan));
        }
        let chain = StaticTree::chain(self.config.heads.count);
        contestants.push(Contestant::new("prompt-lookup", Box::new(PromptLookup::new(LOOKUP)), chain));
        if let Some(plus) = ready.iter().find(|r| r.name == "hydra++") {
            for nodes in TIMED_SIZES.into_iter().filter(|n| *n > 1 && e.sizes.contains(n)) {
                let drafter = Box::new(plus.heads.drafter(&self.lm.model));
                contestants.push(Contestant::new(
                    &format!("hydra++ {nodes}"),
                    drafter,
                    plus.counts.tree(nodes)?,
                ));
            }
        }
        self.race(run, &mut contestants, texts)?;
        let against = |a: &Contestant, b: &str| -> Vec<f64> {
            let Some(b) = contestants.iter().find(|c| c.name == b) else { return Vec::new() };
            b.seconds.iter().zip(&a.seconds).map(|(b, a)| b / a).collect()
        };
        for (measure, rival) in [("wall_over_ar", "autoregressive"), ("wall_over_medusa", "medusa")] {
            for c in contestants.iter().filter(|c| !c.name.contains(' ') && c.name != rival) {
                let ratios = against(c, rival);
                let at = self.at();
                run.observe_with(
                    &self.measure(measure),
                    &c.name,
                    &at,
                    median(&ratios),
                    Spread::Draws(ratios),
                );
            }
        }
        for c in contestants.iter().filter(|c| !c.name.contains(' ')) {
            run.observe(&self.measure("acceptance_chosen"), &c.name, &self.at(), c.length());
        }
        self.bound_table(run, &contestants, &chosen, curve, texts.len(), &against);
        self.round_table(run, &contestants, &chosen, curve);
        let plans = ready.iter().find(|r| r.name == "hydra++").map_or(&[][..], |r| &r.plans);
        seen.modelled =
            plans.iter().map(|p| (p.nodes as f64, p.ratio(curve), p.memory_bound(curve))).collect();
        seen.measured.push((1.0, 1.0, [1.0, 1.0]));
        for c in &contestants {
            if let Some(nodes) = c.name.strip_prefix("hydra++ ").and_then(|n| n.parse::<f64>().ok()) {
                let ratios = against(c, "autoregressive");
                let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
                let high = ratios.iter().copied().fold(0.0, f64::max);
                seen.measured.push((nodes, median(&ratios), [low, high]));
            }
        }
        Ok(())
    }

    /// The plan of a set of heads: the fastest by the model, or what the user's own settings say.
    fn chosen<'r>(&self, r: &'r Ready) -> Option<&'r Plan> {
        let asked = self.forced.and_then(|nodes| r.plans.iter().find(|plan| plan.nodes == nodes));
        asked.or_else(|| best(&r.plans))
    }

    /// Decodes all texts with every contestant, `repetitions` times, in turns that begin with another one each time.
    fn race(&self, run: &mut Run, contestants: &mut [Contestant<'_>], texts: &[Continuation]) -> Result<()> {
        let repetitions = self.config.evaluation.repetitions;
        for repetition in 0..repetitions {
            let mut seconds = vec![0.0; contestants.len()];
            for (i, text) in texts.iter().enumerate() {
                let share = (repetition * texts.len() + i) as f64 / (repetitions * texts.len()) as f64;
                run.progress(0.85 + 0.15 * share, &format!("{}: timing", self.name))?;
                for turn in 0..contestants.len() {
                    let which = (turn + i + repetition) % contestants.len();
                    let c = &mut contestants[which];
                    let mut live =
                        Speculative::new(&self.lm.model, c.drafter.as_mut(), &c.tree, Acceptance::Greedy, 0)?;
                    live.begin(text.prompt())?;
                    let begun = Instant::now();
                    let generated = live.go_on(self.config.evaluation.new_tokens)?;
                    seconds[which] += begun.elapsed().as_secs_f64();
                    c.spent += live.spent();
                    if repetition == 0 {
                        c.tokens += generated.tokens.len();
                        c.passes += generated.runs.len();
                    }
                }
            }
            contestants.iter_mut().zip(seconds).for_each(|(c, s)| c.seconds.push(s));
        }
        Ok(())
    }

    /// Acceptance, costs and the bound they set, beside what was measured.
    fn bound_table(
        &self,
        run: &mut Run,
        contestants: &[Contestant<'_>],
        chosen: &[(&Ready, &Plan)],
        curve: &CostCurve,
        prompts: usize,
        against: &dyn Fn(&Contestant, &str) -> Vec<f64>,
    ) {
        let mut table = Table::new(
            format!("Throughput and its bound, {}", self.name),
            &[
                "system",
                "nodes",
                "tokens per pass",
                "c(nodes)",
                "draft / t(1)",
                "bound on the ratio",
                "measured ratio",
                "over Medusa",
                "if passes were memory-bound",
                "tokens per pass for 1.5 x",
                "tokens/s",
            ],
        );
        table.note = format!(
            "Bound: tokens per pass / (c(nodes) + draft / t(1)). Ratios over decoding one by one with the same kernels and threads, medians of {} repetitions over {prompts} prompts, systems interleaved; drafting is included, reading the prompt is not. Memory-bound: the same tokens per pass with c = 1.",
            self.config.evaluation.repetitions
        );
        for c in contestants.iter().filter(|c| !c.name.contains(' ')) {
            let plan = chosen.iter().find(|(r, _)| r.name == c.name).map(|(_, plan)| *plan);
            let nodes = c.tree.len();
            let (cost, draft) = (curve.relative(nodes), plan.map_or(0.0, |p| p.draft / curve.seconds(1)));
            let (ratios, over) = (against(c, "autoregressive"), against(c, "medusa"));
            let seconds = median(&c.seconds);
            table.rows.push(vec![
                c.name.as_str().into(),
                (nodes as u64).into(),
                c.length().into(),
                cost.into(),
                draft.into(),
                (c.length() / (cost + draft)).into(),
                median(&ratios).into(),
                median(&over).into(),
                (c.length() / (1.0 + draft)).into(),
                (1.5 * (cost + draft)).into(),
                (c.tokens as f64 / seconds).into(),
            ]);
        }
        run.table(table);
    }

    /// What the race itself says of costs, beside what was measured before it.
    fn round_table(
        &self,
        run: &mut Run,
        contestants: &[Contestant<'_>],
        chosen: &[(&Ready, &Plan)],
        curve: &CostCurve,
    ) {
        let mut table = Table::new(
            format!("Where the time of a round goes, {}", self.name),
            &[
                "system",
                "nodes",
                "pass, ms",
                "drafter, ms",
                "rest, ms",
                "c(nodes) in the race",
                "c(nodes) before it",
                "draft before it, ms",
            ],
        );
        table.note = "Means over all rounds of the race; the rest is choosing among the logits and book-keeping. Costs that were measured before \
                      the race decide which tree is taken; where the machine's speed moves between the two, and it does so more for passes that are \
                      bound by arithmetic than for those that are bound by memory, a ratio misses its bound by as much."
            .to_owned();
        let Some(one) = contestants.iter().find(|c| c.name == "autoregressive") else { return };
        let each = |c: &Contestant<'_>, seconds: f64| seconds / c.spent.rounds.max(1) as f64;
        let single = each(one, one.spent.passes);
        for c in contestants {
            let plan = chosen.iter().find(|(r, _)| r.name == c.name).map(|(_, plan)| plan.draft);
            let (pass, draft) = (each(c, c.spent.passes), each(c, c.spent.drafting));
            let rest = each(c, c.seconds.iter().sum()) - pass - draft;
            table.rows.push(vec![
                c.name.as_str().into(),
                (c.tree.len() as u64).into(),
                (1e3 * pass).into(),
                (1e3 * draft).into(),
                (1e3 * rest).into(),
                (pass / single).into(),
                curve.relative(c.tree.len()).into(),
                plan.map_or_else(|| "".into(), |seconds| (1e3 * seconds).into()),
            ]);
        }
        run.table(table);
    }
}

/// One system in the race.
struct Contestant<'a> {
    name: String,
    drafter: Box<dyn Drafter + 'a>,
    tree: StaticTree,
    seconds: Vec<f64>,
    tokens: usize,
    passes: usize,
    /// Of all repetitions.
    spent: Spent,
}

impl<'a> Contestant<'a> {
    fn new(name: &str, drafter: Box<dyn Drafter + 'a>, tree: StaticTree) -> Self {
        Self {
            name: name.to_owned(),
            drafter,
            tree,
            seconds: Vec::new(),
            tokens: 0,
            passes: 0,
            spent: Spent::default(),
        }
    }

    fn length(&self) -> f64 {
        self.tokens as f64 / self.passes.max(1) as f64
    }
}

fn median(values: &[f64]) -> f64 {
    ream_stats::descriptive::median(values).unwrap_or(f64::NAN)
}
