//! Selection → segments → one merged profile, with work limits. The web view, the JSON API, alert pages and the gate all ask here,
//! so they can never disagree.
//!
//! | module | what it does |
//! |---|---|
//! | [`selection`], [`answers`] | what can be asked, and what is answered |
//! | [`engine`] | what every question shares: its time, its thread, its errors |
//! | [`merged`], [`timeline`], [`sums_over_time`], [`overview`], [`trace`], [`requests`], [`request_costs`], [`spans`], [`drawn`], [`names`], [`processes`] | the questions, one a file |
//! | [`prepare`] | what the catalog knows of a selection, listed once: answer and revision are made of it |
//! | [`cover`] | which level answers for which part of the range |
//! | [`gather`], [`measure`], [`plan`] | which windows and parts may hold it, their sums, and what of them a selection needs |
//! | [`linked`] | windows of single traces, from compacted segments |
//! | [`slices`] | replicates and covered time |
//! | [`scan`], [`columns`], [`side_by_side`] | opens windows and parts on several threads |
//! | [`merge`], [`sums`] | the exact sum of prefix trees, and the canonical order of the answer |
//! | [`label_sets`] | the same told apart by the labels of samples, for exports |
//! | [`fit`] | what does not fit the limits is answered for the newest part of the range that does |
//! | [`damage`], [`reach`] | what to say of a range in which something is damaged, or that only a long window reaches into |
//! | [`flight`] | identical questions at the same time are computed once |
//! | [`cancel`] | a dropped future stops its work, and so does the end of its time |

mod answers;
mod cancel;
mod columns;
mod cover;
mod damage;
mod drawn;
mod engine;
mod fit;
mod flight;
mod gather;
mod label_sets;
mod linked;
mod measure;
mod merge;
mod merged;
mod names;
mod overview;
mod plan;
mod prepare;
mod processes;
mod reach;
mod request_costs;
mod requests;
mod scan;
mod selection;
mod side_by_side;
mod slices;
mod spans;
mod sums;
mod sums_over_time;
#[cfg(test)]
mod tests;
mod timeline;
mod trace;

pub use answers::{
    SPARK_POINTS, ServiceOverview, TRACE_SAMPLES_MAX, Timeline, TimelineSeries, TraceSample, TraceService, TraceView,
};
pub(crate) use drawn::{Drawing, SpanLook};
pub use engine::QueryEngine;
pub use prepare::Prepared;
pub use request_costs::{RequestCosts, RequestSides};
pub use requests::{RequestsAsked, RequestsOver};
pub use selection::{QueryError, QueryLimits, Selection};
pub use spans::EntrySpan;
pub use sums_over_time::{Line, SumsOverTime};
pub use timeline::REST_LABEL;
