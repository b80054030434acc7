//! What someone typed into the form of a run, as it comes over the network.

use std::collections::BTreeMap;
use std::path::Path;

use axum::extract::Multipart;
use axum::extract::multipart::MultipartError;
use ream_lab::keys::{Group, Key, Kind};
use ream_lab::{Preset, RunRecord, Runs};

use super::uploads::{self, Upload};
use crate::error::{Error, Result};

/// Longest text of one field, bytes.
const LONGEST: usize = 64 * 1024;
/// Fields of a form.
const MOST_FIELDS: usize = 1000;

/// What someone typed. Absent keys of the configuration stand for the preset's values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Typed {
    pub(super) preset: Preset,
    pub(super) seeds: String,
    pub(super) claims: Vec<String>,
    /// Time limit, minutes.
    pub(super) minutes: String,
    /// By key of the configuration.
    pub(super) values: BTreeMap<String, String>,
    pub(super) upload: Option<Upload>,
    /// Whether to start, or only to look.
    pub(super) start: bool,
}

/// `smoke`, `full`, `long`.
pub(super) fn preset(word: &str) -> Result<Preset> {
    [Preset::Smoke, Preset::Full, Preset::Long].into_iter().find(|p| p.name() == word).ok_or_else(|| {
        Error::bad_request(
            "bad_input",
            format!("There is no preset `{word}`; they are smoke, full and long."),
        )
    })
}

impl Typed {
    /// The same configuration, seeds and claims as a run that was made.
    pub(super) fn like(record: &RunRecord, groups: &[Group]) -> Self {
        let keys = groups.iter().flat_map(|group| &group.keys);
        Self {
            preset: record.preset,
            seeds: match record.seeds.as_slice() {
                seeds if seeds.iter().copied().eq(1..=seeds.len() as u64) => seeds.len().to_string(),
                seeds => seeds.iter().map(|seed| format!("{seed},")).collect(),
            },
            claims: record.claims.clone(),
            values: keys.map(|key| (key.name.clone(), key.value.clone())).collect(),
            ..Self::default()
        }
    }

    /// Reads a form; a file is taken in as it comes.
    pub(super) async fn read(home: &Path, runs: &Runs, mut form: Multipart, most: u64) -> Result<Self> {
        let mut typed = Self::default();
        let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut fields = 0;
        let mut leave_out = false;
        while let Some(field) = form.next_field().await.map_err(|e| broken(&e))? {
            fields += 1;
            if fields > MOST_FIELDS {
                return Err(Error::bad_request(
                    "bad_input",
                    format!("A form has at most {MOST_FIELDS} fields."),
                ));
            }
            let name = field.name().unwrap_or_default().to_owned();
            if name == "file" {
                typed.upload = uploads::take(home, runs, field, most).await?.or(typed.upload);
                continue;
            }
            let text = field.text().await.map_err(|e| broken(&e))?;
            if text.len() > LONGEST {
                return Err(Error::bad_request("bad_input", format!("{name}: at most {LONGEST} bytes.")));
            }
            match name.as_str() {
                "preset" => typed.preset = preset(&text)?,
                "seeds" => text.trim().clone_into(&mut typed.seeds),
                "minutes" => text.trim().clone_into(&mut typed.minutes),
                "claim" => typed.claims.push(text),
                // What was uploaded with this very form goes before what it carried on.
                "upload" if typed.upload.is_none() && !leave_out => {
                    typed.upload = Some(uploads::find(home, &text)?);
                }
                // Stands before the file that it is about.
                "no_upload" => leave_out = true,
                "action" => typed.start = text == "start",
                _ => {
                    if let Some(key) = name.strip_prefix("set.") {
                        typed.values.insert(key.to_owned(), text.trim().to_owned());
                    } else if let Some(key) = name.strip_prefix("list.") {
                        lists
                            .entry(key.to_owned())
                            .or_default()
                            .extend(Some(text).filter(|word| !word.is_empty()));
                    }
                }
            }
        }
        typed.values.extend(lists.into_iter().map(|(key, words)| (key, list(&words))));
        Ok(typed)
    }

    /// What is typed for a key, if it is not what the preset has.
    pub(super) fn changed(&self, key: &Key) -> Option<&str> {
        let typed = self.values.get(&key.name)?;
        // An empty field of a key that may be absent means that it is.
        let typed = if typed.is_empty() && key.optional { "null" } else { typed };
        let same = match key.kind {
            Kind::Several(_) => words(typed) == words(&key.value),
            _ => typed == key.value,
        };
        (!same).then_some(typed)
    }
}

fn broken(error: &MultipartError) -> Error {
    Error::new(error.status(), "bad_form", format!("The form broke off: {}", error.body_text()))
}

/// Words as a TOML list.
fn list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| toml_text(word)).collect();
    format!("[{}]", quoted.join(", "))
}

fn toml_text(word: &str) -> String {
    serde_json::to_string(word).unwrap_or_default()
}

/// The words of a TOML list of words.
pub(super) fn words(list: &str) -> Vec<String> {
    serde_json::from_str(list).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_a_change() {
        let key = |kind, optional, value: &str| Key {
            name: "k".into(),
            help: String::new(),
            kind,
            optional,
            value: value.into(),
        };
        let typed = |text: &str| Typed {
            values: BTreeMap::from([("k".to_owned(), text.to_owned())]),
            ..Typed::default()
        };
        assert_eq!(typed("3").changed(&key(Kind::Toml, false, "3")), None);
        assert_eq!(typed("4").changed(&key(Kind::Toml, false, "3")), Some("4"));
        assert_eq!(typed("").changed(&key(Kind::Toml, true, "null")), None);
        assert_eq!(typed("").changed(&key(Kind::Toml, true, "3")), Some("null"));
        assert_eq!(typed("").changed(&key(Kind::Text, false, "x")), Some(""));
        let several = key(Kind::Several(vec!["a".into(), "b".into()]), false, r#"["a", "b"]"#);
        assert_eq!(typed(r#"["a","b"]"#).changed(&several), None);
        assert_eq!(typed(&list(&["a".into()])).changed(&several), Some(r#"["a"]"#));
        assert_eq!(Typed::default().changed(&several), None);
    }
}
