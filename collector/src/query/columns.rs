//! Sums the columns of compacted parts: by stack within one part first, where stacks are small numbers, and by content only
//! once for each stack and replicate.

use std::ops::Range;
use std::sync::Arc;

use super::cancel::Cancel;
use super::cover::Piece;
use super::gather::PartPick;
use super::merge::{Merger, Parts};
use super::plan::Plan;
use super::{QueryError, Selection};
use crate::base::labels::Matcher;
use crate::profile::model::ProfileType;
use crate::profile::union::Moved;
use crate::store::Store;
use crate::store::columnar::Dictionary;

/// The row groups that a query reads.
pub(super) struct Columns<'a> {
    parts: &'a [PartPick],
    profile_type: &'a ProfileType,
    labels: Matcher<'a>,
    groups: Vec<Group>,
    rows: usize,
}

/// A row group, and how many rows those before it have.
struct Group {
    part: usize,
    group: usize,
    rows_before: usize,
}

impl<'a> Columns<'a> {
    /// Those of a plan that may hold windows of its pieces.
    pub(super) fn of(store: &Store, plan: &'a Plan, selection: &'a Selection) -> Self {
        let (mut groups, mut rows) = (Vec::new(), 0);
        for (at, part) in plan.parts.iter().enumerate() {
            for found in part.segment.sample_groups(store.bulk().as_ref(), part.part, &plan.profile_type.name) {
                let may_hold =
                    |piece: &Piece| piece.range.from_ms <= found.last_ms && found.first_ms < piece.range.until_ms;
                if part.pieces.iter().any(may_hold) {
                    groups.push(Group { part: at, group: found.group, rows_before: rows });
                    rows += found.rows;
                }
            }
        }
        let labels = Matcher::new(&selection.labels);
        Self { parts: &plan.parts, profile_type: &plan.profile_type, labels, groups, rows }
    }

    /// Row groups to read.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Rows in them, wanted or not: what a scan is shared out by.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds one thread's share: as many rows as the others have. Neighbours stay together: they share dictionaries.
    pub(super) fn sum(
        &self,
        store: &Store,
        thread: usize,
        threads: usize,
        parts: Parts<'_>,
        merger: &mut Merger,
        cancel: &Cancel,
    ) -> Result<(), QueryError> {
        let share = self.rows * thread / threads..self.rows * (thread + 1) / threads;
        let mut open: Option<Open<'_>> = None;
        for group in self.groups.iter().filter(|group| share.contains(&group.rows_before)) {
            cancel.check()?;
            if open.as_ref().is_none_or(|open| open.at != group.part) {
                open = self.open(store, group.part, parts)?;
                if let Some(open) = &open {
                    merger.name_modules(&open.dictionary);
                }
            }
            if let Some(open) = &mut open {
                open.add(store, group.group, parts, merger)?;
            }
        }
        Ok(())
    }

    fn open(&self, store: &Store, at: usize, parts: Parts<'_>) -> Result<Option<Open<'_>>, QueryError> {
        let Some(part) = self.parts.get(at) else { return Ok(None) };
        let Some(dictionary) = part.dictionary(store, true)? else { return Ok(None) };
        let wanted: Vec<bool> = dictionary
            .series
            .iter()
            .map(|series| {
                series.profile_type.measures_as(self.profile_type)
                    && self.labels.matches(|name| series.labels.get_of(&series.instance, name))
            })
            .collect();
        let of_type = |i: usize| dictionary.series[i].profile_type.name == self.profile_type.name;
        let all = parts.sets.is_none() && (0..wanted.len()).filter(|i| of_type(*i)).all(|i| wanted[i]);
        let mut sets = vec![0; wanted.len()];
        if let Some(known) = parts.sets {
            for (i, series) in dictionary.series.iter().enumerate().filter(|(i, _)| wanted[*i]) {
                sets[i] = known.number(series.labels.iter())?;
            }
        }
        let moved = Moved::new(dictionary.frames.len(), dictionary.nodes.len());
        let sums = vec![Sum::default(); dictionary.nodes.len()];
        let touched = vec![0; dictionary.nodes.len().div_ceil(64)];
        Ok(Some(Open { at, part, dictionary, wanted, all, sets, moved, sums, touched }))
    }
}

/// What the rows of one node add up to.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    value: u64,
    samples: u64,
}

/// A part that is being summed.
struct Open<'a> {
    at: usize,
    part: &'a PartPick,
    dictionary: Arc<Dictionary>,
    /// By series.
    wanted: Vec<bool>,
    /// Every series of the type is wanted: their column need not be read.
    all: bool,
    /// By series: which labels its samples have, where that is asked.
    sets: Vec<u16>,
    moved: Moved,
    /// By node, of one replicate.
    sums: Vec<Sum>,
    /// A bit for each node whose sums may not be zero: so they are taken in their order, which other parts have them in, too.
    touched: Vec<u64>,
}

impl Open<'_> {
    fn add(&mut self, store: &Store, group: usize, parts: Parts<'_>, merger: &mut Merger) -> Result<(), QueryError> {
        let read = self.part.segment.samples(store.bulk().as_ref(), group, !self.all);
        let Some(columns) = store.checked(&self.part.row.segment.id, read)? else { return Ok(()) };
        let mut start = 0;
        let mut replicate = None;
        while let Some(window) = columns.windows.get(start) {
            let mut same = columns.windows[start..].iter().take_while(|other| *other == window).count();
            let mut set = None;
            if let (Some(_), Some(series)) = (parts.sets, columns.series.get(start)) {
                // Within a window rows are sorted by series.
                same = columns.series[start..start + same].iter().take_while(|other| *other == series).count();
                set = self.dictionary.series_index(*series).and_then(|index| self.sets.get(index as usize).copied());
            }
            let rows = start..start + same;
            start += same;
            let window_ms = *window as u64;
            let Some(of) = parts.slices.replicate(window_ms).filter(|_| self.part.wants(window_ms)) else { continue };
            let of = set.unwrap_or(of);
            if replicate.is_some_and(|before| before != of) {
                self.flush(replicate, merger)?;
            }
            replicate = Some(of);
            self.add_rows(&columns, rows, of, merger)?;
        }
        self.flush(replicate, merger)
    }

    fn add_rows(
        &mut self,
        columns: &crate::store::columnar::SampleColumns,
        rows: Range<usize>,
        replicate: u16,
        merger: &mut Merger,
    ) -> Result<(), QueryError> {
        let stacks = columns.stacks.get(rows.clone()).unwrap_or_default();
        let values = columns.values.get(rows.clone()).unwrap_or_default();
        let samples = columns.samples.get(rows.clone()).unwrap_or_default();
        let series = columns.series.get(rows).unwrap_or_default();
        for (i, ((stack, value), samples)) in stacks.iter().zip(values).zip(samples).enumerate() {
            if !self.all {
                let index = series.get(i).and_then(|id| self.dictionary.series_index(*id));
                if index.is_none_or(|index| self.wanted.get(index as usize) != Some(&true)) {
                    continue;
                }
            }
            let Some(node) = self.dictionary.node_index(*stack) else { continue };
            let Some(sum) = self.sums.get_mut(node as usize) else { continue };
            if let Some(word) = self.touched.get_mut(node as usize / 64) {
                *word |= 1 << (node % 64);
            }
            let (value, samples) = (*value as u64, *samples as u64);
            match (sum.value.checked_add(value), sum.samples.checked_add(samples)) {
                (Some(value), Some(samples)) => *sum = Sum { value, samples },
                _ => {
                    let large = std::iter::once((node, u128::from(value), u128::from(samples)));
                    merger.add_sums(&self.dictionary, &mut self.moved, replicate, large)?;
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self, replicate: Option<u16>, merger: &mut Merger) -> Result<(), QueryError> {
        let Some(replicate) = replicate else { return Ok(()) };
        let sums = &mut self.sums;
        let nodes = self.touched.iter_mut().zip(0u32..).flat_map(|(word, at)| {
            let mut left = std::mem::take(word);
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at * 64 + bit)
            })
        });
        let taken = nodes.map(|node| {
            let Sum { value, samples } = sums.get_mut(node as usize).map(std::mem::take).unwrap_or_default();
            (node, u128::from(value), u128::from(samples))
        });
        merger.add_sums(&self.dictionary, &mut self.moved, replicate, taken)
    }
}
