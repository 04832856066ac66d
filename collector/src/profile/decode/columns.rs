//! What all tables of a payload refer to, and how: strings by index, statuses by number, columns as long as their siblings.

use std::sync::Arc;

use tephra_proto::limits::STRING_BYTES_MAX;
use tephra_proto::v1;

use super::rejection::Rejection;
use crate::profile::model::SpanStatus;

/// The strings of a window.
pub(super) struct Strings(Vec<Arc<str>>);

impl Strings {
    pub(super) fn read(wire: Vec<String>) -> Result<Self, Rejection> {
        let mut strings = Vec::with_capacity(wire.len().max(1));
        for (at, text) in wire.into_iter().enumerate() {
            let limit = if at == 0 { 0 } else { STRING_BYTES_MAX };
            if text.len() > limit {
                return Err(Rejection::LongString { at, bytes: text.len(), limit });
            }
            strings.push(Arc::from(text));
        }
        if strings.is_empty() {
            strings.push(Arc::from(""));
        }
        Ok(Self(strings))
    }

    pub(super) fn get(&self, what: &'static str, at: usize, index: u32) -> Result<&Arc<str>, Rejection> {
        lookup(&self.0, what, at, index)
    }
}

pub(super) fn lookup<'a, T>(table: &'a [T], what: &'static str, at: usize, index: u32) -> Result<&'a T, Rejection> {
    table.get(index as usize).ok_or(Rejection::Dangling { what, at, index: index.into(), len: table.len() })
}

pub(super) fn same_length(what: &'static str, found: usize, expected: usize) -> Result<(), Rejection> {
    if found == expected { Ok(()) } else { Err(Rejection::Ragged { what, found, expected }) }
}

pub(super) fn read_status(what: &'static str, at: usize, wire: i32) -> Result<SpanStatus, Rejection> {
    match v1::SpanStatus::try_from(wire) {
        Ok(v1::SpanStatus::Unset) => Ok(SpanStatus::Unset),
        Ok(v1::SpanStatus::Ok) => Ok(SpanStatus::Ok),
        Ok(v1::SpanStatus::Error) => Ok(SpanStatus::Error),
        Err(_) => Err(Rejection::UnknownEnum { what, at, value: wire }),
    }
}
