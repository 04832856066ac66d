//! Opens windows on several threads and sums them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tephra_proto::ids::TraceId;

use super::cancel::Cancel;
use super::merge::Merger;
use super::plan::{Pick, Plan};
use super::slices::Slices;
use super::{QueryError, QueryLimits};
use crate::store::Store;

/// Windows that a thread takes at a time: neighbours in one segment.
const CHUNK: usize = 32;

/// Sums all carriers of a plan.
pub(super) fn sum(
    store: &Store,
    plan: &Plan,
    slices: &Slices,
    trace: Option<TraceId>,
    limits: &QueryLimits,
    cancel: &Cancel,
) -> Result<Merger, QueryError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Merger, QueryError> {
        let mut merger = Merger::new(plan.profile_type.clone(), limits);
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(rest) = plan.carriers.get(start..).filter(|rest| !rest.is_empty()) else {
                return Ok(merger);
            };
            for pick in rest.iter().take(CHUNK) {
                cancel.check()?;
                add(store, pick, slices, trace, &mut merger)?;
            }
        }
    };
    let threads = limits.threads.min(plan.carriers.len().div_ceil(CHUNK));
    if threads <= 1 {
        return work();
    }
    let parts: Vec<Result<Merger, QueryError>> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut merged = Merger::new(plan.profile_type.clone(), limits);
    for part in parts {
        merged.absorb(part?)?;
    }
    Ok(merged)
}

fn add(
    store: &Store,
    pick: &Pick,
    slices: &Slices,
    trace: Option<TraceId>,
    merger: &mut Merger,
) -> Result<(), QueryError> {
    let Some(replicate) = slices.replicate(pick.info().start_ms) else { return Ok(()) };
    match store.window(&pick.segment, pick.info())? {
        Some(window) => merger.add(&window, replicate, trace),
        None => Ok(()),
    }
}
