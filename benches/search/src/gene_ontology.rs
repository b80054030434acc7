//! The Gene Ontology as a test of search: a term's name and definition are a document, its exact synonyms are queries whose right answer is
//! known.

use std::collections::{BTreeMap, BTreeSet};

use crate::Result;

/// A live term.
pub(crate) struct Term {
    pub(crate) name: String,
    pub(crate) definition: String,
    /// Other names that mean exactly the same.
    pub(crate) synonyms: Vec<String>,
}

/// A query with its answer.
pub(crate) struct Known {
    /// Words, separated by spaces: every engine gets these.
    pub(crate) text: String,
    /// The term that has this synonym.
    pub(crate) term: usize,
}

/// Terms of an OBO file (format 1.2) that are not obsolete.
pub(crate) fn terms(obo: &str) -> Result<Vec<Term>> {
    let mut terms = Vec::new();
    for stanza in obo.split("\n[").skip(1).filter_map(|stanza| stanza.strip_prefix("Term]\n")) {
        let lines = || stanza.lines().filter_map(|line| line.split_once(": "));
        if lines().any(|(tag, value)| tag == "is_obsolete" && value == "true") {
            continue;
        }
        let one = |tag: &str| lines().find(|(found, _)| *found == tag).map(|(_, value)| value);
        let wrong = |what: &str| format!("gene-ontology: a term without {what}: {:?}", one("id"));
        let definition = one("def").and_then(quoted).ok_or_else(|| wrong("definition"))?.0;
        let synonyms = lines()
            .filter(|(tag, _)| *tag == "synonym")
            .filter_map(|(_, value)| quoted(value))
            .filter(|(_, rest)| rest.trim_start().starts_with("EXACT"))
            .map(|(text, _)| text)
            .collect();
        terms.push(Term { name: one("name").ok_or_else(|| wrong("name"))?.to_owned(), definition, synonyms });
    }
    Ok(terms)
}

/// A quoted text with its escapes resolved, and what follows it.
fn quoted(value: &str) -> Option<(String, &str)> {
    let rest = value.strip_prefix('"')?;
    let mut text = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((text, &rest[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => text.push('\n'),
                other => text.push(other),
            },
            c => text.push(c),
        }
    }
    None
}

/// Runs of letters and digits, in lower case.
pub(crate) fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

/// Exact synonyms that belong to one term, as queries: the hard ones, which share fewer than half of their words with the name and the
/// definition of their term, and the rest.
pub(crate) fn queries(terms: &[Term]) -> (Vec<Known>, Vec<Known>) {
    let mut owners: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (term, synonym) in terms.iter().enumerate().flat_map(|(i, t)| t.synonyms.iter().map(move |s| (i, s)))
    {
        owners.entry(words(synonym).join(" ")).or_default().insert(term);
    }
    let (mut hard, mut rest) = (Vec::new(), Vec::new());
    for (text, owner) in owners {
        let (Some(&term), 1, false) = (owner.first(), owner.len(), text.is_empty()) else { continue };
        let known: BTreeSet<String> =
            words(&terms[term].name).into_iter().chain(words(&terms[term].definition)).collect();
        let own: BTreeSet<&str> = text.split(' ').collect();
        let shared = own.iter().filter(|word| known.contains(**word)).count();
        let list = if 2 * shared < own.len() { &mut hard } else { &mut rest };
        list.push(Known { text, term });
    }
    (hard, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBO: &str = r#"format-version: 1.2

[Term]
id: GO:1
name: mitosis
def: "A cell \"divides\", twice." [PMID:1]
synonym: "karyokinesis" EXACT []
synonym: "division of a cell" EXACT []
synonym: "split" BROAD []

[Term]
id: GO:2
name: old
def: "x" []
is_obsolete: true

[Typedef]
id: part_of
name: part of
"#;

    #[test]
    fn live_terms_with_exact_synonyms() {
        let terms = terms(OBO).unwrap();
        assert_eq!(terms.len(), 1);
        assert_eq!(terms[0].definition, "A cell \"divides\", twice.");
        assert_eq!(terms[0].synonyms, ["karyokinesis", "division of a cell"]);
        let (hard, rest) = queries(&terms);
        let texts = |list: &[Known]| list.iter().map(|q| q.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&hard), ["karyokinesis"]);
        // Two of four words: not fewer than half.
        assert_eq!(texts(&rest), ["division of a cell"]);
    }
}
