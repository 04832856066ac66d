//! Answers over a range in which something is damaged say so: their sums are too small, and nothing else in them would show it.

use super::cover::{Piece, Wish};
use super::{QueryEngine, QueryError, Selection};
use crate::base::range::TimeRange;
use crate::profile::model::{Partial, PartialReason};
use crate::store::StoreError;
use crate::store::catalog::Damage;
use crate::store::compact::levels::TRACES;

/// Which data an answer depends on, and so whose damage it must tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looked<'a> {
    /// One service, or all.
    pub(super) service: Option<&'a str>,
    /// Windows that start in it.
    pub(super) range: TimeRange,
    /// Which levels of profiles were read; `None`: no profiles.
    pub(super) profiles: Option<Wish>,
    /// Traces and spans too.
    pub(super) traces: bool,
}

impl<'a> Looked<'a> {
    /// What a sum over a selection is made of.
    pub(super) fn by(selection: &'a Selection, profiles: Wish) -> Self {
        Self {
            service: Some(selection.service.as_str()),
            range: selection.range(),
            profiles: Some(profiles),
            traces: selection.trace.is_some(),
        }
    }
}

/// The part of a range that an answer is about.
pub(super) fn covered(range: TimeRange, cut: Option<Partial>) -> TimeRange {
    TimeRange { from_ms: cut.map_or(range.from_ms, |cut| cut.from_ms), ..range }
}

impl QueryEngine {
    /// [`Self::with_damage`] for a merged profile, which reads the levels that have its replicates.
    pub(super) async fn with_damage_of_merge(
        &self,
        cut: Option<Partial>,
        selection: &Selection,
    ) -> Result<Option<Partial>, QueryError> {
        let by_instance = selection.labels.iter().any(|(name, _)| name == "instance");
        let wish = Wish::replicates(covered(selection.range(), cut), by_instance);
        self.with_damage(cut, Looked::by(selection, wish)).await
    }

    /// Adds to what is known of an answer's completeness that something it needed is damaged. After the answer: what that found damaged
    /// is on record by then.
    pub(super) async fn with_damage(
        &self,
        cut: Option<Partial>,
        looked: Looked<'_>,
    ) -> Result<Option<Partial>, QueryError> {
        let range = covered(looked.range, cut);
        let catalog = self.store.catalog();
        let damage = catalog.damage(looked.service, range.from_ms, range.until_ms).await.map_err(StoreError::from)?;
        if damage.is_empty() {
            return Ok(cut);
        }
        let pieces = match looked.profiles {
            Some(wish) => {
                let horizons = catalog.horizons(looked.service.unwrap_or_default()).await.map_err(StoreError::from)?;
                wish.cover(range, &horizons)
            }
            None => Vec::new(),
        };
        if !damage.iter().any(|damage| is_missed(damage, &pieces, looked.traces)) {
            return Ok(cut);
        }
        let TimeRange { from_ms, until_ms } = range;
        let whole = Partial { reason: PartialReason::Damaged, from_ms, until_ms, is_damaged: true };
        Ok(Some(cut.map_or(whole, |cut| Partial { is_damaged: true, ..cut })))
    }
}

/// True when an answer would have read it: what was rolled up is read from the next level, where that is coarse enough.
fn is_missed(damage: &Damage, pieces: &[Piece], traces: bool) -> bool {
    let overlaps = |piece: &Piece| piece.range.from_ms <= damage.max_ms && damage.min_ms < piece.range.until_ms;
    let in_profiles = damage.level != TRACES
        && pieces.iter().any(|piece| piece.reads(damage.level, damage.rolled) && overlaps(piece));
    in_profiles || (traces && matches!(damage.level, 0 | TRACES))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::clock::now_ms;
    use crate::ingest::Ingest;
    use crate::ingest::testing::{TestWindow, recent_ms, row, traced};
    use crate::query::QueryLimits;
    use crate::store::testing::{TestPlace, options};
    use crate::store::{Options, Store, compact};

    const HOUR: u64 = 3_600_000;

    #[test]
    fn what_a_coarser_level_answers_for_is_not_missed() {
        let range = TimeRange { from_ms: 0, until_ms: 100 };
        let [fine, coarse] = [1, 3].map(|level| [Piece { range, level }]);
        let damage = |level, rolled| Damage { level, rolled, min_ms: 50, max_ms: 60 };
        for (level, rolled, in_fine, in_coarse) in [
            (0, false, true, true),
            (1, false, true, true),
            (1, true, true, false),
            (2, false, false, true),
            (3, true, false, true),
            (4, false, false, false),
            (TRACES, false, false, false),
        ] {
            assert_eq!(is_missed(&damage(level, rolled), &fine, false), in_fine, "level {level}, rolled {rolled}");
            assert_eq!(is_missed(&damage(level, rolled), &coarse, false), in_coarse, "level {level}, rolled {rolled}");
        }
        let elsewhere = Damage { min_ms: 100, max_ms: 200, ..damage(1, false) };
        assert!(!is_missed(&elsewhere, &fine, false));
        assert!(is_missed(&damage(TRACES, false), &[], true) && !is_missed(&damage(1, false), &[], true));
    }

    async fn reason(store: &Arc<Store>, from_ms: u64, until_ms: u64) -> Option<PartialReason> {
        let selection = Selection { from_ms, until_ms, ..Selection::everything("shop", "cpu") };
        let engine = QueryEngine::new(store.clone(), QueryLimits::default());
        let (merged, timeline) = (engine.merge(&selection).await.unwrap(), engine.timeline(&selection, None, None));
        let timeline = timeline.await.unwrap();
        assert_eq!(merged.partial.map(|p| p.reason), timeline.partial.map(|p| p.reason), "every answer says the same");
        merged.partial.map(|partial| partial.reason)
    }

    /// A store of two windows an hour apart, in segments of their own; the older is damaged as `spoil` does it.
    async fn damaged(place: &TestPlace, spoil: impl Fn(&std::path::Path)) -> (Arc<Store>, u64) {
        let store = place.open_with(Options { cache_bytes: 0, ..options() }).await;
        let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
        let t = recent_ms();
        let old = TestWindow::new("shop", 1, 1, t - HOUR / 2).cpu(&[traced("main", 1, 7)]).span(7, "/", 1, 1);
        ingest.push(old.request()).await.unwrap();
        let victim = place.segments().remove(0);
        ingest.push(TestWindow::new("shop", 1, 2, t).cpu(&[row("main", 2)]).request()).await.unwrap();
        spoil(&victim);
        (store, t)
    }

    #[tokio::test]
    async fn answers_over_a_segment_that_is_lost_or_torn_say_so_and_others_do_not() {
        for torn in [false, true] {
            let place = TestPlace::new().await;
            let (store, t) = damaged(&place, |victim| match torn {
                true => std::fs::write(victim, "torn").unwrap(),
                false => std::fs::remove_file(victim).unwrap(),
            })
            .await;
            // Also the answer that finds it.
            assert_eq!(reason(&store, t - HOUR, t + HOUR).await, Some(PartialReason::Damaged));
            assert_eq!(reason(&store, t - HOUR, t + HOUR).await, Some(PartialReason::Damaged));
            assert_eq!(reason(&store, t, t + HOUR).await, None, "nothing is missing here");
            let engine = QueryEngine::new(store.clone(), QueryLimits::default());
            let range = TimeRange { from_ms: t - HOUR, until_ms: t + HOUR };
            let (_, partial) = engine.services(range).await.unwrap();
            assert!(partial.unwrap().is_damaged);
            let service = tephra_proto::ids::ServiceName::parse("shop").unwrap();
            let (spans, partial) = engine.spans(&service, range, &[]).await.unwrap();
            assert!(spans.is_empty() && partial.unwrap().is_damaged);
            // What is deleted is not missed.
            store.delete_service("shop", now_ms()).await.unwrap();
            assert!(store.catalog().damage(None, 0, u64::MAX).await.unwrap().is_empty());
        }
    }

    /// Compaction leaves it out of what it writes, so nothing in the segments tells of it any more.
    #[tokio::test]
    async fn a_single_damaged_window_is_told_of_before_compaction_and_after_it_and_after_a_restart() {
        for asked_first in [false, true] {
            let place = TestPlace::new().await;
            let (store, t) = damaged(&place, |victim| {
                let mut bytes = std::fs::read(victim).unwrap();
                bytes[40] ^= 0xff;
                std::fs::write(victim, bytes).unwrap();
            })
            .await;
            if asked_first {
                assert_eq!(reason(&store, t - HOUR, t + HOUR).await, Some(PartialReason::Damaged));
            }
            while compact::step(&store, now_ms() + 40 * HOUR, 0, None).await.unwrap() {}
            for (from_ms, expected) in [(t - HOUR, Some(PartialReason::Damaged)), (t, None)] {
                assert_eq!(reason(&store, from_ms, t + HOUR).await, expected, "asked first: {asked_first}");
            }
            assert_eq!(store.catalog().damage_totals().await.unwrap().windows, 1);
            store.tell_damage().await.unwrap();
            let told = store.conditions().all();
            assert!(told[0].kind == "data_damaged" && told[0].message.contains("1 windows"), "{told:?}");
            // With what it was part of it is forgotten.
            store.catalog().forget_damage(t + HOUR).await.unwrap();
            assert_eq!(reason(&store, t - HOUR, t + HOUR).await, None);
            store.tell_damage().await.unwrap();
            assert_eq!(store.conditions().all(), []);
        }
    }
}
