//! Partial answers: where the limits do not allow the whole range, the newest part of it that they do allow.
//!
//! A partial answer is the whole and exact answer to a shorter question, and says which. Sums over part of the windows of a range
//! would be neither.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::QueryError;
use crate::base::clock::{self, now_ms};
use crate::base::range::TimeRange;
use crate::profile::model::Partial;

/// Part of the time that is left which one attempt gets: the rest is for a shorter range.
const ATTEMPT_SHARE: f64 = 0.7;

/// How much shorter the next attempt is. Work grows with the range, but not all of it.
const SHORTER: u64 = 6;

/// The shortest range worth an attempt: one window.
const RANGE_MS_MIN: u64 = 10_000;

/// Asks for the range, and for less and less of it, until an answer fits the limits. An answer for a part that `holds` nothing would
/// say that there is nothing: then the limit is said instead.
///
/// # Errors
/// The first limit that was hit, when not even one window fits; any other error at once.
pub(super) async fn newest_that_fits<T, F>(
    range: TimeRange,
    deadline: Instant,
    holds: impl Fn(&T) -> bool,
    mut ask: impl FnMut(TimeRange, Instant) -> F,
) -> Result<(T, Option<Partial>), QueryError>
where
    F: Future<Output = Result<T, QueryError>>,
{
    // The future holds nothing: a range that reaches into it is not shortened at that end.
    let until_ms = range.until_ms.min(now_ms().max(range.from_ms + 1));
    let mut part = range;
    let mut hit: Option<QueryError> = None;
    loop {
        let left = deadline.saturating_duration_since(clock::task_instant());
        let by = clock::task_instant() + left.mul_f64(ATTEMPT_SHARE);
        let error = match ask(part, by).await {
            Ok(answer) => {
                if let Some(hit) = hit.as_ref().filter(|_| !holds(&answer)) {
                    return Err(hit.clone());
                }
                let partial = hit.as_ref().and_then(QueryError::limit);
                let partial = partial.map(|reason| Partial {
                    reason,
                    from_ms: part.from_ms,
                    until_ms: range.until_ms,
                    is_damaged: false,
                });
                return Ok((answer, partial));
            }
            Err(error) if error.limit().is_none() => return Err(error),
            Err(error) => error,
        };
        let shorter = error
            .fitting_share()
            .map_or(part_millis(part, until_ms) / SHORTER, |share| (part_millis(part, until_ms) as f64 * share) as u64);
        let hit = hit.get_or_insert(error);
        if shorter < RANGE_MS_MIN || left < Duration::from_millis(1) {
            return Err(hit.clone());
        }
        part.from_ms = until_ms - shorter;
    }
}

fn part_millis(part: TimeRange, until_ms: u64) -> u64 {
    until_ms.saturating_sub(part.from_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::model::PartialReason;

    const RANGE: TimeRange = TimeRange { from_ms: 0, until_ms: 1_000_000 };

    async fn fit(
        mut ask: impl FnMut(TimeRange) -> Result<TimeRange, QueryError>,
    ) -> Result<(TimeRange, Option<Partial>), QueryError> {
        let deadline = Instant::now() + Duration::from_secs(30);
        newest_that_fits(RANGE, deadline, |_| true, |range, _| std::future::ready(ask(range))).await
    }

    #[tokio::test]
    async fn what_fits_is_whole() {
        assert_eq!(fit(Ok).await.unwrap(), (RANGE, None));
    }

    #[tokio::test]
    async fn too_many_windows_leave_the_newest_that_fit() {
        let ask = |range: TimeRange| {
            let found = range.millis() / 1_000;
            if found > 300 { Err(QueryError::TooManyWindows { found, limit: 300 }) } else { Ok(range) }
        };
        let (answer, partial) = fit(ask).await.unwrap();
        let partial = partial.expect("not all of it");
        assert_eq!(partial.reason, PartialReason::Windows);
        assert_eq!((partial.from_ms, partial.until_ms), (answer.from_ms, RANGE.until_ms));
        assert!((200_000..=300_000).contains(&answer.millis()), "{answer:?}: not much less than what fits");
    }

    #[tokio::test]
    async fn an_outgrown_profile_is_tried_shorter_and_shorter() {
        let ask = |range: TimeRange| match range.millis() {
            0..40_000 => Ok(range),
            _ => Err(QueryError::TooLarge { what: "nodes", limit: 5 }),
        };
        let (answer, partial) = fit(ask).await.unwrap();
        assert_eq!((answer.millis(), partial.map(|p| p.reason)), (27_777, Some(PartialReason::Size)));
    }

    #[tokio::test]
    async fn what_never_fits_is_refused_with_the_limit() {
        let error = fit(|_| Err(QueryError::TooLarge { what: "nodes", limit: 5 })).await.unwrap_err();
        assert!(matches!(error, QueryError::TooLarge { what: "nodes", .. }), "{error}");
    }

    #[tokio::test]
    async fn a_part_without_data_is_no_answer() {
        let deadline = Instant::now() + Duration::from_secs(30);
        let ask = async |range: TimeRange, _: Instant| match range.from_ms {
            0 => Err(QueryError::OutOfTime),
            _ => Ok(()),
        };
        let error = newest_that_fits(RANGE, deadline, |()| false, ask).await.unwrap_err();
        assert!(matches!(error, QueryError::OutOfTime), "{error}");
    }

    #[tokio::test]
    async fn other_errors_are_not_tried_again() {
        let mut asked = 0;
        let error = fit(|_| {
            asked += 1;
            Err(QueryError::Cancelled)
        });
        assert!(matches!(error.await, Err(QueryError::Cancelled)));
        assert_eq!(asked, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn out_of_time_means_a_shorter_range_and_still_in_time() {
        let start = Instant::now();
        let deadline = start + Duration::from_secs(30);
        // A second for each 30 s of the range.
        let ask = async |range: TimeRange, by: Instant| {
            let done = Instant::now() + Duration::from_millis(range.millis() / 30);
            tokio::time::sleep_until(done.min(by)).await;
            if done > by { Err(QueryError::OutOfTime) } else { Ok(range) }
        };
        let (answer, partial) = newest_that_fits(RANGE, deadline, |_| true, ask).await.unwrap();
        assert_eq!(partial.map(|p| p.reason), Some(PartialReason::Time));
        assert_eq!(answer.from_ms, 1_000_000 - 166_666);
        assert!(Instant::now() <= deadline);
        let never = async |_: TimeRange, by: Instant| -> Result<(), _> {
            tokio::time::sleep_until(by).await;
            Err(QueryError::OutOfTime)
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        let error = newest_that_fits(RANGE, deadline, |_| true, never).await.unwrap_err();
        assert!(matches!(error, QueryError::OutOfTime));
        assert!(Instant::now() <= deadline);
    }
}
