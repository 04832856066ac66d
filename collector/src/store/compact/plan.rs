//! What to compact next. Pure: decided from the list of live segments alone.

use std::collections::BTreeMap;

use super::levels::{LEVELS, Level, TRACES, block_end, block_of};
use crate::store::catalog::{LevelSegment, SegmentRow};

/// A piece of work. Its inputs are exchanged for its outputs in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    /// Windows as they arrived become segments of level 1, and their traces segments of their own.
    Flush(Vec<LevelSegment>),
    /// Segments of a level are added up to the next.
    Roll(Level, Vec<LevelSegment>),
    /// Small segments of a level become one.
    Merge(u32, Vec<LevelSegment>),
}

impl Job {
    /// What it reads.
    pub(crate) fn inputs(&self) -> &[LevelSegment] {
        match self {
            Self::Flush(inputs) | Self::Roll(_, inputs) | Self::Merge(_, inputs) => inputs,
        }
    }
}

/// Arrived segments are flushed at this number, …
const FLUSH_SEGMENTS: usize = 64;
/// … at this size, in bytes, …
const FLUSH_BYTES: u64 = 32 << 20;
/// … or at the age that [`next`] is told. One flush takes at most this many.
const FLUSH_MOST: usize = 512;
/// Segments of a block that were not rolled up yet are at this number.
const ROLL_SEGMENTS: usize = 6;
/// So many segments of similar size become one.
const MERGE_SEGMENTS: usize = 8;
/// One job reads at most this many segments.
const MERGE_MOST: usize = 64;
/// A segment of this size is large enough to stay as it is, bytes.
const LARGE_BYTES: u64 = 64 << 20;
/// A block is closed this long after its end: what comes later is merged on its own. Milliseconds.
const LATE_MS: u64 = 5 * 60_000;

/// Segments of traces are merged, and examples in them let go of, once what completes their slow traces is stored: those are named for 40 s,
/// told of with one of the next windows, and flushed soon after. Milliseconds.
const COMPLETED_MS: u64 = 120_000;

/// The most urgent job, as of `now_ms`; `None` when there is nothing to do. `flush_age_ms`: how long an arrived segment may
/// wait.
pub(crate) fn next(live: &[LevelSegment], now_ms: u64, flush_age_ms: u64) -> Option<Job> {
    flush(live, now_ms, flush_age_ms)
        .or_else(|| cleanse(live))
        .or_else(|| roll(live, now_ms))
        .or_else(|| merge(live, now_ms))
}

fn flush(live: &[LevelSegment], now_ms: u64, flush_age_ms: u64) -> Option<Job> {
    let arrived: Vec<&LevelSegment> = live.iter().filter(|s| s.segment.level == 0).collect();
    let bytes: u64 = arrived.iter().map(|s| s.segment.bytes).sum();
    let waited = arrived.iter().any(|s| now_ms.saturating_sub(s.segment.max_ms) >= flush_age_ms);
    if arrived.is_empty() || !(waited || arrived.len() >= FLUSH_SEGMENTS || bytes >= FLUSH_BYTES) {
        return None;
    }
    let mut taken = 0;
    let fits = |s: &&&LevelSegment| {
        taken += s.segment.bytes;
        taken - s.segment.bytes < FLUSH_BYTES
    };
    Some(Job::Flush(arrived.iter().take(FLUSH_MOST).take_while(fits).map(|s| (*s).clone()).collect()))
}

/// What was deleted goes for good.
fn cleanse(live: &[LevelSegment]) -> Option<Job> {
    let dirty = live.iter().find(|s| s.dirty && s.segment.level > 0)?;
    Some(Job::Merge(dirty.segment.level, vec![dirty.clone()]))
}

fn by_block(live: &[LevelSegment], level: u32, rolled: bool) -> BTreeMap<u64, Vec<&LevelSegment>> {
    let mut blocks: BTreeMap<u64, Vec<&LevelSegment>> = BTreeMap::new();
    for segment in live.iter().filter(|s| s.segment.level == level && s.rolled == rolled) {
        blocks.entry(block_of(level, segment.segment.min_ms)).or_default().push(segment);
    }
    blocks
}

fn closed(level: u32, block: u64, now_ms: u64) -> bool {
    block_end(level, block) + LATE_MS <= now_ms
}

fn roll(live: &[LevelSegment], now_ms: u64) -> Option<Job> {
    for level in LEVELS.into_iter().filter(|level| level.next().is_some()) {
        for (block, segments) in by_block(live, level.number, false) {
            if segments.len() >= ROLL_SEGMENTS || closed(level.number, block, now_ms) {
                return Some(Job::Roll(level, segments.into_iter().take(MERGE_MOST).cloned().collect()));
            }
        }
    }
    None
}

fn merge(live: &[LevelSegment], now_ms: u64) -> Option<Job> {
    let top = LEVELS.last().map_or(0, |level| level.number);
    for (level, rolled) in LEVELS.iter().map(|level| (level.number, level.number != top)).chain([(TRACES, false)]) {
        for (block, segments) in by_block(live, level, rolled) {
            let settled = |s: &LevelSegment| level != TRACES || s.segment.max_ms.saturating_add(COMPLETED_MS) <= now_ms;
            let mut small: Vec<&LevelSegment> =
                segments.into_iter().filter(|s| s.segment.bytes < LARGE_BYTES && settled(s)).collect();
            if closed(level, block, now_ms) && small.len() >= 2 {
                return Some(Job::Merge(level, small.into_iter().take(MERGE_MOST).cloned().collect()));
            }
            // Of similar size: so each byte is written again a few times only, however many segments arrive.
            small.sort_by_key(|s| (class(s), s.segment.id.clone()));
            for alike in small.chunk_by(|a, b| class(a) == class(b)) {
                if alike.len() >= MERGE_SEGMENTS {
                    return Some(Job::Merge(level, alike.iter().take(MERGE_MOST).map(|s| (*s).clone()).collect()));
                }
            }
        }
    }
    None
}

/// Segments of a class are within a factor of eight.
fn class(segment: &LevelSegment) -> u32 {
    (segment.segment.bytes / (32 << 10)).max(1).ilog2() / 3
}

/// Other segments that may hold what completes traces of a job's.
pub(crate) fn completing(live: &[LevelSegment], job: &Job) -> Vec<LevelSegment> {
    let Job::Merge(TRACES, inputs) = job else { return Vec::new() };
    let from_ms = inputs.iter().map(|input| input.segment.min_ms).min().unwrap_or(0);
    let until_ms = inputs.iter().map(|input| input.segment.max_ms).max().unwrap_or(0).saturating_add(COMPLETED_MS);
    let is_beside = |s: &&LevelSegment| {
        let SegmentRow { level, min_ms, max_ms, .. } = s.segment;
        level == TRACES
            && min_ms <= until_ms
            && max_ms >= from_ms
            && !inputs.iter().any(|i| i.segment.id == s.segment.id)
    };
    live.iter().filter(is_beside).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(id: usize, level: u32, start_ms: u64, bytes: u64, rolled: bool) -> LevelSegment {
        let segment = SegmentRow {
            id: format!("{id:032x}"),
            level,
            min_ms: start_ms,
            max_ms: start_ms + 10_000,
            bytes,
            crc: 0,
            windows: 1,
            samples: 1,
            traces: 0,
        };
        LevelSegment { segment, rolled, revision: 0, dirty: false, tables: Vec::new(), services: Vec::new() }
    }

    #[test]
    fn arrived_windows_wait_a_moment_and_no_longer() {
        let young = [segment(1, 0, 100_000, 1_000, false)];
        assert_eq!(next(&young, 115_000, 30_000), None);
        assert!(matches!(next(&young, 140_000, 30_000), Some(Job::Flush(inputs)) if inputs.len() == 1));
        let many: Vec<_> = (0..70).map(|i| segment(i, 0, 100_000, 1_000_000, false)).collect();
        assert!(
            matches!(next(&many, 110_000, 30_000), Some(Job::Flush(inputs)) if inputs.len() == 34),
            "32 MiB at a time"
        );
    }

    #[test]
    fn a_closed_block_ends_as_one_segment_of_each_level() {
        let hour = 3_600_000;
        let mut live: Vec<_> = (0..9).map(|i| segment(i, 1, hour + i as u64 * 60_000, 50_000, false)).collect();
        assert!(
            matches!(next(&live, hour + 600_000, 0), Some(Job::Roll(level, inputs)) if level.number == 1 && inputs.len() == 9)
        );
        for segment in &mut live {
            segment.rolled = true;
        }
        assert!(matches!(next(&live, hour + 600_000, 0), Some(Job::Merge(1, inputs)) if inputs.len() == 9));
        live.truncate(2);
        assert_eq!(next(&live, hour + 600_000, 0), None, "too few while the hour is open");
        assert!(matches!(next(&live, 2 * hour + 300_000, 0), Some(Job::Merge(1, inputs)) if inputs.len() == 2));
        live.truncate(1);
        assert_eq!(next(&live, 9 * hour, 0), None);
    }

    #[test]
    fn large_segments_are_left_alone() {
        let live = [segment(1, 1, 0, LARGE_BYTES, true), segment(2, 1, 0, 1_000, true)];
        assert_eq!(next(&live, u64::MAX / 2, 0), None);
    }

    #[test]
    fn traces_are_merged_when_what_completes_them_is_there_and_it_is_looked_for_beside_them() {
        let traces: Vec<_> = (0..9).map(|i| segment(i, TRACES, i as u64 * 10_000, 1_000, false)).collect();
        // The last of eight ends at 80 s.
        assert_eq!(next(&traces, 199_999, 0), None);
        let job = next(&traces, 200_000, 0).unwrap();
        assert!(matches!(&job, Job::Merge(TRACES, inputs) if inputs.len() == 8));
        let mut live = traces.clone();
        live.extend([segment(20, 1, 0, 1_000, false), segment(21, TRACES, 200_000, 1_000, false)]);
        live.push(segment(22, TRACES, 200_001, 1_000, false));
        let beside = completing(&live, &job);
        assert_eq!(beside.iter().map(|s| s.segment.min_ms).collect::<Vec<_>>(), [80_000, 200_000]);
        assert!(completing(&live, &Job::Merge(1, traces)).is_empty());
    }
}
