//! What ingest counts, for `/metrics` and the status page.

use std::sync::atomic::{AtomicU64, Ordering};

use tephra_proto::v1;

use crate::profile::decode::Rejection;

/// More samples than a window can hold are not believed.
const SAMPLES_MAX: u64 = 1 << 32;

/// What a sample may have lost of its labels, in the order that [`Metrics::coarsened`] counts them.
const COARSENED: [&str; 3] = ["span", "trace", "labels"];

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    windows: AtomicU64,
    samples: AtomicU64,
    duplicates: AtomicU64,
    overloaded: AtomicU64,
    full: AtomicU64,
    overflowed: AtomicU64,
    relabelled: AtomicU64,
    unavailable: AtomicU64,
    segments: AtomicU64,
    received_bytes: AtomicU64,
    segment_bytes: AtomicU64,
    coarsened: [AtomicU64; COARSENED.len()],
    refused: [AtomicU64; Rejection::REASONS.len()],
}

/// All counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Windows stored.
    pub windows_total: u64,
    /// Samples in them.
    pub samples_total: u64,
    /// Windows that were stored already, and acked again.
    pub duplicates_total: u64,
    /// Windows sent back because too much was in flight.
    pub overloaded_total: u64,
    /// Windows sent back because what they name is new, and there is no room for it.
    pub full_total: u64,
    /// Windows filed under the overflow series of their service.
    pub overflowed_total: u64,
    /// Windows in which values of labels of samples were replaced by the overflow value.
    pub relabelled_total: u64,
    /// Windows sent back because the store did not take them.
    pub unavailable_total: u64,
    /// Segments written.
    pub segments_total: u64,
    /// Compressed payload bytes of stored windows.
    pub received_bytes_total: u64,
    /// Bytes of the segments written.
    pub segment_bytes_total: u64,
    /// Samples that agents stored without some of their labels, for lack of memory, by what is missing; each is there.
    pub coarsened_total: Vec<(&'static str, u64)>,
    /// Windows refused, by [`Rejection::reason`]; every reason is there.
    pub refused_total: Vec<(&'static str, u64)>,
}

impl Metrics {
    /// All counters now.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MetricsSnapshot {
            windows_total: load(&self.windows),
            samples_total: load(&self.samples),
            duplicates_total: load(&self.duplicates),
            overloaded_total: load(&self.overloaded),
            full_total: load(&self.full),
            overflowed_total: load(&self.overflowed),
            relabelled_total: load(&self.relabelled),
            unavailable_total: load(&self.unavailable),
            segments_total: load(&self.segments),
            received_bytes_total: load(&self.received_bytes),
            segment_bytes_total: load(&self.segment_bytes),
            coarsened_total: COARSENED.into_iter().zip(self.coarsened.iter().map(load)).collect(),
            refused_total: Rejection::REASONS.into_iter().zip(self.refused.iter().map(load)).collect(),
        }
    }

    pub(super) fn stored(&self, windows: u64, samples: u64, received_bytes: u64, segment_bytes: u64) {
        add(&self.windows, windows);
        add(&self.samples, samples);
        add(&self.received_bytes, received_bytes);
        add(&self.segment_bytes, segment_bytes);
        add(&self.segments, 1);
    }

    /// What the agents of stored windows say that memory ran short for.
    pub(super) fn coarsened(&self, samples: &v1::Coarsened) {
        let v1::Coarsened { without_span, without_trace, without_labels } = *samples;
        for (counter, samples) in self.coarsened.iter().zip([without_span, without_trace, without_labels]) {
            add(counter, samples.min(SAMPLES_MAX));
        }
    }

    pub(super) fn duplicate(&self) {
        add(&self.duplicates, 1);
    }

    pub(super) fn relabelled(&self) {
        add(&self.relabelled, 1);
    }

    pub(super) fn overloaded(&self) {
        add(&self.overloaded, 1);
    }

    pub(super) fn full(&self) {
        add(&self.full, 1);
    }

    pub(super) fn overflowed(&self) {
        add(&self.overflowed, 1);
    }

    pub(super) fn unavailable(&self) {
        add(&self.unavailable, 1);
    }

    pub(super) fn refused(&self, rejection: &Rejection) {
        let reasons = Rejection::REASONS.iter().zip(&self.refused);
        for (_, counter) in reasons.filter(|(reason, _)| **reason == rejection.reason()) {
            add(counter, 1);
        }
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
