//! What the samplers hand to the aggregator: one sample, borrowed from the slot it was written to.

use crate::labels::Labels;
use crate::trace_context::TraceContext;

/// One sample as it was taken, before any name or module is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawSample<'a> {
    /// What was measured.
    pub(crate) kind: SampleKind,
    /// Unix time in milliseconds.
    pub(crate) time_ms: u64,
    /// Kernel thread id.
    pub(crate) tid: u32,
    /// The trace the thread was working for.
    pub(crate) context: Option<TraceContext>,
    /// Its string labels then.
    pub(crate) labels: Labels,
    /// Code addresses in this process, leaf first. The leaf's is the program counter; every other one is the return address
    /// minus one, so it lies inside the call instruction.
    pub(crate) stack: &'a [u64],
    /// Hash of `stack` and `truncated`, by which live heap blocks refer to it.
    pub(crate) stack_hash: u64,
    /// The walk ended before it reached the thread's root.
    pub(crate) truncated: bool,
}

impl RawSample<'_> {
    /// The same, without the stack that it refers to.
    pub(crate) fn without_stack(&self) -> RawSample<'static> {
        let Self { kind, time_ms, tid, context, labels, stack: _, stack_hash, truncated } = *self;
        RawSample { kind, time_ms, tid, context, labels, stack: &[], stack_hash, truncated }
    }
}

/// What a sample measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum SampleKind {
    /// CPU time, in timer periods: 1 plus the expirations that went by unserved.
    Cpu {
        /// How many periods this sample stands for.
        periods: u32,
    },
    /// An allocation.
    Alloc {
        /// Size asked for.
        bytes: u64,
        /// How many allocations of this size it stands for: 1 / (1 − e^(−bytes / mean)).
        weight: f64,
    },
    /// No sample, but the stack that later samples of waits refer to by its hash.
    Place,
    /// Time that a task waited, at a place that was told before: this has no stack.
    Wait {
        /// For what.
        state: WaitState,
        /// How long, and for how many of its like: nanoseconds ÷ the probability that it was sampled.
        ns: u64,
    },
}

/// What a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum WaitState {
    /// To be woken.
    Await,
    /// It was woken, and waits for a worker to run it.
    Queue,
}

impl WaitState {
    /// As the label `state` of samples has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Await => "await",
            Self::Queue => "queue",
        }
    }
}
