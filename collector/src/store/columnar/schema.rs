//! The tables of a segment, as documented in `FORMAT.md`: every column is required, ids count from 0 within the segment.

use std::sync::{Arc, OnceLock};

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};

/// The files of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Values by service, type, series, window and stack.
    Samples,
    /// What the `series` of samples and traces stand for.
    Series,
    /// Prefix tree: a stack is its leaf's id.
    Stacks,
    /// What the frames of stacks are.
    Frames,
    /// Samples with a trace id, sorted by it.
    Traces,
    /// Entry spans.
    Spans,
    /// Which windows were received.
    Windows,
}

impl Table {
    /// All tables, in the order they are written.
    pub const ALL: [Self; 7] =
        [Self::Samples, Self::Series, Self::Stacks, Self::Frames, Self::Traces, Self::Spans, Self::Windows];

    /// File name.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Samples => "samples.parquet",
            Self::Series => "series.parquet",
            Self::Stacks => "stacks.parquet",
            Self::Frames => "frames.parquet",
            Self::Traces => "traces.parquet",
            Self::Spans => "spans.parquet",
            Self::Windows => "windows.parquet",
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
                    required int64 stack;
                    required int64 value;
                    required int64 samples;
                }"
            }
            Self::Series => {
                "message series {
                    required int32 id;
                    required binary service (UTF8);
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
                    required int64 id;
                    required int64 parent;
                    required int64 frame;
                }"
            }
            Self::Frames => {
                "message frames {
                    required binary service (UTF8);
                    required int64 id;
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
                    required int32 series;
                    required int64 stack;
                    required int64 value;
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
                }"
            }
            Self::Windows => {
                "message windows {
                    required binary service (UTF8);
                    required int64 window (TIMESTAMP(MILLIS,true));
                    required int32 window_ms;
                    required int32 covered_ms;
                    required binary instance (UTF8);
                    required int32 instances;
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

    /// How its columns are stored: counters and times as differences, ids uncompressed, the rest by dictionary; zstd over all.
    pub(super) fn properties(self) -> Arc<WriterProperties> {
        let level = ZstdLevel::try_new(3).expect("zstd has a level 3");
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(concat!("tephra ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_dictionary_page_size_limit(4 << 20)
            .set_data_page_row_count_limit(65_536)
            .set_statistics_enabled(EnabledStatistics::Chunk);
        let (delta, random): (&[&str], &[&str]) = match self {
            Self::Samples => (&["window", "stack"], &[]),
            Self::Series => (&["id"], &[]),
            Self::Stacks => (&["id", "parent"], &[]),
            Self::Frames => (&["id", "address"], &[]),
            Self::Traces => (&["time"], &["trace_id", "span_id"]),
            Self::Spans => (&["start"], &["trace_id", "span_id"]),
            Self::Windows => (&["window"], &[]),
        };
        for name in delta {
            let column = ColumnPath::from(*name);
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
        for name in random {
            let column = ColumnPath::from(*name);
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_compression(column, Compression::UNCOMPRESSED);
        }
        Arc::new(properties.build())
    }
}

/// Labels as one text: `name=value` pairs by name, separated by `,`; `\`, `,` and `=` inside are escaped by `\`.
pub fn labels_to_text(labels: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        for (part, then) in [(name, "="), (value, "")] {
            for c in part.chars() {
                if matches!(c, '\\' | ',' | '=') {
                    text.push('\\');
                }
                text.push(c);
            }
            text.push_str(then);
        }
    }
    text
}

/// Reads what [`labels_to_text`] wrote.
pub fn labels_from_text(text: &str) -> Vec<(String, String)> {
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
