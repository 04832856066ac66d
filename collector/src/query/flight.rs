//! Identical questions that are asked at the same time are computed once.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use super::QueryError;

type Answer<V> = Result<Arc<V>, QueryError>;
type Flight<V> = BoxFuture<'static, Answer<V>>;

/// Work in progress, by what is asked. Whoever asks the same waits for the same answer; when the last of them is gone, the work is
/// dropped with it.
#[derive(Debug)]
pub(super) struct SingleFlight<K, V> {
    flights: Arc<Mutex<HashMap<K, WeakShared<Flight<V>>>>>,
}

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self { flights: Arc::default() }
    }
}

impl<K: Hash + Eq, V: Send + Sync + 'static> SingleFlight<K, V> {
    /// The answer of `compute`, or of the one that is at work on the same already.
    pub(super) async fn run<F>(&self, key: K, compute: impl FnOnce() -> F) -> Answer<V>
    where
        F: Future<Output = Result<V, QueryError>> + Send + 'static,
    {
        self.join(key, compute).await
    }

    fn join<F>(&self, key: K, compute: impl FnOnce() -> F) -> Shared<Flight<V>>
    where
        F: Future<Output = Result<V, QueryError>> + Send + 'static,
    {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // What is done is not a cache: the next one to ask may get a newer answer.
        flights.retain(|_, flight| flight.upgrade().is_some_and(|flight| flight.peek().is_none()));
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        let compute = compute();
        let flight = async move { compute.await.map(Arc::new) }.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key, weak);
        }
        flight
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn the_same_question_is_computed_once_and_another_one_by_itself() {
        let flights: SingleFlight<&str, u32> = SingleFlight::default();
        let computed = Arc::new(AtomicU32::new(0));
        let ask = |key| {
            let computed = computed.clone();
            flights.join(key, || async move { Ok(computed.fetch_add(1, Ordering::Relaxed)) })
        };
        let asked = ["a", "a", "b", "a"].map(ask);
        let mut answers = Vec::new();
        for one in asked {
            answers.push(*one.await.unwrap());
        }
        assert_eq!(answers, [0, 0, 1, 0]);
        assert_eq!(*ask("a").await.unwrap(), 2, "what is done is computed anew");
        assert_eq!(computed.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn work_goes_on_while_one_waits_and_ends_with_the_last() {
        let flights: SingleFlight<&str, ()> = SingleFlight::default();
        let (held, mut dropped) = oneshot::channel::<()>();
        let work = || async move {
            let _held = held;
            std::future::pending::<Result<(), QueryError>>().await
        };
        let first = flights.join("a", work);
        let second = flights.join("a", || async { Ok(()) });
        drop(first);
        assert!(dropped.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Empty), "one still waits");
        drop(second);
        assert!(dropped.await.is_err(), "nobody waits: the work is gone");
    }
}
