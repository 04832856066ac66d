//! Samples as the sampler takes them, with nobody but a test to receive them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::Sample;
use crate::sample::SampleKind;
use crate::sampler::hooks::{self, Session};

pub(super) struct Recording {
    session: Session,
    samples: Receiver<Sample>,
    taken_before: u64,
    stalled: Arc<AtomicBool>,
}

/// What a thread that is being sampled waits with for the thread that empties the rings: so that no sample is lost however
/// busy the machine is.
pub(super) struct Pace<'a> {
    recording: &'a Session,
    taken_before: u64,
    stalled: &'a AtomicBool,
}

impl Recording {
    pub(super) fn start() -> Self {
        let (send, samples) = channel();
        let taken_before = hooks::totals().0;
        let stalled = Arc::new(AtomicBool::new(false));
        let stall = Arc::clone(&stalled);
        let session = Session::start_with(0, move |sample| {
            while stall.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(1));
            }
            if let SampleKind::Alloc { bytes, weight } = sample.kind {
                let _ = send.send(Sample { bytes, weight, stack: sample.stack.to_vec() });
            }
        });
        Self { session, samples, taken_before, stalled }
    }

    pub(super) fn pace(&self) -> Pace<'_> {
        Pace { recording: &self.session, taken_before: self.taken_before, stalled: &self.stalled }
    }

    /// Stops, and returns everything sampled.
    pub(super) fn finish(self) -> Vec<Sample> {
        drop(self.session);
        self.samples.iter().collect()
    }
}

impl Pace<'_> {
    /// Whoever empties the rings stops at the next sample, or goes on.
    pub(super) fn stall(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    pub(super) fn keep(&self) {
        while hooks::totals().0 - self.taken_before > self.recording.drained() + 200 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
