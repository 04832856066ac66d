//! What of a module is mapped where: how addresses without names come in, and how they go out again, so that whoever has the file can
//! name them. Both follow what `go tool pprof` does with a mapping's start, limit and offset.

use rustc_hash::FxHashMap;
use tephra_proto::ids::BuildId;

use super::read::{self, Profile};
use super::{Location, Mapping};
use crate::profile::address::{Address, PAGE};
use crate::profile::import::{ImportError, Importer};
use crate::profile::model::{Frame, Merged};
use crate::profile::names;
use crate::profile::resolution::Resolution;

/// The mappings of a profile that is read.
pub(super) struct Mappings<'a> {
    profile: &'a Profile<'a>,
    by_id: FxHashMap<u64, &'a Mapping>,
}

impl<'a> Mappings<'a> {
    pub(super) fn of(profile: &'a Profile<'a>) -> Self {
        Self { profile, by_id: profile.mapping.iter().map(|mapping| (mapping.id, mapping)).collect() }
    }

    /// The frame of a location that has only an address: by build id where there is one, so that symbols that come later apply.
    pub(super) fn frame(&self, location: &read::Location<'_>, importer: &mut Importer) -> Result<u32, ImportError> {
        let Some(mapping) = self.by_id.get(&location.mapping_id) else {
            return importer.symbolic(&format!("{:#x}", location.address), "", 0);
        };
        frame_in(self.profile, mapping, location.address, importer)
    }
}

/// The frame of an address in a mapping, which names its file in the texts of `profile`.
pub(in crate::profile) fn frame_in(
    profile: &Profile<'_>,
    mapping: &Mapping,
    address: u64,
    importer: &mut Importer,
) -> Result<u32, ImportError> {
    let path = profile.text(mapping.filename)?;
    let name = path.rsplit('/').next().unwrap_or(path);
    let place = place(mapping, address);
    let stored = place.and_then(Address::stored);
    match (BuildId::parse(profile.text(mapping.build_id)?), stored) {
        (Ok(build_id), Some(stored)) => importer.native(build_id, name, stored),
        _ => {
            let shown = place.map_or(address, Address::shown);
            importer.symbolic(&format!("{name}+{shown:#x}"), "", 0)
        }
    }
}

/// Where a run-time address is in its mapping's module; `None` where the mapping does not hold it.
fn place(mapping: &Mapping, address: u64) -> Option<Address> {
    let Mapping { memory_start: start, memory_limit: limit, file_offset, .. } = *mapping;
    // All of the address space: somebody has taken the load address off already.
    if start == 0 && file_offset == 0 && (limit == 0 || limit == u64::MAX) {
        return Some(Address::Elf(address));
    }
    address.checked_sub(start).map(|distance| Address::Mapped { file_offset, distance })
}

/// The mappings of a profile that is written.
pub(super) struct Layout {
    pub(super) mappings: Vec<Mapping>,
    index: FxHashMap<Part, usize>,
}

/// One mapping each: a module's ELF addresses, or what a process had mapped of its file from an offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Part {
    build_id: BuildId,
    file_offset: Option<u64>,
}

impl Part {
    fn of(frame: &Frame) -> Option<(Self, u64)> {
        let Frame::Native { build_id, address } = frame else { return None };
        Some(match Address::of(*address) {
            Address::Elf(address) => (Self { build_id: *build_id, file_offset: None }, address),
            Address::Mapped { file_offset, distance } => {
                (Self { build_id: *build_id, file_offset: Some(file_offset) }, distance)
            }
        })
    }
}

/// What the frames of a part have all together: what a reader is told in its mapping.
#[derive(Clone, Copy)]
struct Known {
    farthest: u64,
    functions: bool,
    files: bool,
    lines: bool,
    inlined: bool,
}

impl Known {
    const NOTHING: Self = Self { farthest: 0, functions: true, files: false, lines: false, inlined: false };

    fn add(&mut self, at: u64, resolution: &Resolution) {
        self.farthest = self.farthest.max(at);
        let Resolution::Symbols(symbols) = resolution else {
            self.functions = false;
            return;
        };
        self.files |= symbols.iter().any(|symbol| !symbol.file.is_empty());
        self.lines |= symbols.iter().any(|symbol| symbol.line > 0);
        self.inlined |= symbols.len() > 1;
    }
}

impl Layout {
    /// Lays out all modules of a profile. Readers do not look up a mapping that says it has names, so one that lacks some says it has none.
    pub(super) fn of(merged: &Merged, resolutions: &[Resolution], mut text: impl FnMut(&str) -> i64) -> Self {
        let mut parts: FxHashMap<Part, Known> = FxHashMap::default();
        for (frame, resolution) in merged.frames.iter().zip(resolutions) {
            if let Some((part, at)) = Part::of(frame) {
                parts.entry(part).or_insert(Known::NOTHING).add(at, resolution);
            }
        }
        let position: FxHashMap<BuildId, usize> =
            merged.modules.iter().enumerate().rev().map(|(i, module)| (module.build_id, i)).collect();
        let name = |build_id: &BuildId| position.get(build_id).map_or("", |&i| &*merged.modules[i].name);
        // `pprof PROGRAM PROFILE` takes the first mapping for the program's.
        let order = |part: &Part| {
            let place = position.get(&part.build_id).copied().unwrap_or(usize::MAX);
            (is_library(name(&part.build_id)), place, part.build_id, part.file_offset)
        };
        let mut parts: Vec<(Part, Known)> = parts.into_iter().collect();
        parts.sort_by_key(|(part, _)| order(part));
        let mut layout = Self { mappings: Vec::new(), index: FxHashMap::default() };
        let mut free = PAGE;
        for (part, known) in parts {
            // ELF addresses stay as they are, in what readers take for an address space without a load address.
            let (start, limit) = match part.file_offset {
                None => (0, 0),
                Some(_) => (free, free.saturating_add((known.farthest / PAGE + 1) * PAGE)),
            };
            free = free.max(limit.saturating_add(PAGE));
            layout.index.insert(part, layout.mappings.len());
            layout.mappings.push(Mapping {
                id: layout.mappings.len() as u64 + 1,
                memory_start: start,
                memory_limit: limit,
                file_offset: part.file_offset.unwrap_or(0),
                filename: text(&names::printable(name(&part.build_id))),
                build_id: text(&part.build_id.to_string()),
                has_functions: known.functions,
                has_filenames: known.functions && known.files,
                has_line_numbers: known.functions && known.lines,
                has_inline_frames: known.functions && known.inlined,
            });
        }
        layout
    }

    /// Mapping and address of a frame.
    pub(super) fn locate(&self, frame: &Frame) -> Location {
        let found = Part::of(frame).and_then(|(part, at)| Some((self.mappings.get(*self.index.get(&part)?)?, at)));
        let Some((mapping, at)) = found else { return Location::default() };
        let address = mapping.memory_start.saturating_add(at);
        Location { mapping_id: mapping.id, address, ..Location::default() }
    }
}

fn is_library(name: &str) -> bool {
    name.is_empty()
        || name.starts_with('[')
        || name.starts_with("linux-vdso")
        || name.ends_with(".so")
        || name.contains(".so.")
}
