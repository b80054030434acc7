//! `ream config`: the configuration of a preset, with its help, as TOML.

use std::fmt::Write;

use ream_lab::{Error, Preset, Result};
use serde_json::Value;

use crate::commands::Context;
use crate::output;

pub(crate) fn show(context: &Context, slug: &str, preset: Preset, schema: bool) -> Result<u8> {
    let (_, system) = context.edition.system(slug)?;
    if schema {
        output::json(&system.schema())?;
        return Ok(0);
    }
    let config = system.preset(preset)?;
    if context.json {
        output::json(&config)?;
        return Ok(0);
    }
    let mut out = format!(
        "# {slug}, {} preset. Change what you like, then: ream run {slug} --config FILE\n",
        preset.name()
    );
    write_table(&mut out, &config, &system.schema(), "")?;
    output::text(&out)?;
    Ok(0)
}

/// Plain keys first, tables after them: what follows a table's header belongs to it.
fn write_table(out: &mut String, value: &Value, schema: &Value, prefix: &str) -> Result<()> {
    let Value::Object(map) = value else { return Ok(()) };
    let help = |key: &str| {
        let pointer = if prefix.is_empty() { format!("/properties/{key}/description") } else { return None };
        schema.pointer(&pointer).and_then(Value::as_str).map(str::to_owned)
    };
    for (key, value) in map.iter().filter(|(_, v)| !v.is_object()) {
        for line in help(key).unwrap_or_default().lines() {
            let _ = writeln!(out, "# {line}");
        }
        let single = toml::Table::try_from(serde_json::json!({ key.as_str(): value }))
            .map_err(|e| Error::failed(format!("{key}: {e}")))?;
        let _ = write!(out, "{single}");
    }
    for (key, value) in map.iter().filter(|(_, v)| v.is_object()) {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        out.push('\n');
        for line in help(key).unwrap_or_default().lines() {
            let _ = writeln!(out, "# {line}");
        }
        let _ = writeln!(out, "[{name}]");
        write_table(out, value, schema, &name)?;
    }
    Ok(())
}
