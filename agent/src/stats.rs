//! What the agent did so far and what it costs, for whoever wants to watch it from inside.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tephra_proto::v1::DropReason;

use crate::export::{Lost, Queue};
use crate::process;

/// The agent's own account. Counts are totals since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Samples are being taken: the agent is neither inert, paused, nor stopped.
    pub sampling: bool,
    /// CPU samples per second of CPU time now. It is halved while handler and agent threads use more than one hundredth
    /// of the process's CPU time, and doubled again later.
    pub cpu_hz: u32,
    /// CPU samples taken.
    pub cpu_samples: u64,
    /// Allocation samples taken.
    pub alloc_samples: u64,
    /// Samples of waits taken: one of each state that a task was in.
    pub wait_samples: u64,
    /// How sampling of waits went.
    pub waits: Waits,
    /// Allocation samples that were due and not taken, because the process allocates so much of some sizes that fewer samples of
    /// these are enough. Those that are taken stand for them. See [`Builder::heap_mean_bytes`](crate::Builder::heap_mean_bytes).
    pub alloc_left_out: u64,
    /// Samples whose stack was cut before it reached the thread's root.
    pub truncated: u64,
    /// Samples that were lost, by reason.
    pub dropped: Drops,
    /// Samples that kept their trace and not their span, because the window had used half of its memory.
    pub without_span: u64,
    /// Samples that kept neither trace nor span, because the window had used three quarters of its memory.
    pub without_trace: u64,
    /// Samples that kept no string labels, because the window had used three quarters of its memory.
    pub without_labels: u64,
    /// How often a string label could not be kept as it was, because the process has too many: see [`Labels`](crate::Labels).
    pub labels_refused: u64,
    /// How often fewer traces than the collector asked for were told of in a window, by half each time, because more than 1 024 requests
    /// would have been told of one by one. All of them are counted nevertheless.
    pub shares_halved: u64,
    /// Requests that were not told of one by one although their traces were to be, because there were too many with ids like theirs.
    /// They are counted like all others.
    pub spans_left_out: u64,
    /// How often an answer of a collector asked for requests in a way that makes no sense. That was brought within its bounds or ignored.
    pub odd_answers: u64,
    /// Threads sampled now.
    pub threads: u64,
    /// Libraries loaded now whose unwind tables are larger than the memory left for them, an eighth of the limit together: stacks
    /// in their code are followed by frame pointers, and cut where there are none.
    pub modules_without_tables: u64,
    /// Threads that the kernel gave no timer of their own, as under a low `ulimit -i`. One timer of the whole process
    /// samples them, where the kernel has it (Linux 6.4).
    pub timer_failures: u64,
    /// CPU time that this process used.
    pub process_cpu: Duration,
    /// CPU time that no sample stands for: of threads that could not be sampled, of samples that were dropped, and of the
    /// agent's own thread. Up to one sampling period per thread is still to come.
    pub unsampled_cpu: Duration,
    /// Windows sealed.
    pub windows_sealed: u64,
    /// Windows that a collector acknowledged.
    pub windows_delivered: u64,
    /// Of those delivered: had arrived before, though the first acknowledgement did not.
    pub windows_duplicate: u64,
    /// Windows that a collector refused.
    pub windows_refused: u64,
    /// Windows dropped because no collector took them in time.
    pub windows_dropped: u64,
    /// Windows that wait for a collector now.
    pub windows_waiting: u64,
    /// Attempts to deliver that failed and were repeated.
    pub failed_attempts: u64,
    /// Memory of the windows that wait, in bytes.
    pub queue_bytes: u64,
    /// Memory of the window that is being filled, in bytes; an upper bound.
    pub table_bytes: u64,
    /// CPU time of the agent's own threads.
    pub agent_cpu: Duration,
    /// Time that your threads spent in the signal handler. The kernel's part of a signal, about 2 µs, comes on top.
    pub handler_time: Duration,
    /// What half of the CPU samples did not exceed of it, to a quarter.
    pub handler_p50: Duration,
    /// What 99 of 100 CPU samples did not exceed of it, to a quarter. Being descheduled meanwhile counts.
    pub handler_p99: Duration,
    /// Time that your threads spent sampling allocations.
    pub alloc_time: Duration,
    /// Time that your threads spent walking the stacks of tasks that wait.
    pub wait_time: Duration,
}

/// Samples that were lost, by reason. The same counts travel with the windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drops {
    /// Every unwinding slot was in use. A later sample stands for their CPU time.
    pub busy: u64,
    /// The slot's ring had no room before the next drain.
    pub ring_full: u64,
    /// The window reached its memory budget.
    pub table_full: u64,
    /// The live-heap table had no room, so the block is missing from the in-use profile.
    pub heap_table_full: u64,
    /// Their window was dropped because no collector took it in time.
    pub queue_full: u64,
    /// A collector refused their window.
    pub refused: u64,
}

/// How sampling of waits went: see [`Builder::waits_per_second`](crate::Builder::waits_per_second). What is counted here cost samples, or nothing; no
/// task was woken less, more or later for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// Sampled polls that left their task waiting.
    pub polls: u64,
    /// Sampled tasks that wait now.
    pub open: u64,
    /// Polls of chosen requests that were not sampled because more came at once than was foreseen.
    pub too_many: u64,
    /// The same, because 4 096 registrations were alive: tasks that wait, or wakers that somebody keeps.
    pub registrations_full: u64,
    /// The same, because all places to copy stacks to were in use.
    pub busy: u64,
    /// Intervals that were ended by a waker whose place is not known. No sample stands for them.
    pub unplaced: u64,
    /// Wakers whose place is not known because another thread than the polling one made them.
    pub clones_foreign: u64,
    /// Wakers whose place is not known because their poll had made six before, or their stacks took more than 32 KiB.
    pub clones_full: u64,
    /// Clones that got the task's own waker because a billion of the registration's were alive.
    pub clones_refused: u64,
    /// Wakes after the first one. Each was handed on.
    pub wakes_repeated: u64,
    /// Polls of tasks that wait, though none of their wakers had been woken: another future of the task was. They go on waiting.
    pub not_woken: u64,
    /// Waits that ended because their future was dropped.
    pub dropped: u64,
}

impl Drops {
    fn add(&mut self, lost: Lost) {
        for (reason, samples) in lost.iter() {
            let count = match reason {
                DropReason::Busy => &mut self.busy,
                DropReason::RingFull => &mut self.ring_full,
                DropReason::TableFull => &mut self.table_full,
                DropReason::HeapTableFull => &mut self.heap_table_full,
                DropReason::QueueFull => &mut self.queue_full,
                DropReason::Refused => &mut self.refused,
                DropReason::Unspecified => continue,
            };
            *count += samples;
        }
    }
}

/// The agent's own threads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Thread {
    Agent,
    Ship,
}

/// Where the agent thread writes what it knows, and anyone reads it.
#[derive(Debug, Default)]
pub(crate) struct Board {
    known: Mutex<(Stats, Lost)>,
    /// Kernel ids, indexed by [`Thread`].
    threads: [AtomicU32; 2],
}

impl Board {
    /// The calling thread is `thread`.
    pub(crate) fn runs_on(&self, thread: Thread) {
        if let Some(id) = self.threads.get(thread as usize) {
            id.store(process::thread_id().unwrap_or_default(), Ordering::Relaxed);
        }
    }

    /// Replaces what the agent thread knows: everything but windows on their way, and what was lost before they were.
    pub(crate) fn write(&self, stats: Stats, lost: Lost) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = (stats, lost);
    }

    /// CPU time of the agent's own threads.
    pub(crate) fn agent_cpu(&self) -> Duration {
        self.threads.iter().map(|id| process::thread_cpu(id.load(Ordering::Relaxed))).sum()
    }

    /// Everything, together with the state of the queue.
    pub(crate) fn read(&self, queue: &Queue) -> Stats {
        let (mut stats, lost) = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = queue.tally();
        stats.dropped.add(lost);
        stats.dropped.add(tally.lost);
        Stats {
            agent_cpu: self.agent_cpu(),
            windows_delivered: tally.delivered,
            windows_duplicate: tally.duplicates,
            windows_refused: tally.refused,
            windows_dropped: tally.dropped,
            windows_waiting: tally.waiting,
            failed_attempts: tally.failed_attempts,
            queue_bytes: tally.waiting_bytes,
            ..stats
        }
    }
}
