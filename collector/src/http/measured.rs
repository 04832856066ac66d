//! Requests as Prometheus reads them: how many, how long they took, and how they ended, by route and method. All labels are of closed sets,
//! so that nobody can blow up the scraper by asking for strange things.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use tonic::Code;

/// Upper bounds of durations, seconds: from what memory answers to what a query may take.
const BOUNDS_S: [f64; 11] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// How a request ended, for its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 1xx and 2xx; of gRPC, OK.
    Done,
    /// 3xx: also what a client has already.
    Elsewhere,
    /// 4xx: the caller can do something about it.
    Refused,
    /// 5xx: the collector can.
    Failed,
    /// Nobody waits for the answer any more.
    Gone,
}

impl Outcome {
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            ..300 => Self::Done,
            300..400 => Self::Elsewhere,
            400..500 => Self::Refused,
            _ => Self::Failed,
        }
    }

    /// By the status of HTTP that means the same.
    pub(super) fn of_call(code: Code) -> Self {
        match code {
            Code::Ok => Self::Done,
            Code::Unknown | Code::DeadlineExceeded | Code::Internal | Code::Unavailable | Code::DataLoss => {
                Self::Failed
            }
            _ => Self::Refused,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Done => "2xx",
            Self::Elsewhere => "3xx",
            Self::Refused => "4xx",
            Self::Failed => "5xx",
            Self::Gone => "gone",
        }
    }
}

/// The method of a request; all that no route takes are one.
pub(super) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// Of one family.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    route: String,
    method: &'static str,
    status: &'static str,
}

/// By their labels.
pub(super) type Durations = Family<Labels, Histogram>;

/// All requests since the start. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    durations: Durations,
    in_flight: Arc<AtomicI64>,
}

impl Default for Measured {
    fn default() -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(BOUNDS_S)) as fn() -> Histogram);
        Self { durations, in_flight: Arc::default() }
    }
}

impl Measured {
    pub(super) fn begun(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that was begun. `route` is a template, of which there are so many.
    pub(super) fn ended(&self, route: &str, method: &'static str, outcome: Outcome, took: Duration) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let labels = Labels { route: route.to_owned(), method, status: outcome.label() };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// How long they took.
    pub(super) fn durations(&self) -> Durations {
        self.durations.clone()
    }

    /// How many are being answered.
    pub(super) fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_has_one_of_a_few_labels() {
        let labels = |status| Outcome::of_status(StatusCode::from_u16(status).unwrap()).label();
        assert_eq!(
            [101, 200, 304, 404, 429, 503, 599, 999].map(labels),
            ["2xx", "2xx", "3xx", "4xx", "4xx", "5xx", "5xx", "5xx"]
        );
        let codes = [Code::Ok, Code::Unauthenticated, Code::ResourceExhausted, Code::Unavailable, Code::Internal];
        assert_eq!(codes.map(|code| Outcome::of_call(code).label()), ["2xx", "4xx", "4xx", "5xx", "5xx"]);
        assert_eq!(["GET", "HEAD", "BREW"].map(|m| method_label(&m.parse().unwrap())), ["GET", "HEAD", "other"]);
    }
}
