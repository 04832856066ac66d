//! One stack of entered contexts per thread. The topmost is what the thread's samples are labelled with. An entry that has no
//! trace of its own keeps the one it was entered in, and string labels add up.
//!
//! Entries are removed by key and not by position, because spans may be left in another order than they were entered:
//! leaving an outer span must not change the label of an inner one that is still open, and leaving the inner one later
//! must not bring the outer one back.

use std::cell::RefCell;

use crate::labels::Labels;
use crate::sampler::context;
use crate::trace_context::TraceContext;

/// Entries beyond this are ignored: whoever nests deeper forgets guards, and memory is bounded.
const DEPTH_MAX: usize = 256;

struct Entry {
    key: u64,
    context: Option<TraceContext>,
    labels: Labels,
}

thread_local! {
    static ENTRIES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// Labels the thread with `context`, if any, and `labels` until `leave` is called with the same key. The same key may be entered
/// repeatedly.
pub(crate) fn enter(key: u64, context: Option<TraceContext>, labels: Labels) {
    with_entries(|entries| {
        if entries.len() < DEPTH_MAX {
            let (outer, outer_labels) = top(entries);
            let entry = Entry { key, context: context.or(outer), labels: outer_labels.plus(labels) };
            context::replace(entry.context, entry.labels);
            entries.push(entry);
        }
    });
}

/// Takes back the latest `enter` with this key. A key that is not there is ignored.
pub(crate) fn leave(key: u64) {
    with_entries(|entries| {
        // Nearly always the topmost.
        if entries.pop_if(|entry| entry.key == key).is_some() {
            let (context, labels) = top(entries);
            context::replace(context, labels);
        } else if let Some(at) = entries.iter().rposition(|entry| entry.key == key) {
            entries.remove(at);
        }
    });
}

fn top(entries: &[Entry]) -> (Option<TraceContext>, Labels) {
    entries.last().map_or((None, Labels::NONE), |entry| (entry.context, entry.labels))
}

/// Does nothing while the thread's locals are being destroyed: a sample without a label is correct, a panic is not.
fn with_entries(change: impl FnOnce(&mut Vec<Entry>)) {
    let _ = ENTRIES.try_with(|entries| {
        if let Ok(mut entries) = entries.try_borrow_mut() {
            change(&mut entries);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{current, current_labels};

    #[test]
    fn leaving_in_another_order_never_brings_a_closed_context_back() {
        let [a, b, c] = [TraceContext::root(), TraceContext::root(), TraceContext::root()];
        enter(1, Some(a), Labels::NONE);
        enter(2, Some(b), Labels::NONE);
        enter(3, Some(c), Labels::NONE);
        leave(2);
        assert_eq!(current(), Some(c));
        leave(3);
        assert_eq!(current(), Some(a));
        leave(2);
        assert_eq!(current(), Some(a), "an unknown key is ignored");
        leave(1);
        assert_eq!(current(), None);
    }

    #[test]
    fn one_key_can_be_entered_repeatedly() {
        let [a, b] = [TraceContext::root(), TraceContext::root()];
        enter(1, Some(a), Labels::NONE);
        enter(2, Some(b), Labels::NONE);
        enter(1, Some(a), Labels::NONE);
        leave(1);
        assert_eq!(current(), Some(b));
        leave(2);
        leave(1);
        assert_eq!(current(), None);
    }

    #[test]
    fn forgotten_entries_stop_growing() {
        for key in 0..10_000 {
            enter(key, Some(TraceContext::root()), Labels::NONE);
        }
        ENTRIES.with_borrow(|entries| assert_eq!(entries.len(), DEPTH_MAX));
    }

    #[test]
    fn labels_add_up_and_traces_stay_until_replaced() {
        let [a, b] = [TraceContext::root(), TraceContext::root()];
        let (tenant, route) = (Labels::of("tenant", "acme"), Labels::of("route", "GET /"));
        enter(1, None, tenant);
        assert_eq!((current(), current_labels()), (None, tenant));
        enter(2, Some(a), route);
        assert_eq!((current(), current_labels()), (Some(a), tenant.plus(route)));
        enter(3, Some(b), Labels::NONE);
        enter(4, None, Labels::of("tenant", "umbrella"));
        assert_eq!((current(), current_labels()), (Some(b), Labels::of("tenant", "umbrella").plus(route)));
        leave(4);
        assert_eq!((current(), current_labels()), (Some(b), tenant.plus(route)));
        leave(2);
        leave(3);
        assert_eq!((current(), current_labels()), (None, tenant));
        leave(1);
        assert_eq!((current(), current_labels()), (None, Labels::NONE));
    }
}
