//! Takes one sample of the running thread: walks its stack in a slot and leaves the record in that slot's ring.
//!
//! Shared by the signal handler, the allocator and tasks that wait, so all of it is allowed in a signal handler: no allocation, no waiting,
//! no panic, and no system call on the usual path.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::labels::Labels;
use crate::sample::{RawSample, SampleKind};
use crate::sampler::arch::Registers;
use crate::sampler::buffers::record;
use crate::sampler::buffers::slots::{self, COPY_WORDS, Held};
use crate::sampler::clock;
use crate::sampler::context;
use crate::sampler::counters::{self, COUNTERS};
use crate::sampler::threads::{self, ThreadState};
use crate::sampler::unwinding::frame::DEPTH_MAX;
use crate::sampler::unwinding::stack_memory::StackMemory;
use crate::sampler::unwinding::walk::{Walk, Walker};

const PAGE_BYTES: u64 = 4096;
/// No copy is larger.
const COPY_BYTES_MAX: u64 = 32 << 10;
/// A copy that starts inside a page touches one page more.
const COPY_PAGES: usize = (COPY_BYTES_MAX / PAGE_BYTES) as usize + 1;

/// Deepest stack kept.
static DEPTH: AtomicUsize = AtomicUsize::new(0);
/// CPU time between two samples of a busy thread.
static PERIOD_NS: AtomicU64 = AtomicU64::new(0);
/// This process, so that copying needs no extra system call to ask.
static PID: AtomicU32 = AtomicU32::new(0);

/// Sets how deep stacks are walked, and notes whose they are.
pub(crate) fn configure(depth: usize) {
    DEPTH.store(depth.min(DEPTH_MAX), Ordering::Relaxed);
    PID.store(std::process::id(), Ordering::Relaxed);
}

/// Sets what one timer period of a sample stands for.
pub(crate) fn set_period(period: Option<Duration>) {
    PERIOD_NS.store(period.map_or(0, |period| period.as_nanos() as u64), Ordering::Relaxed);
}

/// What is to be sampled.
pub(crate) struct Subject<'a> {
    pub(crate) kind: SampleKind,
    pub(crate) tid: u32,
    pub(crate) state: Option<&'a ThreadState>,
    pub(crate) registers: Registers,
    /// Leading frames in here are the agent's own.
    pub(crate) skip: Range<u64>,
}

/// Takes the sample. Returns the stack's hash, or `None` when the sample was dropped, which is counted.
pub(crate) fn take(subject: &Subject<'_>) -> Option<u64> {
    let Some(mut slot) = slots::claim(subject.tid) else {
        counters::add(&COUNTERS.dropped_busy, 1);
        return None;
    };
    let Held { workspace, ring, snapshot } = slot.open();
    let snapshot = snapshot?;
    let out = workspace.stack.get_mut(..DEPTH.load(Ordering::Relaxed))?;
    let memory = stack_memory(subject.state, subject.registers.sp, &mut workspace.copy);
    let (pc, registers) = (subject.registers.pc, subject.registers.for_unwinding());
    let retracing = workspace.walks.walk(subject.tid);
    let walker = Walker { snapshot, rules: &mut workspace.rules, retracing, memory: &memory, skip: &subject.skip };
    let Walk { depth, truncated } = walker.walk(pc, registers, out);
    let stack = out.get(..depth)?;
    let stack_hash = record::stack_hash(stack, truncated);
    let context = context::current();
    let sample = RawSample {
        kind: subject.kind,
        time_ms: clock::unix_time_ms(),
        tid: subject.tid,
        context,
        labels: context::labels(),
        stack,
        stack_hash,
        truncated,
    };
    let header = record::encode(&sample);
    if !ring.push(&header, stack) && !push_elsewhere(&header, stack) {
        counters::add(&COUNTERS.dropped_ring_full, 1);
        return None;
    }
    match subject.kind {
        SampleKind::Cpu { periods } => {
            counters::add(&COUNTERS.cpu_taken, 1);
            counters::add(&COUNTERS.sampled_cpu_ns, u64::from(periods) * PERIOD_NS.load(Ordering::Relaxed));
        }
        SampleKind::Alloc { .. } => counters::add(&COUNTERS.alloc_taken, 1),
        SampleKind::Place | SampleKind::Wait { .. } => {}
    }
    counters::add(&COUNTERS.truncated, u64::from(truncated));
    Some(stack_hash)
}

/// Copies the running thread's stack from `registers` on, up to `until` or as much as there is room for. Returns how many words that is.
pub(crate) fn copy(registers: &Registers, until: u64, into: &mut [u64]) -> usize {
    let start = registers.sp & !7;
    let wanted = (until.saturating_sub(start).min(COPY_BYTES_MAX) / 8) as usize;
    let wanted = wanted.min(into.len());
    let into = into.get_mut(..wanted).unwrap_or_default();
    let state = threads::of(threads::current());
    if let Some(end) = state.and_then(|state| state.stack_end(registers.sp)) {
        // SAFETY: as in `stack_memory`.
        return unsafe { StackMemory::in_place(start, end) }.copy(into);
    }
    if let Some(state) = state {
        state.ask_for_bounds(registers.sp);
    }
    copy_stack(start, into)
}

/// Walks a stack of the running thread that is gone: from `registers` on in a copy of it, and from `stands_from` on in place, where it still is. Leaves
/// it in a ring without its first frame. Returns its hash, or `None` when there was no room.
pub(crate) fn take_place(registers: &Registers, copied: &[u64], stands_from: u64) -> Option<u64> {
    let tid = threads::current();
    let mut slot = slots::claim(tid)?;
    let Held { workspace, ring, snapshot } = slot.open();
    let snapshot = snapshot?;
    let out = workspace.stack.get_mut(..DEPTH.load(Ordering::Relaxed))?;
    let outer = stack_memory(threads::of(tid), stands_from, &mut workspace.copy);
    let memory = StackMemory::copied_below(registers.sp & !7, copied, &outer);
    let retracing = workspace.walks.walk(tid);
    let walker = Walker { snapshot, rules: &mut workspace.rules, retracing, memory: &memory, skip: &(0..0) };
    let Walk { depth, truncated } = walker.walk(registers.pc, registers.for_unwinding(), out);
    let stack = out.get(1..depth)?;
    let stack_hash = record::stack_hash(stack, truncated);
    let sample = RawSample {
        kind: SampleKind::Place,
        time_ms: clock::unix_time_ms(),
        tid,
        context: None,
        labels: Labels::NONE,
        stack,
        stack_hash,
        truncated,
    };
    let header = record::encode(&sample);
    (ring.push(&header, stack) || push_elsewhere(&header, stack)).then_some(stack_hash)
}

/// Leaves a sample of a wait in a ring, or counts it as dropped.
pub(crate) fn leave_wait(sample: &RawSample<'_>) {
    let header = record::encode(sample);
    let own = slots::claim(threads::current()).is_some_and(|mut slot| slot.open().ring.push(&header, &[]));
    let is_left = own || push_elsewhere(&header, &[]);
    counters::add(if is_left { &COUNTERS.wait_taken } else { &COUNTERS.dropped_ring_full }, 1);
}

/// Leaves a record in any other slot's ring: one thread that allocates fast can fill its own between two drains. Free
/// slots only, so the one that the caller holds is passed over.
fn push_elsewhere(header: &[u64], stack: &[u64]) -> bool {
    let mut slots = slots::all().iter().filter_map(slots::Slot::try_claim);
    slots.any(|mut slot| slot.open().ring.push(header, stack))
}

/// The stack in place if its bounds are known; otherwise a copy, and a request to find them.
fn stack_memory<'a>(state: Option<&ThreadState>, sp: u64, copy: &'a mut [u64; COPY_WORDS]) -> StackMemory<'a> {
    let start = sp & !7;
    if let Some(end) = state.and_then(|state| state.stack_end(sp)) {
        // SAFETY: the supervisor found `start..end` inside one readable mapping of this very thread's stack, which stays
        // mapped while the thread runs; and the thread is here, running this.
        return unsafe { StackMemory::in_place(start, end) };
    }
    if let Some(state) = state {
        state.ask_for_bounds(sp);
    }
    let words = copy_stack(start, copy.as_mut_slice());
    counters::add(if words == 0 { &COUNTERS.no_bound } else { &COUNTERS.stack_copied }, 1);
    StackMemory::copied(start, copy.get(..words).unwrap_or_default())
}

/// Copies the stack from `start` upwards with one system call that cannot fault. Returns how many words it got: fewer than
/// asked for where the stack ends, none where a sandbox refuses.
fn copy_stack(start: u64, copy: &mut [u64]) -> usize {
    let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    // One piece per page: the kernel stops at the first piece it cannot read, so a stack's end costs only what follows it.
    let mut pieces = [nothing; COPY_PAGES];
    let mut at = start;
    let bytes = (copy.len() as u64 * 8).min(COPY_BYTES_MAX);
    let mut left = bytes;
    for piece in &mut pieces {
        let length = left.min(PAGE_BYTES - at % PAGE_BYTES);
        *piece = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: length as usize };
        at = at.wrapping_add(length);
        left -= length;
    }
    let into = libc::iovec { iov_base: copy.as_mut_ptr().cast(), iov_len: bytes as usize };
    let pid = PID.load(Ordering::Relaxed) as libc::pid_t;
    // SAFETY: the kernel checks the source; the destination is a slice of at least this length.
    let got =
        unsafe { libc::process_vm_readv(pid, &raw const into, 1, pieces.as_ptr(), COPY_PAGES as libc::c_ulong, 0) };
    usize::try_from(got).unwrap_or(0) / 8
}
