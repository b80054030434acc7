//! Where an observation was made: `{ environment = "german", alpha = 0.5 }`.

use std::cmp::Ordering;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One value of an observation's `at`: a number or a word.
#[derive(Clone, Debug)]
pub enum Place {
    /// A number, finite.
    Number(f64),
    /// A word.
    Text(String),
}

impl From<f64> for Place {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for Place {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Place {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Place {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
        }
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(&toml::Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Place {
    fn from_value(value: &toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::String(text) => Ok(Self::Text(text.clone())),
            toml::Value::Integer(number) => Ok(Self::Number(*number as f64)),
            toml::Value::Float(number) if number.is_finite() => Ok(Self::Number(*number)),
            other => Err(format!("a place is a word or a finite number; got {other}")),
        }
    }
}

/// What a check's `where` asks of one key of an observation's `at`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Filter {
    /// This value.
    Is(Place),
    /// One of these values.
    OneOf(Vec<Place>),
    /// A number between the two, ends included.
    Between {
        /// Smallest number allowed.
        min: f64,
        /// Largest number allowed.
        max: f64,
    },
}

impl Filter {
    /// Whether `place` passes.
    #[must_use]
    pub fn admits(&self, place: &Place) -> bool {
        match self {
            Self::Is(wanted) => wanted == place,
            Self::OneOf(wanted) => wanted.contains(place),
            Self::Between { min, max } => matches!(place, Place::Number(n) if (min..=max).contains(&n)),
        }
    }

    fn from_value(value: &toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::Array(items) => {
                items.iter().map(Place::from_value).collect::<Result<_, _>>().map(Self::OneOf)
            }
            toml::Value::Table(table) => {
                let bound = |key: &str| {
                    table
                        .get(key)
                        .and_then(|v| v.as_float().or_else(|| v.as_integer().map(|i| i as f64)))
                        .ok_or_else(|| format!("a range is {{ min = 0.5, max = 1.25 }}; `{key}` is missing"))
                };
                let (min, max) = (bound("min")?, bound("max")?);
                if table.len() != 2 || min > max {
                    return Err("a range has `min` and `max` only, min <= max".to_owned());
                }
                Ok(Self::Between { min, max })
            }
            other => Place::from_value(other).map(Self::Is),
        }
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(&toml::Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_admit_what_they_say() {
        let range = Filter::Between { min: 0.5, max: 1.0 };
        assert!(range.admits(&0.5.into()) && range.admits(&1.0.into()));
        assert!(!range.admits(&1.1.into()) && !range.admits(&"0.7".into()));
        assert!(Filter::OneOf(vec!["a".into()]).admits(&"a".into()));
        assert!(!Filter::Is("a".into()).admits(&"b".into()));
    }
}
