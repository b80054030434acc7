//! A worker process that serves one workload over a line protocol; see `benches/torch/worker.py`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::shell::{Result, words};

/// A started worker. It ends when this is dropped.
pub(in crate::bench) struct Worker {
    name: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What a workload costs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cost {
    pub(super) flop: f64,
    pub(super) parameters: u64,
    pub(super) items: f64,
    pub(super) item: String,
}

/// Some steps in a row.
pub(super) struct Steps {
    pub(super) seconds: Vec<f64>,
    /// Loss of the last one.
    pub(super) loss: f64,
}

impl Worker {
    pub(in crate::bench) fn start(mut command: Command) -> Result<Self> {
        let name = words(&command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{name}: {e}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{name}: no pipes"));
        };
        Ok(Self { name, child, input, output: BufReader::new(output) })
    }

    /// Sends one line and reads one line of JSON.
    pub(in crate::bench) fn ask(&mut self, line: &str) -> Result<Value> {
        let wrong = |what: String| format!("{}: `{line}`: {what}", self.name);
        writeln!(self.input, "{line}")
            .and_then(|()| self.input.flush())
            .map_err(|e| wrong(format!("not listening: {e}")))?;
        let mut answer = String::new();
        let read = self.output.read_line(&mut answer).map_err(|e| wrong(e.to_string()))?;
        if read == 0 {
            return Err(wrong("it ended without an answer; what it said is above".to_owned()));
        }
        let value: Value =
            serde_json::from_str(&answer).map_err(|e| wrong(format!("not JSON: {e}: {answer}")))?;
        match value.get("error").and_then(Value::as_str) {
            Some(error) => Err(wrong(error.to_owned())),
            None => Ok(value),
        }
    }

    pub(super) fn list(&mut self) -> Result<Vec<String>> {
        let names = self.ask("list")?;
        Ok(names.as_array().into_iter().flatten().filter_map(|n| Some(n.as_str()?.to_owned())).collect())
    }

    pub(super) fn setup(&mut self, workload: &str) -> Result<Cost> {
        let value = self.ask(&format!("setup {workload}"))?;
        let number = |key: &str| {
            value[key].as_f64().ok_or_else(|| format!("{}: setup {workload}: no number `{key}`", self.name))
        };
        Ok(Cost {
            flop: number("flop_per_step")?,
            parameters: number("parameters")? as u64,
            items: number("items_per_step")?,
            item: value["item"].as_str().unwrap_or("step").to_owned(),
        })
    }

    pub(super) fn steps(&mut self, count: usize) -> Result<Steps> {
        let value = self.ask(&format!("step {count}"))?;
        let seconds: Vec<f64> =
            value["seconds"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        if seconds.len() != count {
            return Err(format!("{}: asked for {count} steps, got {} times", self.name, seconds.len()));
        }
        let loss = value["loss"].as_f64().filter(|loss| loss.is_finite());
        let loss = loss.ok_or_else(|| format!("{}: the loss is not finite", self.name))?;
        Ok(Steps { seconds, loss })
    }

    /// Processor time that the process has used, in the clock's ticks.
    pub(super) fn ticks(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The name in brackets may hold blanks; user and system time are fields 14 and 15.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    }

    /// Peak resident bytes.
    pub(in crate::bench) fn memory(&mut self) -> Result<u64> {
        let value = self.ask("memory")?;
        value.as_u64().ok_or_else(|| format!("{}: memory: not a number: {value}", self.name))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left of it.
        let asked = writeln!(self.input, "quit").and_then(|()| self.input.flush());
        if asked.is_err() {
            drop(self.child.kill());
        }
        drop(self.child.wait());
    }
}
