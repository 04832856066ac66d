//! What the agent costs from window to window, and how densely it samples for that: the governors judge, here it is done.

use std::time::{Duration, Instant};

use crate::governor::{Allocations, Governor, HeapGovernor, Usage};
use crate::heap::{self, PerClass};
use crate::notice::Notice;
use crate::sampler;

/// Both governors of one agent, and what had been used when they last judged.
#[derive(Debug)]
pub(super) struct Cost {
    cpu: Governor,
    heap: HeapGovernor,
    /// When the governors were last asked.
    judged: Used,
}

/// What had been used at some time.
#[derive(Debug, Clone, Copy)]
struct Used {
    by_process: Moment,
    by_agent: Duration,
    alloc_due: PerClass<u64>,
}

/// A time, and the CPU time that the process had used by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    at: Instant,
    process_ns: u64,
}

impl Moment {
    /// This moment.
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), process_ns: sampler::process_cpu_ns() }
    }
}

impl Cost {
    /// Of an agent that samples at `hz` and each `heap_mean_bytes` at first, in a process that had used `process_ns` before.
    pub(super) fn new(hz: u32, heap_mean_bytes: u64, process_ns: u64) -> Self {
        let by_process = Moment { at: Instant::now(), process_ns };
        Self {
            cpu: Governor::new(hz),
            heap: HeapGovernor::new(heap_mean_bytes),
            judged: Used { by_process, by_agent: Duration::ZERO, alloc_due: heap::due() },
        }
    }

    /// Samples per second of CPU time now.
    pub(super) fn hz(&self) -> u32 {
        self.cpu.hz()
    }

    /// Thins allocation samples as the governor said last: starting them takes all.
    pub(super) fn thin_heap(&self) {
        heap::thin(self.heap.halvings());
    }

    /// The agent was paused since then. What was used in the meantime is no measure for what samples may cost.
    pub(super) fn leave_out(&mut self, since: Moment) {
        let (now, judged) = (Moment::now(), &mut self.judged.by_process);
        judged.at += now.at.saturating_duration_since(since.at.max(judged.at));
        judged.process_ns += now.process_ns.saturating_sub(since.process_ns.max(judged.process_ns));
    }

    /// Changes how densely is sampled between two windows, if the governors say so: a window has one period. `by_agent`: CPU time that
    /// the agent has used so far, samples included.
    pub(super) fn judge(&mut self, by_agent: Duration) {
        let now = Used { by_process: Moment::now(), by_agent, alloc_due: heap::due() };
        let before = std::mem::replace(&mut self.judged, now);
        let process_ns = now.by_process.process_ns.saturating_sub(before.by_process.process_ns);
        let usage = Usage {
            wall: now.by_process.at.saturating_duration_since(before.by_process.at),
            process: Duration::from_nanos(process_ns),
            agent: now.by_agent.saturating_sub(before.by_agent),
        };
        if self.cpu.judge(usage) {
            let hz = self.cpu.hz();
            sampler::set_hz(hz);
            static CHANGED: Notice = Notice::new();
            CHANGED.say(&format!("sampling at {hz} Hz now, to use less than 1 % of the process's CPU time"));
        }
        let mut due = now.alloc_due;
        due.iter_mut().zip(before.alloc_due).for_each(|(now, before)| *now = now.saturating_sub(before));
        if self.heap.judge(&Allocations { wall: usage.wall, process: usage.process, due }) {
            self.thin_heap();
        }
    }
}
