//! Takes one sample of the running thread: walks its stack in a slot and leaves the record in that slot's ring.
//!
//! Shared by the signal handler and the allocator, so all of it is allowed in a signal handler: no allocation, no waiting,
//! no panic, and no system call on the usual path.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::sample::{RawSample, SampleKind};
use crate::sampler::arch::Registers;
use crate::sampler::buffers::record;
use crate::sampler::buffers::slots::{self, COPY_WORDS, Held};
use crate::sampler::clock;
use crate::sampler::context;
use crate::sampler::counters::{self, COUNTERS};
use crate::sampler::threads::ThreadState;
use crate::sampler::unwinding::frame::DEPTH_MAX;
use crate::sampler::unwinding::stack_memory::StackMemory;
use crate::sampler::unwinding::walk::{Walk, Walker};

const PAGE_BYTES: u64 = 4096;
/// A copy that starts inside a page touches one page more.
const COPY_PAGES: usize = COPY_WORDS * 8 / PAGE_BYTES as usize + 1;

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
    let memory = stack_memory(subject, &mut workspace.copy);
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
    }
    counters::add(&COUNTERS.truncated, u64::from(truncated));
    Some(stack_hash)
}

/// Leaves a record in any other slot's ring: one thread that allocates fast can fill its own between two drains. Free
/// slots only, so the one that the caller holds is passed over.
fn push_elsewhere(header: &[u64], stack: &[u64]) -> bool {
    let mut slots = slots::all().iter().filter_map(slots::Slot::try_claim);
    slots.any(|mut slot| slot.open().ring.push(header, stack))
}

/// The stack in place if its bounds are known; otherwise a copy, and a request to find them.
fn stack_memory<'a>(subject: &Subject<'_>, copy: &'a mut [u64; COPY_WORDS]) -> StackMemory<'a> {
    let sp = subject.registers.sp;
    let start = sp & !7;
    if let Some(end) = subject.state.and_then(|state| state.stack_end(sp)) {
        // SAFETY: the supervisor found `start..end` inside one readable mapping of this very thread's stack, which stays
        // mapped while the thread runs; and the thread is here, running this.
        return unsafe { StackMemory::in_place(start, end) };
    }
    if let Some(state) = subject.state {
        state.ask_for_bounds(sp);
    }
    let words = copy_stack(start, copy);
    counters::add(if words == 0 { &COUNTERS.no_bound } else { &COUNTERS.stack_copied }, 1);
    StackMemory::copied(start, copy.get(..words).unwrap_or_default())
}

/// Copies the stack from `start` upwards with one system call that cannot fault. Returns how many words it got: fewer than
/// asked for where the stack ends, none where a sandbox refuses.
fn copy_stack(start: u64, copy: &mut [u64; COPY_WORDS]) -> usize {
    let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    // One piece per page: the kernel stops at the first piece it cannot read, so a stack's end costs only what follows it.
    let mut pieces = [nothing; COPY_PAGES];
    let mut at = start;
    let mut left = (COPY_WORDS * 8) as u64;
    for piece in &mut pieces {
        let length = left.min(PAGE_BYTES - at % PAGE_BYTES);
        *piece = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: length as usize };
        at = at.wrapping_add(length);
        left -= length;
    }
    let into = libc::iovec { iov_base: copy.as_mut_ptr().cast(), iov_len: COPY_WORDS * 8 };
    let pid = PID.load(Ordering::Relaxed) as libc::pid_t;
    // SAFETY: the kernel checks the source; the destination is a local array of just this length.
    let got =
        unsafe { libc::process_vm_readv(pid, &raw const into, 1, pieces.as_ptr(), COPY_PAGES as libc::c_ulong, 0) };
    usize::try_from(got).unwrap_or(0) / 8
}
