//! The decision itself, of nothing but what was seen.

use super::{Cutoffs, Progress};
use crate::store::Options;
use crate::store::catalog::Aging;
use crate::store::compact::levels::{HORIZON_MS, LEVELS, TRACES};

/// Retention makes up for a pause by going as many times as fast as time passes.
const FASTER: u64 = 2;

/// Of what is stored, one part in so many may go beyond the ordinary within an hour.
const AT_ONCE: u64 = 10;

/// The same while a pause is made up for.
const CATCHING_UP: u64 = 20;

/// Windows that end so long before the clock's time agree with it.
const AGREES_MS: u64 = 3_600_000;

/// What a decision is made of.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) options: &'a Options,
    pub(super) progress: Progress,
    /// What the clock says.
    pub(super) now_ms: u64,
    /// What passed since the last round, by a clock that cannot be set.
    pub(super) elapsed_ms: u64,
    /// End of the newest window stored.
    pub(super) newest_window_ms: u64,
    /// What may be due.
    pub(super) aging: Vec<Aging>,
    /// All that is stored.
    pub(super) live_bytes: u64,
    /// What went beyond the ordinary within the hour.
    pub(super) gone_bytes: u64,
}

/// Why something waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The clock jumped, or the collector stood still, and nothing says which.
    Clock,
    /// The retention was shortened.
    Shortened,
    /// The collector stood still: agents' windows agree with the clock.
    Pause,
}

/// Something that is past its time and stays for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) why: Why,
    bytes: u64,
}

/// What is decided.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) progress: Progress,
    /// What goes beyond the ordinary.
    pub(super) bytes: u64,
    pub(super) waits: Option<Waits>,
}

pub(super) fn decide(seen: &Seen<'_>) -> Verdict {
    let Progress { clock_ms, cutoffs } = seen.progress;
    let wanted = Cutoffs::at(seen.options, seen.now_ms);
    let forward = |from: u64, to: u64| from.max(to.min(from.saturating_add(FASTER * seen.elapsed_ms)));
    let steady = cutoffs.with(wanted, forward);
    let go = |cutoffs: Cutoffs, bytes: u64, waits: Option<Waits>| Verdict {
        progress: Progress { clock_ms: forward(clock_ms, seen.now_ms), cutoffs },
        bytes,
        waits,
    };
    if !wanted.is_beyond(&steady) {
        return go(steady, 0, None);
    }
    let mut due: Vec<&Aging> = seen.aging.iter().filter(|s| wanted.takes(s) && !steady.takes(s)).collect();
    let bytes: u64 = due.iter().map(|segment| segment.bytes).sum();
    if bytes <= (seen.live_bytes / AT_ONCE).saturating_sub(seen.gone_bytes) {
        return go(steady.with(wanted, u64::max), bytes, None);
    }
    // By a clock that did not jump there would be as much to do: then it is the options.
    let shortened = Cutoffs::at(seen.options, clock_ms.min(seen.now_ms)).is_beyond(&steady);
    let agrees = seen.newest_window_ms.saturating_add(AGREES_MS) >= seen.now_ms;
    if shortened || !agrees {
        let why = if shortened { Why::Shortened } else { Why::Clock };
        return go(steady, 0, Some(Waits { why, bytes }));
    }
    due.sort_by_key(|segment| due_at(segment, seen.options));
    let share = (seen.live_bytes / CATCHING_UP).saturating_sub(seen.gone_bytes);
    let mut taken = 0;
    let mut until_ms = None;
    for segment in due {
        // One at least in an hour, or a store of few large ones would keep all.
        let first = taken == 0 && seen.gone_bytes == 0;
        if taken + segment.bytes > share && !first {
            break;
        }
        taken += segment.bytes;
        until_ms = Some(due_at(segment, seen.options));
    }
    let reached = until_ms.map_or(steady, |at| steady.with(Cutoffs::at(seen.options, at), u64::max));
    go(reached, taken, Some(Waits { why: Why::Pause, bytes: bytes - taken }))
}

/// When a segment comes of age.
fn due_at(segment: &Aging, options: &Options) -> u64 {
    let kept = Cutoffs::at(options, u64::MAX / 2).map(|cutoff| u64::MAX / 2 - cutoff);
    let levels = LEVELS.iter().zip([kept.windows, kept.minutes, kept.ten_minutes]);
    let at_level = levels
        .filter(|(level, _)| segment.rolled && segment.level == level.number)
        .map(|(_, kept)| segment.max_ms.next_multiple_of(HORIZON_MS) + kept);
    let as_traces = (segment.level == TRACES).then_some(segment.max_ms + kept.traces);
    at_level.chain(as_traces).fold(segment.max_ms + kept.all, u64::min)
}

impl Waits {
    /// A sentence for the operator.
    pub(super) fn message(&self, seen: &Seen<'_>) -> String {
        let share = 100.0 * self.bytes as f64 / (seen.live_bytes.max(1)) as f64;
        let ahead = days(seen.now_ms.saturating_sub(seen.newest_window_ms));
        match self.why {
            Why::Clock => format!(
                "{share:.0} % of what is stored is past its time, by a clock that is {ahead} ahead of the newest window stored: \
                 it is kept. Is the clock right? Then run `tephra retention confirm`, or wait until agents' windows agree; else set the clock"
            ),
            Why::Shortened => format!(
                "the retention was shortened, and {share:.0} % of what is stored would go at once: it is kept. Run \
                 `tephra retention confirm` to let it go, or serve with the retention of before"
            ),
            Why::Pause => format!(
                "{share:.0} % of what is stored came of age while the collector did not run: it goes by a twentieth of the store an hour. \
                 Is the clock wrong? Then stop the collector and set the clock; to let all go at once, run `tephra retention confirm`"
            ),
        }
    }
}

fn days(ms: u64) -> String {
    match ms / 3_600_000 {
        0 => format!("{} minutes", ms / 60_000),
        hours @ 1..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}
