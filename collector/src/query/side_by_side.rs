//! Reads segments on several threads, and answers in their order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::QueryError;

/// What `read` makes of each item, on at most so many threads; each takes the next that nobody has.
///
/// # Errors
/// One of those that `read` answers; what was not begun by then is left.
pub(super) fn side_by_side<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    read: impl Fn(&T) -> Result<R, QueryError> + Sync,
) -> Result<Vec<R>, QueryError> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.iter().map(read).collect();
    }
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    let work = || -> Result<(), QueryError> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return Ok(()) };
            let result = read(item).inspect_err(|_| next.store(items.len(), Ordering::Relaxed))?;
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles
            .into_iter()
            .try_for_each(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order_whoever_was_first_and_an_error_is_told() {
        let items: Vec<u64> = (0..1_000).collect();
        for threads in [0, 1, 3, 8] {
            let read = |item: &u64| {
                if item.is_multiple_of(7) {
                    thread::yield_now();
                }
                Ok(item * 2)
            };
            let doubled: Vec<u64> = items.iter().map(|item| item * 2).collect();
            assert_eq!(side_by_side(threads, &items, read).unwrap(), doubled, "{threads} threads");
            let fails = |item: &u64| if *item == 500 { Err(QueryError::OutOfTime) } else { Ok(*item) };
            assert!(matches!(side_by_side(threads, &items, fails), Err(QueryError::OutOfTime)), "{threads} threads");
        }
        assert!(side_by_side(2, &[] as &[u64], |item| Ok(*item)).unwrap().is_empty());
    }
}
