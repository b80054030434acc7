//! Which words of a text a query found: marked titles, and the part of an abstract that says most.

use std::collections::BTreeSet;

use super::analysis::{folded, stemmed, words};
use super::query::{Form, Node};

/// A text in pieces; `true` marks what the query found. Never HTML.
pub type Highlighted = Vec<(String, bool)>;

/// Length of a snippet, bytes.
const SNIPPET: usize = 260;
/// Words before the first mark of a snippet.
const LEAD: usize = 6;

/// Words that carry no subject; they are marked only where the query has no others.
const FUNCTION_WORDS: [&str; 32] = [
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "for", "from", "has", "have", "in", "is", "it",
    "its", "not", "of", "on", "or", "our", "that", "the", "their", "this", "to", "via", "we", "which",
    "with", "without",
];

/// Whether a folded word carries a subject.
pub(crate) fn is_content(word: &str) -> bool {
    !FUNCTION_WORDS.contains(&word)
}

/// The words that a query looks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Marks {
    stems: BTreeSet<String>,
    words: BTreeSet<String>,
    prefixes: BTreeSet<String>,
}

struct Spot {
    from: usize,
    to: usize,
    /// The stem, where the word is marked.
    mark: Option<String>,
}

impl Marks {
    /// The words of a query that are not negated.
    pub(crate) fn of(node: &Node) -> Self {
        let mut all = Self::default();
        all.collect(node);
        let content = |set: &BTreeSet<String>| set.iter().any(|word| is_content(word));
        if content(&all.words) || !all.prefixes.is_empty() {
            all.words.retain(|word| is_content(word));
            all.stems.retain(|stem| is_content(stem));
        }
        all
    }

    fn collect(&mut self, node: &Node) {
        match node {
            Node::Text { text, form, .. } => {
                let mut plain = words(&mut folded(), text);
                if *form == Form::Prefix {
                    self.prefixes.extend(plain.pop().map(|token| token.text));
                }
                let stems = words(&mut stemmed(), text);
                self.stems.extend(stems.into_iter().take(plain.len()).map(|token| token.text));
                self.words.extend(plain.into_iter().map(|token| token.text));
            }
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|node| self.collect(node)),
            _ => {}
        }
    }

    fn spots(&self, text: &str) -> Vec<Spot> {
        let plain = words(&mut folded(), text);
        let stems = words(&mut stemmed(), text);
        plain
            .into_iter()
            .zip(stems)
            .map(|(word, stem)| {
                let marked = self.words.contains(&word.text)
                    || self.stems.contains(&stem.text)
                    || self.prefixes.iter().any(|prefix| word.text.starts_with(prefix.as_str()));
                Spot { from: word.offset_from, to: word.offset_to, mark: marked.then_some(stem.text) }
            })
            .collect()
    }

    /// Whether the text has one of the words.
    pub(crate) fn touch(&self, text: &str) -> bool {
        self.spots(text).iter().any(|spot| spot.mark.is_some())
    }

    /// The whole text, with its marks.
    pub(crate) fn whole(&self, text: &str) -> Highlighted {
        pieces(text, &self.spots(text), 0, text.len())
    }

    /// The part of the text with most different marks, of about 260 bytes; its beginning where there are none.
    pub(crate) fn snippet(&self, text: &str) -> Highlighted {
        let spots = self.spots(text);
        if text.len() <= SNIPPET || spots.is_empty() {
            return pieces(text, &spots, 0, text.len().min(text.floor_char_boundary(SNIPPET)));
        }
        let first = best_window(&spots).saturating_sub(LEAD);
        let from = if first == 0 { 0 } else { spots[first].from };
        let last = spots[first..].iter().take_while(|spot| spot.to - from <= SNIPPET).count() + first;
        let to = if last == spots.len() {
            text.len().min(text.floor_char_boundary(from + SNIPPET + 40))
        } else {
            spots[last - usize::from(last > first)].to
        };
        let mut found = pieces(text, &spots, from, to);
        if from > 0 {
            found.insert(0, ("… ".into(), false));
        }
        if to < text.len() {
            found.push((" …".into(), false));
        }
        merge(found)
    }
}

/// The marked word at which the best window begins; 0 where nothing is marked.
fn best_window(spots: &[Spot]) -> usize {
    let marked: Vec<usize> = (0..spots.len()).filter(|i| spots[*i].mark.is_some()).collect();
    let mut best = (0, 0, 0);
    for &start in &marked {
        let inside =
            marked.iter().filter(|i| **i >= start && spots[**i].to - spots[start].from <= SNIPPET * 3 / 4);
        let different: BTreeSet<_> = inside.clone().filter_map(|i| spots[*i].mark.as_ref()).collect();
        let (kinds, count) = (different.len(), inside.count());
        if (kinds, count) > (best.0, best.1) {
            best = (kinds, count, start);
        }
    }
    best.2
}

fn pieces(text: &str, spots: &[Spot], from: usize, to: usize) -> Highlighted {
    let mut found = Highlighted::new();
    let mut at = from;
    for spot in spots.iter().filter(|spot| spot.mark.is_some() && spot.from >= from && spot.to <= to) {
        found.push((text[at..spot.from].to_owned(), false));
        found.push((text[spot.from..spot.to].to_owned(), true));
        at = spot.to;
    }
    found.push((text[at..to].to_owned(), false));
    merge(found)
}

/// No empty pieces, no two of a kind in a row.
fn merge(all: Highlighted) -> Highlighted {
    let mut found: Highlighted = Vec::with_capacity(all.len());
    for (text, marked) in all.into_iter().filter(|(text, _)| !text.is_empty()) {
        match found.last_mut() {
            Some((last, kind)) if *kind == marked => last.push_str(&text),
            _ => found.push((text, marked)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::query::parse;
    use super::*;

    fn marks(query: &str) -> Marks {
        Marks::of(&parse(query).unwrap())
    }

    fn shown(found: &Highlighted) -> String {
        found.iter().map(|(text, marked)| if *marked { format!("[{text}]") } else { text.clone() }).collect()
    }

    #[test]
    fn marks_every_form_and_nothing_negated() {
        let found =
            marks("transformer \"the café\" deco* -loss").whole("The Transformers: decoding a CAFÉ loss");
        assert_eq!(shown(&found), "The [Transformers]: [decoding] a [CAFÉ] loss");
        assert_eq!(shown(&marks("the").whole("On the road")), "On [the] road");
    }

    #[test]
    fn a_snippet_is_the_part_with_most_marks() {
        let filler = "lorem ipsum dolor sit amet ".repeat(20);
        let text = format!("tree {filler} a tree of speculative drafts {filler}");
        let found = shown(&marks("speculative tree draft").snippet(&text));
        assert!(found.starts_with("… ") && found.ends_with(" …"), "{found}");
        assert!(found.contains("[tree] of [speculative] [drafts]"), "{found}");
        assert!(found.len() < SNIPPET + 60, "{found}");
        assert!(shown(&marks("absent").snippet(&text)).starts_with("tree lorem"));
    }

    proptest! {
        #[test]
        fn pieces_are_the_text(text in "\\PC{0,400}", query in "[a-z]{1,3}\\*?") {
            let whole: String = marks(&query).whole(&text).into_iter().map(|(piece, _)| piece).collect();
            prop_assert_eq!(whole, text.clone());
            let part: String = marks(&query).snippet(&text).into_iter().map(|(piece, _)| piece).collect();
            let part = part.trim_start_matches("… ").trim_end_matches(" …");
            prop_assert!(text.contains(part));
        }
    }
}
