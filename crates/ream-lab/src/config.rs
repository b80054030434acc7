//! Configurations as JSON values: canonical form, hash, and changes by key.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::{Error, Invalid, Result};
use crate::keys::is_nullable;

/// The canonical form: defaults filled in, keys sorted, no nulls.
pub(crate) fn canonical<T: Serialize>(config: &T) -> Result<Value> {
    let value = serde_json::to_value(config).map_err(|e| Error::failed(format!("configuration: {e}")))?;
    Ok(without_nulls(value))
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// First 16 hexadecimal digits of the SHA-256 of the canonical JSON text.
#[must_use]
pub fn hash(value: &Value) -> String {
    hex(&Sha256::digest(value.to_string().as_bytes()))[..16].to_owned()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The nearest of `names` to `name`, for a suggestion.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1 + name.chars().count().max(candidate.chars().count()) / 3
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// `: did you mean ...?` or nothing.
#[must_use]
pub fn did_you_mean<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, names).map(|best| format!("; did you mean `{best}`?")).unwrap_or_default()
}

/// Lays `--config FILE` (a TOML text) and `--set key=value` over a configuration, typed by its JSON schema.
///
/// # Errors
/// Unknown keys (with the nearest one), values that do not parse, a table where a value belongs.
pub fn change(schema: &Value, mut base: Value, file: Option<(&str, &str)>, sets: &[String]) -> Result<Value> {
    if let Some((name, text)) = file {
        let table: toml::Table = toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Error::Input(format!("{name}:{line}: {}", error.message()))
        })?;
        let overlay = serde_json::to_value(table).map_err(|e| Error::Input(format!("{name}: {e}")))?;
        lay_over(schema, &mut base, &overlay, "")?;
    }
    for set in sets {
        let Some((key, text)) = set.split_once('=') else {
            return Err(Invalid::new("--set", "KEY=VALUE", format!("`{set}`")).into());
        };
        let path: Vec<&str> = key.trim().split('.').collect();
        let kind = key_schema(schema, &base, &path)?;
        let value = if text.trim() == "null" && is_nullable(&kind) {
            Value::Null
        } else {
            parse_value(schema, &kind, key.trim(), text.trim())?
        };
        put(&mut base, &path, value)?;
    }
    Ok(base)
}

fn lay_over(schema: &Value, base: &mut Value, overlay: &Value, prefix: &str) -> Result<()> {
    let Value::Object(entries) = overlay else { return Ok(()) };
    for (key, value) in entries {
        let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let path: Vec<&str> = dotted.split('.').collect();
        key_schema(schema, base, &path)?;
        if value.is_object() && at(base, &path).is_some_and(Value::is_object) {
            lay_over(schema, base, value, &dotted)?;
        } else {
            put(base, &path, value.clone())?;
        }
    }
    Ok(())
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

fn put(base: &mut Value, path: &[&str], value: Value) -> Result<()> {
    let Some((last, parents)) = path.split_last() else { return Ok(()) };
    let mut node = base;
    for key in parents {
        let Value::Object(map) = node else {
            return Err(
                Invalid::new(path.join("."), "a key within a table", format!("`{key}` is no table")).into()
            );
        };
        node = map.entry((*key).to_owned()).or_insert_with(|| Value::Object(Map::new()));
    }
    match node {
        Value::Object(map) => {
            map.insert((*last).to_owned(), value);
            Ok(())
        }
        _ => Err(Invalid::new(path.join("."), "a key within a table", "a value").into()),
    }
}

/// Follows `$ref`, and `anyOf` with null, to the schema that counts.
pub(crate) fn resolve<'a>(schema: &'a Value, node: &'a Value) -> &'a Value {
    if let Some(name) = node.get("$ref").and_then(Value::as_str)
        && let Some(target) = name.strip_prefix('#').and_then(|pointer| schema.pointer(pointer))
    {
        return resolve(schema, target);
    }
    for word in ["anyOf", "allOf", "oneOf"] {
        if let Some(options) = node.get(word).and_then(Value::as_array) {
            let real: Vec<&Value> =
                options.iter().filter(|o| o.get("type") != Some(&"null".into())).collect();
            if let [only] = real.as_slice() {
                return resolve(schema, only);
            }
        }
    }
    node
}

/// The schema of a key as it stands (it may still be a reference, or allow null), or an error that suggests the nearest key.
fn key_schema(schema: &Value, base: &Value, path: &[&str]) -> Result<Value> {
    let mut node = schema;
    let mut here = Some(base);
    for (depth, key) in path.iter().enumerate() {
        let table = resolve(schema, node);
        let properties = table.get("properties").and_then(Value::as_object);
        if let Some(next) = properties.and_then(|p| p.get(*key)) {
            node = next;
        } else if let Some(any) = table.get("additionalProperties").filter(|a| a.is_object()) {
            node = any;
        } else {
            let mut known: Vec<&str> =
                properties.map(|p| p.keys().map(String::as_str).collect()).unwrap_or_default();
            if let Some(Value::Object(map)) = here {
                known.extend(map.keys().map(String::as_str));
            }
            known.sort_unstable();
            known.dedup();
            let hint = did_you_mean(key, known.iter().copied());
            let list = if known.is_empty() {
                "no keys here".to_owned()
            } else {
                format!("one of {}", known.join(", "))
            };
            return Err(Invalid::new(path[..=depth].join("."), list, format!("an unknown key{hint}")).into());
        }
        here = here.and_then(|h| h.get(key));
    }
    Ok(node.clone())
}

pub(crate) fn has_type(schema: &Value, wanted: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == wanted,
        Some(Value::Array(kinds)) => kinds.iter().any(|k| k == wanted),
        _ => false,
    }
}

/// Reads the text of one `--set` by the type that the schema states.
fn parse_value(schema: &Value, kind: &Value, key: &str, text: &str) -> Result<Value> {
    let wrong = |wanted: &str| -> Error { Invalid::new(key, wanted, format!("`{text}`")).into() };
    let kind = resolve(schema, kind);
    let words = enum_words(schema, kind);
    if !words.is_empty() {
        let plain = text.trim_matches('"');
        if words.iter().any(|w| w == plain) {
            return Ok(plain.into());
        }
        let hint = did_you_mean(plain, words.iter().map(String::as_str));
        return Err(
            Invalid::new(key, format!("one of {}", words.join(", ")), format!("`{text}`{hint}")).into()
        );
    }
    if has_type(kind, "boolean") {
        return text.parse::<bool>().map(Value::from).map_err(|_| wrong("true or false"));
    }
    if has_type(kind, "integer") {
        return text.parse::<i64>().map(Value::from).map_err(|_| wrong("a whole number"));
    }
    if has_type(kind, "number") {
        let number: f64 = text.parse().map_err(|_| wrong("a number"))?;
        return if number.is_finite() { Ok(number.into()) } else { Err(wrong("a finite number")) };
    }
    if has_type(kind, "string") {
        return Ok(text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text).into());
    }
    // `a,b` stands for ["a", "b"]: names of columns need no quotes.
    if has_type(kind, "array") && !text.starts_with(['[', '{']) && holds_text(schema, kind) {
        return Ok(comma_list(text).into());
    }
    let parsed: toml::Table = toml::from_str(&format!("value = {text}"))
        .map_err(|_| wrong("a TOML value, for instance [1, 2] or { a = 1 }"))?;
    let value = serde_json::to_value(parsed.get("value")).map_err(|_| wrong("a TOML value"))?;
    if has_type(kind, "array") && !value.is_array() {
        return Err(wrong("a list, for instance [1, 2]"));
    }
    Ok(value)
}

/// Whether the items of a list are texts or words.
fn holds_text(schema: &Value, list: &Value) -> bool {
    list.get("items").is_some_and(|items| {
        let items = resolve(schema, items);
        has_type(items, "string") || !enum_words(schema, items).is_empty()
    })
}

fn comma_list(text: &str) -> Vec<String> {
    let words = text.split(',').map(|word| word.trim().trim_matches('"'));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The words of an enumeration without data (also as `oneOf` of constants, which is how documented ones appear).
pub(crate) fn enum_words(schema: &Value, kind: &Value) -> Vec<String> {
    let list = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .map(|a| a.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default()
    };
    if let Some(words) = kind.get("enum") {
        return list(words);
    }
    let Some(options) = kind.get("oneOf").and_then(Value::as_array) else { return Vec::new() };
    let mut words = Vec::new();
    for option in options {
        let option = resolve(schema, option);
        match (option.get("const").and_then(Value::as_str), option.get("enum")) {
            (Some(word), _) => words.push(word.to_owned()),
            (None, Some(more)) => words.extend(list(more)),
            _ => return Vec::new(),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_texts_need_no_quotes() {
        let schema = serde_json::json!({
            "type": "object",
            "properties": {
                "names": { "type": "array", "items": { "type": "string" } },
                "sizes": { "type": "array", "items": { "type": "integer" } },
            },
        });
        let base = serde_json::json!({ "names": [], "sizes": [] });
        let set = |text: &str| change(&schema, base.clone(), None, &[text.to_owned()]);
        assert_eq!(set("names=a, b").unwrap()["names"], serde_json::json!(["a", "b"]));
        assert_eq!(set("names=a").unwrap()["names"], serde_json::json!(["a"]));
        assert_eq!(set("names=").unwrap()["names"], serde_json::json!([]));
        assert_eq!(set("names=[\"a,b\"]").unwrap()["names"], serde_json::json!(["a,b"]));
        assert_eq!(set("sizes=[1, 2]").unwrap()["sizes"], serde_json::json!([1, 2]));
        assert!(set("sizes=1,2").unwrap_err().to_string().contains("[1, 2]"));
    }
}
