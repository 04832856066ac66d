//! One window of samples under a memory budget: filled while it is open, then sealed into a payload.

mod encode;
mod entry_bytes;
mod interned;
mod recent;
pub(crate) mod stacks;

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::hash::RandomState;

use rustc_hash::{FxHashMap, FxHashSet};
use tephra_proto::limits::{WINDOW_LINKS_MAX, WINDOW_SAMPLES_MAX, WINDOW_SPANS_MAX};
use tephra_proto::v1;

pub(crate) use self::encode::Encoding;
use self::entry_bytes::in_map;
use self::interned::Interned;
use self::stacks::StackTable;

use crate::clock::Slot;
use crate::labels::Labels;
use crate::locate::Locate;
use crate::sample::{RawSample, SampleKind, WaitState};
use crate::trace_context::TraceContext;

/// An allocation row is written to two series, and live heap comes on top.
const ROWS_MAX: usize = WINDOW_SAMPLES_MAX / 4;

/// A block is known to be live, and a task to wait, some nanoseconds after its stack was sampled, however busy the machine is within this time.
const FOLLOWED_WITHIN_MS: u32 = 1_000;

/// Nanoseconds of waits that one window tells of, with what they stand for: half of what a collector takes of any type.
const WAIT_NS_MAX: f64 = (1u64 << 52) as f64;

/// What one row measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Measure {
    Cpu,
    Alloc,
    Wait(WaitState),
}

/// Samples with an equal key add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RowKey {
    measure: Measure,
    /// Leaf node in the stack table.
    stack: u32,
    /// String labels.
    labels: Labels,
    /// Number of the link plus one; 0: no trace.
    link: u32,
}

/// The sum of samples with an equal key.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// CPU: timer periods. Allocation: bytes, unbiased. Wait: nanoseconds, unbiased.
    value: f64,
    /// Allocation: objects, unbiased.
    objects: f64,
    samples: u32,
    /// From the window's start to the first sample.
    time_ms: u32,
}

/// Trace and span, as a link on the wire.
type Link = ([u8; 16], [u8; 8]);

fn link(context: &TraceContext) -> Link {
    (context.trace_id, context.span_id)
}

/// What lives on the heap under one stack, unbiased.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Live {
    pub(crate) bytes: f64,
    pub(crate) objects: f64,
    /// Sampled blocks behind the two.
    pub(crate) samples: u32,
}

/// Live heap by stack hash.
pub(crate) type LiveHeap = BTreeMap<u64, Live>;

/// Hashes of the stacks that tasks wait at.
pub(crate) type Waiting = FxHashSet<u64>;

/// Samples that were stored with less of a label than they had, to save memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Coarsened {
    /// With the trace, but not the span.
    pub(crate) without_span: u64,
    /// With neither.
    pub(crate) without_trace: u64,
    /// Without their string labels.
    pub(crate) without_labels: u64,
}

impl Coarsened {
    /// As it is told to the collector.
    pub(crate) fn to_wire(self) -> Option<v1::Coarsened> {
        let Self { without_span, without_trace, without_labels } = self;
        (self != Self::default()).then_some(v1::Coarsened { without_span, without_trace, without_labels })
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.without_span += more.without_span;
        self.without_trace += more.without_trace;
        self.without_labels += more.without_labels;
    }
}

/// The window that is being filled. As its memory runs out it first tells spans apart no longer, then traces and string labels,
/// and at last takes no stack or row that it does not know.
#[derive(Debug)]
pub(crate) struct Window {
    slot: Slot,
    budget_bytes: usize,
    stacks: StackTable,
    rows: FxHashMap<RowKey, Row>,
    /// Hashed with a secret: clients choose the ids of traces.
    links: Interned<Link, RandomState>,
    stored: u64,
    table_full: u64,
    coarsened: Coarsened,
    /// Sum of all waits.
    wait_ns: f64,
}

impl Window {
    /// An empty window that may take `budget_bytes` of memory.
    pub(crate) fn new(slot: Slot, budget_bytes: usize) -> Self {
        Self::with_stacks(slot, budget_bytes, StackTable::default())
    }

    fn with_stacks(slot: Slot, budget_bytes: usize, stacks: StackTable) -> Self {
        Self {
            slot,
            budget_bytes,
            stacks,
            rows: FxHashMap::default(),
            links: Interned::default(),
            stored: 0,
            table_full: 0,
            coarsened: Coarsened::default(),
            wait_ns: 0.0,
        }
    }

    /// The time it stands for.
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// Samples added.
    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }

    /// Samples whose labels were left out.
    pub(crate) fn coarsened(&self) -> Coarsened {
        self.coarsened
    }

    /// Samples for which there was no room.
    pub(crate) fn table_full(&self) -> u64 {
        self.table_full
    }

    /// An upper bound of what the tables hold, in bytes. While a map grows, half of what it holds comes on top.
    pub(crate) fn bytes(&self) -> usize {
        self.stacks.bytes() + self.rows.len() * in_map::<(RowKey, Row)>() + self.links.bytes()
    }

    /// Whether a sample refers to a stack that has not come yet: they leave threads by several ways.
    pub(crate) fn is_early(&self, sample: &RawSample<'_>) -> bool {
        matches!(sample.kind, SampleKind::Wait { .. }) && self.stacks.find(sample.stack_hash).is_none()
    }

    /// Adds a sample, or counts it as dropped when the budget is spent.
    pub(crate) fn add(&mut self, sample: &RawSample<'_>, modules: &dyn Locate) {
        if sample.kind == SampleKind::Place {
            // Waits refer to it, and they are counted.
            self.note_place(sample, modules);
            return;
        }
        let coarsened = self.coarsened;
        match self.try_add(sample, modules) {
            Some(()) => self.stored += 1,
            None => {
                self.table_full += 1;
                self.coarsened = coarsened;
            }
        }
    }

    fn try_add(&mut self, sample: &RawSample<'_>, modules: &dyn Locate) -> Option<()> {
        let has_room = self.bytes() < self.budget_bytes;
        let time_ms = self.slot.offset_ms(sample.time_ms);
        let (measure, value, objects) = match sample.kind {
            SampleKind::Cpu { periods } => (Measure::Cpu, f64::from(periods), 0.0),
            SampleKind::Alloc { bytes, weight } => (Measure::Alloc, bytes as f64 * weight, weight),
            SampleKind::Wait { state, ns } if self.wait_ns + ns as f64 <= WAIT_NS_MAX => {
                (Measure::Wait(state), ns as f64, 0.0)
            }
            SampleKind::Wait { .. } | SampleKind::Place => return None,
        };
        let allocated_ms = (measure == Measure::Alloc).then_some(time_ms);
        let stack = match self.stacks.meet(sample.stack_hash, allocated_ms) {
            Some(known) => known,
            None if !has_room => return None,
            None => self.stacks.intern(sample.stack_hash, sample.stack, sample.truncated, allocated_ms, modules)?,
        };
        let link = match self.label(sample) {
            None => 0,
            Some(link) => self.link_id(link, has_room)? + 1,
        };
        let mut key = RowKey { measure, stack, labels: sample.labels, link };
        if key.labels != Labels::NONE && self.is_short() && !self.rows.contains_key(&key) {
            key.labels = Labels::NONE;
            self.coarsened.without_labels += 1;
        }
        let may_be_new = has_room && self.rows.len() < ROWS_MAX;
        let row = match self.rows.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) if may_be_new => new.insert(Row { time_ms, ..Row::default() }),
            Entry::Vacant(_) => return None,
        };
        row.value += value;
        row.objects += objects;
        row.samples = row.samples.saturating_add(1);
        row.time_ms = row.time_ms.min(time_ms);
        if let Measure::Wait(_) = measure {
            self.wait_ns += value;
        }
        Some(())
    }

    fn note_place(&mut self, sample: &RawSample<'_>, modules: &dyn Locate) {
        let RawSample { stack_hash, stack, truncated, .. } = *sample;
        let told_ms = Some(self.slot.offset_ms(sample.time_ms));
        if self.stacks.meet(stack_hash, told_ms).is_none() && self.bytes() < self.budget_bytes {
            self.stacks.intern(stack_hash, stack, truncated, told_ms, modules);
        }
    }

    /// Three quarters of the memory are used.
    fn is_short(&self) -> bool {
        self.bytes() >= self.budget_bytes / 4 * 3
    }

    /// What is kept of a sample's trace. A label that is known already costs nothing, so it stays.
    fn label(&mut self, sample: &RawSample<'_>) -> Option<Link> {
        let whole = link(sample.context.as_ref()?);
        let used = self.bytes();
        if used < self.budget_bytes / 2 || self.links.find(&whole).is_some() {
            return Some(whole);
        }
        let trace_only = (whole.0, [0; 8]);
        if !self.is_short() || self.links.find(&trace_only).is_some() {
            self.coarsened.without_span += 1;
            return Some(trace_only);
        }
        self.coarsened.without_trace += 1;
        None
    }

    fn link_id(&mut self, link: Link, has_room: bool) -> Option<u32> {
        let may_be_new = has_room && self.links.len() < WINDOW_LINKS_MAX - WINDOW_SPANS_MAX;
        if may_be_new { Some(self.links.intern(link)) } else { self.links.find(&link) }
    }

    /// Addresses may mean other code from now on.
    pub(crate) fn code_changed(&mut self) {
        self.stacks.forget_addresses();
    }

    /// The window that follows this one, once it was encoded: empty, but it knows the stacks that `live` heap blocks refer to and those of
    /// tasks that are `waiting`, and those of blocks and tasks that may have come since both were read, at `read_ms`.
    pub(crate) fn next(mut self, slot: Slot, live: &LiveHeap, waiting: &Waiting, read_ms: u64) -> Self {
        self.stacks.close();
        (self.rows, self.links) = Default::default();
        let since_ms = self.slot.offset_ms(read_ms).saturating_sub(FOLLOWED_WITHIN_MS);
        let stacks = self.stacks.carry_over(since_ms, |hash| live.contains_key(&hash) || waiting.contains(&hash));
        Self::with_stacks(slot, self.budget_bytes, stacks)
    }
}

#[cfg(test)]
mod tests {
    use super::stacks::tests::TwoModules;
    use super::*;

    fn sample(hash: u64, stack: &[u64]) -> RawSample<'_> {
        RawSample {
            kind: SampleKind::Cpu { periods: 1 },
            time_ms: 10_123,
            tid: 1,
            context: None,
            labels: Labels::NONE,
            stack,
            stack_hash: hash,
            truncated: false,
        }
    }

    #[test]
    fn labels_go_before_samples_do() {
        let mut window = Window::new(Slot::at(10_000, 10_000), 64 << 10);
        for i in 0..20_000u64 {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&(i / 4 + 1).to_le_bytes());
            let context = TraceContext { trace_id: id, span_id: (i + 1).to_le_bytes(), flags: 1 };
            window.add(&RawSample { context: Some(context), ..sample(1, &[0x10000, 0x20000]) }, &TwoModules);
        }
        let Coarsened { without_span, without_trace, .. } = window.coarsened();
        assert_eq!((window.stored(), window.table_full()), (20_000, 0), "no sample was lost for its label");
        assert!(without_span > 100 && without_trace > 10_000, "{without_span}, {without_trace}");
        let told = v1::Coarsened { without_span, without_trace, without_labels: 0 };
        assert_eq!(window.coarsened().to_wire(), Some(told));
        let spans = window.links.values().iter().filter(|(_, span)| *span != [0; 8]).count();
        assert!(spans > 100 && window.links.len() > spans, "first whole labels, then traces alone");
        assert!(window.bytes() < 64 << 10);
    }

    #[test]
    fn string_labels_go_before_samples_do() {
        let mut window = Window::new(Slot::at(10_000, 10_000), 64 << 10);
        let tenants: Vec<Labels> = (0..100).map(|i| Labels::of("tenant", &format!("t{i}"))).collect();
        for i in 0..20_000u64 {
            let labels = tenants[i as usize % tenants.len()];
            window.add(&RawSample { labels, ..sample(i / 500, &[0x10000 + i / 500, 0x20000]) }, &TwoModules);
        }
        assert_eq!((window.stored(), window.table_full()), (20_000, 0), "no sample was lost for its labels");
        let without = window.coarsened().without_labels;
        assert!(without > 10_000 && without < 20_000, "{without}");
        assert!(window.bytes() < 64 << 10);
    }

    fn wait(hash: u64, state: WaitState, ns: u64) -> RawSample<'static> {
        RawSample { kind: SampleKind::Wait { state, ns }, ..sample(hash, &[]) }
    }

    #[test]
    fn a_wait_refers_to_a_place_that_was_told_before_and_stays_known_while_tasks_wait_there() {
        let mut window = Window::new(Slot::at(10_000, 10_000), 1 << 20);
        let early = wait(7, WaitState::Await, 5);
        assert!(window.is_early(&early));
        window.add(&RawSample { kind: SampleKind::Place, ..sample(7, &[0x10000, 0x20000]) }, &TwoModules);
        assert_eq!((window.stored(), window.is_early(&early)), (0, false), "a place is no sample");
        window.add(&early, &TwoModules);
        window.add(&wait(8, WaitState::Queue, 5), &TwoModules);
        assert_eq!((window.stored(), window.table_full()), (1, 1), "one has no place");
        let next = |window: Window, waiting: &[u64]| {
            let waiting = waiting.iter().copied().collect();
            window.next(Slot::at(20_000, 10_000), &LiveHeap::new(), &waiting, 20_000)
        };
        let window = next(window, &[7]);
        assert!(!window.is_early(&early));
        assert!(next(window, &[]).is_early(&early), "nobody waits there any more");
    }

    #[test]
    fn a_window_tells_of_no_more_waiting_than_a_collector_takes() {
        let mut window = Window::new(Slot::at(10_000, 10_000), 1 << 20);
        window.add(&RawSample { kind: SampleKind::Place, ..sample(7, &[0x10000]) }, &TwoModules);
        for _ in 0..10 {
            window.add(&wait(7, WaitState::Await, 1 << 50), &TwoModules);
        }
        assert_eq!((window.stored(), window.table_full()), (4, 6));
        window.add(&wait(7, WaitState::Await, u64::MAX), &TwoModules);
        assert_eq!(window.table_full(), 7);
    }

    #[test]
    fn a_full_table_drops_and_counts_but_keeps_adding_to_what_it_knows() {
        let mut window = Window::new(Slot::at(10_000, 10_000), 64 << 10);
        for i in 0..100_000u64 {
            window.add(&sample(i, &[0x10000 + i % 4096, 0x20000 + i / 4096]), &TwoModules);
        }
        assert!(window.bytes() < (64 << 10) + 1024, "{} bytes", window.bytes());
        assert_eq!(window.stored() + window.table_full(), 100_000);
        let stored = window.stored();
        window.add(&sample(0, &[0x10000, 0x20000]), &TwoModules);
        assert_eq!(window.stored(), stored + 1);
    }
}
