//! A serialized profile as tables in few pieces of memory: texts stay where they arrived, and the small lists that samples and locations
//! have lie one after the other. As messages of their own each list and each text would be a piece of memory, which costs more than all else
//! that is done with a profile. No table outgrows its limit.

use std::borrow::Cow;

use tephra_proto::limits::{
    PAYLOAD_BYTES_MAX, WINDOW_FRAMES_MAX, WINDOW_MODULES_MAX, WINDOW_SAMPLES_MAX, WINDOW_SERIES_MAX, WINDOW_STRINGS_MAX,
};

use super::{Function, Label, Line, Mapping, ValueType};
use crate::profile::import::{ImportError, within};
use crate::profile::wire::{Misread, Value, Wire};

// More than a window may hold of each: unused entries are dropped later.
const SAMPLES_MAX: usize = 4 * WINDOW_SAMPLES_MAX;
const STRINGS_MAX: usize = 2 * WINDOW_STRINGS_MAX;
const LINES_MAX: usize = 4 * WINDOW_FRAMES_MAX;
const LABELS_MAX: usize = 4 << 20;
/// Bytes of all samples, of which a reference takes one at least.
const REFERENCES_MAX: usize = 16 << 20;

/// The fields of [`super::Profile`] that are used, with texts where they arrived.
#[derive(Debug, Default)]
pub(in crate::profile) struct Profile<'a> {
    pub(in crate::profile) sample_type: Vec<ValueType>,
    pub(in crate::profile) sample: Vec<Sample<'a>>,
    pub(in crate::profile) mapping: Vec<Mapping>,
    pub(in crate::profile) location: Vec<Location<'a>>,
    pub(in crate::profile) function: Vec<Function>,
    /// Bytes that are no UTF-8, as names of C functions and of files may have, are U+FFFD.
    pub(in crate::profile) string_table: Vec<Cow<'a, str>>,
    pub(in crate::profile) time_nanos: i64,
    pub(in crate::profile) duration_nanos: i64,
    pub(in crate::profile) period_type: Option<ValueType>,
    pub(in crate::profile) period: i64,
}

impl Profile<'_> {
    /// An entry of the string table.
    ///
    /// # Errors
    /// When there is none at `index`.
    pub(in crate::profile) fn text(&self, index: i64) -> Result<&str, ImportError> {
        let found = usize::try_from(index).ok().and_then(|i| self.string_table.get(i));
        found.map(|text| &**text).ok_or(ImportError::Dangling { what: "string", id: index as u64 })
    }
}

/// A [`super::Sample`] whose lists are slices of [`Lists`].
#[derive(Debug, Clone, Copy)]
pub(in crate::profile) struct Sample<'a> {
    pub(in crate::profile) location_id: &'a [u64],
    pub(in crate::profile) value: &'a [i64],
    pub(in crate::profile) label: &'a [Label],
}

/// A [`super::Location`] whose lines are a slice of [`Lists`].
#[derive(Debug, Clone, Copy)]
pub(in crate::profile) struct Location<'a> {
    pub(in crate::profile) id: u64,
    pub(in crate::profile) mapping_id: u64,
    pub(in crate::profile) address: u64,
    pub(in crate::profile) line: &'a [Line],
}

/// A sample of which nothing but labels is known.
pub(in crate::profile) fn labelled(label: &[Label]) -> Sample<'_> {
    Sample { location_id: &[], value: &[], label }
}

/// The lists of all samples and locations.
#[derive(Debug, Default)]
pub(super) struct Lists {
    locations: Vec<u64>,
    values: Vec<i64>,
    labels: Vec<Label>,
    lines: Vec<Line>,
}

/// Where the lists of a sample end: they begin where those of the sample before it do.
#[derive(Debug, Default, Clone, Copy)]
struct Ends {
    locations: usize,
    values: usize,
    labels: usize,
}

/// Reads a profile. `lists` is empty, and will hold what samples and locations refer to.
///
/// # Errors
/// When it is not serialized as it should, holds too much of something, or is two, one after the other.
pub(super) fn read<'a>(serialized: &'a [u8], lists: &'a mut Lists) -> Result<Profile<'a>, ImportError> {
    let mut profile = Profile::default();
    let (mut samples, mut locations): (Vec<Ends>, Vec<(Location<'_>, usize)>) = (Vec::new(), Vec::new());
    let (mut references, mut bytes, mut has_time) = (0, serialized.len(), false);
    for field in Wire(serialized) {
        match field? {
            (1, value) => {
                within("types", profile.sample_type.len(), WINDOW_SERIES_MAX)?;
                profile.sample_type.push(value_type(value)?);
            }
            (2, value) => {
                within("samples", samples.len(), SAMPLES_MAX)?;
                references += value.bytes()?.len();
                within("references to locations", references, REFERENCES_MAX)?;
                lists.sample(value)?;
                let Lists { locations, values, labels, .. } = &*lists;
                samples.push(Ends { locations: locations.len(), values: values.len(), labels: labels.len() });
            }
            (3, value) => {
                within("mapped files", profile.mapping.len(), WINDOW_MODULES_MAX)?;
                profile.mapping.push(mapping(value)?);
            }
            (4, value) => {
                within("locations", locations.len(), WINDOW_FRAMES_MAX)?;
                locations.push((lists.location(value)?, lists.lines.len()));
            }
            (5, value) => {
                within("functions", profile.function.len(), WINDOW_FRAMES_MAX)?;
                profile.function.push(function(value)?);
            }
            (6, value) => {
                within("strings", profile.string_table.len(), STRINGS_MAX)?;
                let given = value.bytes()?;
                let text = text(given);
                bytes += text.len().saturating_sub(given.len());
                if bytes > PAYLOAD_BYTES_MAX {
                    return Err(ImportError::TooLarge { limit: PAYLOAD_BYTES_MAX });
                }
                profile.string_table.push(text);
            }
            // A profile says once when it started. Of two that were written one after the other the second would get the first one's names.
            (9, _) if has_time => return Err(ImportError::Several { what: "the time".to_owned() }),
            (9, value) => (profile.time_nanos, has_time) = (value.signed()?, true),
            (10, value) => profile.duration_nanos = value.signed()?,
            (11, value) => profile.period_type = Some(value_type(value)?),
            (12, value) => profile.period = value.signed()?,
            _ => {}
        }
    }
    let lists = &*lists;
    let mut from = Ends::default();
    profile.sample.extend(samples.into_iter().map(|to| {
        let sample = Sample {
            location_id: &lists.locations[from.locations..to.locations],
            value: &lists.values[from.values..to.values],
            label: &lists.labels[from.labels..to.labels],
        };
        from = to;
        sample
    }));
    let mut from = 0;
    profile.location.extend(locations.into_iter().map(|(location, to)| {
        let line = &lists.lines[from..to];
        from = to;
        Location { line, ..location }
    }));
    Ok(profile)
}

impl Lists {
    fn sample(&mut self, message: Value<'_>) -> Result<(), ImportError> {
        for field in Wire(message.bytes()?) {
            match field? {
                (1, value) => value.numbers(|id| self.locations.push(id))?,
                (2, value) => value.numbers(|number| self.values.push(number as i64))?,
                (3, value) => {
                    let mut label = Label::default();
                    for field in Wire(value.bytes()?) {
                        match field? {
                            (1, value) => label.key = value.signed()?,
                            (2, value) => label.str = value.signed()?,
                            (3, value) => label.num = value.signed()?,
                            (4, value) => label.num_unit = value.signed()?,
                            _ => {}
                        }
                    }
                    within("labels of samples", self.labels.len(), LABELS_MAX)?;
                    self.labels.push(label);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn location(&mut self, message: Value<'_>) -> Result<Location<'static>, ImportError> {
        let mut location = Location { id: 0, mapping_id: 0, address: 0, line: &[] };
        for field in Wire(message.bytes()?) {
            match field? {
                (1, value) => location.id = value.number()?,
                (2, value) => location.mapping_id = value.number()?,
                (3, value) => location.address = value.number()?,
                (4, value) => {
                    let mut line = Line::default();
                    for field in Wire(value.bytes()?) {
                        match field? {
                            (1, value) => line.function_id = value.number()?,
                            (2, value) => line.line = value.signed()?,
                            _ => {}
                        }
                    }
                    within("lines", self.lines.len(), LINES_MAX)?;
                    self.lines.push(line);
                }
                _ => {}
            }
        }
        Ok(location)
    }
}

impl From<Misread> for ImportError {
    fn from(misread: Misread) -> Self {
        Self::Malformed(misread.to_string())
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    // Much faster where all of it is, as nearly always.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

fn value_type(message: Value<'_>) -> Result<ValueType, ImportError> {
    let mut value_type = ValueType::default();
    for field in Wire(message.bytes()?) {
        match field? {
            (1, value) => value_type.r#type = value.signed()?,
            (2, value) => value_type.unit = value.signed()?,
            _ => {}
        }
    }
    Ok(value_type)
}

fn function(message: Value<'_>) -> Result<Function, ImportError> {
    let mut function = Function::default();
    for field in Wire(message.bytes()?) {
        match field? {
            (1, value) => function.id = value.number()?,
            (2, value) => function.name = value.signed()?,
            (3, value) => function.system_name = value.signed()?,
            (4, value) => function.filename = value.signed()?,
            _ => {}
        }
    }
    Ok(function)
}

fn mapping(message: Value<'_>) -> Result<Mapping, ImportError> {
    // There are few of them.
    prost::Message::decode(message.bytes()?).map_err(|e| ImportError::Malformed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// The same in the message's own type.
    fn owned(profile: &Profile<'_>) -> super::super::Profile {
        let sample = |sample: &Sample<'_>| super::super::Sample {
            location_id: sample.location_id.to_vec(),
            value: sample.value.to_vec(),
            label: sample.label.to_vec(),
        };
        let location = |location: &Location<'_>| super::super::Location {
            id: location.id,
            mapping_id: location.mapping_id,
            address: location.address,
            line: location.line.to_vec(),
        };
        super::super::Profile {
            sample_type: profile.sample_type.clone(),
            sample: profile.sample.iter().map(sample).collect(),
            mapping: profile.mapping.clone(),
            location: profile.location.iter().map(location).collect(),
            function: profile.function.clone(),
            string_table: profile.string_table.iter().map(|text| text.clone().into_owned()).collect(),
            time_nanos: profile.time_nanos,
            duration_nanos: profile.duration_nanos,
            period_type: profile.period_type,
            period: profile.period,
            comment: Vec::new(),
        }
    }

    fn any_profile() -> impl Strategy<Value = super::super::Profile> {
        let label = any::<[i64; 4]>().prop_map(|[key, str, num, num_unit]| Label { key, str, num, num_unit });
        let sample = (
            prop::collection::vec(any::<u64>(), 0..6),
            prop::collection::vec(any::<i64>(), 0..3),
            prop::collection::vec(label, 0..3),
        )
            .prop_map(|(location_id, value, label)| super::super::Sample { location_id, value, label });
        let line = (any::<u64>(), any::<i64>()).prop_map(|(function_id, line)| Line { function_id, line });
        let location = (any::<u64>(), any::<u64>(), any::<u64>(), prop::collection::vec(line, 0..3))
            .prop_map(|(id, mapping_id, address, line)| super::super::Location { id, mapping_id, address, line });
        let function = (any::<u64>(), any::<i64>(), any::<i64>(), any::<i64>())
            .prop_map(|(id, name, system_name, filename)| Function { id, name, system_name, filename });
        let mapping = (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(id, memory_start, has_functions)| {
            Mapping { id, memory_start, has_functions, ..Mapping::default() }
        });
        let value_type = (any::<i64>(), any::<i64>()).prop_map(|(r#type, unit)| ValueType { r#type, unit });
        (
            prop::collection::vec(value_type, 0..3),
            prop::collection::vec(sample, 0..6),
            prop::collection::vec(mapping, 0..3),
            prop::collection::vec(location, 0..6),
            prop::collection::vec(function, 0..6),
            prop::collection::vec(".{0,8}", 0..6),
            any::<[i64; 3]>(),
            any::<bool>(),
        )
            .prop_map(
                |(sample_type, sample, mapping, location, function, string_table, numbers, has_period)| {
                    super::super::Profile {
                        period_type: sample_type.first().copied().filter(|_| has_period),
                        sample_type,
                        sample,
                        mapping,
                        location,
                        function,
                        string_table,
                        time_nanos: numbers[0],
                        duration_nanos: numbers[1],
                        period: numbers[2],
                        comment: Vec::new(),
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn it_reads_what_the_messages_say(profile in any_profile()) {
            let serialized = profile.encode_to_vec();
            let mut lists = Lists::default();
            prop_assert_eq!(owned(&read(&serialized, &mut lists).unwrap()), profile);
        }

        /// Whatever the bytes are: no panic, and what is taken is what the messages say.
        #[test]
        fn damage_is_an_error_or_what_is_there(profile in any_profile(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut serialized = profile.encode_to_vec();
            if !serialized.is_empty() {
                let at = at.index(serialized.len());
                serialized[at] = byte;
            }
            let mut lists = Lists::default();
            if let (Ok(read), Ok(decoded)) = (read(&serialized, &mut lists), super::super::Profile::decode(&*serialized)) {
                prop_assert_eq!(owned(&read), super::super::Profile { comment: Vec::new(), ..decoded });
            }
        }
    }

    #[test]
    fn lists_that_are_not_packed_are_read_too() {
        // Two locations and two values, one by one.
        let sample = [0x08, 5, 0x08, 0x80, 0x01, 0x10, 7, 0x10, 9];
        let serialized = [&[0x12, sample.len() as u8][..], &sample].concat();
        let mut lists = Lists::default();
        let profile = read(&serialized, &mut lists).unwrap();
        assert_eq!((profile.sample[0].location_id, profile.sample[0].value), (&[5, 128][..], &[7, 9][..]));
    }
}
