//! A window under construction from a file of another format than pprof: what its numbers mean, the threads it was taken of, and how
//! much of it there may be. Every format adds samples here, so that none of them can forget a limit.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use tephra_proto::label::is_printable;
use tephra_proto::limits::{LABEL_VALUE_BYTES_MAX, WINDOW_SERIES_MAX};
use tephra_proto::v1;

use crate::profile::decode::COUNT_MAX;
use crate::profile::fit::{fit, fit_apart};
use crate::profile::import::{Amount, ImportError, Imported, Importer, Said, within};
use crate::profile::meaning::{self, Column, Distance, Kinds, Meaning};
use crate::profile::model::Kind;
use crate::profile::remarks::Remarks;

/// What whoever sends a profile says of it, and knows better than its file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// How types add up.
    pub kinds: Kinds,
    /// What is measured, for formats that do not say it.
    pub name: Option<String>,
    /// In which unit, for formats that do not say it.
    pub unit: Option<String>,
}

/// Frames of all stacks together. A tree's stacks are longer than its file: this is what keeps hostile ones from taking for ever.
const FRAMES_MAX: usize = 1 << 24;

/// Threads that are told apart, as values of labels are everywhere.
const THREADS_MAX: usize = 127;

/// What threads beyond [`THREADS_MAX`] are called.
const OTHER: &str = "__other__";

/// What the samples of a thread are labelled with.
const THREAD: &str = "thread";

/// One kind of number in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measure {
    /// As the file has it.
    pub(super) name: String,
    pub(super) unit: String,
    /// How far its samples lie apart, in its unit; 0: nobody says.
    pub(super) distance: u64,
}

impl Measure {
    pub(super) fn new(name: &str, unit: &str) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), distance: 0 }
    }
}

/// A window under construction.
pub(super) struct Draft {
    pub(super) importer: Importer,
    /// What was done to the profile so far.
    pub(super) remarks: Remarks,
    columns: Vec<(String, Meaning)>,
    /// What each of them adds up to.
    sums: Vec<u64>,
    /// Label sets by name.
    threads: FxHashMap<String, u32>,
    frames: usize,
    amounts: Vec<Amount>,
}

impl Draft {
    /// Measures that have nothing to do with each other, such as events that were counted side by side.
    pub(super) fn of_each(measures: &[Measure], asked: &Asked) -> Result<Self, ImportError> {
        Self::of(measures, asked, |names| {
            let one = |(name, measure): (&String, &Measure)| {
                let distance = Distance { name: name.clone(), unit: measure.unit.clone(), value: measure.distance };
                let column = Column { name, unit: &measure.unit };
                meaning::read(&[column], Some(distance), &asked.kinds)
            };
            names.iter().zip(measures).flat_map(one).collect()
        })
    }

    /// Measures of the same samples, and how far these lie apart.
    pub(super) fn of_all(measures: &[Measure], distance: Option<Distance>, asked: &Asked) -> Result<Self, ImportError> {
        Self::of(measures, asked, |names| {
            let columns: Vec<Column<'_>> =
                names.iter().zip(measures).map(|(name, measure)| Column { name, unit: &measure.unit }).collect();
            meaning::read(&columns, distance, &asked.kinds)
        })
    }

    fn of(
        measures: &[Measure],
        asked: &Asked,
        meanings: impl FnOnce(&[String]) -> Vec<Meaning>,
    ) -> Result<Self, ImportError> {
        within("types", measures.len().saturating_sub(1), WINDOW_SERIES_MAX)?;
        let mut remarks = Remarks::default();
        let mut names: Vec<String> = Vec::new();
        for measure in measures {
            let name = fit_apart(&measure.name, |name| names.iter().any(|known| known == name));
            remarks.fitted(&measure.name, &name);
            names.push(name);
        }
        let columns: Vec<(String, Meaning)> = names.iter().cloned().zip(meanings(&names)).collect();
        if let Some(unknown) = asked.kinds.keys().find(|name| !names.contains(name)) {
            return Err(ImportError::UnknownType { name: unknown.clone(), known: names.join(", ") });
        }
        Ok(Self {
            importer: Importer::new(columns.iter().map(profile_type).collect()),
            remarks,
            sums: vec![0; columns.len()],
            columns,
            threads: FxHashMap::default(),
            frames: 0,
            amounts: Vec::new(),
        })
    }

    /// The label set of samples of a thread; 0 where it has no name.
    pub(super) fn of_thread(&mut self, name: &str) -> Result<u32, ImportError> {
        let printable: String = name.trim().chars().filter(|c| is_printable(*c)).collect();
        let mut value = &printable[..printable.floor_char_boundary(LABEL_VALUE_BYTES_MAX)];
        if value.is_empty() {
            return Ok(0);
        }
        if let Some(known) = self.threads.get(value) {
            return Ok(*known);
        }
        if self.threads.len() >= THREADS_MAX {
            value = OTHER;
            if let Some(known) = self.threads.get(value) {
                return Ok(*known);
            }
            self.remarks.leave_out(THREAD, format!("has more than {THREADS_MAX} values: further ones are {OTHER}"));
        }
        let set = BTreeMap::from([(THREAD.to_owned(), value.to_owned())]);
        let number = self.importer.label_set(&set)?;
        self.threads.insert(value.to_owned(), number);
        Ok(number)
    }

    /// Adds `seen` samples of one stack, root first: a value for each measure, in its unit.
    pub(super) fn sample(
        &mut self,
        stack: &[u32],
        of_thread: u32,
        values: &[u64],
        seen: u64,
    ) -> Result<(), ImportError> {
        self.frames = self.frames.saturating_add(stack.len());
        within("frames in all its stacks", self.frames, FRAMES_MAX)?;
        let given = |column: usize| values.get(column).copied().unwrap_or(0);
        self.amounts.clear();
        for (column, ((_, meaning), sum)) in self.columns.iter().zip(&mut self.sums).enumerate() {
            let value = given(column).saturating_mul(meaning.factor);
            let samples = if meaning.is_uncounted() { seen.max(1) } else { meaning.samples(value, given) };
            self.amounts.push(Amount { value, samples });
            *sum = sum.saturating_add(value);
        }
        let said = Said { label_set: of_thread, link: 0 };
        if !stack.is_empty() {
            return self.importer.sample(stack, said, &self.amounts);
        }
        if self.amounts.iter().any(|amount| amount.value > 0) {
            self.remarks.samples_without_stack += seen.max(1);
        }
        let unknown = self.importer.unknown()?;
        self.importer.sample(&[unknown], said, &self.amounts)
    }

    /// The profile; when it started and how long it took, in nanoseconds, 0 where it does not say.
    pub(super) fn finish(mut self, time_nanos: u64, duration_nanos: u64) -> Result<Imported, ImportError> {
        self.importer.tell_cuts(&mut self.remarks);
        let mut payload = self.importer.finish()?;
        let mut refused = None;
        let mut sums = self.columns.iter().zip(&self.sums);
        payload.series.retain(|_| {
            let Some(((name, _), sum)) = sums.next().filter(|(_, sum)| **sum > COUNT_MAX) else { return true };
            let why = format!("adds up to {sum}, limit {COUNT_MAX}: take it over a shorter time");
            self.remarks.leave_out(name, why.clone());
            refused = Some((name.clone(), why));
            false
        });
        match refused {
            Some((name, why)) if payload.series.is_empty() => Err(ImportError::NotStorable { name, why }),
            _ => Ok(Imported { payload, time_nanos, duration_nanos, remarks: self.remarks }),
        }
    }
}

fn profile_type((name, meaning): &(String, Meaning)) -> v1::ProfileType {
    let kind = match meaning.kind {
        Kind::Counter => v1::Kind::Counter,
        Kind::Gauge => v1::Kind::Gauge,
    };
    let unit = if meaning.unit.is_empty() { String::new() } else { fit(&meaning.unit).into_owned() };
    v1::ProfileType { name: name.clone(), unit, kind: kind.into(), period: meaning.period }
}

/// A number of a file that writes them with fractions, as it is kept.
pub(super) fn whole(value: f64) -> u64 {
    // Casts keep within the type's bounds, and what is no number is 0.
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_that_cost_more_than_any_file_has_are_refused() {
        let mut draft = Draft::of_each(&[Measure::new("samples", "count")], &Asked::default()).unwrap();
        let stack = vec![0; 512];
        let refused = (0..=FRAMES_MAX / stack.len()).find_map(|_| draft.sample(&stack, 0, &[0], 1).err());
        assert!(matches!(refused, Some(ImportError::TooMany { what: "frames in all its stacks", .. })));
    }
}
