//! Sums told apart by the labels of samples instead of by time: what an export needs to give back what samples were labelled with.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashMap;
use tephra_proto::limits::WINDOW_LABEL_SETS_MAX;

use super::QueryError;
use crate::profile::model::{Labelled, Merged};

/// The labels of samples, by name.
type Set = Vec<(String, String)>;

/// Combinations of labels, numbered as they are met: a number takes the place of a replicate.
#[derive(Debug)]
pub(super) struct LabelSets {
    /// Names that samples have: other labels are those of processes.
    names: BTreeSet<String>,
    known: Mutex<FxHashMap<Set, u16>>,
}

impl LabelSets {
    pub(super) fn new(names: BTreeSet<String>) -> Self {
        Self { names, known: Mutex::default() }
    }

    /// The number of a series' combination.
    ///
    /// # Errors
    /// When there are more than one import may have.
    pub(super) fn number<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Result<u16, QueryError> {
        let of_samples = labels.filter(|(name, value)| self.names.contains(*name) && !value.is_empty());
        let mut set: Set = of_samples.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        set.sort_unstable();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.len();
        if let Some(number) = known.get(&set) {
            return Ok(*number);
        }
        if next == WINDOW_LABEL_SETS_MAX {
            return Err(QueryError::TooLarge { what: "combinations of labels", limit: WINDOW_LABEL_SETS_MAX as u64 });
        }
        known.insert(set, next as u16);
        Ok(next as u16)
    }

    /// A sum whose replicates are these numbers, in an order that does not depend on who met which first.
    pub(super) fn name(&self, mut merged: Merged) -> Labelled {
        let known = std::mem::take(&mut *self.known.lock().unwrap_or_else(PoisonError::into_inner));
        let mut sets: Vec<(Set, u16)> = known.into_iter().collect();
        sets.sort_unstable();
        let mut place = vec![0; sets.len()];
        for ((_, number), at) in sets.iter().zip(0..) {
            place[usize::from(*number)] = at;
        }
        for row in &mut merged.rows {
            row.replicate = place.get(usize::from(row.replicate)).copied().unwrap_or_default();
        }
        merged.rows.sort_unstable_by_key(|row| (row.node, row.replicate));
        Labelled { merged, label_sets: sets.into_iter().map(|(set, _)| set).collect() }
    }
}
