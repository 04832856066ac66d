//! A window belongs to the range that it starts in. Where nothing starts, one that is as long as an hour may still reach into the
//! range: then the answer says so, and does not claim that nothing was sent.

use tephra_proto::limits::WINDOW_MS_MAX;
use tokio::time::Instant;

use super::cover::Wish;
use super::measure::SUM_TABLES;
use super::{QueryEngine, QueryError, Selection};
use crate::base::range::TimeRange;
use crate::profile::model::Merged;

/// Shorter than this before the range is no distance worth a word.
const MINUTE_MS: u64 = 60_000;

impl QueryEngine {
    /// Says of an answer without windows what reaches into its range.
    pub(super) async fn tell_what_reaches(
        &self,
        merged: Merged,
        selection: &Selection,
        deadline: Instant,
    ) -> Result<Merged, QueryError> {
        if merged.windows > 0 {
            return Ok(merged);
        }
        let (service, profile_type) = (selection.service.clone(), &selection.profile_type);
        // That it cannot be found out in time is no reason to withhold the answer.
        let found = match self.reaching(selection, deadline).await {
            Err(error) if error.limit().is_none() => return Err(error),
            found => found.ok().flatten(),
        };
        let said = found.map(|found| {
            let (before, length) = (selection.from_ms - found.from_ms, found.millis());
            let minutes = |ms: u64| ms.div_ceil(MINUTE_MS);
            format!(
                "no {profile_type} of {service} begins in this range, but what began {} min before it and took {} min reaches into it: \
                 begin the range earlier",
                minutes(before),
                minutes(length)
            )
        });
        Ok(Merged { empty_because: said.or(merged.empty_because), ..merged })
    }

    /// The last window that starts before the range and ends in it: from its start until its end.
    async fn reaching(&self, selection: &Selection, deadline: Instant) -> Result<Option<TimeRange>, QueryError> {
        let until_ms = selection.from_ms;
        let before = TimeRange { from_ms: until_ms.saturating_sub(WINDOW_MS_MAX.into()), until_ms };
        if before.from_ms >= before.until_ms {
            return Ok(None);
        }
        let earlier = selection.within(before);
        let prepared = self.prepare(&earlier).await?;
        self.run(deadline, move |store, limits, cancel| {
            let wish = Wish::points(before, Some(1), 1, true);
            let plan = prepared.plan(store, wish, &SUM_TABLES, limits, cancel)?;
            // What a coarse window covers may lie wholly behind the start of the range.
            let reaching =
                plan.covering.iter().filter(|received| received.from_ms < until_ms && received.until_ms > until_ms);
            let last = reaching.max_by_key(|received| (received.from_ms, received.until_ms));
            Ok(last.map(|received| TimeRange { from_ms: received.from_ms, until_ms: received.until_ms }))
        })
        .await
    }
}
