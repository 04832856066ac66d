//! Labels, types and statuses as texts in columns.

use crate::base::labels::Labels;
use crate::profile::model::{Kind, ProfileType, SpanStatus};

/// Pairs as one text: `name=value` by name, separated by `,`; `\`, `,` and `=` inside are escaped by `\`.
pub(super) fn labels_to_text<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        escape(name, &mut text);
        text.push('=');
        escape(value, &mut text);
    }
    text
}

fn escape(part: &str, text: &mut String) {
    for c in part.chars() {
        if matches!(c, '\\' | ',' | '=') {
            text.push('\\');
        }
        text.push(c);
    }
}

/// Reads what [`labels_to_text`] wrote.
pub(super) fn labels_from_text(text: &str) -> Labels {
    pairs(text).into_iter().collect()
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let (mut name, mut current) = (None, String::new());
    let mut chars = text.chars();
    let mut end = |name: &mut Option<String>, current: &mut String| {
        if let Some(name) = name.take() {
            labels.push((name, std::mem::take(current)));
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '\\' => current.extend(chars.next()),
            '=' if name.is_none() => name = Some(std::mem::take(&mut current)),
            ',' => end(&mut name, &mut current),
            c => current.push(c),
        }
    }
    end(&mut name, &mut current);
    labels
}

/// Types as one text: `name=unit/kind/period` in the grammar of [`labels_to_text`].
pub(super) fn types_to_text(types: &[ProfileType]) -> String {
    let about = |t: &ProfileType| format!("{}/{}/{}", t.unit, kind_to_text(t.kind), t.period);
    let about: Vec<String> = types.iter().map(about).collect();
    labels_to_text(types.iter().map(|t| t.name.as_str()).zip(about.iter().map(String::as_str)))
}

/// Reads what [`types_to_text`] wrote; `None` when it is malformed.
pub(super) fn types_from_text(text: &str) -> Option<Vec<ProfileType>> {
    pairs(text)
        .into_iter()
        .map(|(name, rest)| {
            let (rest, period) = rest.rsplit_once('/')?;
            let (unit, kind) = rest.rsplit_once('/')?;
            Some(ProfileType { name, unit: unit.to_owned(), kind: kind_from_text(kind)?, period: period.parse().ok()? })
        })
        .collect()
}

pub(super) fn kind_to_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    }
}

pub(super) fn kind_from_text(name: &str) -> Option<Kind> {
    match name {
        "counter" => Some(Kind::Counter),
        "gauge" => Some(Kind::Gauge),
        _ => None,
    }
}

/// A status.
pub(super) fn status_to_text(status: SpanStatus) -> &'static str {
    match status {
        SpanStatus::Unset => "unset",
        SpanStatus::Ok => "ok",
        SpanStatus::Error => "error",
    }
}

/// Reads what [`status_to_text`] wrote; what a later release may write is no outcome.
pub(super) fn status_from_text(text: &str) -> SpanStatus {
    match text {
        "ok" => SpanStatus::Ok,
        "error" => SpanStatus::Error,
        _ => SpanStatus::Unset,
    }
}
