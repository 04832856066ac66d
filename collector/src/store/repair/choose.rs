//! Which of the segments that are there are to be listed, so that each window counts once. Pure: decided from what they say they hold.
//!
//! At one level nothing is held twice: of segments that share something, the one that holds the most counts. Between levels the same data
//! is there on purpose; what is held by a coarser level too is marked as rolled up. Where that is so of a part of a segment only, the
//! coarser one goes, if finer ones have all that it holds, and is made again by the next compaction.

use std::collections::BTreeMap;

use crate::store::compact::levels::{HORIZON_MS, LEVELS, TRACES, block_end};
use crate::store::identity::{Content, SegmentFooter};

/// What is to be done with compacted segments, by their place in the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Listed; true: its content is in the next level too.
    pub(super) listed: Vec<(usize, bool)>,
    /// Everything in it is in others that are listed.
    pub(super) replaced: Vec<usize>,
    /// It holds something that no other does, and something that others do.
    pub(super) in_doubt: Vec<usize>,
    /// Level → windows that start before this are not all there.
    pub(super) horizons: BTreeMap<u32, u64>,
    /// What is listed of profiles.
    pub(super) profiles: Content,
    /// What is listed of traces.
    pub(super) traces: Content,
}

/// Segments that hold the same content together.
#[derive(Debug, Clone)]
struct Family {
    level: u32,
    content: Content,
    complete: bool,
    /// They say that the next level has it, and whether it has cannot be told from the commits.
    said_rolled: bool,
    members: Vec<usize>,
}

/// Decides. `arrived`: what arrived segments hold as profiles, and as traces.
pub(super) fn choose(footers: &[&SegmentFooter], arrived: (&Content, &Content)) -> Chosen {
    let families = families(footers);
    let mut chosen = Chosen::default();
    let mut listed: BTreeMap<u32, Vec<Family>> = BTreeMap::new();
    let levels = LEVELS.iter().map(|level| level.number).chain([TRACES]);
    for level in levels {
        let mut finer = if level == TRACES { arrived.1.clone() } else { arrived.0.clone() };
        if level != TRACES {
            listed.values().flatten().for_each(|family| finer.add(&family.content));
        }
        let (mut taken, mut held) = (Vec::new(), Content::default());
        for family in families.iter().filter(|family| family.level == level) {
            // What is there of an unfinished one counts only if there is nothing better.
            let better =
                held.contains_all(&family.content) || (!family.complete && finer.contains_all(&family.content));
            if better {
                chosen.replaced.extend(&family.members);
            } else if held.intersects(&family.content) {
                chosen.in_doubt.extend(&family.members);
            } else {
                held.add(&family.content);
                taken.push(family.clone());
            }
        }
        listed.insert(level, taken);
    }
    let traces = listed.remove(&TRACES).unwrap_or_default();
    while let Some((level, at, replaced)) = next_conflict(&listed) {
        let family = listed.get_mut(&level).map(|families| families.remove(at));
        let members = family.into_iter().flat_map(|family| family.members);
        if replaced { &mut chosen.replaced } else { &mut chosen.in_doubt }.extend(members);
    }
    for (level, families) in &listed {
        let coarser = held(listed.range(level + 1..));
        for family in families {
            let rolled = family.said_rolled || coarser.contains_all(&family.content);
            chosen.listed.extend(family.members.iter().map(|member| (*member, rolled)));
            chosen.profiles.add(&family.content);
        }
    }
    for family in traces {
        chosen.listed.extend(family.members.iter().map(|member| (*member, false)));
        chosen.traces.add(&family.content);
    }
    chosen.horizons = horizons(&listed);
    chosen
}

/// Families, those first that are to be preferred.
fn families(footers: &[&SegmentFooter]) -> Vec<Family> {
    let mut members: BTreeMap<(u32, &str), Vec<usize>> = BTreeMap::new();
    for (at, footer) in footers.iter().enumerate() {
        members.entry((footer.level, &footer.family)).or_default().push(at);
    }
    let family = |((level, _), members): ((u32, &str), Vec<usize>)| {
        let parts: BTreeMap<u32, bool> =
            members.iter().filter_map(|at| footers.get(*at)).map(|footer| (footer.part, footer.last)).collect();
        let first = members.first().and_then(|at| footers.get(*at))?;
        let content = first.holds();
        Some(Family {
            level,
            complete: parts.keys().copied().eq(0..parts.len() as u32) && parts.values().next_back() == Some(&true),
            said_rolled: first.rolled && content.is_unnumbered(),
            content,
            members,
        })
    };
    let mut families: Vec<Family> = members.into_iter().filter_map(family).collect();
    families.sort_by_key(|family| std::cmp::Reverse((family.complete, family.content.size())));
    families
}

/// What segments hold.
fn held<'a>(levels: impl Iterator<Item = (&'a u32, &'a Vec<Family>)>) -> Content {
    let mut content = Content::default();
    levels.flat_map(|(_, families)| families).for_each(|family| content.add(&family.content));
    content
}

/// A family that stands in the way of counting everything once: (level, place, true when nothing is lost with it).
fn next_conflict(listed: &BTreeMap<u32, Vec<Family>>) -> Option<(u32, usize, bool)> {
    for (level, families) in listed {
        let coarser = held(listed.range(level + 1..));
        for (at, family) in families.iter().enumerate() {
            if !coarser.intersects(&family.content) || coarser.contains_all(&family.content) || family.said_rolled {
                continue;
            }
            for (above, others) in listed.range(level + 1..) {
                let finer = held(listed.range(..above));
                let can_go =
                    |other: &Family| other.content.intersects(&family.content) && finer.contains_all(&other.content);
                if let Some(other) = others.iter().position(can_go) {
                    return Some((*above, other, true));
                }
            }
            return Some((*level, at, false));
        }
    }
    None
}

/// From when on each level has everything that a coarser one has.
fn horizons(listed: &BTreeMap<u32, Vec<Family>>) -> BTreeMap<u32, u64> {
    let mut horizons = BTreeMap::new();
    for level in LEVELS.iter().map(|level| level.number) {
        let coarser = held(listed.range(level + 1..));
        let mut seen = held(listed.range(level..=level));
        for (finer, families) in listed.range(..level) {
            let above = held(listed.range(finer + 1..));
            let not_rolled = |family: &&Family| !family.said_rolled && !above.contains_all(&family.content);
            families.iter().filter(not_rolled).for_each(|family| seen.add(&family.content));
        }
        if let Some(last) = seen.lacking(&coarser).into_iter().max() {
            horizons.insert(level, block_end(1, last).next_multiple_of(HORIZON_MS));
        }
    }
    horizons
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    /// A segment of a level that holds commits of some hours.
    fn segment(name: &str, level: u32, hours: &[(u64, std::ops::RangeInclusive<u64>)]) -> SegmentFooter {
        let mut content = Content::default();
        for (hour, commits) in hours {
            commits.clone().for_each(|commit| content.add(&Content::of(hour * HOUR, commit, name)));
        }
        let (family, content) = (name.to_owned(), content.to_blocks());
        SegmentFooter { segment: name.to_owned(), level, family, last: true, content, ..SegmentFooter::default() }
    }

    /// Names of what is listed, with a `*` where it is rolled up.
    fn listed(segments: &[SegmentFooter]) -> (Vec<String>, Chosen) {
        let footers: Vec<&SegmentFooter> = segments.iter().collect();
        let chosen = choose(&footers, (&Content::default(), &Content::default()));
        let name = |(at, rolled): &(usize, bool)| segments[*at].segment.clone() + if *rolled { "*" } else { "" };
        let mut names: Vec<String> = chosen.listed.iter().map(name).collect();
        names.sort();
        (names, chosen)
    }

    #[test]
    fn what_was_merged_counts_instead_of_what_it_was_merged_of() {
        let segments =
            [segment("a", 1, &[(0, 1..=2)]), segment("b", 1, &[(0, 3..=4)]), segment("ab", 1, &[(0, 1..=4)])];
        let (names, chosen) = listed(&segments);
        assert_eq!((names, chosen.replaced.len(), chosen.in_doubt.len()), (vec!["ab".to_owned()], 2, 0));
    }

    #[test]
    fn what_a_coarser_level_holds_too_is_rolled_up() {
        let segments = [
            segment("fine", 1, &[(0, 1..=2)]),
            segment("new", 1, &[(1, 3..=3)]),
            segment("coarse", 2, &[(0, 1..=2)]),
            segment("coarsest", 3, &[(0, 1..=2)]),
        ];
        assert_eq!(listed(&segments).0, ["coarse*", "coarsest", "fine*", "new"]);
    }

    /// A merge of what is in the next level and what was to be: the next level lost the rest.
    #[test]
    fn a_coarser_one_that_holds_half_of_a_segment_is_made_again() {
        let segments = [segment("fine", 1, &[(0, 1..=4)]), segment("half", 2, &[(0, 1..=2)])];
        let (names, chosen) = listed(&segments);
        assert_eq!((names, chosen.replaced), (vec!["fine".to_owned()], vec![1]));
        // Where nobody else has what it holds, it stays, and the other one cannot count beside it.
        let segments = [segment("fine", 1, &[(0, 1..=4)]), segment("half", 2, &[(0, 1..=2), (1, 5..=6)])];
        let (names, chosen) = listed(&segments);
        assert_eq!((names, chosen.in_doubt), (vec!["half".to_owned()], vec![0]));
    }

    #[test]
    fn a_level_is_complete_from_when_on_it_has_what_coarser_ones_have() {
        let segments = [
            segment("fine", 1, &[(2, 5..=6)]),
            segment("coarse", 2, &[(0, 1..=2), (1, 3..=4), (2, 5..=6)]),
            segment("unrolled", 1, &[(3, 7..=7)]),
        ];
        let (names, chosen) = listed(&segments);
        assert_eq!(names, ["coarse", "fine*", "unrolled"]);
        assert_eq!(chosen.horizons, BTreeMap::from([(1, 2 * HOUR)]));
    }

    /// Of two segments that hold something together only one is there: what they were made of has all of it.
    #[test]
    fn half_a_family_counts_only_where_there_is_nothing_better() {
        let half = SegmentFooter { last: false, ..segment("half", 2, &[(0, 1..=2)]) };
        let (names, _) = listed(&[half.clone(), segment("fine", 1, &[(0, 1..=2)])]);
        assert_eq!(names, ["fine"]);
        assert_eq!(listed(&[half]).0, ["half"]);
    }
}
