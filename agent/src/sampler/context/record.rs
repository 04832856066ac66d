//! The trace context of the current thread, in the byte layout of OpenTelemetry's thread-context record (OTEP 4947).
//!
//! Written by the thread itself, read by a signal handler on that same thread at any instruction: so the order of the
//! writes is all that matters, and compiler fences keep it. The record has no destructor, so it outlives every other
//! thread-local and can be read until the thread's last instruction. Other profilers read it too: see [`published`].

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering, compiler_fence};

use super::published;
use crate::labels::Labels;
use crate::trace_context::{TraceContext, halves, whole};

/// The first 28 bytes are OTEP 4947's: trace id, span id, valid, flags, size of attributes. That is always 0, so what follows is
/// ours.
#[repr(C)]
struct Record {
    trace_id: [AtomicU64; 2],
    span_id: AtomicU64,
    valid: AtomicU8,
    flags: AtomicU8,
    attributes_bytes: AtomicU16,
    /// Number of the string labels. They hold without a trace too.
    labels: AtomicU16,
}

thread_local! {
    static RECORD: Record = const {
        Record {
            trace_id: [AtomicU64::new(0), AtomicU64::new(0)],
            span_id: AtomicU64::new(0),
            valid: AtomicU8::new(0),
            flags: AtomicU8::new(0),
            attributes_bytes: AtomicU16::new(0),
            labels: AtomicU16::new(0),
        }
    };
}

/// Sets what this thread works for. Costs a few nanoseconds.
pub(crate) fn replace(context: Option<TraceContext>, labels: Labels) {
    RECORD.with(|record| {
        let was_there = record.valid.load(Ordering::Relaxed) == 1;
        record.write(context, labels);
        if was_there != context.is_some() {
            published::publish(if context.is_some() { std::ptr::from_ref(record) } else { std::ptr::null() });
        }
    });
}

/// What this thread works for. Safe in a signal handler.
pub(crate) fn current() -> Option<TraceContext> {
    RECORD.with(Record::read)
}

/// The string labels of this thread. Safe in a signal handler.
pub(crate) fn labels() -> Labels {
    RECORD.with(|record| Labels::numbered(record.labels.load(Ordering::Relaxed)))
}

impl Record {
    /// In between there is no trace, so nobody ever sees the labels of one request with the trace of another.
    fn write(&self, context: Option<TraceContext>, labels: Labels) {
        self.valid.store(0, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        self.labels.store(labels.number(), Ordering::Relaxed);
        let Some(context) = context else { return };
        let (high, low) = halves(context.trace_id);
        self.trace_id[0].store(high, Ordering::Relaxed);
        self.trace_id[1].store(low, Ordering::Relaxed);
        self.span_id.store(u64::from_ne_bytes(context.span_id), Ordering::Relaxed);
        self.flags.store(context.flags, Ordering::Relaxed);
        self.attributes_bytes.store(0, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        self.valid.store(1, Ordering::Relaxed);
    }

    fn read(&self) -> Option<TraceContext> {
        if self.valid.load(Ordering::Relaxed) != 1 {
            return None;
        }
        compiler_fence(Ordering::SeqCst);
        Some(TraceContext {
            trace_id: whole(self.trace_id[0].load(Ordering::Relaxed), self.trace_id[1].load(Ordering::Relaxed)),
            span_id: self.span_id.load(Ordering::Relaxed).to_ne_bytes(),
            flags: self.flags.load(Ordering::Relaxed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(byte: u8) -> TraceContext {
        TraceContext { trace_id: [byte; 16], span_id: [byte; 8], flags: byte }
    }

    #[test]
    fn what_was_set_reads_back() {
        let ids = TraceContext {
            trace_id: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            span_id: [21, 22, 23, 24, 25, 26, 27, 28],
            flags: 1,
        };
        replace(Some(ids), Labels::NONE);
        assert_eq!(current(), Some(ids));
        replace(Some(context(7)), Labels::numbered(9));
        assert_eq!((current(), labels().number()), (Some(context(7)), 9));
        replace(None, Labels::NONE);
        assert_eq!(current(), None);
    }

    #[test]
    fn threads_do_not_see_each_other() {
        replace(Some(context(9)), Labels::NONE);
        assert_eq!(std::thread::spawn(current).join().unwrap(), None);
        assert_eq!(current(), Some(context(9)));
        replace(None, Labels::NONE);
    }

    #[test]
    fn the_layout_is_the_one_other_profilers_read() {
        assert_eq!(std::mem::offset_of!(Record, span_id), 16);
        assert_eq!(std::mem::offset_of!(Record, valid), 24);
        assert_eq!(std::mem::offset_of!(Record, flags), 25);
        assert_eq!(std::mem::offset_of!(Record, attributes_bytes), 26);
    }
}
