//! When a profile was taken, and for how long: by its sender, by itself, or by now. What cannot be is said with what to type.

use tephra_proto::limits::{WINDOW_AHEAD_MS_MAX, WINDOW_MS};

use super::pieces::PROFILE_MS_MAX;

/// Earlier than this no profile was taken: some profilers write microseconds where nanoseconds are meant.
const FIRST_MS: u64 = 365 * 86_400_000;

/// What is said of a profile's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said {
    /// When it started, by its sender, unix milliseconds.
    pub at_ms: Option<u64>,
    /// How long it took, by its sender, milliseconds.
    pub duration_ms: Option<u64>,
    /// When it started, by itself, unix nanoseconds; 0: it does not say.
    pub own_start_ns: u64,
    /// How long it took, by itself, nanoseconds; 0: it does not say.
    pub own_duration_ns: u64,
    /// It only says what there was at a moment.
    pub is_of_a_moment: bool,
}

/// When, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Unix milliseconds.
    pub start_ms: u64,
    /// Milliseconds, 1 to [`PROFILE_MS_MAX`].
    pub duration_ms: u64,
    /// Nobody says how long it took.
    pub is_guessed: bool,
}

/// Why a profile has no place in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSpan {
    /// It is older than what is kept.
    TooOld {
        /// When it started, unix milliseconds.
        start_ms: u64,
        /// Whether its sender said so.
        as_told: bool,
    },
    /// It ends in the future.
    Ahead {
        /// When it would end, unix milliseconds.
        end_ms: u64,
        /// Whether its sender said so.
        as_told: bool,
    },
    /// It took longer than can be.
    TooLong {
        /// How long, milliseconds.
        duration_ms: u64,
    },
}

impl Said {
    /// The profile's place in time.
    ///
    /// # Errors
    /// When what is said cannot be, or is older than what is kept.
    pub fn span(self, now_ms: u64, retention_ms: u64) -> Result<Span, NoSpan> {
        let own_ms = (self.own_duration_ns > 0).then(|| self.own_duration_ns.div_ceil(1_000_000));
        // A moment has no duration, whatever is written there.
        let own_ms = own_ms.filter(|ms| !(self.is_of_a_moment && *ms > PROFILE_MS_MAX));
        let said_ms = self.duration_ms.or(own_ms);
        let duration_ms = said_ms.unwrap_or(WINDOW_MS.into());
        if duration_ms > PROFILE_MS_MAX {
            return Err(NoSpan::TooLong { duration_ms });
        }
        let own_start = Some(self.own_start_ns / 1_000_000).filter(|ms| *ms >= FIRST_MS);
        let start_ms = self.at_ms.or(own_start).unwrap_or(now_ms.saturating_sub(duration_ms));
        let as_told = self.at_ms.is_some();
        if start_ms < now_ms.saturating_sub(retention_ms) {
            return Err(NoSpan::TooOld { start_ms, as_told });
        }
        let end_ms = start_ms.saturating_add(duration_ms);
        if end_ms > now_ms.saturating_add(WINDOW_AHEAD_MS_MAX) {
            return Err(NoSpan::Ahead { end_ms, as_told });
        }
        Ok(Span { start_ms, duration_ms, is_guessed: said_ms.is_none() && !self.is_of_a_moment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const DAY: u64 = 86_400_000;
    const NS: u64 = 1_000_000;

    fn span(said: Said) -> Result<(u64, u64), NoSpan> {
        said.span(NOW, 30 * DAY).map(|span| (span.start_ms, span.duration_ms))
    }

    #[test]
    fn the_sender_is_believed_first_then_the_profile_then_now() {
        let nothing = Said::default();
        assert_eq!(span(nothing), Ok((NOW - 10_000, 10_000)));
        let own = Said { own_start_ns: (NOW - DAY) * NS, own_duration_ns: 30_000 * NS, ..nothing };
        assert_eq!(span(own), Ok((NOW - DAY, 30_000)));
        assert_eq!(span(Said { at_ms: Some(NOW - 5_000), ..own }), Ok((NOW - 5_000, 30_000)));
        assert_eq!(span(Said { duration_ms: Some(60_000), ..own }), Ok((NOW - DAY, 60_000)));
        assert_eq!(span(Said { own_start_ns: 0, ..own }), Ok((NOW - 30_000, 30_000)), "it has just ended");
        let micros = Said { own_start_ns: NOW * 1_000, ..own };
        assert_eq!(span(micros), Ok((NOW - 30_000, 30_000)), "a time in 1970 is none");
    }

    #[test]
    fn short_and_long_ones_keep_their_length() {
        for (ns, ms) in [(1, 1), (500 * NS, 500), (90 * 60_000 * NS, 90 * 60_000), (DAY * NS, DAY)] {
            assert_eq!(span(Said { own_duration_ns: ns, ..Said::default() }), Ok((NOW - ms, ms)));
        }
        let hostile = Said { own_duration_ns: u64::MAX, ..Said::default() };
        assert_eq!(span(hostile), Err(NoSpan::TooLong { duration_ms: u64::MAX.div_ceil(NS) }));
        assert_eq!(span(Said { duration_ms: Some(5_000), ..hostile }), Ok((NOW - 5_000, 5_000)));
        assert_eq!(span(Said { is_of_a_moment: true, ..hostile }), Ok((NOW - 10_000, 10_000)));
    }

    #[test]
    fn that_nobody_says_how_long_it_took_is_known() {
        let is_guessed = |said: Said| said.span(NOW, DAY).map(|span| span.is_guessed);
        assert_eq!(is_guessed(Said::default()), Ok(true));
        assert_eq!(is_guessed(Said { own_duration_ns: 1, ..Said::default() }), Ok(false));
        assert_eq!(is_guessed(Said { is_of_a_moment: true, ..Said::default() }), Ok(false));
    }

    #[test]
    fn what_has_no_place_in_time_is_told_apart_by_who_said_so() {
        let old = NOW - 31 * DAY;
        let own = Said { own_start_ns: old * NS, ..Said::default() };
        assert_eq!(span(own), Err(NoSpan::TooOld { start_ms: old, as_told: false }));
        assert_eq!(span(Said { at_ms: Some(old), ..own }), Err(NoSpan::TooOld { start_ms: old, as_told: true }));
        let hour = Said { own_duration_ns: 3_600_000 * NS, at_ms: Some(NOW - 60_000), ..Said::default() };
        assert_eq!(span(hour), Err(NoSpan::Ahead { end_ms: NOW + 59 * 60_000, as_told: true }));
    }
}
