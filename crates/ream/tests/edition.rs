//! The edition: 56 papers, nothing missing, list of systems and folders in step.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ream_paper::{Family, Paper, Scale};

fn papers_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../papers")
}

/// Every `paper.toml` with its family's folder and its module's.
#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn all() -> Vec<(String, String, Paper)> {
    let mut papers = Vec::new();
    for family in Family::ALL {
        let src = papers_folder().join(family.name()).join("src");
        for entry in std::fs::read_dir(src).unwrap() {
            let folder = entry.unwrap().path();
            let file = folder.join("paper.toml");
            if file.is_file() {
                let module = folder.file_name().unwrap().to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&file).unwrap();
                let name = format!("{}/{module}/paper.toml", family.name());
                let paper = Paper::parse(&name, &text).unwrap_or_else(|e| panic!("{e}"));
                papers.push((family.name().to_owned(), module, paper));
            }
        }
    }
    papers.sort_by_key(|(.., paper)| paper.number);
    papers
}

#[test]
fn there_are_56_papers_with_numbers_1_to_56() {
    let numbers: Vec<u32> = all().iter().map(|(.., paper)| paper.number).collect();
    assert_eq!(numbers, (1..=56).collect::<Vec<u32>>());
    let slugs: BTreeSet<String> = all().into_iter().map(|(.., paper)| paper.slug).collect();
    assert_eq!(slugs.len(), 56);
}

#[test]
fn every_paper_is_complete() {
    for (family, module, paper) in all() {
        let name = &paper.slug;
        assert_eq!(paper.family.name(), family, "{name}: family is its crate");
        assert_eq!(paper.module(), module, "{name}: module is its folder");
        assert!(paper.claims.len() >= 3, "{name}: {} claims", paper.claims.len());
        assert!(paper.summary.split_whitespace().count() >= 40, "{name}: the summary is a paragraph");
        assert!(!paper.line.trim_end().contains('\n'), "{name}: the line is one line");
        assert!(
            !paper.links.is_empty() || paper.arxiv.is_none(),
            "{name}: an arXiv number comes with its link"
        );
        assert_eq!(paper.claims[0].id, "c1", "{name}");
        let reduced = paper.claims.iter().any(|c| c.scale == Scale::Reduced);
        assert!(!reduced || !paper.deviations.is_empty(), "{name}: a reduced experiment says how it differs");
    }
}

/// A paper with a system has all its rules as checks; one without has none yet.
#[test]
fn checks_come_with_systems() {
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_ream")).args(["papers", "--json"]).output().unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let implemented: BTreeSet<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["implemented"] == true)
        .map(|row| row["slug"].as_str().unwrap())
        .collect();
    assert_eq!(rows.as_array().unwrap().len(), 56);
    for (.., paper) in all() {
        let has_system = implemented.contains(paper.slug.as_str());
        for claim in &paper.claims {
            if has_system {
                assert!(claim.holds.is_some(), "{} {}: has a system but no checks", paper.slug, claim.id);
            } else {
                assert!(claim.checks.is_empty(), "{} {}: has checks but no system", paper.slug, claim.id);
            }
        }
        let module =
            papers_folder().join(paper.family.name()).join("src").join(paper.module()).join("mod.rs");
        assert_eq!(
            module.is_file(),
            has_system,
            "{}: a module that is not listed, or a system without one",
            paper.slug
        );
    }
}
