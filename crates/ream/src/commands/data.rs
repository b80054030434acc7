//! `ream data`: list, fetch, verify.

use std::fmt::Write;

use ream_data::{Condition, DataSet, Store, all, get, size_words};
use ream_lab::{Error, Preset, Result};
use serde::Serialize;

use crate::cli::Data;
use crate::commands::Context;
use crate::output;

/// One element of `ream data list --json`.
#[derive(Serialize)]
pub(crate) struct DataRow {
    /// Name. String.
    pub(crate) id: String,
    /// What it is. String.
    pub(crate) title: String,
    /// Where it comes from. String.
    pub(crate) source: String,
    /// Bytes of the download. Integer.
    pub(crate) download_bytes: u64,
    /// Licence. String.
    pub(crate) licence: String,
    /// SHA-256 of the file, or of the list of files. String.
    pub(crate) sha256: String,
    /// `fetched`, `not fetched` or `damaged`. String.
    pub(crate) state: &'static str,
}

impl DataRow {
    fn new(set: &DataSet, condition: Condition) -> Self {
        Self {
            id: set.id.clone(),
            title: set.title.clone(),
            source: set.source(),
            download_bytes: set.download_bytes,
            licence: set.licence.clone(),
            sha256: set.sha256.clone(),
            state: condition.name(),
        }
    }

    pub(crate) fn size_words(&self) -> String {
        size_words(self.download_bytes)
    }
}

/// The store of fetched data.
pub(crate) fn store() -> Store {
    Store::open(ream_lab::home().join("data"))
}

/// Rows of some data sets.
pub(crate) fn rows(store: &Store, ids: &[String]) -> Result<Vec<DataRow>> {
    ids.iter()
        .map(|id| {
            let set = get(id)?;
            Ok(DataRow::new(set, store.condition(set)))
        })
        .collect()
}

pub(crate) fn run(context: &Context, command: Data) -> Result<u8> {
    let store = store();
    match command {
        Data::List => list(context, &store),
        Data::Fetch { ids, paper, yes } => fetch(context, &store, ids, paper.as_deref(), yes),
        Data::Verify { ids } => verify(&store, &ids),
        Data::Path { id } => path(&store, &id),
    }
}

fn path(store: &Store, id: &str) -> Result<u8> {
    output::text(&store.path(id)?.display().to_string())?;
    Ok(0)
}

fn list(context: &Context, store: &Store) -> Result<u8> {
    let rows: Vec<DataRow> =
        store.list().into_iter().map(|(set, condition)| DataRow::new(set, condition)).collect();
    if context.json {
        output::json(&rows)?;
        return Ok(0);
    }
    let mut out = String::new();
    for row in &rows {
        let _ = writeln!(out, "{:<24} {:<12} {:>9}  {}", row.id, row.state, row.size_words(), row.title);
        let _ = writeln!(out, "{:<24} {} · {}", "", row.source, row.licence);
    }
    let _ = writeln!(out, "\nFetch with: ream data fetch ID");
    output::text(&out)?;
    Ok(0)
}

fn fetch(
    context: &Context,
    store: &Store,
    mut ids: Vec<String>,
    paper: Option<&str>,
    yes: bool,
) -> Result<u8> {
    if let Some(slug) = paper {
        let (_, system) = context.edition.system(slug)?;
        for preset in [Preset::Smoke, Preset::Full] {
            let (_, needs) = system.prepare(&system.preset(preset)?)?;
            ids.extend(needs.data);
        }
        ids.sort();
        ids.dedup();
        if ids.is_empty() {
            output::text(&format!("{slug} needs nothing that has to be fetched"))?;
        }
    } else if ids.is_empty() {
        let names: Vec<&str> = all().iter().map(|s| s.id.as_str()).collect();
        return Err(Error::Input(format!("which data set? There are {}", names.join(", "))));
    }
    // All are looked up before the first one is fetched.
    let sets: Vec<&DataSet> = ids.iter().map(|id| Ok(get(id)?)).collect::<Result<_>>()?;
    // What has the right size but not its checksum is fetched again too.
    let missing: Vec<&DataSet> = sets.into_iter().filter(|s| store.verify(&s.id).is_err()).collect();
    if missing.is_empty() {
        return Ok(0);
    }
    describe(&missing);
    // Asking by name is consent; a terminal is asked once more because sizes and licences are known only now.
    if !yes && output::interactive() && !output::ask("Fetch?") {
        return Err(Error::Cancelled);
    }
    fetch_all(store, &missing)?;
    Ok(0)
}

fn describe(sets: &[&DataSet]) {
    for set in sets {
        let of = match set.files.len() {
            1 => String::new(),
            n => format!(" of {n} files"),
        };
        output::note(&format!(
            "{}: {} from {} {} {}, {}, SHA-256{of} {}",
            set.id,
            size_words(set.download_bytes),
            set.registry.name(),
            set.package,
            set.version,
            set.licence,
            &set.sha256[..16]
        ));
    }
}

fn fetch_all(store: &Store, sets: &[&DataSet]) -> Result<()> {
    for set in sets {
        let mut meter = output::Download::new(&set.id);
        let path = store.fetch(&set.id, &mut |progress| meter.tell(progress.bytes, progress.total));
        meter.done();
        output::note(&format!("{} is in {}", set.id, path?.display()));
    }
    Ok(())
}

/// Before a run: fetches what it lacks when the user consents; without consent the run goes on without it.
pub(crate) fn offer(store: &Store, ids: &[String], consent: bool) -> Result<()> {
    let sets: Vec<&DataSet> = ids.iter().map(|id| Ok(get(id)?)).collect::<Result<_>>()?;
    let missing: Vec<&DataSet> = sets.into_iter().filter(|s| store.path(&s.id).is_err()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|s| s.id.as_str()).collect();
    if !consent {
        describe(&missing);
        if !output::ask("This run can use them. Fetch?") {
            output::note(&format!(
                "Going on without {}; fetch with: ream data fetch {}",
                names.join(", "),
                names.join(" ")
            ));
            return Ok(());
        }
    }
    fetch_all(store, &missing)
}

fn verify(store: &Store, ids: &[String]) -> Result<u8> {
    let wanted: Vec<&DataSet> = if ids.is_empty() {
        store.list().into_iter().filter(|(_, c)| *c != Condition::Absent).map(|(set, _)| set).collect()
    } else {
        ids.iter().map(|id| Ok(get(id)?)).collect::<Result<_>>()?
    };
    if wanted.is_empty() {
        output::text("nothing is fetched yet")?;
    }
    for set in wanted {
        store.verify(&set.id)?;
        output::text(&format!("{}: good", set.id))?;
    }
    Ok(0)
}
