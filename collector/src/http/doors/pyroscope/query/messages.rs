//! The messages of `querier.v1` and `types.v1`, by the numbers of their fields, and how they read as JSON. What is not used is left out.

use crate::http::doors::json::{Holds, Shape, many, one};

/// `querier.v1.ProfileTypesRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Range {
    #[prost(int64, tag = "1")]
    pub(super) start: i64,
    #[prost(int64, tag = "2")]
    pub(super) end: i64,
}

pub(super) const RANGE: Shape = Shape { fields: &[one(1, "start", Holds::Int64), one(2, "end", Holds::Int64)] };

/// `querier.v1.ProfileTypesResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ProfileTypes {
    #[prost(message, repeated, tag = "1")]
    pub(super) profile_types: Vec<ProfileType>,
}

pub(super) const PROFILE_TYPES: Shape = Shape { fields: &[many(1, "profileTypes", Holds::Message(&PROFILE_TYPE))] };

/// `types.v1.ProfileType`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ProfileType {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) sample_type: String,
    #[prost(string, tag = "5")]
    pub(super) sample_unit: String,
    #[prost(string, tag = "6")]
    pub(super) period_type: String,
    #[prost(string, tag = "7")]
    pub(super) period_unit: String,
}

const PROFILE_TYPE: Shape = Shape {
    fields: &[
        one(1, "ID", Holds::Text),
        one(2, "name", Holds::Text),
        one(4, "sampleType", Holds::Text),
        one(5, "sampleUnit", Holds::Text),
        one(6, "periodType", Holds::Text),
        one(7, "periodUnit", Holds::Text),
    ],
};

/// `types.v1.LabelNamesRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LabelNames {
    #[prost(string, repeated, tag = "1")]
    pub(super) matchers: Vec<String>,
    #[prost(int64, tag = "2")]
    pub(super) start: i64,
    #[prost(int64, tag = "3")]
    pub(super) end: i64,
}

pub(super) const LABEL_NAMES: Shape =
    Shape { fields: &[many(1, "matchers", Holds::Text), one(2, "start", Holds::Int64), one(3, "end", Holds::Int64)] };

/// `types.v1.LabelValuesRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LabelValues {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) matchers: Vec<String>,
    #[prost(int64, tag = "3")]
    pub(super) start: i64,
    #[prost(int64, tag = "4")]
    pub(super) end: i64,
}

pub(super) const LABEL_VALUES: Shape = Shape {
    fields: &[
        one(1, "name", Holds::Text),
        many(2, "matchers", Holds::Text),
        one(3, "start", Holds::Int64),
        one(4, "end", Holds::Int64),
    ],
};

/// `types.v1.LabelNamesResponse` and `LabelValuesResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Names {
    #[prost(string, repeated, tag = "1")]
    pub(super) names: Vec<String>,
}

pub(super) const NAMES: Shape = Shape { fields: &[many(1, "names", Holds::Text)] };

/// `querier.v1.SeriesRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Series {
    #[prost(string, repeated, tag = "1")]
    pub(super) matchers: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) label_names: Vec<String>,
    #[prost(int64, tag = "3")]
    pub(super) start: i64,
    #[prost(int64, tag = "4")]
    pub(super) end: i64,
}

pub(super) const SERIES: Shape = Shape {
    fields: &[
        many(1, "matchers", Holds::Text),
        many(2, "labelNames", Holds::Text),
        one(3, "start", Holds::Int64),
        one(4, "end", Holds::Int64),
    ],
};

/// `querier.v1.SeriesResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LabelSets {
    #[prost(message, repeated, tag = "2")]
    pub(super) labels_set: Vec<Labels>,
}

pub(super) const LABEL_SETS: Shape = Shape { fields: &[many(2, "labelsSet", Holds::Message(&LABELS))] };

/// `types.v1.Labels`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Labels {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<LabelPair>,
}

const LABELS: Shape = Shape { fields: &[many(1, "labels", Holds::Message(&LABEL_PAIR))] };

/// `types.v1.LabelPair`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub(super) struct LabelPair {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

const LABEL_PAIR: Shape = Shape { fields: &[one(1, "name", Holds::Text), one(2, "value", Holds::Text)] };

/// `types.v1.GetProfileStatsResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ProfileStats {
    #[prost(bool, tag = "1")]
    pub(super) data_ingested: bool,
    #[prost(int64, tag = "2")]
    pub(super) oldest_profile_time: i64,
    #[prost(int64, tag = "3")]
    pub(super) newest_profile_time: i64,
}

pub(super) const PROFILE_STATS: Shape = Shape {
    fields: &[
        one(1, "dataIngested", Holds::Bool),
        one(2, "oldestProfileTime", Holds::Int64),
        one(3, "newestProfileTime", Holds::Int64),
    ],
};

/// `querier.v1.SelectSeriesRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SelectSeries {
    #[prost(string, tag = "1")]
    pub(super) profile_type: String,
    #[prost(string, tag = "2")]
    pub(super) label_selector: String,
    #[prost(int64, tag = "3")]
    pub(super) start: i64,
    #[prost(int64, tag = "4")]
    pub(super) end: i64,
    #[prost(string, repeated, tag = "5")]
    pub(super) group_by: Vec<String>,
    #[prost(double, tag = "6")]
    pub(super) step: f64,
    /// 1: the average.
    #[prost(int32, optional, tag = "7")]
    pub(super) aggregation: Option<i32>,
    #[prost(message, optional, tag = "8")]
    pub(super) stack_trace_selector: Option<StackTraceSelector>,
    #[prost(int64, optional, tag = "9")]
    pub(super) limit: Option<i64>,
}

pub(super) const SELECT_SERIES: Shape = Shape {
    fields: &[
        one(1, "profileTypeID", Holds::Text),
        one(2, "labelSelector", Holds::Text),
        one(3, "start", Holds::Int64),
        one(4, "end", Holds::Int64),
        many(5, "groupBy", Holds::Text),
        one(6, "step", Holds::Double),
        one(7, "aggregation", Holds::Enum(&AGGREGATIONS)),
        one(8, "stackTraceSelector", Holds::Message(&STACK_TRACE_SELECTOR)),
        one(9, "limit", Holds::Int64),
    ],
};

const AGGREGATIONS: [&str; 2] = ["TIME_SERIES_AGGREGATION_TYPE_SUM", "TIME_SERIES_AGGREGATION_TYPE_AVERAGE"];

/// `querier.v1.SelectSeriesResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SeriesOverTime {
    #[prost(message, repeated, tag = "1")]
    pub(super) series: Vec<OneOverTime>,
}

pub(super) const SERIES_OVER_TIME: Shape = Shape { fields: &[many(1, "series", Holds::Message(&ONE_OVER_TIME))] };

/// `types.v1.Series`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OneOverTime {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<LabelPair>,
    #[prost(message, repeated, tag = "2")]
    pub(super) points: Vec<Point>,
}

const ONE_OVER_TIME: Shape =
    Shape { fields: &[many(1, "labels", Holds::Message(&LABEL_PAIR)), many(2, "points", Holds::Message(&POINT))] };

/// `types.v1.Point`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Point {
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    #[prost(int64, tag = "2")]
    pub(super) timestamp: i64,
}

const POINT: Shape = Shape { fields: &[one(1, "value", Holds::Double), one(2, "timestamp", Holds::Int64)] };

/// `querier.v1.SelectMergeStacktracesRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SelectStacktraces {
    #[prost(string, tag = "1")]
    pub(super) profile_type: String,
    #[prost(string, tag = "2")]
    pub(super) label_selector: String,
    #[prost(int64, tag = "3")]
    pub(super) start: i64,
    #[prost(int64, tag = "4")]
    pub(super) end: i64,
    #[prost(int64, optional, tag = "5")]
    pub(super) max_nodes: Option<i64>,
    #[prost(int32, tag = "6")]
    pub(super) format: i32,
    #[prost(message, optional, tag = "7")]
    pub(super) stack_trace_selector: Option<StackTraceSelector>,
    #[prost(string, repeated, tag = "8")]
    pub(super) profile_id_selector: Vec<String>,
    #[prost(string, repeated, tag = "10")]
    pub(super) trace_id_selector: Vec<String>,
    #[prost(string, repeated, tag = "11")]
    pub(super) span_selector: Vec<String>,
}

pub(super) const SELECT_STACKTRACES: Shape = Shape {
    fields: &[
        one(1, "profileTypeID", Holds::Text),
        one(2, "labelSelector", Holds::Text),
        one(3, "start", Holds::Int64),
        one(4, "end", Holds::Int64),
        one(5, "maxNodes", Holds::Int64),
        one(6, "format", Holds::Enum(&FORMATS)),
        one(7, "stackTraceSelector", Holds::Message(&STACK_TRACE_SELECTOR)),
        many(8, "profileIdSelector", Holds::Text),
        many(10, "traceIdSelector", Holds::Text),
        many(11, "spanSelector", Holds::Text),
    ],
};

/// `querier.v1.ProfileFormat`, by number.
pub(super) const FORMATS: [&str; 5] = [
    "PROFILE_FORMAT_UNSPECIFIED",
    "PROFILE_FORMAT_FLAMEGRAPH",
    "PROFILE_FORMAT_TREE",
    "PROFILE_FORMAT_DOT",
    "PROFILE_FORMAT_PPROF",
];

/// `types.v1.StackTraceSelector`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StackTraceSelector {
    #[prost(message, repeated, tag = "1")]
    pub(super) call_site: Vec<Location>,
    #[prost(message, optional, tag = "2")]
    pub(super) go_pgo: Option<GoPgo>,
}

const STACK_TRACE_SELECTOR: Shape =
    Shape { fields: &[many(1, "callSite", Holds::Message(&LOCATION)), one(2, "goPgo", Holds::Message(&Shape::EMPTY))] };

/// `types.v1.Location`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Location {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

const LOCATION: Shape = Shape { fields: &[one(1, "name", Holds::Text)] };

/// `types.v1.GoPGO`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct GoPgo {}

/// `querier.v1.SelectMergeStacktracesResponse` and `SelectMergeSpanProfileResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Stacktraces {
    #[prost(message, optional, tag = "1")]
    pub(super) flamegraph: Option<FlameGraph>,
    #[prost(message, optional, tag = "5")]
    pub(super) pprof: Option<Pprof>,
}

pub(super) const STACKTRACES: Shape =
    Shape { fields: &[one(1, "flamegraph", Holds::Message(&FLAME_GRAPH)), one(5, "pprof", Holds::Message(&PPROF))] };

/// `querier.v1.PprofProfile`, with the profile as it is written.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Pprof {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) profile: Vec<u8>,
}

const PPROF: Shape = Shape { fields: &[one(1, "profile", Holds::Message(&PROFILE))] };

/// `querier.v1.FlameGraph` and `FlameGraphDiff`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FlameGraph {
    #[prost(string, repeated, tag = "1")]
    pub(super) names: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    pub(super) levels: Vec<Level>,
    #[prost(int64, tag = "3")]
    pub(super) total: i64,
    #[prost(int64, tag = "4")]
    pub(super) max_self: i64,
    /// Of a comparison.
    #[prost(int64, tag = "5")]
    pub(super) left_ticks: i64,
    /// Of a comparison.
    #[prost(int64, tag = "6")]
    pub(super) right_ticks: i64,
}

const FLAME_GRAPH: Shape = Shape {
    fields: &[
        many(1, "names", Holds::Text),
        many(2, "levels", Holds::Message(&LEVEL)),
        one(3, "total", Holds::Int64),
        one(4, "maxSelf", Holds::Int64),
        one(5, "leftTicks", Holds::Int64),
        one(6, "rightTicks", Holds::Int64),
    ],
};

/// `querier.v1.Level`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Level {
    #[prost(int64, repeated, tag = "1")]
    pub(super) values: Vec<i64>,
}

const LEVEL: Shape = Shape { fields: &[many(1, "values", Holds::Int64)] };

/// `querier.v1.SelectMergeSpanProfileRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SelectSpans {
    #[prost(string, tag = "1")]
    pub(super) profile_type: String,
    #[prost(string, tag = "2")]
    pub(super) label_selector: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) span_selector: Vec<String>,
    #[prost(int64, tag = "4")]
    pub(super) start: i64,
    #[prost(int64, tag = "5")]
    pub(super) end: i64,
    #[prost(int64, optional, tag = "6")]
    pub(super) max_nodes: Option<i64>,
    #[prost(int32, tag = "7")]
    pub(super) format: i32,
}

pub(super) const SELECT_SPANS: Shape = Shape {
    fields: &[
        one(1, "profileTypeID", Holds::Text),
        one(2, "labelSelector", Holds::Text),
        many(3, "spanSelector", Holds::Text),
        one(4, "start", Holds::Int64),
        one(5, "end", Holds::Int64),
        one(6, "maxNodes", Holds::Int64),
        one(7, "format", Holds::Enum(&FORMATS)),
    ],
};

/// `querier.v1.DiffRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Diff {
    #[prost(message, optional, tag = "1")]
    pub(super) left: Option<SelectStacktraces>,
    #[prost(message, optional, tag = "2")]
    pub(super) right: Option<SelectStacktraces>,
}

pub(super) const DIFF: Shape = Shape {
    fields: &[
        one(1, "left", Holds::Message(&SELECT_STACKTRACES)),
        one(2, "right", Holds::Message(&SELECT_STACKTRACES)),
    ],
};

/// `querier.v1.DiffResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Difference {
    #[prost(message, optional, tag = "1")]
    pub(super) flamegraph: Option<FlameGraph>,
}

pub(super) const DIFFERENCE: Shape = Shape { fields: &[one(1, "flamegraph", Holds::Message(&FLAME_GRAPH))] };

/// `querier.v1.SelectMergeProfileRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SelectProfile {
    #[prost(string, tag = "1")]
    pub(super) profile_type: String,
    #[prost(string, tag = "2")]
    pub(super) label_selector: String,
    #[prost(int64, tag = "3")]
    pub(super) start: i64,
    #[prost(int64, tag = "4")]
    pub(super) end: i64,
    #[prost(int64, optional, tag = "5")]
    pub(super) max_nodes: Option<i64>,
    #[prost(message, optional, tag = "6")]
    pub(super) stack_trace_selector: Option<StackTraceSelector>,
    #[prost(string, repeated, tag = "7")]
    pub(super) profile_id_selector: Vec<String>,
    #[prost(string, repeated, tag = "8")]
    pub(super) trace_id_selector: Vec<String>,
}

pub(super) const SELECT_PROFILE: Shape = Shape {
    fields: &[
        one(1, "profileTypeID", Holds::Text),
        one(2, "labelSelector", Holds::Text),
        one(3, "start", Holds::Int64),
        one(4, "end", Holds::Int64),
        one(5, "maxNodes", Holds::Int64),
        one(6, "stackTraceSelector", Holds::Message(&STACK_TRACE_SELECTOR)),
        many(7, "profileIdSelector", Holds::Text),
        many(8, "traceIdSelector", Holds::Text),
    ],
};

/// `google.v1.Profile`, which is pprof's.
pub(super) const PROFILE: Shape = Shape {
    fields: &[
        many(1, "sampleType", Holds::Message(&VALUE_TYPE)),
        many(2, "sample", Holds::Message(&SAMPLE)),
        many(3, "mapping", Holds::Message(&MAPPING)),
        many(4, "location", Holds::Message(&PROFILE_LOCATION)),
        many(5, "function", Holds::Message(&FUNCTION)),
        many(6, "stringTable", Holds::Text),
        one(9, "timeNanos", Holds::Int64),
        one(10, "durationNanos", Holds::Int64),
        one(11, "periodType", Holds::Message(&VALUE_TYPE)),
        one(12, "period", Holds::Int64),
        many(13, "comment", Holds::Int64),
    ],
};

const VALUE_TYPE: Shape = Shape { fields: &[one(1, "type", Holds::Int64), one(2, "unit", Holds::Int64)] };

const SAMPLE: Shape = Shape { fields: &[many(1, "locationId", Holds::Int64), many(2, "value", Holds::Int64)] };

const MAPPING: Shape = Shape {
    fields: &[
        one(1, "id", Holds::Int64),
        one(2, "memoryStart", Holds::Int64),
        one(3, "memoryLimit", Holds::Int64),
        one(4, "fileOffset", Holds::Int64),
        one(5, "filename", Holds::Int64),
        one(6, "buildId", Holds::Int64),
        one(7, "hasFunctions", Holds::Bool),
        one(8, "hasFilenames", Holds::Bool),
        one(9, "hasLineNumbers", Holds::Bool),
        one(10, "hasInlineFrames", Holds::Bool),
    ],
};

const PROFILE_LOCATION: Shape = Shape {
    fields: &[
        one(1, "id", Holds::Int64),
        one(2, "mappingId", Holds::Int64),
        one(3, "address", Holds::Int64),
        many(4, "line", Holds::Message(&LINE)),
    ],
};

const LINE: Shape = Shape { fields: &[one(1, "functionId", Holds::Int64), one(2, "line", Holds::Int64)] };

const FUNCTION: Shape = Shape {
    fields: &[
        one(1, "id", Holds::Int64),
        one(2, "name", Holds::Int64),
        one(3, "systemName", Holds::Int64),
        one(4, "filename", Holds::Int64),
        one(5, "startLine", Holds::Int64),
    ],
};

/// A request that says nothing.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Nothing {}

pub(super) const NOTHING: Shape = Shape::EMPTY;
