//! Why some requests are slow: chosen ones against others of their route, by what they cost and by their labels.
//!
//! Requests are the replicates. Of each side at most [`REQUESTS_MAX`] are drawn, by how many each example stands for; what they cost is
//! summed in up to 64 groups of requests a side, and tested as profiles are between slices of time (Welch's test on the groups), and by how many
//! requests cost anything at all (Fisher's exact test), of which the better counts half: what only some of a few slow requests do has a spread
//! that Welch's test does not see through. Labels are tested by Fisher's exact test on requests. Every false-discovery rate is multiplied by the number of lists of tests, so that something is found
//! between two halves of the same requests at most once in a hundred comparisons.

mod ask;
mod choose;
mod costs;
mod labels;
mod words;

use serde::Serialize;

use crate::query::RequestCosts;
use crate::symbols::Symbols;
pub use ask::{ExplainError, Question, explain};
pub use choose::{Chosen, Selector, choose};

/// Requests of a side that are looked at.
pub const REQUESTS_MAX: usize = 2_000;

/// Fewer of a side say nothing.
pub const REQUESTS_MIN: usize = 8;

/// False-discovery rate, of all that is told together, at which a difference counts as one.
pub const SIGNIFICANT: f64 = 0.01;

/// Functions, families and labels that are told, each.
const TOLD_MAX: usize = 20;

/// What tells the chosen requests from the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The requests that were chosen.
    pub chosen: Side,
    /// What they are compared with.
    pub others: Side,
    /// The answer in words, most important first.
    pub sentences: Vec<String>,
    /// By type: CPU, then allocations, then what else adds up.
    pub costs: Vec<Cost>,
    /// Values of labels, those whose shares differ most first.
    pub labels: Vec<LabelShare>,
    /// How it was found out.
    pub evidence: Evidence,
}

/// One side of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Side {
    /// They took at least this long, in microseconds.
    pub min_us: u64,
    /// And less than this, where there is a limit.
    pub max_us: Option<u64>,
    /// They ended at this time, unix milliseconds, …
    pub from_ms: u64,
    /// … and before this.
    pub until_ms: u64,
    /// How many there were: all are counted.
    pub requests: u64,
    /// How many of them were looked at.
    pub examples: usize,
    /// Their mean duration in microseconds, at most 2.2 % off.
    pub mean_us: u64,
}

/// What requests cost in one type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// `cpu`, `alloc_space`, …
    #[serde(rename = "type")]
    pub profile_type: String,
    /// Of the values.
    pub unit: String,
    /// All of it together.
    #[serde(flatten)]
    pub whole: Difference,
    /// Functions by what they cost, largest difference first.
    pub functions: Vec<Part>,
    /// The same by kind of work.
    pub families: Vec<Part>,
}

/// A function or a family.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// As people say it.
    pub name: String,
    /// As it is stored.
    pub full_name: String,
    /// Its family.
    pub family: String,
    /// What it costs.
    #[serde(flatten)]
    pub difference: Difference,
}

/// A cost on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Of a chosen request, on average.
    pub chosen_per_request: f64,
    /// Of one of the others.
    pub others_per_request: f64,
    /// False-discovery rate of "they differ", 0…1.
    pub q: f64,
    /// Whether that is little enough.
    pub significant: bool,
}

/// How many requests have a label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelShare {
    /// Such as `tenant`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Share of the chosen requests that have it, 0…1, of those whose value of this label is known.
    pub chosen_share: f64,
    /// The same of the others.
    pub others_share: f64,
    /// Chosen requests that have it.
    pub chosen_requests: u64,
    /// Others that have it.
    pub others_requests: u64,
    /// False-discovery rate of "the shares differ", 0…1.
    pub q: f64,
    /// Whether that is little enough.
    pub significant: bool,
}

/// How it was found out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// The tests.
    pub test: &'static str,
    /// At which a difference counts as one.
    pub false_discovery_rate: f64,
    /// Requests of a side that are looked at, at most.
    pub requests_per_side_max: usize,
}

const TEST: &str = "Requests are the replicates. Costs: Welch's test over up to 64 groups of requests a side, and Fisher's exact test on \
                    how many requests have any, twice the smaller p-value; labels: Fisher's exact test. False-discovery rates are by Benjamini and Hochberg within a list, times the number of lists.";

impl Explained {
    /// Explains a choice by what its requests cost. Looks up symbols, so it blocks.
    pub fn of(route: &str, selector: Selector, chosen: &Chosen, costs: &RequestCosts, symbols: &Symbols) -> Self {
        let [others_side, chosen_side] = chosen.sides;
        let enough = chosen.requests.sides.iter().all(|side| side.len() >= REQUESTS_MIN);
        // Totals, functions and families of each type, and labels.
        let lists = 3 * costs.types.len() + 1;
        let (costs, labels) = if enough {
            (costs::all(costs, symbols, lists), labels::all(&chosen.requests, costs, lists))
        } else {
            (Vec::new(), Vec::new())
        };
        let scene = words::Scene { route, selector, chosen: chosen_side, others: others_side, enough };
        Self {
            chosen: chosen_side,
            others: others_side,
            sentences: scene.sentences(&costs, &labels),
            costs,
            labels,
            evidence: Evidence { test: TEST, false_discovery_rate: SIGNIFICANT, requests_per_side_max: REQUESTS_MAX },
        }
    }

    /// Whether anything but their duration tells them apart.
    pub fn finds_something(&self) -> bool {
        let of_cost = |cost: &Cost| {
            let parts = cost.functions.iter().chain(&cost.families).map(|part| &part.difference);
            parts.chain([&cost.whole]).any(|difference| difference.significant)
        };
        self.costs.iter().any(of_cost) || self.labels.iter().any(|label| label.significant)
    }
}

impl Difference {
    fn new(chosen_per_request: f64, others_per_request: f64, q: f64, lists: usize) -> Self {
        let q = (q * lists as f64).min(1.0);
        Self { chosen_per_request, others_per_request, q, significant: q <= SIGNIFICANT }
    }

    fn more(&self) -> f64 {
        self.chosen_per_request - self.others_per_request
    }
}

#[cfg(test)]
mod tests;
