//! Where the time of an answer went, as a `Server-Timing` header: the network tab of every browser draws it.

use std::fmt::Write;
use std::time::Instant;

use axum::http::HeaderValue;
use axum::response::Response;

use crate::base::clock;
use crate::profile::model::Cost;

/// Steps of one answer, in the order they were done.
#[derive(Debug, Clone)]
pub(super) struct Timing {
    text: String,
    last: Instant,
}

impl Timing {
    /// Starts with what the sums took.
    pub(super) fn of(costs: &[Cost]) -> Self {
        let mut timing = Self { text: String::new(), last: clock::instant() };
        let sum = |of: fn(&Cost) -> f64| costs.iter().map(of).sum::<f64>();
        timing.add("plan", sum(|cost| cost.plan.as_secs_f64()));
        timing.add("scan", sum(|cost| cost.scan.as_secs_f64()));
        timing.add("order", sum(|cost| cost.order.as_secs_f64()));
        let (rows, windows) = (sum(|cost| cost.rows as f64), sum(|cost| cost.windows as f64));
        write!(timing.text, ", read;desc=\"{rows} rows and {windows} arrived windows\"").expect("strings take it");
        timing
    }

    /// The step that was done since the last one.
    pub(super) fn step(&mut self, name: &str) {
        let now = clock::instant();
        self.add(name, (now - self.last).as_secs_f64());
        self.last = now;
    }

    fn add(&mut self, name: &str, seconds: f64) {
        let comma = if self.text.is_empty() { "" } else { ", " };
        write!(self.text, "{comma}{name};dur={:.1}", seconds * 1e3).expect("strings take what they are given");
    }

    /// Puts it on the answer.
    pub(super) fn mark(self, mut response: Response) -> Response {
        if let Ok(value) = HeaderValue::try_from(self.text) {
            response.headers_mut().insert("server-timing", value);
        }
        response
    }
}
