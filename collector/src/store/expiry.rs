//! How far retention may go. A clock may be wrong, and an option mistyped; what was let go of does not come back.
//!
//! - In the ordinary course goes what comes of age while the collector runs: by the time that passed, not by what the clock says,
//!   though up to twice as fast, so that a pause is made up for.
//! - Where more than that is past its time (the clock jumped, the collector was stopped for long, the retention was shortened), it goes
//!   at once up to a tenth of what is stored within an hour.
//! - More than that waits until somebody confirms it; or, when it is only that time has passed, and windows that agents send agree with
//!   the clock, it goes by a twentieth of what is stored an hour, the oldest first.
//!
//! How far it has come, and what went within the hour, is in the catalog, so a restart forgets nothing of it. What else goes by time (pins, sequence numbers, names,
//! symbols) goes by [`Progress::clock_ms`], which never jumps unless that is confirmed.

mod decide;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::catalog::Aging;
use super::compact::levels::{HORIZON_MS, LEVELS, TRACES};
use super::{Options, Store, StoreError};
use crate::base::clock;
use crate::conditions::Severity;
use decide::{Seen, Verdict, Why, decide};

const HOUR_MS: u64 = 3_600_000;

/// A moment for each kind of what retention lets go of, unix milliseconds: what ended before it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cutoffs {
    /// Windows as they arrived.
    pub windows: u64,
    /// Windows of a minute.
    pub minutes: u64,
    /// Windows of ten minutes.
    pub ten_minutes: u64,
    /// Traces and spans.
    pub traces: u64,
    /// Windows of any length.
    pub all: u64,
}

impl Cutoffs {
    /// What would go at `now_ms` by the options alone.
    pub fn at(options: &Options, now_ms: u64) -> Self {
        let cutoff = |kept: Duration| now_ms.saturating_sub(kept.min(options.retention).as_millis() as u64);
        let keep = options.keep;
        Self {
            windows: cutoff(keep.windows),
            minutes: cutoff(keep.minutes),
            ten_minutes: cutoff(keep.ten_minutes),
            traces: cutoff(keep.traces),
            all: cutoff(options.retention),
        }
    }

    /// By level, finest first: at whole multiples of [`HORIZON_MS`].
    pub fn levels(&self) -> impl Iterator<Item = (u32, u64)> {
        let cutoffs = [self.windows, self.minutes, self.ten_minutes];
        LEVELS.iter().zip(cutoffs).map(|(level, cutoff)| (level.number, cutoff - cutoff % HORIZON_MS))
    }

    /// True when retention lets go of the segment.
    fn takes(&self, segment: &Aging) -> bool {
        let at_level = |(number, cutoff)| segment.rolled && segment.level == number && segment.max_ms <= cutoff;
        segment.max_ms <= self.all
            || (segment.level == TRACES && segment.max_ms <= self.traces)
            || self.levels().any(at_level)
    }

    fn with(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            windows: combine(self.windows, other.windows),
            minutes: combine(self.minutes, other.minutes),
            ten_minutes: combine(self.ten_minutes, other.ten_minutes),
            traces: combine(self.traces, other.traces),
            all: combine(self.all, other.all),
        }
    }

    fn map(self, change: impl Fn(u64) -> u64) -> Self {
        self.with(self, |cutoff, _| change(cutoff))
    }

    /// True when any of them is later than in `other`.
    fn is_beyond(&self, other: &Self) -> bool {
        self.with(*other, |a, b| u64::from(a > b)) != self.map(|_| 0)
    }

    fn latest(&self) -> u64 {
        [self.windows, self.minutes, self.ten_minutes, self.traces, self.all].into_iter().max().unwrap_or(0)
    }
}

/// How far retention has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The time that retention goes by, unix milliseconds: behind a clock that jumped.
    pub clock_ms: u64,
    /// What ended before these was let go of.
    pub cutoffs: Cutoffs,
}

/// What went beyond the ordinary within an hour. It lasts an hour of collectors that run: a clock that is set, a restart, or another
/// collector's turn begins no other one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Hour {
    /// How much of it is over, by a clock that cannot be set.
    ran_ms: u64,
    /// Bytes that went in it.
    gone_bytes: u64,
}

impl Hour {
    /// The same, or the next one, so much later.
    fn after(self, elapsed_ms: u64) -> Self {
        let ran_ms = self.ran_ms.saturating_add(elapsed_ms);
        if ran_ms < HOUR_MS { Self { ran_ms, ..self } } else { Self::default() }
    }
}

/// What the catalog keeps of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    progress: Progress,
    /// Releases of before kept none.
    #[serde(default)]
    hour: Hour,
}

/// What the catalog keeps of it, and as which text it does: whoever changes it says which it was, so that nobody undoes what another did.
#[derive(Debug, Clone)]
struct Found {
    kept: Kept,
    text: Option<String>,
}

/// What one process remembers between rounds.
#[derive(Debug, Default)]
pub struct Pace {
    last: Option<Instant>,
}

impl Pace {
    /// Time since the last round of this process, milliseconds.
    fn tick(&mut self) -> u64 {
        let now = clock::instant();
        self.last.replace(now).map_or(0, |last| now.duration_since(last).as_millis() as u64)
    }
}

/// What somebody confirmed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// Segments that go.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Decides how far retention may go as of `now_ms`, remembers it, and says so where something waits.
    pub(super) async fn advance_retention(&self, pace: &mut Pace, now_ms: u64) -> Result<Progress, StoreError> {
        let elapsed_ms = pace.tick();
        loop {
            let found = self.retention_found(now_ms).await?;
            if let Some(progress) = self.advance_from(found, elapsed_ms, now_ms).await? {
                return Ok(progress);
            }
        }
    }

    /// `None`: somebody confirmed more meanwhile, or another collector had the turn. Then nothing was changed.
    async fn advance_from(
        &self,
        Found { kept, text }: Found,
        elapsed_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Progress>, StoreError> {
        let hour = kept.hour.after(elapsed_ms);
        let catalog = self.catalog();
        let wanted = Cutoffs::at(self.options(), now_ms);
        let seen = Seen {
            options: self.options(),
            progress: kept.progress,
            now_ms,
            elapsed_ms,
            newest_window_ms: catalog.newest().await?.map_or(0, |newest| newest.window_end_ms),
            aging: catalog.aging(wanted.latest()).await?,
            live_bytes: catalog.totals().await?.bytes,
            gone_bytes: hour.gone_bytes,
        };
        let Verdict { progress: next, bytes, waits } = decide(&seen);
        let after = Kept { progress: next, hour: Hour { gone_bytes: hour.gone_bytes + bytes, ..hour } };
        if after != kept && !self.keep_retention(&after, text.as_deref()).await? {
            return Ok(None);
        }
        let (clock, pause) = (waits.filter(|w| w.why != Why::Pause), waits.filter(|w| w.why == Why::Pause));
        self.conditions().set("retention_waits", Severity::Degraded, clock.map(|waits| waits.message(&seen)));
        self.conditions().set("retention_catches_up", Severity::Notice, pause.map(|waits| waits.message(&seen)));
        // The clock may be behind what was reached once; what is done now goes by the earlier.
        let now = wanted.with(next.cutoffs, u64::min);
        Ok(Some(Progress { clock_ms: next.clock_ms.min(now_ms), cutoffs: now }))
    }

    /// Lets retention go as far as clock and options say, whatever that takes with it: for somebody who looked at both.
    ///
    /// # Errors
    /// When the catalog fails; then nothing is confirmed.
    pub async fn confirm_retention(&self, now_ms: u64) -> Result<Confirmed, StoreError> {
        let wanted = Cutoffs::at(self.options(), now_ms);
        let due = self.catalog().aging(wanted.latest()).await?;
        let due = due.iter().filter(|segment| wanted.takes(segment));
        let confirmed = due.fold(Confirmed::default(), |sum, segment| Confirmed {
            segments: sum.segments + 1,
            bytes: sum.bytes + segment.bytes,
        });
        loop {
            let Found { kept: Kept { hour, .. }, text } = self.retention_found(now_ms).await?;
            // What somebody confirmed is not counted.
            let after = Kept { progress: Progress { clock_ms: now_ms, cutoffs: wanted }, hour };
            if self.keep_retention(&after, text.as_deref()).await? {
                return Ok(confirmed);
            }
        }
    }

    /// The time that whatever is forgotten by time goes by, unix milliseconds: not later than `now_ms`.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn retention_clock(&self, now_ms: u64) -> Result<u64, StoreError> {
        Ok(self.retention_found(now_ms).await?.kept.progress.clock_ms.min(now_ms))
    }

    /// How far it has come. In a store that does not say, as far as what is stored tells.
    async fn retention_found(&self, now_ms: u64) -> Result<Found, StoreError> {
        let catalog = self.catalog();
        let text = catalog.retention().await?;
        if let Some(kept) = text.as_ref().and_then(|text| serde_json::from_str(text).ok()) {
            return Ok(Found { kept, text });
        }
        let newest =
            catalog.newest().await?.map_or(now_ms, |newest| newest.window_end_ms.max(newest.commit_ms)).min(now_ms);
        let oldest = catalog.aging(now_ms).await?.iter().map(|segment| segment.max_ms).min();
        let cutoffs = Cutoffs::at(self.options(), newest).map(|cutoff| cutoff.min(oldest.unwrap_or(u64::MAX)));
        let kept = Kept { progress: Progress { clock_ms: newest, cutoffs }, hour: Hour::default() };
        Ok(Found { kept, text })
    }

    /// False, and nothing is changed, where something else than `before` is kept by now.
    async fn keep_retention(&self, kept: &Kept, before: Option<&str>) -> Result<bool, StoreError> {
        let text = serde_json::to_string(kept).map_err(|error| StoreError::Task(error.to_string()))?;
        Ok(self.catalog().save_retention(&text, before).await?)
    }
}

#[cfg(test)]
mod tests;
