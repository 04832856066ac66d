//! Reads a pprof profile that somebody uploaded. What its tables would cost in memory is counted before they are built.

use std::borrow::Cow;

use rustc_hash::FxHashMap;
use tephra_proto::codec::read_capped;
use tephra_proto::limits::{
    PAYLOAD_BYTES_MAX, STACK_DEPTH_MAX, WINDOW_FRAMES_MAX, WINDOW_MODULES_MAX, WINDOW_SAMPLES_MAX, WINDOW_SERIES_MAX,
    WINDOW_STRINGS_MAX,
};
use tephra_proto::v1;

use super::columns::Columns;
use super::labels::SampleLabels;
use super::looks_like::looks_like;
use super::mappings::Mappings;
use super::read::{Lists, Profile, read};
use super::{Function, utf8};
use crate::profile::import::{ImportError, Importer};
use crate::profile::meaning::Kinds;
use crate::profile::remarks::Remarks;

/// A pprof profile as one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// Ready to be stored like an agent's.
    pub payload: v1::WindowPayload,
    /// When the profile started, unix nanoseconds; 0: it does not say.
    pub time_nanos: u64,
    /// How long it ran, nanoseconds; 0: it does not say.
    pub duration_nanos: u64,
    /// What was done to it on the way.
    pub remarks: Remarks,
}

/// Decodes a pprof body, gzipped or not.
///
/// # Errors
/// When it is not pprof, refers to what is not there, has no type that can be stored, or exceeds what one window may hold.
pub fn decode(body: &[u8]) -> Result<Imported, ImportError> {
    decode_as(body, &Kinds::new())
}

/// The same where somebody says how types add up, and knows better than their names.
///
/// # Errors
/// As [`decode`], and when `kinds` names a type that is not there.
pub fn decode_as(body: &[u8], kinds: &Kinds) -> Result<Imported, ImportError> {
    let mut remarks = Remarks::default();
    let inflated = inflate(body)?;
    let other = |error: ImportError| match error {
        ImportError::Malformed(_) | ImportError::NoTypes => {
            looks_like(&inflated).map_or(error, ImportError::OtherFormat)
        }
        _ => error,
    };
    let repaired = repaired(&inflated, &mut remarks).map_err(other)?;
    let mut lists = Lists::default();
    let profile = parse(&repaired, &mut lists).map_err(other)?;
    let columns = Columns::of(&profile, kinds, &mut remarks)?;
    let mut importer = Importer::new(columns.types());
    let stacks = Stacks::new(&profile, &mut importer)?;
    let mut labels = SampleLabels::default();
    let mut frames = Vec::new();
    let mut amounts = Vec::new();
    for sample in &profile.sample {
        frames.clear();
        for id in sample.location_id.iter().rev() {
            frames.extend_from_slice(stacks.of(*id)?);
        }
        if frames.is_empty() {
            frames.push(importer.unknown()?);
            remarks.samples_without_stack += 1;
        }
        amounts.clear();
        amounts.extend(columns.amounts(sample.value));
        let label_set = labels.of(&profile, sample, &mut importer, &mut remarks)?;
        importer.sample(&frames, label_set, &amounts)?;
    }
    importer.tell_cuts(&mut remarks);
    Ok(Imported {
        payload: importer.finish()?,
        time_nanos: u64::try_from(profile.time_nanos).unwrap_or(0),
        duration_nanos: u64::try_from(profile.duration_nanos).unwrap_or(0),
        remarks,
    })
}

/// A profile that fits into a window, with texts that are UTF-8.
fn repaired<'a>(inflated: &'a [u8], remarks: &mut Remarks) -> Result<Cow<'a, [u8]>, ImportError> {
    prescan(inflated)?;
    utf8::repair(inflated, remarks)
}

fn parse<'a>(serialized: &'a [u8], lists: &'a mut Lists) -> Result<Profile<'a>, ImportError> {
    let mut profile = read(serialized, lists)?;
    number(profile.function.iter_mut().map(|function| &mut function.id));
    number(profile.location.iter_mut().map(|location| &mut location.id));
    number(profile.mapping.iter_mut().map(|mapping| &mut mapping.id));
    if profile.sample_type.is_empty() { Err(ImportError::NoTypes) } else { Ok(profile) }
}

/// Entries of which none has an id are meant by their position, from 1: some profilers of .NET write them so.
fn number<'a>(ids: impl Iterator<Item = &'a mut u64>) {
    let ids: Vec<&mut u64> = ids.collect();
    if ids.iter().all(|id| **id == 0) {
        for (id, position) in ids.into_iter().zip(1..) {
            *id = position;
        }
    }
}

fn inflate(body: &[u8]) -> Result<Vec<u8>, ImportError> {
    let limit = PAYLOAD_BYTES_MAX;
    let inflated = if body.starts_with(&[0x1f, 0x8b]) {
        read_capped(flate2::bufread::MultiGzDecoder::new(body), limit)
            .map_err(|e| ImportError::DamagedGzip(e.to_string()))?
    } else {
        (body.len() <= limit).then(|| body.to_vec())
    };
    inflated.ok_or(ImportError::TooLarge { limit })
}

/// Counts entries of all tables, nested ones included.
fn prescan(profile: &[u8]) -> Result<(), ImportError> {
    // More than a window may hold of each: unused entries are dropped later.
    const LINES_MAX: usize = 4 * WINDOW_FRAMES_MAX;
    const LOCATION_REFERENCES_MAX: usize = 16 << 20;
    const LABELS_MAX: usize = 4 << 20;
    let mut counts = [0usize; 16];
    let (mut lines, mut references, mut labels) = (0usize, 0usize, 0usize);
    for field in Fields(profile) {
        let (number, content) = field?;
        if let Some(count) = counts.get_mut(number as usize) {
            *count += 1;
        }
        match number {
            2 => {
                references += content.len();
                for field in Fields(content) {
                    labels += usize::from(field?.0 == 3);
                }
            }
            // Comments may be packed.
            13 => counts[13] += content.len(),
            4 => {
                for field in Fields(content) {
                    lines += usize::from(field?.0 == 4);
                }
            }
            _ => {}
        }
    }
    for (what, count, limit) in [
        ("types", counts[1], WINDOW_SERIES_MAX),
        ("samples", counts[2], 4 * WINDOW_SAMPLES_MAX),
        ("mapped files", counts[3], WINDOW_MODULES_MAX),
        ("locations", counts[4], WINDOW_FRAMES_MAX),
        ("functions", counts[5], WINDOW_FRAMES_MAX),
        ("strings", counts[6], 2 * WINDOW_STRINGS_MAX),
        ("comments", counts[13], WINDOW_SAMPLES_MAX),
        ("lines", lines, LINES_MAX),
        ("references to locations", references, LOCATION_REFERENCES_MAX),
        ("labels of samples", labels, LABELS_MAX),
    ] {
        if count > limit {
            return Err(ImportError::TooMany { what, limit });
        }
    }
    // A profile says once when it started. Of two that were written one after the other the second would get the first one's names.
    if counts[9] > 1 {
        return Err(ImportError::Several { what: "the time".to_owned() });
    }
    Ok(())
}

/// The fields of one serialized message; numbers come with no content.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, &'a [u8]), ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| ImportError::Malformed("a field does not end where it should".to_owned())))
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Option<(u64, &'a [u8])> {
        let key = self.varint()?;
        let content = match key & 7 {
            0 => self.varint().map(|_| &[][..])?,
            1 => self.take(8)?,
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                self.take(len)?
            }
            5 => self.take(4)?,
            _ => return None,
        };
        Some((key >> 3, content))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

pub(super) fn text<'a>(profile: &Profile<'a>, index: i64) -> Result<&'a str, ImportError> {
    let found = usize::try_from(index).ok().and_then(|i| profile.string_table.get(i));
    found.copied().ok_or(ImportError::Dangling { what: "string", id: index as u64 })
}

/// Some tools say only what the linker calls it.
fn name<'a>(profile: &Profile<'a>, function: &Function) -> Result<&'a str, ImportError> {
    let name = text(profile, function.name)?;
    if name.is_empty() { text(profile, function.system_name) } else { Ok(name) }
}

/// For each location its frames, root first.
struct Stacks(FxHashMap<u64, Vec<u32>>);

impl Stacks {
    fn new(profile: &Profile, importer: &mut Importer) -> Result<Self, ImportError> {
        let functions: FxHashMap<u64, &Function> = profile.function.iter().map(|f| (f.id, f)).collect();
        let mappings = Mappings::of(profile);
        if functions.len() < profile.function.len() {
            return Err(ImportError::Several { what: "the id of a function".to_owned() });
        }
        let mut stacks = FxHashMap::default();
        for location in &profile.location {
            let mut frames = Vec::with_capacity(location.line.len().min(STACK_DEPTH_MAX));
            for line in location.line.iter().rev() {
                let function = functions.get(&line.function_id);
                let dangling = ImportError::Dangling { what: "function", id: line.function_id };
                let function = function.ok_or(dangling)?;
                let (name, file) = (name(profile, function)?, text(profile, function.filename)?);
                let line = u32::try_from(line.line).unwrap_or(0);
                // The outermost was copied nowhere, the others each into the one before it.
                let frame = if frames.is_empty() {
                    importer.symbolic(name, file, line)?
                } else {
                    importer.inlined(name, file, line)?
                };
                frames.push(frame);
            }
            if frames.is_empty() {
                frames.push(mappings.frame(location, importer)?);
            }
            if stacks.insert(location.id, frames).is_some() {
                return Err(ImportError::Several { what: format!("location {}", location.id) });
            }
        }
        Ok(Self(stacks))
    }

    fn of(&self, id: u64) -> Result<&[u32], ImportError> {
        self.0.get(&id).map(Vec::as_slice).ok_or(ImportError::Dangling { what: "location", id })
    }
}
