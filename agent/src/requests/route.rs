//! One route in one window: how many requests it had, and which of the next may be examples.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tephra_proto::trace_share;

use super::histogram::{Counts, Histogram};
use super::span::{STATUSES, Span, Status};

/// Routes of a window, whatever thread reports them; the last is for all that come after.
pub(super) const ROUTES_MAX: usize = 64;

/// A route, to which any number of threads add at once.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) name: Arc<str>,
    /// Counted from 0 in each window.
    pub(super) number: u8,
    /// Indexed by [`Status`].
    counts: [OnceLock<Box<Histogram>>; STATUSES],
    bar: Bar,
}

/// What a request must be to become an example: slower than one of the slowest so far, or of a trace that is told of. Either only
/// rises while a window lasts, so whoever reads what was true a moment ago lets through too much and never too little.
#[derive(Debug, Default)]
struct Bar {
    slow_ns: AtomicU64,
    halvings: AtomicU32,
}

impl Route {
    pub(super) fn new(name: Arc<str>, number: u8) -> Self {
        Self { name, number, counts: Default::default(), bar: Bar::default() }
    }

    /// Counts one request.
    pub(super) fn count(&self, span: &Span) {
        if let Some(counts) = self.counts.get(span.status as usize) {
            counts.get_or_init(Box::default).add(span);
        }
    }

    /// Whether a request may be an example.
    pub(super) fn may_tell_of(&self, span: &Span) -> bool {
        let is_slow = span.duration_ns >= self.bar.slow_ns.load(Ordering::Relaxed);
        is_slow
            || trace_share::holds(trace_share::hash(&span.context.trace_id), self.bar.halvings.load(Ordering::Relaxed))
    }

    /// From now on a request must take `slow_ns` nanoseconds, or be of a trace that is told of after so many halvings.
    pub(super) fn raise_bar(&self, slow_ns: u64, halvings: u32) {
        self.bar.slow_ns.store(slow_ns, Ordering::Relaxed);
        self.bar.halvings.store(halvings, Ordering::Relaxed);
    }

    /// What was counted, by status.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Status, Counts)> {
        let statuses = [Status::Unset, Status::Ok, Status::Error].into_iter().zip(&self.counts);
        statuses.filter_map(|(status, counts)| Some((status, counts.get()?.read())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::testing::{span, span_of};

    #[test]
    fn each_status_is_counted_apart() {
        let route = Route::new("r".into(), 0);
        for status in [Status::Error, Status::Ok, Status::Ok] {
            route.count(&Span { status, ..span(1, 2_000) });
        }
        let counts: Vec<(Status, u64)> = route.counts().map(|(status, counts)| (status, counts.bins[0].1)).collect();
        assert_eq!(counts, [(Status::Ok, 2), (Status::Error, 1)]);
    }

    #[test]
    fn at_first_everything_may_be_an_example_and_later_what_is_slow_or_told_of() {
        let route = Route::new("r".into(), 0);
        let hash = |trace: &u64| trace_share::hash(&u128::from(*trace).to_be_bytes());
        let told = (1..).find(|trace| hash(trace).leading_zeros() == 3).unwrap();
        let untold = (1..).find(|trace| hash(trace).leading_zeros() == 2).unwrap();
        assert!(route.may_tell_of(&span_of(untold, 1, 0)));
        route.raise_bar(5_000, 3);
        assert!(route.may_tell_of(&span_of(told, 1, 4_999)));
        assert!(!route.may_tell_of(&span_of(untold, 1, 4_999)));
        assert!(route.may_tell_of(&span_of(untold, 1, 5_000)), "as slow as one of the slowest");
    }
}
