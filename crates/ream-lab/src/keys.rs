//! The keys of a configuration as a form shows them: name, help, type, range, value.

use serde_json::Value;

use crate::config::{enum_words, has_type, resolve};

/// One key that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// As `--set` takes it: `one_layer.steps`.
    pub name: String,
    /// Its doc comment.
    pub help: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be absent; set to `null` then.
    pub optional: bool,
    /// Its value as `--set` takes it; `null` where it is absent.
    pub value: String,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number, and the range that the schema states.
    Integer(Range),
    /// A number, and the range that the schema states.
    Number(Range),
    /// A text.
    Text,
    /// One of these words.
    One(Vec<String>),
    /// A list of these words.
    Several(Vec<String>),
    /// Anything else, as TOML.
    Toml,
}

/// Smallest and largest value that a schema states, both allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range {
    /// Smallest.
    pub low: Option<f64>,
    /// Largest.
    pub high: Option<f64>,
}

/// The keys of a table, with the tables in it after its plain keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Name of the table; empty for the outermost one.
    pub name: String,
    /// Its doc comment.
    pub help: String,
    /// Its keys, by name.
    pub keys: Vec<Key>,
}

/// The keys of a configuration, table by table; `values` is a canonical configuration.
#[must_use]
pub fn groups(schema: &Value, values: &Value) -> Vec<Group> {
    let mut all = Vec::new();
    collect(schema, resolve(schema, schema), values, "", "", &mut all);
    all.retain(|group| !group.keys.is_empty());
    all
}

fn collect(schema: &Value, node: &Value, values: &Value, name: &str, help: &str, all: &mut Vec<Group>) {
    let Some(properties) = node.get("properties").and_then(Value::as_object) else { return };
    let place = all.len();
    all.push(Group { name: name.to_owned(), help: help.to_owned(), keys: Vec::new() });
    for (key, property) in properties {
        let dotted = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        let value = values.get(key).unwrap_or(&Value::Null);
        let inner = resolve(schema, property);
        let help = [property, inner].iter().find_map(|n| n.get("description").and_then(Value::as_str));
        let help = help.unwrap_or_default();
        if value.is_object() && inner.get("properties").is_some() {
            collect(schema, inner, value, &dotted, help, all);
        } else {
            let kind = kind(schema, inner);
            let value = text(&kind, value);
            let optional = is_nullable(property);
            all[place].keys.push(Key { name: dotted, help: help.to_owned(), kind, optional, value });
        }
    }
}

fn kind(schema: &Value, node: &Value) -> Kind {
    let words = enum_words(schema, node);
    let bound = |word: &str| node.get(word).and_then(Value::as_f64);
    let range = || Range { low: bound("minimum"), high: bound("maximum") };
    if !words.is_empty() {
        Kind::One(words)
    } else if has_type(node, "boolean") {
        Kind::Flag
    } else if has_type(node, "integer") {
        Kind::Integer(range())
    } else if has_type(node, "number") {
        Kind::Number(range())
    } else if has_type(node, "string") {
        Kind::Text
    } else if has_type(node, "array") {
        let items = node.get("items").map(|items| enum_words(schema, resolve(schema, items)));
        items.filter(|words| !words.is_empty()).map_or(Kind::Toml, Kind::Several)
    } else {
        Kind::Toml
    }
}

/// A value as `--set key=` takes it.
fn text(kind: &Kind, value: &Value) -> String {
    match (kind, value) {
        (_, Value::Null) => "null".to_owned(),
        (Kind::Text | Kind::One(_), Value::String(text)) => text.clone(),
        (Kind::Toml | Kind::Several(_), value) => {
            toml::Value::try_from(value).map_or_else(|_| value.to_string(), |v| v.to_string())
        }
        (_, value) => value.to_string(),
    }
}

/// Whether a key may be null.
pub(crate) fn is_nullable(node: &Value) -> bool {
    let options = ["anyOf", "oneOf"].iter().filter_map(|word| node.get(*word)?.as_array()).flatten();
    has_type(node, "null") || options.into_iter().any(|option| has_type(option, "null"))
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::change;

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Shape {
        Round,
        #[serde(rename = "four-sided")]
        Square,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Inner {
        /// Steps of one.
        steps: u32,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Config {
        /// How it looks.
        shape: Shape,
        /// Some of them.
        shapes: Vec<Shape>,
        /// Share.
        #[schemars(range(min = 0.0, max = 1.0))]
        share: f64,
        /// Tuned when absent.
        rate: Option<f64>,
        name: Option<String>,
        quick: bool,
        sizes: Vec<u32>,
        /// The inner part.
        inner: Inner,
    }

    fn example() -> (Value, Value) {
        let schema = schemars::schema_for!(Config).to_value();
        let values = serde_json::json!({
            "shape": "round", "shapes": ["round", "four-sided"], "share": 0.5, "quick": true, "sizes": [1, 2],
            "inner": { "steps": 3 }
        });
        (schema, values)
    }

    #[test]
    fn every_key_has_its_type_help_and_value() {
        let (schema, values) = example();
        let groups = groups(&schema, &values);
        assert_eq!(groups.iter().map(|g| g.name.as_str()).collect::<Vec<_>>(), ["", "inner"]);
        assert_eq!(groups[1].help, "The inner part.");
        let key = |name: &str| groups.iter().flat_map(|g| &g.keys).find(|k| k.name == name).unwrap();
        let words = vec!["round".to_owned(), "four-sided".to_owned()];
        assert_eq!(key("shape").kind, Kind::One(words.clone()));
        assert_eq!(key("shapes").kind, Kind::Several(words));
        assert_eq!(key("shapes").value, r#"["round", "four-sided"]"#);
        assert_eq!(key("share").kind, Kind::Number(Range { low: Some(0.0), high: Some(1.0) }));
        assert_eq!((key("rate").optional, key("rate").value.as_str()), (true, "null"));
        assert!(key("name").optional && !key("share").optional);
        assert_eq!((&key("quick").kind, key("quick").value.as_str()), (&Kind::Flag, "true"));
        assert_eq!((&key("sizes").kind, key("sizes").value.as_str()), (&Kind::Toml, "[1, 2]"));
        assert_eq!(key("inner.steps").help, "Steps of one.");
    }

    #[test]
    fn what_a_form_shows_sets_what_it_shows() {
        let (schema, values) = example();
        let sets: Vec<String> = groups(&schema, &values)
            .iter()
            .flat_map(|g| &g.keys)
            .map(|k| format!("{}={}", k.name, k.value))
            .collect();
        let again = change(&schema, values.clone(), None, &sets).unwrap();
        let (again, _) = (crate::config::canonical(&again).unwrap(), ());
        assert_eq!(again, values);
        let cleared =
            change(&schema, serde_json::json!({ "rate": 0.5, "name": "x" }), None, &["rate=null".into()])
                .unwrap();
        assert!(cleared["rate"].is_null() && cleared["name"] == "x");
        assert!(change(&schema, values, None, &["share=null".into()]).is_err(), "not every key may be null");
    }
}
