//! Those who decode: as many threads as there are cores, so that queries get their share of them too, and two at least, so that a large
//! window does not hold up all others.
//!
//! Small windows take less time than waking a thread. So one that has nothing to do waits a moment for more before it goes: while many
//! windows come, each time it wakes it finds several.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// How long a thread waits for more. An ack takes much longer.
const LINGER: Duration = Duration::from_millis(10);

/// See the module. Cheap to clone; clones are the same threads.
#[derive(Debug, Clone)]
pub(super) struct Decoders {
    threads: usize,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Box<dyn FnOnce() + Send>>,
    busy: usize,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("jobs", &self.jobs.len()).field("busy", &self.busy).finish()
    }
}

impl Decoders {
    pub(super) fn new() -> Self {
        Self::of(std::thread::available_parallelism().map_or(2, usize::from).max(2))
    }

    fn of(threads: usize) -> Self {
        Self { threads, queue: Arc::default() }
    }

    /// Does some work when its turn comes, and answers it; not at all when nobody waits for it any more. There is no answer when it
    /// panicked, or the process is ending. It may block. Must be called inside a Tokio runtime.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        let job = move || {
            if !answer.is_closed() {
                let _ = answer.send(work());
            }
        };
        let wake = {
            let mut queue = lock(&self.queue);
            queue.jobs.push_back(Box::new(job));
            let wake = queue.busy < self.threads;
            queue.busy += usize::from(wake);
            wake
        };
        if wake {
            let queue = self.queue.clone();
            tokio::task::spawn_blocking(move || work_off(&queue));
        }
        answered
    }

    /// How much waits for a thread.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.queue).jobs.len()
    }
}

/// Does what there is, and ends when nothing more has come for a moment.
fn work_off(queue: &Mutex<Queue>) {
    let mut has_waited = false;
    loop {
        let next = {
            let mut queue = lock(queue);
            let next = queue.jobs.pop_front();
            if next.is_none() && has_waited {
                queue.busy -= 1;
                return;
            }
            next
        };
        match next {
            Some(job) => {
                has_waited = false;
                // Whoever asked learns that there is no answer.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
            None => {
                has_waited = true;
                std::thread::sleep(LINGER);
            }
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn all_of_it_is_done_by_no_more_threads_than_there_are() {
        let decoders = Decoders::of(2);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let all: Vec<_> = (0..500usize)
            .map(|i| {
                let (decoders, now, most) = (decoders.clone(), now.clone(), most.clone());
                tokio::spawn(async move {
                    let work = move || {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                        i
                    };
                    decoders.run(work).await.unwrap()
                })
            })
            .collect();
        let mut sum = 0;
        for one in all {
            sum += one.await.unwrap();
        }
        assert_eq!(sum, 499 * 500 / 2);
        assert!(most.load(Ordering::SeqCst) <= 2);
    }

    #[tokio::test]
    async fn a_panic_ends_one_window_and_no_thread() {
        let decoders = Decoders::of(1);
        for i in 0..10 {
            assert!(decoders.run(|| panic!("planted")).await.is_err());
            assert_eq!(decoders.run(move || i).await.unwrap(), i);
        }
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_done() {
        let decoders = Decoders::of(1);
        let (go_on, wait) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let decoders = decoders.clone();
            async move { decoders.run(move || wait.recv().is_ok()).await }
        });
        let (done, was_done) = mpsc::channel::<()>();
        let second = tokio::spawn({
            let decoders = decoders.clone();
            async move { decoders.run(move || done.send(()).is_ok()).await }
        });
        while lock(&decoders.queue).jobs.is_empty() {
            tokio::task::yield_now().await;
        }
        second.abort();
        assert!(second.await.unwrap_err().is_cancelled());
        go_on.send(()).unwrap();
        assert!(first.await.unwrap().unwrap());
        // Its end of the channel is gone without having been used.
        assert!(decoders.run(|| true).await.unwrap());
        assert!(was_done.try_recv().is_err());
    }
}
