//! A sample's form inside a ring: a fixed header of words, then the stack.

use crate::labels::Labels;
use crate::sample::{RawSample, SampleKind, WaitState};
use crate::trace_context::{TraceContext, halves, whole};

/// Words before the stack.
pub(crate) const HEADER_WORDS: usize = 9;

const ALLOC: u64 = 1;
const TRUNCATED: u64 = 1 << 1;
const HAS_CONTEXT: u64 = 1 << 2;
const PLACE: u64 = 1 << 3;
const AWAIT: u64 = 1 << 4;
const QUEUE: u64 = 1 << 5;
const KINDS: u64 = ALLOC | PLACE | AWAIT | QUEUE;
/// Where W3C trace flags sit in the first word.
const TRACE_FLAGS_SHIFT: u32 = 8;
/// Where the number of the labels sits in it.
const LABELS_SHIFT: u32 = 16;

/// Writes everything but the stack. Used in the signal handler: no allocation, no panic.
pub(crate) fn encode(sample: &RawSample<'_>) -> [u64; HEADER_WORDS] {
    let mut bits = u64::from(sample.labels.number()) << LABELS_SHIFT;
    if sample.truncated {
        bits |= TRUNCATED;
    }
    let (value, weight) = match sample.kind {
        SampleKind::Cpu { periods } => (u64::from(periods), 0.0),
        SampleKind::Alloc { bytes, weight } => {
            bits |= ALLOC;
            (bytes, weight)
        }
        SampleKind::Place => {
            bits |= PLACE;
            (0, 0.0)
        }
        SampleKind::Wait { state, ns } => {
            bits |= match state {
                WaitState::Await => AWAIT,
                WaitState::Queue => QUEUE,
            };
            (ns, 0.0)
        }
    };
    let (mut high, mut low, mut span) = (0, 0, 0);
    if let Some(context) = sample.context {
        bits |= HAS_CONTEXT | u64::from(context.flags) << TRACE_FLAGS_SHIFT;
        (high, low) = halves(context.trace_id);
        span = u64::from_ne_bytes(context.span_id);
    }
    let tid = u64::from(sample.tid);
    [bits, sample.time_ms, tid, sample.stack_hash, high, low, span, value, weight.to_bits()]
}

/// Reads a record back; `None` when it is too short to be one.
pub(crate) fn decode(record: &[u64]) -> Option<RawSample<'_>> {
    let (&[bits, time_ms, tid, stack_hash, high, low, span, value, weight], stack) = record.split_first_chunk()?;
    let kind = match bits & KINDS {
        ALLOC => SampleKind::Alloc { bytes: value, weight: f64::from_bits(weight) },
        PLACE => SampleKind::Place,
        AWAIT => SampleKind::Wait { state: WaitState::Await, ns: value },
        QUEUE => SampleKind::Wait { state: WaitState::Queue, ns: value },
        _ => SampleKind::Cpu { periods: value as u32 },
    };
    let context = (bits & HAS_CONTEXT != 0).then(|| TraceContext {
        trace_id: whole(high, low),
        span_id: span.to_ne_bytes(),
        flags: (bits >> TRACE_FLAGS_SHIFT) as u8,
    });
    let labels = Labels::numbered((bits >> LABELS_SHIFT) as u16);
    let truncated = bits & TRUNCATED != 0;
    Some(RawSample { kind, time_ms, tid: tid as u32, context, labels, stack, stack_hash, truncated })
}

/// Hashes a stack and whether it is whole. Not keyed: its input is code addresses, which no outsider chooses.
pub(crate) fn stack_hash(stack: &[u64], truncated: bool) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15 ^ u64::from(truncated);
    for &pc in stack {
        hash = (hash ^ pc).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: SampleKind, context: Option<TraceContext>, labels: Labels, truncated: bool) {
        let stack = [0x1000, 0x2000, 0x3000];
        let stack_hash = stack_hash(&stack, truncated);
        let time_ms = 1_700_000_000_123;
        let sample = RawSample { kind, time_ms, tid: 4242, context, labels, stack: &stack, stack_hash, truncated };
        let record = [&encode(&sample)[..], &stack].concat();
        let read = decode(&record).unwrap();
        assert_eq!((read.kind, read.time_ms, read.tid), (sample.kind, sample.time_ms, sample.tid));
        assert_eq!((read.context, read.stack, read.truncated), (context, &stack[..], truncated));
        assert_eq!(read.labels.number(), labels.number());
        assert_eq!(read.stack_hash, stack_hash);
    }

    #[test]
    fn samples_read_back_as_written() {
        let context = TraceContext { trace_id: [0xab; 16], span_id: [0xcd; 8], flags: 0xff };
        check(SampleKind::Cpu { periods: 3 }, None, Labels::numbered(1), false);
        check(SampleKind::Cpu { periods: u32::MAX }, Some(context), Labels::numbered(u16::MAX), true);
        check(SampleKind::Alloc { bytes: 1 << 40, weight: 1.25 }, Some(context), Labels::NONE, false);
        check(SampleKind::Place, Some(context), Labels::numbered(7), true);
        check(SampleKind::Wait { state: WaitState::Await, ns: u64::MAX }, Some(context), Labels::numbered(7), false);
        check(SampleKind::Wait { state: WaitState::Queue, ns: 1 }, None, Labels::NONE, false);
    }

    #[test]
    fn a_short_record_is_refused() {
        assert!(decode(&[0; HEADER_WORDS - 1]).is_none());
    }

    #[test]
    fn hashes_tell_order_and_truncation_apart() {
        let all = [
            stack_hash(&[1, 2], false),
            stack_hash(&[2, 1], false),
            stack_hash(&[1, 2], true),
            stack_hash(&[1], false),
        ];
        let distinct: std::collections::HashSet<_> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
