//! Makes a window of a pprof profile that somebody uploaded.

use std::borrow::Cow;
use std::ops::Range;

use rustc_hash::{FxBuildHasher, FxHashMap};
use tephra_proto::codec::read_capped;
use tephra_proto::limits::PAYLOAD_BYTES_MAX;

use super::Function;
use super::columns::Columns;
use super::labels::SampleLabels;
use super::looks_like::looks_like;
use super::mappings::Mappings;
use super::read::{Lists, Profile, read};
use crate::profile::import::{ImportError, Imported, Importer};
use crate::profile::meaning::Kinds;
use crate::profile::remarks::Remarks;

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
    decode_inflated(&inflate(body)?, kinds)
}

/// The same of what was inflated where it was gzipped.
pub(in crate::profile) fn decode_inflated(inflated: &[u8], kinds: &Kinds) -> Result<Imported, ImportError> {
    let mut remarks = Remarks::default();
    let other = |error: ImportError| match error {
        ImportError::Malformed(_) | ImportError::NoTypes => {
            looks_like(inflated).map_or(error, ImportError::OtherFormat)
        }
        _ => error,
    };
    let mut lists = Lists::default();
    let profile = parse(inflated, &mut lists).map_err(other)?;
    remarks.names_made_fit += profile.string_table.iter().filter(|text| matches!(text, Cow::Owned(_))).count() as u64;
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
        let said = labels.of(&profile, sample, &mut importer, &mut remarks)?;
        importer.sample(&frames, said, &amounts)?;
    }
    importer.tell_cuts(&mut remarks);
    Ok(Imported {
        payload: importer.finish()?,
        time_nanos: u64::try_from(profile.time_nanos).unwrap_or(0),
        duration_nanos: u64::try_from(profile.duration_nanos).unwrap_or(0),
        remarks,
    })
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

/// What was packed into `body`, or itself; never more than a window may hold.
pub(in crate::profile) fn inflate(body: &[u8]) -> Result<Vec<u8>, ImportError> {
    let limit = PAYLOAD_BYTES_MAX;
    let inflated = if body.starts_with(&[0x1f, 0x8b]) {
        read_capped(flate2::bufread::MultiGzDecoder::new(body), limit)
            .map_err(|e| ImportError::DamagedGzip(e.to_string()))?
    } else {
        (body.len() <= limit).then(|| body.to_vec())
    };
    inflated.ok_or(ImportError::TooLarge { limit })
}

/// Some tools say only what the linker calls it.
fn name<'a>(profile: &'a Profile<'_>, function: &Function) -> Result<&'a str, ImportError> {
    let name = profile.text(function.name)?;
    if name.is_empty() { profile.text(function.system_name) } else { Ok(name) }
}

/// For each location its frames, root first.
struct Stacks {
    frames: Vec<u32>,
    of: FxHashMap<u64, Range<usize>>,
}

impl Stacks {
    fn new(profile: &Profile, importer: &mut Importer) -> Result<Self, ImportError> {
        let functions: FxHashMap<u64, &Function> = profile.function.iter().map(|f| (f.id, f)).collect();
        let mappings = Mappings::of(profile);
        if functions.len() < profile.function.len() {
            return Err(ImportError::Several { what: "the id of a function".to_owned() });
        }
        let mut frames = Vec::with_capacity(profile.location.len());
        let mut of = FxHashMap::with_capacity_and_hasher(profile.location.len(), FxBuildHasher);
        for location in &profile.location {
            let first = frames.len();
            for line in location.line.iter().rev() {
                let function = functions.get(&line.function_id);
                let dangling = ImportError::Dangling { what: "function", id: line.function_id };
                let function = function.ok_or(dangling)?;
                let (name, file) = (name(profile, function)?, profile.text(function.filename)?);
                let line = u32::try_from(line.line).unwrap_or(0);
                // The outermost was copied nowhere, the others each into the one before it.
                let frame = if frames.len() == first {
                    importer.symbolic(name, file, line)?
                } else {
                    importer.inlined(name, file, line)?
                };
                frames.push(frame);
            }
            if frames.len() == first {
                frames.push(mappings.frame(location, importer)?);
            }
            if of.insert(location.id, first..frames.len()).is_some() {
                return Err(ImportError::Several { what: format!("location {}", location.id) });
            }
        }
        Ok(Self { frames, of })
    }

    fn of(&self, id: u64) -> Result<&[u32], ImportError> {
        let frames = self.of.get(&id).and_then(|range| self.frames.get(range.clone()));
        frames.ok_or(ImportError::Dangling { what: "location", id })
    }
}
