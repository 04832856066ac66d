//! Opens windows and parts on several threads and sums them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::cancel::Cancel;
use super::columns::Columns;
use super::merge::{Merger, Parts};
use super::plan::Plan;
use super::{QueryError, QueryLimits, Selection};
use crate::base::labels::Matcher;
use crate::store::Store;

/// Windows that a thread takes at a time: neighbours in one segment.
const CHUNK: usize = 32;

/// Sums all that a plan opens; answers the rows of compacted segments that it read, too.
pub(super) fn sum(
    store: &Store,
    plan: &Plan,
    parts: Parts<'_>,
    selection: &Selection,
    limits: &QueryLimits,
    cancel: &Cancel,
) -> Result<(Merger, u64), QueryError> {
    let next = AtomicUsize::new(0);
    let labels = Matcher::new(&selection.labels);
    let columns = Columns::of(store, plan, selection);
    let threads = limits.threads.min(plan.carriers.len().div_ceil(CHUNK) + columns.len()).max(1);
    let work = |thread: usize| -> Result<Merger, QueryError> {
        let mut merger = Merger::new(plan.profile_type.clone(), limits);
        columns.sum(store, thread, threads, parts, &mut merger, cancel)?;
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(rest) = plan.carriers.get(start..).filter(|rest| !rest.is_empty()) else {
                return Ok(merger);
            };
            for pick in rest.iter().take(CHUNK) {
                cancel.check()?;
                if parts.slices.replicate(pick.info().start_ms).is_none() {
                    continue;
                }
                if let Some(window) = store.window(&pick.segment, pick.info())? {
                    merger.add_parts(&window, parts, &labels, selection.trace)?;
                }
            }
        }
    };
    let rows = columns.rows() as u64;
    if threads == 1 {
        return Ok((work(0)?, rows));
    }
    let sums: Vec<Result<Merger, QueryError>> = thread::scope(|scope| {
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
    let mut sums = sums.into_iter();
    let mut merged = sums.next().unwrap_or_else(|| Ok(Merger::new(plan.profile_type.clone(), limits)))?;
    for sum in sums {
        merged.absorb(sum?)?;
    }
    Ok((merged, rows))
}
