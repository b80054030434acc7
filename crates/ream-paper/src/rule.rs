//! Checks over measures, and how a claim combines them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::place::Filter;

/// One condition over measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Name within the claim.
    pub id: String,
    /// What is computed from the observations, paired by seed and place.
    pub quantity: Quantity,
    /// Keys of `at`: each group of equal values is tested on its own, and all must pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub for_each: Vec<String>,
    /// Which observations count.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, Filter>,
    /// How seeds become one figure.
    pub seeds: Seeds,
    /// How much of the margin of error must satisfy the test. `beyond = "point"` when neither is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond: Option<Margin>,
    /// The lenient form: one value within the margin is enough ("not lower beyond 1 standard error").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Margin>,
    /// The condition.
    pub test: Test,
    /// What "no effect" would be; decides on which side of it a failing check lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null: Option<f64>,
}

/// A measure observed for one arm, written `measure@arm` (`measure` alone where there is no arm).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// The measure's id.
    pub measure: String,
    /// The system or baseline that was measured; may be empty.
    pub arm: String,
}

impl FromStr for Term {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (measure, arm) = text.split_once('@').unwrap_or((text, ""));
        if measure.is_empty() || arm.contains('@') || text.ends_with('@') {
            return Err(format!("a term is written `measure@arm`; got `{text}`"));
        }
        Ok(Self { measure: measure.to_owned(), arm: arm.to_owned() })
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.measure)?;
        if self.arm.is_empty() { Ok(()) } else { write!(f, "@{}", self.arm) }
    }
}

impl Serialize for Term {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What a check computes for one seed at one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// The observed value.
    Value(Term),
    /// First minus second.
    Difference([Term; 2]),
    /// First over second.
    Ratio([Term; 2]),
}

impl Quantity {
    /// The terms it reads, in order.
    #[must_use]
    pub fn terms(&self) -> Vec<&Term> {
        match self {
            Self::Value(term) => vec![term],
            Self::Difference(pair) | Self::Ratio(pair) => pair.iter().collect(),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(term) => write!(f, "{term}"),
            Self::Difference([a, b]) => write!(f, "{a} - {b}"),
            Self::Ratio([a, b]) => write!(f, "{a} / {b}"),
        }
    }
}

/// How seeds become one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seeds {
    /// Their mean.
    Mean,
    /// Their median.
    Median,
    /// The test must pass for every seed.
    Every,
    /// The measure is observed once in a run.
    Once,
}

/// The margin of error of a check's figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Margin {
    /// The figure itself.
    Point,
    /// This many standard errors on either side.
    Se(f64),
    /// The two-sided interval of this level.
    Interval(f64),
}

impl Margin {
    fn from_value(value: &toml::Value) -> Result<Self, String> {
        let wanted = "a margin is \"point\", { se = 1 } or { interval = 0.95 }";
        match value {
            toml::Value::String(text) if text == "point" => Ok(Self::Point),
            toml::Value::Table(table) if table.len() == 1 => {
                let number = |v: &toml::Value| v.as_float().or_else(|| v.as_integer().map(|i| i as f64));
                if let Some(k) = table.get("se").and_then(number).filter(|k| *k > 0.0 && k.is_finite()) {
                    return Ok(Self::Se(k));
                }
                match table.get("interval").and_then(number) {
                    Some(level) if level > 0.0 && level < 1.0 => Ok(Self::Interval(level)),
                    _ => Err(format!("{wanted}, with se > 0 and 0 < interval < 1")),
                }
            }
            other => Err(format!("{wanted}; got {other}")),
        }
    }
}

impl<'de> Deserialize<'de> for Margin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(&toml::Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Margin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, value) = match self {
            Self::Point => return serializer.serialize_str("point"),
            Self::Se(k) => ("se", k),
            Self::Interval(level) => ("interval", level),
        };
        BTreeMap::from([(key, value)]).serialize(serializer)
    }
}

/// A condition on a figure: `< 0`, `>= 0.99`, `in [-0.01, 0.01]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Test {
    /// Smaller than.
    Less(f64),
    /// At most.
    AtMost(f64),
    /// Greater than.
    Greater(f64),
    /// At least.
    AtLeast(f64),
    /// Between the two, ends included.
    In(f64, f64),
}

impl Test {
    /// Whether `value` satisfies it.
    #[must_use]
    pub fn passes(self, value: f64) -> bool {
        match self {
            Self::Less(bound) => value < bound,
            Self::AtMost(bound) => value <= bound,
            Self::Greater(bound) => value > bound,
            Self::AtLeast(bound) => value >= bound,
            Self::In(low, high) => (low..=high).contains(&value),
        }
    }

    /// Whether every value of `[low, high]` satisfies it.
    #[must_use]
    pub fn passes_all(self, low: f64, high: f64) -> bool {
        self.passes(low) && self.passes(high)
    }

    /// Whether some value of `[low, high]` satisfies it.
    #[must_use]
    pub fn passes_some(self, low: f64, high: f64) -> bool {
        match self {
            Self::Less(_) | Self::AtMost(_) => self.passes(low),
            Self::Greater(_) | Self::AtLeast(_) => self.passes(high),
            Self::In(from, to) => low <= to && high >= from,
        }
    }

    /// Whether `value` lies on the side of `null` towards which the test points. For a range: nearer to its middle
    /// than `null` is.
    #[must_use]
    pub fn right_side(self, value: f64, null: f64) -> bool {
        match self {
            Self::Less(_) | Self::AtMost(_) => value < null,
            Self::Greater(_) | Self::AtLeast(_) => value > null,
            Self::In(low, high) => {
                let middle = f64::midpoint(low, high);
                (value - middle).abs() < (null - middle).abs()
            }
        }
    }
}

impl FromStr for Test {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || {
            format!("a test is written `< 0`, `<= 0.01`, `> 0`, `>= 0.99` or `in [0.92, 0.98]`; got `{text}`")
        };
        let number =
            |part: &str| part.trim().parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(wanted);
        let trimmed = text.trim();
        if let Some(range) = trimmed.strip_prefix("in") {
            let inner =
                range.trim().strip_prefix('[').and_then(|r| r.strip_suffix(']')).ok_or_else(wanted)?;
            let (low, high) = inner.split_once(',').ok_or_else(wanted)?;
            let (low, high) = (number(low)?, number(high)?);
            return if low <= high { Ok(Self::In(low, high)) } else { Err(wanted()) };
        }
        if let Some(rest) = trimmed.strip_prefix("<=") {
            return number(rest).map(Self::AtMost);
        }
        if let Some(rest) = trimmed.strip_prefix(">=") {
            return number(rest).map(Self::AtLeast);
        }
        if let Some(rest) = trimmed.strip_prefix('<') {
            return number(rest).map(Self::Less);
        }
        trimmed.strip_prefix('>').ok_or_else(wanted).and_then(number).map(Self::Greater)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Less(bound) => write!(f, "< {bound}"),
            Self::AtMost(bound) => write!(f, "<= {bound}"),
            Self::Greater(bound) => write!(f, "> {bound}"),
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::In(low, high) => write!(f, "in [{low}, {high}]"),
        }
    }
}

impl Serialize for Test {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Test {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// How a claim's checks decide it.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// The paper states no threshold: figures are shown, no verdict is given.
    ReportOnly,
    /// This check.
    Check(String),
    /// Every part.
    All(Vec<Self>),
    /// One part or more.
    Any(Vec<Self>),
    /// At least this many of the parts.
    AtLeast(usize, Vec<Self>),
    /// At least this many of the groups that one check's `for_each` makes.
    AtLeastPlaces(usize, String),
}

impl Rule {
    /// Ids of the checks it names, in order of first mention.
    #[must_use]
    pub fn checks(&self) -> Vec<&str> {
        let mut ids = Vec::new();
        self.collect(&mut ids);
        ids
    }

    fn collect<'a>(&'a self, ids: &mut Vec<&'a str>) {
        match self {
            Self::ReportOnly => {}
            Self::Check(id) | Self::AtLeastPlaces(_, id) => {
                if !ids.contains(&id.as_str()) {
                    ids.push(id);
                }
            }
            Self::All(parts) | Self::Any(parts) | Self::AtLeast(_, parts) => {
                parts.iter().for_each(|part| part.collect(ids));
            }
        }
    }

    fn from_value(value: &toml::Value) -> Result<Self, String> {
        let wanted = "a rule is a check's id, \"report-only\", { all = [...] }, { any = [...] } or { at_least = 2, of = ... }";
        let list = |value: &toml::Value| -> Result<Vec<Self>, String> {
            let items = value.as_array().ok_or_else(|| format!("{wanted}; the parts are a list"))?;
            if items.is_empty() {
                return Err(format!("{wanted}; the list of parts is empty"));
            }
            items.iter().map(Self::from_value).collect()
        };
        match value {
            toml::Value::String(text) if text == "report-only" => Ok(Self::ReportOnly),
            toml::Value::String(text) => Ok(Self::Check(text.clone())),
            toml::Value::Table(table) => {
                let keys: Vec<&str> = table.keys().map(String::as_str).collect();
                match keys.as_slice() {
                    ["all"] => list(&table["all"]).map(Self::All),
                    ["any"] => list(&table["any"]).map(Self::Any),
                    ["at_least", "of"] | ["of", "at_least"] => {
                        let n = table["at_least"]
                            .as_integer()
                            .and_then(|n| usize::try_from(n).ok())
                            .filter(|n| *n > 0)
                            .ok_or_else(|| "`at_least` is a whole number from 1".to_owned())?;
                        if let Some(id) = table["of"].as_str() {
                            return Ok(Self::AtLeastPlaces(n, id.to_owned()));
                        }
                        let parts = list(&table["of"])?;
                        if n > parts.len() {
                            return Err(format!("`at_least = {n}` of {} parts can never hold", parts.len()));
                        }
                        Ok(Self::AtLeast(n, parts))
                    }
                    _ => Err(format!("{wanted}; got the keys {}", keys.join(", "))),
                }
            }
            other => Err(format!("{wanted}; got {other}")),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |parts: &[Self], word: &str| parts.iter().map(Self::nested).collect::<Vec<_>>().join(word);
        match self {
            Self::ReportOnly => f.write_str("report only"),
            Self::Check(id) => f.write_str(id),
            Self::All(parts) => f.write_str(&join(parts, " and ")),
            Self::Any(parts) => f.write_str(&join(parts, " or ")),
            Self::AtLeast(n, parts) => write!(f, "at least {n} of ({})", join(parts, ", ")),
            Self::AtLeastPlaces(n, id) => write!(f, "{id} in at least {n} places"),
        }
    }
}

impl Rule {
    fn nested(&self) -> String {
        match self {
            Self::All(_) | Self::Any(_) => format!("({self})"),
            _ => self.to_string(),
        }
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(&toml::Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        match self {
            Self::ReportOnly => serializer.serialize_str("report-only"),
            Self::Check(id) => serializer.serialize_str(id),
            Self::All(parts) => BTreeMap::from([("all", parts)]).serialize(serializer),
            Self::Any(parts) => BTreeMap::from([("any", parts)]).serialize(serializer),
            Self::AtLeast(n, parts) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("at_least", n)?;
                map.serialize_entry("of", parts)?;
                map.end()
            }
            Self::AtLeastPlaces(n, id) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("at_least", n)?;
                map.serialize_entry("of", id)?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_read_write_and_decide() {
        for text in ["< 0", "<= 0.01", "> -1", ">= 0.99", "in [-0.01, 0.01]"] {
            assert_eq!(text.parse::<Test>().unwrap().to_string(), text);
        }
        for text in ["", "0", "= 0", "< x", "in 0, 1", "in [1, 0]", "< NaN", "in [0]"] {
            assert!(text.parse::<Test>().is_err(), "{text}");
        }
        let test = Test::Less(0.0);
        assert!(test.passes_all(-2.0, -1.0) && !test.passes_all(-2.0, 1.0));
        assert!(test.passes_some(-2.0, 1.0) && !test.passes_some(0.0, 1.0));
        assert!(Test::In(0.0, 1.0).passes_some(-1.0, 2.0) && !Test::In(0.0, 1.0).passes_some(1.5, 2.0));
        assert!(Test::AtMost(0.5).right_side(0.8, 1.0) && !Test::AtMost(0.5).right_side(1.2, 1.0));
        assert!(Test::In(0.9, 1.1).right_side(0.8, 0.0) && !Test::In(0.9, 1.1).right_side(0.8, 0.9));
    }

    #[test]
    fn terms_read_and_write() {
        assert_eq!("loss@gd".parse::<Term>().unwrap().to_string(), "loss@gd");
        assert_eq!("loss".parse::<Term>().unwrap().arm, "");
        assert!(
            "@gd".parse::<Term>().is_err()
                && "loss@".parse::<Term>().is_err()
                && "a@b@c".parse::<Term>().is_err()
        );
    }
}
