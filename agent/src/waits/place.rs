//! For whom a leaf of a waiting task went to sleep, as the numbers that other threads may read of it.

use super::registrations::Place;
use crate::labels::Labels;
use crate::trace_context::{TraceContext, halves, whole};

/// Where the trace's flags stand in [`Place::labels`], above the number of the labels, …
const FLAGS_SHIFT: u32 = 16;
/// … and that there is a trace.
const HAS_TRACE: u32 = 1 << 24;

impl Place {
    /// Of a stack, and what its thread worked for.
    pub(super) fn of(stack_hash: u64, context: Option<&TraceContext>, labels: Labels) -> Self {
        let number = u32::from(labels.number());
        let Some(context) = context else { return Self { stack_hash, ids: [0; 3], labels: number } };
        let (high, low) = halves(context.trace_id);
        let ids = [high, low, u64::from_ne_bytes(context.span_id)];
        Self { stack_hash, ids, labels: number | u32::from(context.flags) << FLAGS_SHIFT | HAS_TRACE }
    }

    /// What the thread worked for.
    pub(super) fn works_for(&self) -> (Option<TraceContext>, Labels) {
        let [high, low, span] = self.ids;
        let context = (self.labels & HAS_TRACE != 0).then(|| TraceContext {
            trace_id: whole(high, low),
            span_id: span.to_ne_bytes(),
            flags: (self.labels >> FLAGS_SHIFT) as u8,
        });
        (context, Labels::numbered(self.labels as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_whom_it_is_for() {
        let context = TraceContext { flags: 0xff, ..TraceContext::root() };
        for (context, labels) in [(Some(context), Labels::numbered(u16::MAX)), (None, Labels::numbered(3))] {
            assert_eq!(Place::of(7, context.as_ref(), labels).works_for(), (context, labels));
        }
        assert_eq!(Place::default().works_for(), (None, Labels::NONE));
    }
}
