//! The papers that ship with the program.

use std::collections::{BTreeMap, BTreeSet};

use crate::edition::EditionPaper;
use crate::error::{Error, Result};
use crate::store::identity::Identity;
use crate::store::merge::Counts;
use crate::store::sql::{self, Sql, Value};
use crate::store::write::{Batch, Write};
use crate::store::{Source, Store, read};

impl Store {
    /// Makes the edition this one: each paper joins the stored one that it is (arXiv number, else normalised title, else
    /// the short name it already had), gets its short name as handle, and keeps its title and abstract from here. A paper
    /// of an earlier edition that is gone loses its facts and stays as a paper. Doing it twice is doing it once.
    ///
    /// # Errors
    /// Two papers of one short name, or two that are the same paper; the database refuses.
    pub async fn set_edition(&self, papers: &[EditionPaper]) -> Result<()> {
        let mut slugs = BTreeSet::new();
        if let Some(twice) = papers.iter().find(|paper| !slugs.insert(paper.facts.slug.as_str())) {
            return Err(Error::Edition(format!("two papers are called `{}`", twice.facts.slug)));
        }
        let mut write = self.begin().await?;
        let identities: Vec<Identity> = papers.iter().map(|paper| Identity::of(&paper.record)).collect();
        let mut batch = Batch::load(&mut write.transaction, &identities).await?;
        hold_named(&mut write, &mut batch, &slugs).await?;
        let mut joined: BTreeMap<i64, &str> = BTreeMap::new();
        for (paper, identity) in papers.iter().zip(&identities) {
            let slug = paper.facts.slug.as_str();
            let id = join(&mut write, &mut batch, paper, identity, &joined);
            if let Some(other) = joined.insert(id, slug) {
                return Err(Error::Edition(format!(
                    "`{other}` and `{slug}` are the same paper by arXiv number or title"
                )));
            }
        }
        for (id, held) in &mut batch.papers {
            if held.stored.edition.is_some() && !joined.contains_key(id) {
                held.stored.edition = None;
                held.dirty = true;
            }
        }
        give_handles(&mut write, &mut batch, &joined).await?;
        write.flush(batch).await?;
        write.commit().await
    }
}

/// Reads the papers of the present edition, and those that are called like a paper of the new one.
async fn hold_named(write: &mut Write<'_>, batch: &mut Batch, slugs: &BTreeSet<&str>) -> Result<()> {
    let select = |condition: &str| format!("SELECT {} FROM papers p WHERE {condition}", read::COLUMNS);
    let mut rows = Sql::new(&select("p.slug IS NOT NULL")).rows(&mut write.transaction).await?;
    let names: Vec<Value> = slugs.iter().map(|&slug| slug.into()).collect();
    rows.extend(sql::select_in(&mut write.transaction, &select("p.handle IN"), &names, "").await?);
    for row in &rows {
        batch.hold(read::stored(row)?);
    }
    Ok(())
}

/// Adds a paper of the edition to its stored paper.
fn join(
    write: &mut Write<'_>,
    batch: &mut Batch,
    paper: &EditionPaper,
    identity: &Identity,
    joined: &BTreeMap<i64, &str>,
) -> i64 {
    let source = Source { kind: "edition".to_owned(), name: "ream".to_owned() };
    let same_slug = || {
        let held = |id: &i64, held: &crate::store::write::Held| {
            let other = Identity::of(&held.stored.record).arxiv;
            held.stored.edition.as_ref().is_some_and(|e| e.slug == paper.facts.slug)
                && (other.is_none() || identity.arxiv.is_none() || other == identity.arxiv)
                && !joined.contains_key(id)
        };
        batch.papers.iter().find(|(id, paper)| held(id, paper)).map(|(&id, _)| id)
    };
    let found = batch.find(identity).or_else(same_slug);
    let id = write.merge(batch, found, &paper.record, identity, &source, Counts::Fill).0;
    if let Some(held) = batch.papers.get_mut(&id) {
        let before = held.stored.clone();
        held.stored.record.title.clone_from(&paper.record.title);
        if paper.record.summary.is_some() {
            held.stored.record.summary.clone_from(&paper.record.summary);
        }
        held.stored.edition = Some(paper.facts.clone());
        held.dirty |= before != held.stored;
    }
    id
}

/// Short names become handles. Whoever else had one as its handle goes back to its own; this and the column of short names
/// are freed first, since each is unique at every moment.
async fn give_handles(write: &mut Write<'_>, batch: &mut Batch, joined: &BTreeMap<i64, &str>) -> Result<()> {
    let owner: BTreeMap<&str, i64> = joined.iter().map(|(&id, &slug)| (slug, id)).collect();
    let in_the_way: Vec<i64> = batch
        .papers
        .iter()
        .filter(|(id, held)| owner.get(held.stored.handle.as_str()).is_some_and(|owner| owner != *id))
        .map(|(&id, _)| id)
        .collect();
    for id in in_the_way {
        if let Some(held) = batch.papers.get_mut(&id) {
            held.stored.handle = Identity::of(&held.stored.record).handle();
            held.dirty = true;
            let mut sql = Sql::new("UPDATE papers SET handle = ");
            sql.arg(held.stored.handle.as_str()).push(" WHERE id = ").arg(id);
            sql.run(&mut write.transaction).await?;
        }
    }
    for (&id, slug) in joined {
        batch.rename(id, slug);
    }
    let dirty: Vec<Value> =
        batch.papers.iter().filter(|(_, held)| held.dirty).map(|(&id, _)| id.into()).collect();
    sql::run_in(&mut write.transaction, "UPDATE papers SET slug = NULL WHERE id IN", &dirty).await
}
