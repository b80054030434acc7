//! Where importers hand their records in: numbered, cleaned, checked against the limits.

use serde_json::{Map, Value};

use super::{Fault, Item, Limits, Stop, Summary, remainder, tidy};
use crate::record::Record;

/// A record as its format says it, and what an export of ours added (see [`remainder`]).
pub(crate) type Read = (Record, Option<Map<String, Value>>);

pub(crate) struct Sink<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) summary: Summary,
    /// The member of a zip file that is being read.
    pub(crate) member: Option<String>,
    number: u64,
    deliver: &'a mut dyn FnMut(Item) -> bool,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(limits: &'a Limits, deliver: &'a mut dyn FnMut(Item) -> bool) -> Self {
        Self { limits, summary: Summary::default(), member: None, number: 0, deliver }
    }

    /// A new file begins: numbers start again.
    pub(crate) fn file(&mut self, member: Option<String>) {
        self.member = member;
        self.number = 0;
    }

    /// The next record's number, for importers that deliver out of order.
    pub(crate) fn reserve(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// A record that only says that something was deleted.
    pub(crate) fn deleted(&mut self) {
        self.number += 1;
        self.summary.deleted += 1;
    }

    /// The record that begins at `line`.
    pub(crate) fn record(&mut self, line: u64, read: Result<Read, Fault>) -> Result<(), Stop> {
        let number = self.reserve();
        self.numbered(number, line, read)
    }

    /// A record whose number was reserved.
    pub(crate) fn numbered(&mut self, number: u64, line: u64, read: Result<Read, Fault>) -> Result<(), Stop> {
        let record = read.and_then(|(record, added)| {
            let record = match added {
                Some(added) => remainder::apply(&record, added)?,
                None => record,
            };
            tidy::tidy(record, self.limits)
        });
        match &record {
            Ok(_) => self.summary.records += 1,
            Err(_) => self.summary.problems += 1,
        }
        let item = record.map_err(|fault| fault.at(self.member.clone(), Some(number), line));
        if !(self.deliver)(item) {
            return Err(Stop::Caller);
        }
        if self.summary.problems >= self.limits.problems {
            let what = format!("{} bad records; the rest was not tried", self.summary.problems);
            return Err(Stop::File(Fault::new(what, "a file of the format that was named or found"), line));
        }
        Ok(())
    }
}
