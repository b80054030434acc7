//! `/papers/{slug}/run`: a run is set up, looked at, started.

use askama::Template;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Multipart, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use ream_data::Condition;
use ream_lab::keys::{Group, Key, Kind, Range, groups};
use ream_lab::{AnySystem, Entry, Order, Plan, Preset, change, time};
use serde::Deserialize;

use super::limits::{Allowance, slots};
use super::order::{Typed, preset, words};
use super::uploads::Upload;
use super::{blocking, open};
use crate::error::{Error, Result};
use crate::pages::page;
use crate::shell::Shell;
use crate::state::App;

pub(super) fn routes() -> Router<App> {
    // The guard around all routes limits the body; a form with a file in it is larger than axum's own default.
    let form = get(show).post(submit).layer(DefaultBodyLimit::disable());
    Router::new().route("/papers/{slug}/run", form)
}

/// What the form can be filled from.
#[derive(Deserialize)]
struct From {
    preset: Option<String>,
    /// A run whose settings are taken.
    like: Option<String>,
}

async fn show(
    State(app): State<App>,
    Path(slug): Path<String>,
    Query(from): Query<From>,
    shell: Shell,
) -> Result<Response> {
    let form = blocking(move || {
        let (entry, system) = paper(&app, &slug)?;
        let typed = match &from.like {
            Some(id) => {
                let (_, record) = open(&app, id)?;
                if record.paper != slug {
                    return Err(Error::bad_request(
                        "bad_input",
                        format!("{id} is a run of {}.", record.paper),
                    ));
                }
                Typed::like(&record, &groups(&system.schema(), &record.config))
            }
            None => Typed { preset: preset(from.preset.as_deref().unwrap_or("smoke"))?, ..Typed::default() },
        };
        Settled::new(&app, entry, &system, typed)?.view(&app, entry, &system)
    })
    .await??;
    page(&FormPage { shell: &shell, form: &form })
}

async fn submit(
    State(app): State<App>,
    Path(slug): Path<String>,
    shell: Shell,
    form: Multipart,
) -> Result<Response> {
    paper(&app, &slug)?;
    let typed = Typed::read(&app.site.home, &app.site.runs, form, app.site.options.upload_mib << 20).await?;
    let start = typed.start;
    let outcome = blocking(move || {
        let (entry, system) = paper(&app, &slug)?;
        let settled = Settled::new(&app, entry, &system, typed)?;
        match (&settled.plan, settled.minutes) {
            (Some(plan), minutes) if start => {
                app.manager.start(entry, plan, minutes, &app.site.data).map(Outcome::Started)
            }
            _ => Ok(Outcome::Shown(Box::new(settled.view(&app, entry, &system)?))),
        }
    })
    .await??;
    match outcome {
        Outcome::Started(id) => Ok(Redirect::to(&format!("/runs/{id}")).into_response()),
        Outcome::Shown(form) => {
            let status = if form.problems > 0 { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
            let headers = [(header::CACHE_CONTROL, "no-store")];
            Ok((status, headers, page(&FormPage { shell: &shell, form: &form })?).into_response())
        }
    }
}

enum Outcome {
    Started(String),
    Shown(Box<FormView>),
}

/// The paper of that name and its system.
pub(super) fn paper<'a>(app: &'a App, slug: &str) -> Result<(&'a Entry, AnySystem)> {
    let entry = app.site.edition.get(slug).map_err(|e| Error::not_found(e.to_string()))?;
    let system = entry.system.ok_or_else(|| {
        Error::new(
            StatusCode::NOT_FOUND,
            "not_implemented",
            format!("{} has no system yet: there is nothing to run.", entry.paper.title),
        )
    })?;
    Ok((entry, system))
}

/// A form that was typed, with what is wrong in it, or the plan that it amounts to.
struct Settled {
    typed: Typed,
    groups: Vec<Group>,
    /// Key and what is wrong with it.
    wrong: Vec<(String, String)>,
    wrong_seeds: String,
    wrong_minutes: String,
    wrong_data: String,
    wrong_rest: String,
    plan: Option<Plan>,
    minutes: Option<f64>,
}

impl Settled {
    fn new(app: &App, entry: &Entry, system: &AnySystem, typed: Typed) -> Result<Self> {
        let base = system.preset(typed.preset)?;
        let schema = system.schema();
        let groups = groups(&schema, &base);
        let keys: Vec<&Key> = groups.iter().flat_map(|group| &group.keys).collect();
        let sets: Vec<String> =
            keys.iter().filter_map(|key| Some(format!("{}={}", key.name, typed.changed(key)?))).collect();
        let mut wrong = Vec::new();
        // Each by itself, so that all mistakes are shown at once.
        for set in &sets {
            if let Err(error) = change(&schema, base.clone(), None, std::slice::from_ref(set)) {
                let key = set.split_once('=').map_or(set.as_str(), |(key, _)| key);
                wrong.push((key.to_owned(), without_place(&error, key)));
            }
        }
        let unknown = typed.values.keys().filter(|name| keys.iter().all(|key| key.name != **name));
        let known = || keys.iter().map(|key| key.name.as_str());
        let wrong_rest = unknown
            .map(|name| format!("There is no key `{name}`{}.", ream_lab::did_you_mean(name, known())))
            .collect::<Vec<_>>()
            .join(" ");
        let mut settled = Self {
            minutes: None,
            wrong,
            wrong_seeds: String::new(),
            wrong_minutes: String::new(),
            wrong_data: String::new(),
            wrong_rest,
            plan: None,
            groups,
            typed,
        };
        settled.read_minutes();
        settled.make_plan(app, entry, system, sets);
        Ok(settled)
    }

    fn read_minutes(&mut self) {
        if self.typed.minutes.is_empty() {
            return;
        }
        match self.typed.minutes.parse::<f64>() {
            Ok(minutes) if minutes.is_finite() && minutes > 0.0 => self.minutes = Some(minutes),
            _ => self.wrong_minutes = format!("wanted minutes above 0, got `{}`", self.typed.minutes),
        }
    }

    /// Ranges, seeds and the reader's file are looked at when every key has its type.
    fn make_plan(&mut self, app: &App, entry: &Entry, system: &AnySystem, sets: Vec<String>) {
        if !self.wrong.is_empty() || !self.wrong_rest.is_empty() || !self.wrong_minutes.is_empty() {
            return;
        }
        let all = self.typed.claims.len() == entry.paper.claims.len();
        let mut order = Order {
            preset: self.typed.preset,
            seeds: Some(self.typed.seeds.clone()).filter(|s| !s.is_empty()),
            sets,
            claims: if all { Vec::new() } else { self.typed.claims.clone() },
            ..Order::default()
        };
        let plan = match Plan::new(entry, system, &order) {
            Ok(plan) => plan,
            Err(error) => return self.blame(&error),
        };
        let Some(upload) = &self.typed.upload else {
            self.allow(app, plan);
            return;
        };
        order.data = Some(upload.path.clone());
        match Plan::new(entry, system, &order) {
            Ok(plan) => self.allow(app, plan),
            Err(error) => self.wrong_data = in_their_words(&error.to_string(), upload),
        }
    }

    fn allow(&mut self, app: &App, plan: Plan) {
        let limits = app.manager.limits();
        match Allowance::of(&plan.needs, plan.seeds.len(), 1, None, limits) {
            Ok(_) => self.plan = Some(plan),
            Err(error) => self.wrong_rest = error.to_string(),
        }
    }

    /// Puts an error beside the field that it names.
    fn blame(&mut self, error: &ream_lab::Error) {
        let place = match error {
            ream_lab::Error::Invalid(invalid) => invalid.place.as_str(),
            _ => "",
        };
        // `sizes[2]` is told of `sizes`, `inner.steps` of itself.
        let whole = place.split('[').next().unwrap_or_default();
        let keys = self.groups.iter().flat_map(|group| &group.keys);
        let key = keys.map(|key| key.name.as_str()).find(|name| *name == place || *name == whole);
        match (place, key) {
            ("--seeds", _) => self.wrong_seeds = without_place(error, place),
            (_, Some(key)) => self.wrong.push((key.to_owned(), without_place(error, place))),
            _ => self.wrong_rest = error.to_string(),
        }
    }
}

/// An error's words without the place that its field shows anyway.
fn without_place(error: &ream_lab::Error, place: &str) -> String {
    let words = error.to_string();
    words.strip_prefix(place).and_then(|rest| rest.strip_prefix(": ")).map_or(words.clone(), str::to_owned)
}

/// An error about an uploaded file under the name it came with.
fn in_their_words(words: &str, upload: &Upload) -> String {
    let name = if upload.name.is_empty() { "the file" } else { &upload.name };
    words.replace(&*upload.path.to_string_lossy(), name).replace(&upload.id, name)
}

/// What the template shows.
struct FormView {
    slug: String,
    title: String,
    presets: Vec<PresetView>,
    preset: &'static str,
    typed: Typed,
    seeds_default: u64,
    wrong_seeds: String,
    wrong_minutes: String,
    wrong_data: String,
    wrong_rest: String,
    groups: Vec<GroupView>,
    claims: Vec<ClaimView>,
    needs: Option<NeedsView>,
    data: Vec<DataView>,
    upload_mib: u64,
    waiting: usize,
    problems: usize,
}

struct PresetView {
    name: &'static str,
    current: bool,
    words: &'static str,
}

struct GroupView {
    name: String,
    help: String,
    /// Whether something in it was changed or is wrong.
    open: bool,
    fields: Vec<FieldView>,
}

struct FieldView {
    /// `set.heads`
    name: String,
    /// `f-heads`: for `id`, `for`, `aria-describedby`.
    id: String,
    label: String,
    help: String,
    range: String,
    value: String,
    default: String,
    /// `select`, `checks`, `number`, `text`.
    control: &'static str,
    options: Vec<(String, bool)>,
    wrong: String,
    changed: bool,
}

struct ClaimView {
    id: String,
    statement: String,
    checked: bool,
    /// Whether any run can say something about it.
    testable: bool,
}

struct NeedsView {
    seeds: usize,
    one: String,
    all: String,
    memory_mib: u64,
    minutes_limit: String,
    memory_limit_mib: u64,
    timed: bool,
    scaled: Vec<String>,
    command: String,
    modified: bool,
}

struct DataView {
    id: String,
    title: String,
    size: String,
    licence: String,
    state: &'static str,
}

#[derive(Template)]
#[template(path = "runs/form.html")]
struct FormPage<'a> {
    shell: &'a Shell,
    form: &'a FormView,
}

impl Settled {
    fn view(self, app: &App, entry: &Entry, system: &AnySystem) -> Result<FormView> {
        let needs = self.plan.as_ref().map(|plan| needs(app, plan)).transpose()?;
        // What the preset needs is shown even while something in the form is wrong.
        let ids = match &self.plan {
            Some(plan) if plan.own_data.is_some() => Vec::new(),
            Some(plan) => plan.needs.data.clone(),
            None => system.prepare(&system.preset(self.typed.preset)?)?.1.data,
        };
        let wrong = [&self.wrong_seeds, &self.wrong_minutes, &self.wrong_data, &self.wrong_rest];
        let problems = self.wrong.len() + wrong.iter().filter(|words| !words.is_empty()).count();
        Ok(FormView {
            slug: entry.paper.slug.clone(),
            title: entry.paper.title.clone(),
            presets: presets(system, self.typed.preset)?,
            preset: self.typed.preset.name(),
            seeds_default: system.seeds(self.typed.preset),
            groups: self.groups.iter().map(|group| self.group(group)).collect(),
            claims: claims(entry, &self.typed),
            needs,
            data: ids.iter().filter_map(|id| data_view(app, id)).collect(),
            upload_mib: app.site.options.upload_mib,
            waiting: app.manager.counts().1,
            problems,
            wrong_seeds: self.wrong_seeds,
            wrong_minutes: self.wrong_minutes,
            wrong_data: self.wrong_data,
            wrong_rest: self.wrong_rest,
            typed: self.typed,
        })
    }

    fn group(&self, group: &Group) -> GroupView {
        let fields: Vec<FieldView> = group.keys.iter().map(|key| self.field(key)).collect();
        let open =
            group.name.is_empty() || fields.iter().any(|field| field.changed || !field.wrong.is_empty());
        GroupView { name: group.name.clone(), help: group.help.clone(), open, fields }
    }

    fn field(&self, key: &Key) -> FieldView {
        let changed = self.typed.changed(key);
        let shown = changed.unwrap_or(&key.value);
        let (control, all) = match &key.kind {
            Kind::Flag => ("select", vec!["true".to_owned(), "false".to_owned()]),
            Kind::One(words) => ("select", words.clone()),
            Kind::Several(words) => ("checks", words.clone()),
            Kind::Integer(_) | Kind::Number(_) => ("number", Vec::new()),
            Kind::Text | Kind::Toml => ("text", Vec::new()),
        };
        let chosen = if control == "checks" { words(shown) } else { vec![shown.to_owned()] };
        let mut options: Vec<(String, bool)> =
            all.into_iter().map(|word| (word.clone(), chosen.contains(&word))).collect();
        if control == "select" && key.optional {
            options.insert(0, ("null".to_owned(), shown == "null"));
        }
        let blank = |text: &str| if text == "null" && key.optional { String::new() } else { text.to_owned() };
        let wrong = self.wrong.iter().find(|(name, _)| *name == key.name);
        FieldView {
            name: format!("{}.{}", if control == "checks" { "list" } else { "set" }, key.name),
            id: format!("f-{}", key.name.replace('.', "-")),
            label: key.name.rsplit('.').next().unwrap_or_default().replace('_', " "),
            help: key.help.clone(),
            range: range(&key.kind),
            value: blank(shown),
            default: blank(&key.value),
            control,
            options,
            wrong: wrong.map(|(_, words)| words.clone()).unwrap_or_default(),
            changed: changed.is_some(),
        }
    }
}

fn presets(system: &AnySystem, current: Preset) -> Result<Vec<PresetView>> {
    let all = [
        (Preset::Smoke, "seconds, to see that it works; not evidence"),
        (Preset::Full, "the experiment on which verdicts rest"),
        (Preset::Long, "more of everything"),
    ];
    // A paper without a long preset gives the full one for it.
    let same = (system.preset(Preset::Long)?, system.seeds(Preset::Long))
        == (system.preset(Preset::Full)?, system.seeds(Preset::Full));
    let shown = all.into_iter().filter(|(preset, _)| !(same && *preset == Preset::Long));
    Ok(shown
        .map(|(preset, words)| PresetView { name: preset.name(), current: preset == current, words })
        .collect())
}

fn claims(entry: &Entry, typed: &Typed) -> Vec<ClaimView> {
    let checked = |id: &String| typed.claims.is_empty() || typed.claims.contains(id);
    let view = |claim: &ream_paper::Claim| ClaimView {
        id: claim.id.clone(),
        statement: claim.statement.clone(),
        checked: checked(&claim.id),
        testable: !claim.checks.is_empty(),
    };
    entry.paper.claims.iter().map(view).collect()
}

fn needs(app: &App, plan: &Plan) -> Result<NeedsView> {
    let limits = app.manager.limits();
    let slots = slots(&plan.needs, plan.threads, limits);
    let allowance = Allowance::of(&plan.needs, plan.seeds.len(), slots, None, limits)?;
    let rounds = plan.seeds.len().div_ceil(slots) as f64;
    Ok(NeedsView {
        seeds: plan.seeds.len(),
        one: expected(plan.needs.minutes),
        all: expected(plan.needs.minutes * rounds),
        memory_mib: plan.needs.memory_mib,
        minutes_limit: format!("{:.0}", allowance.minutes.ceil()),
        memory_limit_mib: allowance.memory_mib,
        timed: plan.needs.timed,
        scaled: plan.needs.scaled.clone(),
        command: plan.command().to_owned(),
        modified: plan.modified,
    })
}

/// An expected time: tenths of a second would promise too much.
fn expected(minutes: f64) -> String {
    if minutes < 1.0 / 60.0 { "under a second".to_owned() } else { time::span(60.0 * minutes) }
}

fn data_view(app: &App, id: &str) -> Option<DataView> {
    let set = ream_data::get(id).ok()?;
    Some(DataView {
        id: set.id.clone(),
        title: set.title.clone(),
        size: ream_data::size_words(set.download_bytes),
        licence: set.licence.clone(),
        state: match app.site.data.condition(set) {
            Condition::Fetched => "fetched",
            Condition::Absent => "not fetched",
            Condition::Damaged => "damaged",
        },
    })
}

fn range(kind: &Kind) -> String {
    let words = match kind {
        Kind::Integer(_) => "whole number",
        Kind::Number(_) => "number",
        Kind::Toml => "TOML value",
        Kind::Flag | Kind::Text | Kind::One(_) | Kind::Several(_) => "",
    };
    match kind {
        Kind::Integer(Range { low, high }) | Kind::Number(Range { low, high }) => match (low, high) {
            (Some(low), Some(high)) => format!("{words}, {low} to {high}"),
            (Some(low), None) => format!("{words}, at least {low}"),
            (None, Some(high)) => format!("{words}, at most {high}"),
            (None, None) => words.to_owned(),
        },
        _ => words.to_owned(),
    }
}
