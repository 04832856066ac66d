//! What the agent did and lost since it started, and how much of that its windows have told already.
//!
//! Samplers count for as long as the process lives, through any number of agents. So what they had counted before is taken off.

use std::time::Duration;

use tephra_proto::v1::DropReason;

use crate::export::Lost;
use crate::stats::{Stats, Waits};
use crate::waits::{self, WaitCounters};
use crate::window::{Coarsened, Window};
use crate::{heap, labels, sampler};

/// One agent's account, from when it was opened.
#[derive(Debug)]
pub(super) struct Account {
    before: Counted,
    /// Samples for which a window had no room.
    table_full: u64,
    /// Labels that windows left out which are sealed.
    coarsened: Coarsened,
    told: Told,
}

/// All that is counted for the process.
#[derive(Debug)]
struct Counted {
    sampler: sampler::Counters,
    durations: sampler::Durations,
    cpu_ns: u64,
    heap_table_full: u64,
    alloc_left_out: u64,
    labels_refused: u64,
    waits: WaitCounters,
}

/// What windows have told the collector.
#[derive(Debug)]
struct Told {
    lost: Lost,
    /// CPU time that the process had used.
    cpu_ns: u64,
}

/// What the next window is to tell: what happened since the last one.
pub(super) struct News {
    pub(super) lost: Lost,
    /// CPU time that the process used.
    pub(super) cpu_ns: u64,
}

impl Counted {
    fn now() -> Self {
        Self {
            sampler: sampler::counters(),
            durations: sampler::Durations::read(),
            cpu_ns: sampler::process_cpu_ns(),
            heap_table_full: heap::counters().table_full,
            alloc_left_out: heap::left_out(),
            labels_refused: labels::refused(),
            waits: waits::counters(),
        }
    }
}

impl Account {
    /// Opens the account: nothing was done so far. To be called before sampling starts.
    pub(super) fn open() -> Self {
        let before = Counted::now();
        let told = Told { lost: Lost::default(), cpu_ns: before.cpu_ns };
        Self { before, table_full: 0, coarsened: Coarsened::default(), told }
    }

    /// CPU time that the process had used when the account was opened, in nanoseconds.
    pub(super) fn opened_cpu_ns(&self) -> u64 {
        self.before.cpu_ns
    }

    /// Enters samples for which a window had no room.
    pub(super) fn lose(&mut self, samples: u64) {
        self.table_full += samples;
    }

    /// Enters what a window that is sealed left out of its samples' labels.
    pub(super) fn coarsened(&mut self, coarsened: Coarsened) {
        self.coarsened.add(coarsened);
    }

    /// Everything that was lost before it reached the queue.
    pub(super) fn lost(&self) -> Lost {
        let (now, before) = (sampler::counters(), &self.before);
        let mut lost = Lost::default();
        lost.add(DropReason::Busy, now.dropped_busy - before.sampler.dropped_busy);
        lost.add(DropReason::RingFull, now.dropped_ring_full - before.sampler.dropped_ring_full);
        lost.add(DropReason::TableFull, self.table_full);
        lost.add(DropReason::HeapTableFull, heap::counters().table_full - before.heap_table_full);
        lost
    }

    /// Whether something was lost that no window has told.
    pub(super) fn has_untold_losses(&self) -> bool {
        self.lost() != self.told.lost
    }

    /// What a window is to tell that is sealed now, after the process used `cpu_ns`. From now on that counts as told.
    pub(super) fn tell(&mut self, cpu_ns: u64) -> News {
        let now = Told { lost: self.lost(), cpu_ns };
        let news = News { lost: now.lost.since(&self.told.lost), cpu_ns: cpu_ns.saturating_sub(self.told.cpu_ns) };
        self.told = now;
        news
    }

    /// Time that the signal handler took.
    pub(super) fn handler_time(&self) -> Duration {
        Duration::from_nanos(sampler::counters().handler_ns - self.before.sampler.handler_ns)
    }

    /// The account as people read it, together with the `window` that is being filled.
    pub(super) fn stats(&self, window: &Window) -> Stats {
        let (now, before) = (Counted::now(), &self.before);
        let durations = now.durations.since(&before.durations);
        let process_cpu_ns = now.cpu_ns.saturating_sub(before.cpu_ns);
        let (now_sampler, before_sampler) = (now.sampler, &before.sampler);
        let mut coarsened = self.coarsened;
        coarsened.add(window.coarsened());
        Stats {
            cpu_samples: now_sampler.cpu_taken - before_sampler.cpu_taken,
            alloc_samples: now_sampler.alloc_taken - before_sampler.alloc_taken,
            wait_samples: now_sampler.wait_taken - before_sampler.wait_taken,
            waits: stats_of(&now.waits.since(&before.waits)),
            alloc_left_out: now.alloc_left_out.saturating_sub(before.alloc_left_out),
            truncated: now_sampler.truncated - before_sampler.truncated,
            without_span: coarsened.without_span,
            without_trace: coarsened.without_trace,
            without_labels: coarsened.without_labels,
            labels_refused: now.labels_refused - before.labels_refused,
            threads: now_sampler.threads,
            modules_without_tables: now_sampler.modules_without_tables,
            timer_failures: now_sampler.timer_failures - before_sampler.timer_failures,
            table_bytes: window.bytes() as u64,
            process_cpu: Duration::from_nanos(process_cpu_ns),
            unsampled_cpu: Duration::from_nanos(
                process_cpu_ns.saturating_sub(now_sampler.sampled_cpu_ns - before_sampler.sampled_cpu_ns),
            ),
            handler_time: Duration::from_nanos(now_sampler.handler_ns - before_sampler.handler_ns),
            handler_p50: durations.quantile(0.5),
            handler_p99: durations.quantile(0.99),
            alloc_time: Duration::from_nanos(now_sampler.alloc_ns - before_sampler.alloc_ns),
            wait_time: Duration::from_nanos(now_sampler.wait_ns - before_sampler.wait_ns),
            ..Stats::default()
        }
    }
}

/// The counters of waits, as people read them.
fn stats_of(counters: &WaitCounters) -> Waits {
    let WaitCounters {
        waits,
        too_many,
        registrations_full,
        busy,
        unplaced,
        clones_foreign,
        clones_full,
        clones_refused,
        wakes_repeated,
        not_woken,
        dropped,
    } = *counters;
    Waits {
        polls: waits,
        open: waits::open_count(),
        too_many,
        registrations_full,
        busy,
        unplaced,
        clones_foreign,
        clones_full,
        clones_refused,
        wakes_repeated,
        not_woken,
        dropped,
    }
}
