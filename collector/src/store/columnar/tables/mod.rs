//! The tables of a segment, a file each: what a row is, its columns by name and type, how it is written and how it is read. `FORMAT.md`
//! has what they mean. Ids count from 0 within the segment.

mod frames;
mod requests;
mod samples;
mod series;
mod spans;
mod stacks;
mod totals;
mod traces;
mod windows;

use std::sync::{Arc, OnceLock};

use parquet::file::properties::WriterProperties;
use parquet::schema::types::TypePtr;

use super::column::{Column, Definition, Text};
pub(crate) use requests::{PartRequests, RequestSums};
pub(crate) use samples::{PartRow, SampleColumns, SampleGroup};
pub(crate) use series::PartSeries;
pub(crate) use spans::{PartSpan, Processes, SpanLook};
pub(crate) use totals::{PartTotal, TotalSums};
pub(crate) use traces::PartTrace;
pub(crate) use windows::{PartWindow, WindowSums};
pub(super) use {frames::read as read_frames, frames::write as write_frames};
pub(super) use {
    requests::look as look_at_requests, requests::read as read_requests, requests::write as write_requests,
};
pub(super) use {
    samples::read as read_samples, samples::read_columns, samples::sample_group, samples::write as write_samples,
};
pub(super) use {series::read as read_series, series::write as write_series};
pub(super) use {
    spans::completed as completed_traces, spans::find as find_spans, spans::find_all as find_spans_of,
    spans::look as look_at_spans, spans::may_be_of as may_be_of_route, spans::may_hold as may_hold_spans,
};
pub(super) use {spans::read as read_spans, spans::write as write_spans};
pub(super) use {stacks::read as read_stacks, stacks::write as write_stacks};
pub(super) use {totals::read as read_totals, totals::write as write_totals};
pub(super) use {traces::bounds as bounds_of_traces, traces::find_all as find_samples_of};
pub(super) use {
    traces::find as find_traces, traces::read as read_traces, traces::read_of as read_traces_of,
    traces::write as write_traces,
};
pub(super) use {windows::read as read_windows, windows::write as write_windows};

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
    /// How many requests ended, how, and how long they took, by window and route.
    Requests,
}

/// The ids in a segment that the next part's own, which count from 0, are added to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ids {
    pub(super) node: i32,
    pub(super) frame: i32,
    pub(super) series: i32,
}

/// The first column of every table.
const SERVICE: Column<Text> = Column::new("service");

const NO_STACK: &str = "a stack is not in the stacks table";
const NO_SERIES: &str = "a series is not in the series table";
const NO_ORDER: &str = "ids do not run on";

impl Table {
    /// All tables.
    pub(crate) const ALL: [Self; 9] = [
        Self::Samples,
        Self::Totals,
        Self::Windows,
        Self::Series,
        Self::Stacks,
        Self::Frames,
        Self::Traces,
        Self::Spans,
        Self::Requests,
    ];

    pub(super) fn definition(self) -> &'static Definition {
        match self {
            Self::Samples => &samples::TABLE,
            Self::Totals => &totals::TABLE,
            Self::Windows => &windows::TABLE,
            Self::Series => &series::TABLE,
            Self::Stacks => &stacks::TABLE,
            Self::Frames => &frames::TABLE,
            Self::Traces => &traces::TABLE,
            Self::Spans => &spans::TABLE,
            Self::Requests => &requests::TABLE,
        }
    }

    /// Its name, in the catalog and in the Parquet schema.
    pub(crate) fn name(self) -> &'static str {
        self.definition().name
    }

    /// The Parquet schema.
    pub(super) fn schema(self) -> TypePtr {
        static SCHEMAS: OnceLock<[TypePtr; 9]> = OnceLock::new();
        let all = SCHEMAS.get_or_init(|| Self::ALL.map(|table| table.definition().schema()));
        all[self as usize].clone()
    }

    /// How its columns are stored.
    pub(super) fn properties(self) -> Arc<WriterProperties> {
        self.definition().properties()
    }
}
