//! Concepts, instructions and neutral text for the real language model.

use std::collections::BTreeSet;
use std::sync::Arc;

use ream_data::vader::Vader;

use super::scoring::{Concept, words};

/// Plain everyday instructions, none of which is about a concept.
pub const INSTRUCTIONS: [&str; 40] = [
    "How do I make a cup of tea?",
    "Describe a good breakfast.",
    "How do I clean a window?",
    "What is a bicycle for?",
    "Tell me about the city of Paris.",
    "How do I plant a tree?",
    "What does a teacher do?",
    "Describe a winter morning.",
    "How do I bake bread?",
    "What is a library?",
    "Tell me about dogs.",
    "How do I write a letter?",
    "Describe a busy market.",
    "What is the use of a clock?",
    "How do I paint a wall?",
    "Tell me about the moon.",
    "What does a doctor do?",
    "How do I cook rice?",
    "Describe an old house.",
    "What is a computer?",
    "How do I learn a language?",
    "Tell me about apples.",
    "What is a garden for?",
    "How do I fold a shirt?",
    "Describe a train station.",
    "What does a farmer do?",
    "How do I make a sandwich?",
    "Tell me about music.",
    "What is a museum?",
    "How do I repair a chair?",
    "Describe a quiet evening.",
    "What is money for?",
    "How do I read a map?",
    "Tell me about horses.",
    "What does a baker do?",
    "How do I keep a room tidy?",
    "Describe a mountain village.",
    "What is a newspaper?",
    "How do I choose a book?",
    "Tell me about bees.",
];

/// Words of instructions that an answer need not take up.
const COMMON: &str = "how do i make a of for what is the tell me about does describe an use good keep do";

/// Neutral text, on which steering should cost nothing.
pub const NEUTRAL: [&str; 6] = [
    "The committee met on Tuesday to look at the plans for the new road. Two members asked for a longer report, and the chair agreed to send one by the end of the month.",
    "A triangle has three sides and three angles. The angles add up to one hundred and eighty degrees, whatever the lengths of the sides are.",
    "The printer is on the second floor, next to the stairs. Paper is kept in the cupboard below it, and used cartridges go into the grey box.",
    "Iron is a metal with the symbol Fe. It is found in many rocks, and people have made tools from it for about three thousand years.",
    "The bus leaves at ten past eight and stops at the school, the post office and the town hall. Tickets are sold by the driver.",
    "Most keyboards have their letters in the same order, which was chosen for the first typewriters. Other orders exist, but few people use them.",
];

const PIRATE: &str = "ahoy arr arrr arrrr aye avast matey mateys hearties ye yer landlubber landlubbers booty treasure pirate pirates captain cap'n sail sails sailing ship ships crew seas buccaneer plunder scallywag shiver timbers rum deck anchor parrot cutlass swashbuckler swashbuckling doubloon doubloons";

const SEA: &str = "sea seas water waters ocean oceans wave waves tide tides shore shores beach beaches coast coastal river rivers lake lakes marine underwater";

/// A concept that an instruction asks for.
pub struct Wish {
    /// Its name in observations.
    pub name: &'static str,
    /// Its name for readers.
    pub title: &'static str,
    /// What is written behind an instruction to ask for it.
    pub instruction: &'static str,
    /// How much an answer shows of it.
    pub concept: Concept,
}

/// Score from which an answer shows its concept.
pub const SHOWN: f64 = 0.5;

fn set(list: &str) -> BTreeSet<String> {
    list.split(' ').map(str::to_owned).collect()
}

/// The three concepts.
#[must_use]
pub fn wishes(vader: &Arc<Vader>) -> [Wish; 3] {
    [
        Wish {
            name: "pirate",
            title: "SmolLM2, in the style of a pirate",
            instruction: "Answer in the style of a pirate, with the words of a pirate.",
            concept: Concept::Words(set(PIRATE)),
        },
        Wish {
            name: "sea",
            title: "SmolLM2, mentions the sea",
            instruction: "Tell it as a story by the sea.",
            concept: Concept::Words(set(SEA)),
        },
        Wish {
            name: "pleasant",
            title: "SmolLM2, positive sentiment",
            instruction: "Answer in a very happy way, full of joy and love.",
            concept: Concept::Pleasant(Arc::clone(vader)),
        },
    ]
}

/// The content words of an instruction, one item each; a plural or a form with -s or -ing counts as the word.
#[must_use]
pub fn content(instruction: &str) -> Vec<Vec<String>> {
    let common = set(COMMON);
    words(instruction)
        .filter(|word| !common.contains(word))
        .map(|word| {
            let stem = word.strip_suffix('s').unwrap_or(&word).to_owned();
            let short = stem.strip_suffix('e').unwrap_or(&stem).to_owned();
            let mut forms: BTreeSet<String> =
                [format!("{stem}s"), format!("{short}ing"), format!("{stem}es"), stem].into_iter().collect();
            forms.insert(word);
            forms.into_iter().collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise repeating the question would show the concept.
    #[test]
    fn instructions_and_neutral_text_are_about_no_concept() {
        let lists: BTreeSet<String> = set(PIRATE).union(&set(SEA)).cloned().collect();
        for text in INSTRUCTIONS.iter().chain(&NEUTRAL) {
            let found: Vec<String> = words(text).filter(|w| lists.contains(w)).collect();
            assert!(found.is_empty(), "{text}: {found:?}");
        }
        let distinct: BTreeSet<&str> = INSTRUCTIONS.into_iter().collect();
        assert_eq!(distinct.len(), 40);
        assert!(INSTRUCTIONS.iter().all(|i| !content(i).is_empty()));
    }

    #[test]
    fn content_words_are_found_in_their_forms() {
        let wanted = content("How do I make a cup of tea?");
        assert_eq!(wanted.len(), 2);
        assert_eq!(super::super::scoring::covered("Teas are made in cups.", &wanted), 1.0);
        let wanted = content("How do I bake bread?");
        assert_eq!(super::super::scoring::covered("Baking bread is easy", &wanted), 1.0);
    }
}
