//! Profiles of one resource and time, as one window: a type each.

use bytes::Bytes;
use rustc_hash::FxHashMap;
use tephra_proto::v1;

use super::dictionary::Dictionary;
use super::numbering::Sample;
use crate::profile::decode::COUNT_MAX;
use crate::profile::fit::fit;
use crate::profile::import::{Amount, ImportError, Importer, Said, within};
use crate::profile::meaning::{self, Column, Distance, Kinds, Meaning};
use crate::profile::model::Kind;
use crate::profile::pprof::{self, Imported, Label, SampleLabels};
use crate::profile::remarks::Remarks;
use crate::profile::wire::{Value, Wire};

/// Frames of all samples of one part: a stack in few bytes may have many.
const STEPS_MAX: usize = 64 << 20;

/// Labels of one sample, its profile's included.
const LABELS_MAX: usize = 64;

/// What counts how often somebody looked, where the distance between two looks says what each is worth.
const LOOKS: [&str; 3] = ["samples", "sample", "events"];

/// What OpenTelemetry's conventions call otherwise than pprof.
const CALLED: [(&str, &str); 4] = [
    ("allocated_objects", "alloc_objects"),
    ("allocated_space", "alloc_space"),
    ("allocations", "alloc_objects"),
    ("off-cpu", "off_cpu"),
];

/// Whose profiles they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Names and values of its attributes.
    pub attributes: Vec<(String, String)>,
}

/// What becomes one window, or several if it took long.
#[derive(Debug)]
pub struct Part {
    /// Whose it is.
    pub resource: Resource,
    /// What was measured.
    pub imported: Imported,
}

/// A profile but for its samples.
#[derive(Debug, Default)]
pub(super) struct Head {
    message: Bytes,
    name: i64,
    unit: i64,
    time_ns: u64,
    duration_ns: u64,
    period: Option<(i64, i64)>,
    period_value: u64,
    attributes: Vec<u64>,
}

impl Head {
    pub(super) fn read(message: Bytes) -> Result<Self, ImportError> {
        let mut head = Self::default();
        for field in Wire(&message) {
            match field? {
                (1, value) => (head.name, head.unit) = value_type(value)?,
                (3, Value::Fixed(eight)) => head.time_ns = eight.try_into().map_or(0, u64::from_le_bytes),
                // Both of it had been other fields when samples had other numbers.
                (2, value) if !matches!(value, Value::Bytes(_)) => return Err(ImportError::OlderOtlp),
                (3, _) => return Err(ImportError::OlderOtlp),
                (4, value) => head.duration_ns = value.number().map_err(|_| ImportError::OlderOtlp)?,
                (5, value) => head.period = Some(value_type(value)?),
                (6, value) => head.period_value = value.number().map_err(|_| ImportError::OlderOtlp)?,
                (11, value) => {
                    value.numbers(|index| head.attributes.push(index))?;
                    within("attributes of a profile", head.attributes.len(), LABELS_MAX + 1)?;
                }
                _ => {}
            }
        }
        head.message = message;
        Ok(head)
    }

    /// When it started, and how long it took, nanoseconds.
    pub(super) fn time(&self) -> (u64, u64) {
        (self.time_ns, self.duration_ns)
    }

    /// How it is stored, and what one of its values is worth.
    fn column(&self, dictionary: &Dictionary) -> Result<Stored, ImportError> {
        let (name, unit) = (dictionary.get(self.name)?, dictionary.get(self.unit)?);
        if name.is_empty() && unit.is_empty() {
            return Err(ImportError::NoTypes);
        }
        let period =
            self.period.map(|(name, unit)| Ok::<_, ImportError>((dictionary.get(name)?, dictionary.get(unit)?)));
        let period = period.transpose()?.filter(|_| self.period_value > 0 && i64::try_from(self.period_value).is_ok());
        // Looks that lie some time apart stand for that time.
        let looked = period
            .filter(|(name_of, unit_of)| LOOKS.contains(&name) && !name_of.is_empty() && meaning::is_time(unit_of));
        let ((name, unit), worth) = match looked {
            Some(of) => (of, self.period_value),
            None => ((name, unit), 1),
        };
        let called = CALLED.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours);
        let (name, unit) =
            (fit(called).into_owned(), if unit.is_empty() { String::new() } else { fit(unit).into_owned() });
        let distance = period.map(|(of, unit)| Distance {
            name: fit(of).into_owned(),
            unit: fit(unit).into_owned(),
            value: self.period_value,
        });
        let meaning = meaning::read(&[Column { name: &name, unit: &unit }], distance, &Kinds::new()).into_iter().next();
        Ok(Stored { name, meaning: meaning.ok_or(ImportError::NoTypes)?, worth })
    }
}

struct Stored {
    name: String,
    meaning: Meaning,
    worth: u64,
}

impl Stored {
    fn profile_type(&self) -> v1::ProfileType {
        let kind = match self.meaning.kind {
            Kind::Counter => v1::Kind::Counter,
            Kind::Gauge => v1::Kind::Gauge,
        };
        let Meaning { unit, period, .. } = &self.meaning;
        v1::ProfileType { name: self.name.clone(), unit: unit.clone(), kind: kind.into(), period: *period }
    }

    /// What a sample adds. One without values has one for each time at which it was seen.
    fn amount(&self, sample: &Sample<'_>) -> Result<Amount, ImportError> {
        let times = sample.timestamps.len() as u64;
        let mut sum = 0u64;
        for value in &sample.values {
            let value = u64::try_from(*value).map_err(|_| ImportError::NotStorable {
                name: self.name.clone(),
                why: format!("has the value {value}: what lies below zero has no place in a sum"),
            })?;
            sum = sum.saturating_add(value);
        }
        if sample.values.is_empty() {
            sum = times;
        }
        let value = sum.saturating_mul(self.worth).saturating_mul(self.meaning.factor);
        let looks = if self.worth > 1 { sum } else { self.meaning.samples(value, |_| 0) };
        Ok(Amount { value, samples: if times > 0 { times } else { looks } })
    }
}

/// Makes a window of profiles of the same time.
pub(super) fn build(dictionary: &Dictionary, resource: Resource, heads: &[Head]) -> Result<Part, ImportError> {
    let mut stored: Vec<Stored> = Vec::new();
    let mut places = Vec::new();
    for head in heads {
        let column = head.column(dictionary)?;
        let known = stored.iter().position(|of| of.name == column.name && of.meaning.unit == column.meaning.unit);
        places.push(known.unwrap_or(stored.len()));
        if known.is_none() {
            stored.push(column);
        }
    }
    let mut importer = Importer::new(stored.iter().map(Stored::profile_type).collect());
    let mut remarks = Remarks::default();
    let mut labels = SampleLabels::default();
    let mut frames = Frames { dictionary, known: FxHashMap::default(), frames: Vec::new(), steps: 0 };
    let (mut stack, mut given): (Vec<u32>, Vec<Label>) = (Vec::new(), Vec::new());
    let mut amounts = vec![Amount::default(); stored.len()];
    let mut sums = vec![0u64; stored.len()];
    for (head, place) in heads.iter().zip(places) {
        let column = head.column(dictionary)?;
        for field in Wire(&head.message) {
            let (2, message) = field? else { continue };
            let sample = Sample::read(message.bytes()?, dictionary.attributes.len())?;
            frames.of(sample.stack, &mut importer, &mut stack)?;
            if stack.is_empty() {
                stack.push(importer.unknown()?);
                remarks.samples_without_stack += 1;
            }
            given.clear();
            for index in sample.attributes.iter().chain(&head.attributes).filter(|index| **index > 0).take(LABELS_MAX) {
                let found = usize::try_from(*index).ok().and_then(|index| dictionary.attributes.get(index));
                let label = *found.ok_or(ImportError::Dangling { what: "attribute", id: *index })?;
                given.extend((label.key > 0).then_some(label));
            }
            let mut said: Said =
                labels.of(&dictionary.tables, &pprof::labelled(&given), &mut importer, &mut remarks)?;
            if sample.link > 0 {
                let link = usize::try_from(sample.link).ok().and_then(|index| dictionary.links.get(index));
                let link = link.ok_or(ImportError::Dangling { what: "link", id: sample.link })?;
                said.link = link.and_then(|(trace, span)| importer.link(trace, span)).unwrap_or(said.link);
            }
            let amount = column.amount(&sample)?;
            if let (Some(slot), Some(sum)) = (amounts.get_mut(place), sums.get_mut(place)) {
                *sum = sum.saturating_add(amount.value);
                *slot = amount;
            }
            importer.sample(&stack, said, &amounts)?;
            amounts.fill(Amount::default());
        }
    }
    for (stored, sum) in stored.iter().zip(sums) {
        if sum > COUNT_MAX {
            let why = format!("adds up to {sum}, limit {COUNT_MAX}: send it in shorter times");
            return Err(ImportError::NotStorable { name: stored.name.clone(), why });
        }
    }
    importer.tell_cuts(&mut remarks);
    let (time_nanos, duration_nanos) = heads.first().map(Head::time).unwrap_or_default();
    Ok(Part { resource, imported: Imported { payload: importer.finish()?, time_nanos, duration_nanos, remarks } })
}

/// The frames of locations, each looked up once.
struct Frames<'a> {
    dictionary: &'a Dictionary,
    known: FxHashMap<u32, (usize, usize)>,
    frames: Vec<u32>,
    steps: usize,
}

impl Frames<'_> {
    /// Puts the frames of a stack into `out`, root first.
    fn of(&mut self, stack: u64, importer: &mut Importer, out: &mut Vec<u32>) -> Result<(), ImportError> {
        out.clear();
        for location in self.dictionary.stack_of(stack)?.iter().rev() {
            let (from, to) = match self.known.get(location) {
                Some(range) => *range,
                None => {
                    let from = self.frames.len();
                    self.dictionary.frames(*location, importer, &mut self.frames)?;
                    self.known.insert(*location, (from, self.frames.len()));
                    (from, self.frames.len())
                }
            };
            out.extend_from_slice(self.frames.get(from..to).unwrap_or_default());
        }
        self.steps += out.len();
        within("frames of samples", self.steps, STEPS_MAX)
    }
}

fn value_type(message: Value<'_>) -> Result<(i64, i64), ImportError> {
    let mut names = (0, 0);
    for field in Wire(message.bytes()?) {
        match field? {
            (1, value) => names.0 = value.signed()?,
            (2, value) => names.1 = value.signed()?,
            _ => {}
        }
    }
    Ok(names)
}
