//! The tables of a segment, as documented in `FORMAT.md`: every column is required, ids count from 0 within the segment.

use std::sync::{Arc, OnceLock};

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};

use crate::profile::model::{Kind, ProfileType};

/// The tables of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    /// Values by service, type, window, series and stack.
    Samples,
    /// Their sums by window and series.
    Totals,
    /// Which windows were received.
    Windows,
    /// What the `series` of other tables stand for.
    Series,
    /// Prefix tree: a stack is its leaf's id.
    Stacks,
    /// What the frames of stacks are.
    Frames,
    /// Samples with a trace id, sorted by it.
    Traces,
    /// Entry spans, sorted by trace id.
    Spans,
}

impl Table {
    /// All tables.
    pub(crate) const ALL: [Self; 8] = [
        Self::Samples,
        Self::Totals,
        Self::Windows,
        Self::Series,
        Self::Stacks,
        Self::Frames,
        Self::Traces,
        Self::Spans,
    ];

    /// Its name, in the catalog and in the Parquet schema.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Totals => "totals",
            Self::Windows => "windows",
            Self::Series => "series",
            Self::Stacks => "stacks",
            Self::Frames => "frames",
            Self::Traces => "traces",
            Self::Spans => "spans",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Samples => {
                "message samples {
                    required binary service (UTF8);
                    required binary type (UTF8);
                    required int32 series;
                    required int64 window (TIMESTAMP(MILLIS,true));
                    required int32 window_ms;
                    required int32 stack;
                    required int64 value;
                    required int64 samples;
                }"
            }
            Self::Totals => {
                "message totals {
                    required binary service (UTF8);
                    required int32 series;
                    required int64 window (TIMESTAMP(MILLIS,true));
                    required int32 window_ms;
                    required int64 value;
                    required int64 samples;
                }"
            }
            Self::Windows => {
                "message windows {
                    required binary service (UTF8);
                    required int64 window (TIMESTAMP(MILLIS,true));
                    required int32 window_ms;
                    required int64 covered_from (TIMESTAMP(MILLIS,true));
                    required int32 covered_ms;
                    required int32 windows;
                    required binary instance (UTF8);
                    required binary labels (UTF8);
                    required binary types (UTF8);
                }"
            }
            Self::Series => {
                "message series {
                    required binary service (UTF8);
                    required int32 id;
                    required binary type (UTF8);
                    required binary unit (UTF8);
                    required binary kind (UTF8);
                    required int64 period;
                    required binary instance (UTF8);
                    required binary labels (UTF8);
                }"
            }
            Self::Stacks => {
                "message stacks {
                    required binary service (UTF8);
                    required int32 id;
                    required int32 parent;
                    required int32 frame;
                }"
            }
            Self::Frames => {
                "message frames {
                    required binary service (UTF8);
                    required int32 id;
                    required binary build_id (UTF8);
                    required binary module (UTF8);
                    required int64 address;
                    required binary function (UTF8);
                    required binary file (UTF8);
                    required int32 line;
                }"
            }
            Self::Traces => {
                "message traces {
                    required binary service (UTF8);
                    required fixed_len_byte_array(16) trace_id;
                    required fixed_len_byte_array(8) span_id;
                    required int64 time (TIMESTAMP(MILLIS,true));
                    required int64 window (TIMESTAMP(MILLIS,true));
                    required int32 window_ms;
                    required int32 series;
                    required int32 stack;
                    required int64 value;
                    required int64 samples;
                }"
            }
            Self::Spans => {
                "message spans {
                    required binary service (UTF8);
                    required fixed_len_byte_array(16) trace_id;
                    required fixed_len_byte_array(8) span_id;
                    required binary route (UTF8);
                    required int64 start (TIMESTAMP(MILLIS,true));
                    required int64 duration_us;
                    required binary status (UTF8);
                    required float weight;
                    required int64 window (TIMESTAMP(MILLIS,true));
                    required int32 window_ms;
                    required binary instance (UTF8);
                    required binary labels (UTF8);
                }"
            }
        }
    }

    /// The Parquet schema.
    pub(super) fn schema(self) -> TypePtr {
        static SCHEMAS: OnceLock<Vec<TypePtr>> = OnceLock::new();
        let all = SCHEMAS.get_or_init(|| {
            let parse = |table: Self| parse_message_type(table.message()).expect("the schemas above are well formed");
            Self::ALL.into_iter().map(|table| Arc::new(parse(table))).collect()
        });
        all[self as usize].clone()
    }

    /// Rows of one page at most. A trace is found by reading one page of each column.
    fn page_rows(self) -> usize {
        match self {
            Self::Traces | Self::Spans => 4_096,
            _ => 65_536,
        }
    }

    /// How its columns are stored: ids and times as differences, trace and span ids as they are, the rest by dictionary; zstd over all.
    pub(super) fn properties(self) -> Arc<WriterProperties> {
        let level = ZstdLevel::try_new(3).expect("zstd has a level 3");
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(concat!("tephra ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_dictionary_page_size_limit(4 << 20)
            .set_data_page_row_count_limit(self.page_rows())
            .set_write_batch_size(self.page_rows().min(4_096))
            .set_statistics_enabled(EnabledStatistics::Chunk);
        let (delta, random): (&[&str], &[&str]) = match self {
            Self::Samples => (&["window", "stack"], &[]),
            Self::Totals => (&["window"], &[]),
            Self::Windows => (&["window", "covered_from"], &[]),
            Self::Series => (&["id"], &[]),
            Self::Stacks => (&["id", "parent", "frame"], &[]),
            Self::Frames => (&["id", "address"], &[]),
            Self::Traces => (&["time"], &["trace_id", "span_id"]),
            Self::Spans => (&["start", "duration_us"], &["trace_id", "span_id"]),
        };
        for name in delta {
            let column = ColumnPath::from(*name);
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
        for name in random {
            let column = ColumnPath::from(*name);
            properties = properties.set_column_dictionary_enabled(column, false);
        }
        if matches!(self, Self::Traces | Self::Spans) {
            // The page index: which page holds which traces.
            properties =
                properties.set_column_statistics_enabled(ColumnPath::from("trace_id"), EnabledStatistics::Page);
        }
        Arc::new(properties.build())
    }
}

/// Pairs as one text: `name=value` by name, separated by `,`; `\`, `,` and `=` inside are escaped by `\`.
pub(crate) fn labels_to_text<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
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
pub(crate) fn labels_from_text(text: &str) -> Vec<(String, String)> {
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
    let about = |t: &ProfileType| format!("{}/{}/{}", t.unit, kind_name(t.kind), t.period);
    let about: Vec<String> = types.iter().map(about).collect();
    labels_to_text(types.iter().map(|t| t.name.as_str()).zip(about.iter().map(String::as_str)))
}

/// Reads what [`types_to_text`] wrote; `None` when it is malformed.
pub(super) fn types_from_text(text: &str) -> Option<Vec<ProfileType>> {
    labels_from_text(text)
        .into_iter()
        .map(|(name, rest)| {
            let (rest, period) = rest.rsplit_once('/')?;
            let (unit, kind) = rest.rsplit_once('/')?;
            Some(ProfileType { name, unit: unit.to_owned(), kind: kind_of(kind)?, period: period.parse().ok()? })
        })
        .collect()
}

pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    }
}

pub(super) fn kind_of(name: &str) -> Option<Kind> {
    match name {
        "counter" => Some(Kind::Counter),
        "gauge" => Some(Kind::Gauge),
        _ => None,
    }
}
