//! A report for the terminal, and for Markdown, CSV and LaTeX.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::error::{Error, Result};
use crate::observation::{At, show_at};
use crate::record::{RunDir, RunRecord};
use crate::report::{Report, place_words};
use crate::results::ClaimReport;
use crate::table::{Cell, Table};
use crate::time::span;
use crate::verdict::{PlaceOutcome, State, Verdict, brief};

/// Colours for the terminal; none when `NO_COLOR` is set or nobody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    Plain,
    /// ANSI escapes.
    Ansi,
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }

    /// Bold.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Dim.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// A verdict with its mark.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> String {
        let code = match verdict {
            Verdict::Confirmed | Verdict::ConfirmedAtReducedScale => "32",
            Verdict::DirectionOnly | Verdict::Inconclusive => "33",
            Verdict::NotConfirmed => "31",
            Verdict::NotTested => "2",
        };
        self.with(code, &format!("{} {verdict}", verdict.mark()))
    }
}

/// `0.98 [0.97, 0.99]`, or a dash.
#[must_use]
pub fn figure_words(value: Option<f64>, interval: Option<[f64; 2]>) -> String {
    match (value, interval) {
        (None, _) => "–".to_owned(),
        (Some(value), None) => brief(value),
        (Some(value), Some([low, high])) => format!("{} [{}, {}]", brief(value), brief(low), brief(high)),
    }
}

/// The report of a run as a person reads it in the terminal.
#[must_use]
pub fn terminal(report: &Report, paint: Paint) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}  {}", paint.bold(&report.paper), report.title);
    let _ = writeln!(
        out,
        "{} preset, seeds {}, {} on {} ({} cores, {})",
        report.preset.name(),
        crate::worker::show_seeds(&report.finished),
        span(report.seconds),
        report.record.machine.cpu,
        report.record.machine.cores,
        report.record.isa
    );
    for scaled in &report.record.scaled {
        let _ = writeln!(out, "{} {scaled}", paint.dim("scaled down:"));
    }
    let _ = writeln!(out);
    for claim in &report.claims {
        out.push_str(&claim_lines(claim, paint));
    }
    for table in report.tables.iter().filter(|table| table.rows.len() <= 60) {
        let _ = writeln!(out, "{}", table.to_text());
    }
    for warning in &report.warnings {
        let _ = writeln!(out, "{} {warning}", paint.bold("warning:"));
    }
    for (seed, why) in &report.failed {
        let _ = writeln!(out, "{} seed {seed}: {why}", paint.bold("failed:"));
    }
    for (seed, why) in &report.unfinished {
        let _ = writeln!(out, "{} seed {seed}: {why}", paint.bold("not finished:"));
    }
    if !report.not_evidence.is_empty() {
        let _ = writeln!(out, "{}", paint.dim(&format!("Not evidence: {}.", report.not_evidence.join("; "))));
    }
    out
}

fn claim_lines(claim: &ClaimReport, paint: Paint) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{:<4} {}", claim.claim, claim.statement);
    let mut line = format!("     {}", paint.verdict(claim.verdict));
    if claim.verdict != Verdict::NotTested || claim.measured.is_some() {
        let _ = write!(line, "   {}", figure_words(claim.measured, claim.interval));
    }
    let _ = write!(line, "   {}", paint.dim(&format!("paper: {}", claim.paper_figure.text)));
    let _ = writeln!(out, "{line}");
    if !claim.reason.is_empty() {
        let _ = writeln!(out, "     {}", paint.dim(&claim.reason));
    }
    out
}

/// Everything about one claim: its rule, every check at every place, deviations.
#[must_use]
pub fn explain(claim: &ClaimReport, paint: Paint) -> String {
    let mut out = claim_lines(claim, paint);
    let _ = writeln!(out, "\n     rule: {}", claim.rule);
    let _ = writeln!(out, "     paper's figure: {} ({})", claim.paper_figure.text, claim.paper_figure.source);
    for check in &claim.checks {
        let _ = writeln!(
            out,
            "\n     {} = {}, {}, {}: {}",
            check.id,
            check.quantity,
            check.how,
            check.test,
            state_word(check.state)
        );
        if !check.why.is_empty() {
            let _ = writeln!(out, "       {}", check.why);
        }
        for place in &check.places {
            let _ = writeln!(out, "       {}", place_line(place));
        }
    }
    for deviation in &claim.deviations {
        let _ = writeln!(
            out,
            "\n     deviation: paper {}; here {}; {}",
            deviation.paper, deviation.here, deviation.why
        );
    }
    out
}

fn place_line(place: &PlaceOutcome) -> String {
    let at = if place.at.is_empty() { String::new() } else { format!("{}: ", show_at(&place.at)) };
    let seeds = if place.seeds == 1 { "1 seed".to_owned() } else { format!("{} seeds", place.seeds) };
    let detectable = place.detectable.map(|d| format!(", detectable {}", brief(d))).unwrap_or_default();
    format!(
        "{at}{} ({seeds}{detectable}) {}",
        figure_words(Some(place.value), place.interval),
        state_word(place.state)
    )
}

/// The word for a state.
#[must_use]
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Holds => "holds",
        State::Fails => "fails",
        State::Unclear => "unclear",
        State::Missing => "missing",
    }
}

/// Claims as a table: for Markdown, CSV, LaTeX.
#[must_use]
pub fn claims_table(title: &str, claims: &[ClaimReport]) -> Table {
    let mut table =
        Table::new(title, &["paper", "claim", "statement", "paper's figure", "measured", "verdict"]);
    for claim in claims {
        let mut verdict = claim.verdict.name().to_owned();
        if claim.stale == Some(true) {
            verdict.push_str(" (stale)");
        }
        if claim.verdict == Verdict::NotTested && !claim.reason.is_empty() {
            verdict = format!("{verdict}: {}", claim.reason);
        }
        let row: Vec<Cell> = vec![
            claim.paper.as_str().into(),
            claim.claim.as_str().into(),
            claim.statement.as_str().into(),
            claim.paper_figure.text.as_str().into(),
            figure_words(claim.measured, claim.interval).into(),
            format!("{} {verdict}", claim.verdict.mark()).into(),
        ];
        table = table.row(row);
    }
    table
}

/// Measures as a table.
#[must_use]
pub fn measures_table(report: &Report) -> Table {
    let mut table =
        Table::new("Measures", &["measure", "arm", "at", "mean", "se", "low", "high", "unit", "seeds"]);
    for row in &report.measures {
        let [low, high] = row.interval.map_or([Cell::Empty, Cell::Empty], |ends| ends.map(Cell::from));
        table = table.row(vec![
            row.measure.as_str().into(),
            row.arm.as_str().into(),
            place_words(&row.at).into(),
            row.value.into(),
            row.se.map_or(Cell::Empty, Cell::from),
            low,
            high,
            row.unit.as_str().into(),
            (row.seeds as u64).into(),
        ]);
    }
    table
}

/// Two runs of one paper side by side: every measure, arm and place that either has.
///
/// # Errors
/// The runs are of different papers.
pub fn comparison(left: &Report, right: &Report) -> Result<Table> {
    type Key<'a> = (&'a str, &'a str, &'a At);
    if left.paper != right.paper {
        return Err(Error::Input(format!(
            "{} is a run of `{}`, {} one of `{}`",
            left.run, left.paper, right.run, right.paper
        )));
    }
    let mut rows: BTreeMap<Key<'_>, [Option<f64>; 2]> = BTreeMap::new();
    for (side, report) in [left, right].into_iter().enumerate() {
        for row in &report.measures {
            rows.entry((&row.measure, &row.arm, &row.at)).or_default()[side] = Some(row.value);
        }
    }
    let mut table = Table::new(
        format!("{} and {}", left.run, right.run),
        &["measure", "arm", "at", "first", "second", "difference"],
    );
    for ((measure, arm, at), [x, y]) in rows {
        let cell = |value: Option<f64>| value.map_or(Cell::Empty, Cell::from);
        let difference = x.zip(y).map(|(x, y)| y - x);
        table = table.row(vec![
            measure.into(),
            arm.into(),
            show_at(at).into(),
            cell(x),
            cell(y),
            cell(difference),
        ]);
    }
    Ok(table)
}

/// Every observation of the finished seeds.
///
/// # Errors
/// A file of the run is damaged.
pub fn observations(dir: &RunDir, record: &RunRecord) -> Result<Table> {
    let mut table = Table::new(record.id.clone(), &["seed", "measure", "arm", "at", "value"]);
    for seed in &record.seeds {
        for o in dir.observations(*seed)?.unwrap_or_default() {
            table = table.row(vec![
                (*seed).into(),
                o.measure.into(),
                o.arm.into(),
                show_at(&o.at).into(),
                o.value.into(),
            ]);
        }
    }
    Ok(table)
}

/// A file format for tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Markdown.
    Markdown,
    /// Comma-separated values.
    Csv,
    /// LaTeX.
    Latex,
}

/// The report as a document of tables: claims, the run's own tables, measures.
///
/// # Errors
/// None today; tables may refuse a format later.
pub fn document(report: &Report, format: Format) -> Result<String> {
    let mut tables = vec![claims_table(&format!("Claims of {}", report.paper), &report.claims)];
    tables.extend(report.tables.iter().cloned());
    tables.push(measures_table(report));
    Ok(tables.iter().map(|table| render(table, format)).collect::<Vec<_>>().join("\n"))
}

/// One table in a format, under its title.
#[must_use]
pub fn render(table: &Table, format: Format) -> String {
    match format {
        Format::Markdown => table.to_markdown(),
        Format::Csv => format!("# {}\n{}", table.title, table.to_csv()),
        Format::Latex => table.to_latex(),
    }
}
