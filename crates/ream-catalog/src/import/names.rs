//! Names of persons: as printed (`Ada Lovelace`), and in the parts that bibliographies keep apart.

/// A name in parts. Its printed form is given, family, suffix with spaces between.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NameParts {
    pub(crate) given: String,
    /// With what stands before it (`van der Waals`).
    pub(crate) family: String,
    /// `Jr.`, `III`.
    pub(crate) suffix: String,
}

/// Words that belong to the family name after them when written in lower case.
const PARTICLES: [&str; 27] = [
    "af", "al", "av", "bin", "da", "dal", "de", "del", "della", "den", "der", "di", "dos", "du", "el", "ibn",
    "la", "le", "ten", "ter", "van", "vande", "vom", "von", "zu", "zum", "zur",
];
const SUFFIXES: [&str; 7] = ["Jr", "Jr.", "Sr", "Sr.", "II", "III", "IV"];

impl NameParts {
    /// The printed name.
    pub(crate) fn printed(&self) -> String {
        let parts = [&self.given, &self.family, &self.suffix];
        parts
            .into_iter()
            .map(|part| part.trim())
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The parts of a printed name; nothing where it has only one word, a comma, or looks like a group of people.
    pub(crate) fn of(printed: &str) -> Option<Self> {
        if printed.contains([',', ';', '{', '}', '\\', '&', '"']) {
            return None;
        }
        let mut words: Vec<&str> = printed.split(' ').collect();
        let suffix = match words.last() {
            Some(last) if words.len() > 2 && SUFFIXES.contains(last) => words.pop().unwrap_or_default(),
            _ => "",
        };
        let mut start = words.len().checked_sub(1).filter(|&at| at > 0)?;
        while start > 1 && PARTICLES.contains(&words[start - 1]) {
            start -= 1;
        }
        let join = |words: &[&str]| words.join(" ");
        Some(Self { given: join(&words[..start]), family: join(&words[start..]), suffix: suffix.to_owned() })
    }

    /// The parts of `Family, Given` or `Family, Given, Suffix` (RIS); a name without a comma is as printed.
    pub(crate) fn inverted(text: &str) -> Self {
        let mut parts = text.split(',').map(str::trim);
        let family = parts.next().unwrap_or_default().to_owned();
        let given = parts.next().unwrap_or_default().to_owned();
        Self { given, family, suffix: parts.collect::<Vec<_>>().join(" ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_back() {
        let parts = |name| NameParts::of(name).map(|p| [p.given, p.family, p.suffix]);
        assert_eq!(
            parts("Johannes Diderik van der Waals").unwrap(),
            ["Johannes Diderik", "van der Waals", ""]
        );
        assert_eq!(parts("Martin Luther King Jr.").unwrap(), ["Martin Luther", "King", "Jr."]);
        assert_eq!(parts("van Dyk").unwrap(), ["van", "Dyk", ""]);
        for name in ["Plato", "Davis, Sammy", "A & B", "{OpenAI} Team"] {
            assert_eq!(parts(name), None);
        }
        assert_eq!(
            NameParts::inverted("Waals, Johannes van der, Jr.").printed(),
            "Johannes van der Waals Jr."
        );
        assert_eq!(NameParts::inverted("OpenAI").printed(), "OpenAI");
    }
}
