//! One stack of entered contexts per thread. The topmost is what the thread's samples are labelled with.
//!
//! Entries are removed by key and not by position, because spans may be left in another order than they were entered:
//! leaving an outer span must not change the label of an inner one that is still open, and leaving the inner one later
//! must not bring the outer one back.

use std::cell::RefCell;

use super::TraceContext;
use crate::sampler::context_record;

/// Entries beyond this are ignored: whoever nests deeper forgets guards, and memory is bounded.
const DEPTH_MAX: usize = 256;

struct Entry {
    key: u64,
    context: TraceContext,
}

thread_local! {
    static ENTRIES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// Labels the thread with `context` until `leave` is called with the same key. The same key may be entered repeatedly.
pub(super) fn enter(key: u64, context: TraceContext) {
    with_entries(|entries| {
        if entries.len() < DEPTH_MAX {
            entries.push(Entry { key, context });
            context_record::replace(Some(context));
        }
    });
}

/// Takes back the latest `enter` with this key. A key that is not there is ignored.
pub(super) fn leave(key: u64) {
    with_entries(|entries| {
        let Some(at) = entries.iter().rposition(|entry| entry.key == key) else { return };
        entries.remove(at);
        if at == entries.len() {
            context_record::replace(entries.last().map(|entry| entry.context));
        }
    });
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
    use crate::context::current;

    #[test]
    fn leaving_in_another_order_never_brings_a_closed_context_back() {
        let [a, b, c] = [TraceContext::root(), TraceContext::root(), TraceContext::root()];
        enter(1, a);
        enter(2, b);
        enter(3, c);
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
        enter(1, a);
        enter(2, b);
        enter(1, a);
        leave(1);
        assert_eq!(current(), Some(b));
        leave(2);
        leave(1);
        assert_eq!(current(), None);
    }

    #[test]
    fn forgotten_entries_stop_growing() {
        for key in 0..10_000 {
            enter(key, TraceContext::root());
        }
        ENTRIES.with_borrow(|entries| assert_eq!(entries.len(), DEPTH_MAX));
    }
}
