//! Opens windows and parts on several threads and sums them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::cancel::Cancel;
use super::columns::Columns;
use super::merge::Merger;
use super::plan::{Matcher, Plan};
use super::slices::Slices;
use super::{QueryError, QueryLimits, Selection};
use crate::store::Store;

/// Windows that a thread takes at a time: neighbours in one segment.
const CHUNK: usize = 32;

/// Sums all that a plan opens; answers the rows of compacted segments that it read, too.
pub(super) fn sum(
    store: &Store,
    plan: &Plan,
    slices: &Slices,
    selection: &Selection,
    limits: &QueryLimits,
    cancel: &Cancel,
) -> Result<(Merger, u64), QueryError> {
    let next = AtomicUsize::new(0);
    let labels = Matcher::new(&selection.labels);
    let columns = Columns::of(plan, selection);
    let threads = limits.threads.min(plan.carriers.len().div_ceil(CHUNK) + columns.len()).max(1);
    let work = |thread: usize| -> Result<Merger, QueryError> {
        let mut merger = Merger::new(plan.profile_type.clone(), limits);
        columns.sum(store, thread, threads, slices, &mut merger, cancel)?;
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(rest) = plan.carriers.get(start..).filter(|rest| !rest.is_empty()) else {
                return Ok(merger);
            };
            for pick in rest.iter().take(CHUNK) {
                cancel.check()?;
                let Some(replicate) = slices.replicate(pick.info().start_ms) else { continue };
                if let Some(window) = store.window(&pick.segment, pick.info())? {
                    merger.add(&window, replicate, &labels, selection.trace)?;
                }
            }
        }
    };
    let rows = columns.rows() as u64;
    if threads == 1 {
        return Ok((work(0)?, rows));
    }
    let parts: Vec<Result<Merger, QueryError>> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let work = &work;
                scope.spawn(move || work(thread))
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut parts = parts.into_iter();
    let mut merged = parts.next().unwrap_or_else(|| Ok(Merger::new(plan.profile_type.clone(), limits)))?;
    for part in parts {
        merged.absorb(part?)?;
    }
    Ok((merged, rows))
}
