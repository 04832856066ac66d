//! Room for heavy answers: a few at a time, each with a deadline, and an honest refusal beyond that.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::{ApiError, ErrorKind};

/// Merging saturates the cores it gets: more at once only makes all of them late.
pub(super) const RUNNING_MAX: usize = 4;

/// Requests that may wait for their turn: one page of the view asks for at most six things at once.
const WAITING_MAX: usize = 64;

/// How long one may wait for its turn.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// What an answer may take beyond the time of its query: names are looked up, a picture is made. A query whose time is up answers for the
/// part it has done; this is the end for what does not even stop.
const RENDER_TIME_MAX: Duration = Duration::from_secs(15);

/// The turns.
#[derive(Debug, Clone)]
pub struct Workbench {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    deadline: Duration,
}

impl Workbench {
    /// For answers whose queries take at most `query`.
    pub fn new(query: Duration) -> Self {
        Self::with_limits(RUNNING_MAX, WAITING_MAX, query + RENDER_TIME_MAX)
    }

    fn with_limits(running: usize, waiting: usize, deadline: Duration) -> Self {
        let admitted = Arc::new(Semaphore::new(running + waiting));
        Self { running: Arc::new(Semaphore::new(running)), admitted, deadline }
    }

    /// How long an answer may take, with the wait for its turn.
    pub fn time_max(&self) -> Duration {
        WAIT_MAX + self.deadline
    }

    /// How many wait for their turn.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let admitted = RUNNING_MAX + WAITING_MAX - self.admitted.available_permits();
        admitted - (RUNNING_MAX - self.running.available_permits())
    }

    /// Does `work` when its turn comes. Dropping the returned future, as a disconnecting client does, drops the work.
    ///
    /// # Errors
    /// 429 when too many wait already or the turn does not come, 503 when the work does not end in time, or whatever the
    /// work itself answers.
    pub async fn run<T>(&self, work: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        let Ok(_admitted) = self.admitted.try_acquire() else {
            return Err(overloaded("too many queries are waiting"));
        };
        let Ok(Ok(_turn)) = timeout(WAIT_MAX, self.running.acquire()).await else {
            return Err(overloaded("the query waited 10 s for its turn"));
        };
        timeout(self.deadline, work).await.unwrap_or_else(|_| {
            Err(ApiError::new(
                ErrorKind::Unavailable,
                format!("the answer took longer than {} s", self.deadline.as_secs()),
                "ask for a shorter range, or narrow it down with label.<name>=<value>",
            ))
        })
    }
}

/// Computes on a thread that may block.
///
/// # Errors
/// 500 when the computation panics; whatever it answers otherwise.
pub async fn blocking<T, F>(compute: F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    tokio::task::spawn_blocking(compute).await.map_err(|error| ApiError::internal(&error))
}

fn overloaded(message: &str) -> ApiError {
    ApiError::new(ErrorKind::Overloaded, message, "try again in a few seconds")
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_without_end_is_stopped_at_the_deadline() {
        let error = Workbench::new(Duration::from_secs(30)).run(pending::<Result<(), ApiError>>()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_limits_requests_are_refused_and_a_finished_one_makes_room() {
        let bench = Workbench::with_limits(1, 1, Duration::from_secs(30));
        let (finish, finished) = oneshot::channel::<()>();
        let first = tokio::spawn({
            let bench = bench.clone();
            async move { bench.run(async { finished.await.map_err(|e| ApiError::internal(&e)) }).await }
        });
        let second = tokio::spawn({
            let bench = bench.clone();
            async move { bench.run(async { Ok(2) }).await }
        });
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(bench.run(async { Ok(3) }).await.unwrap_err().kind(), ErrorKind::Overloaded);
        finish.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(()));
        assert_eq!(second.await.unwrap(), Ok(2));
        assert_eq!(bench.run(async { Ok(4) }).await, Ok(4));
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_not_the_end() {
        let error = blocking::<(), _>(|| panic!("planted")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
