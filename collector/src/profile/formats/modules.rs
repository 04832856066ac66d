//! What was mapped where, as `/proc/PID/maps` and gperftools' shorter form of it say, and what an address in it is called: these formats
//! name no builds, so it goes by its module and its offset there.

use rustc_hash::FxHashMap;

use super::draft::Draft;
use crate::profile::address::Address;
use crate::profile::import::ImportError;

/// Mapped files that are told apart: processes have at most that many by default.
const MAPPINGS_MAX: usize = 65_536;

/// What of which file lies where.
#[derive(Debug, PartialEq)]
struct Mapping<'a> {
    start: u64,
    end: u64,
    offset: u64,
    path: &'a str,
}

/// Names for addresses.
#[derive(Debug, Default)]
pub(super) struct Modules<'a> {
    /// By start.
    mappings: Vec<Mapping<'a>>,
    /// Frames by address.
    made: FxHashMap<u64, u32>,
}

impl<'a> Modules<'a> {
    /// Reads whatever lines of a text are mappings.
    pub(super) fn read(text: &'a str) -> Self {
        let mut mappings: Vec<Mapping<'a>> = text.lines().filter_map(mapping).take(MAPPINGS_MAX).collect();
        mappings.sort_by_key(|mapping| mapping.start);
        Self { mappings, made: FxHashMap::default() }
    }

    /// The frame of an address, by module and offset where it lies in one.
    pub(super) fn frame(&mut self, address: u64, draft: &mut Draft) -> Result<u32, ImportError> {
        if let Some(known) = self.made.get(&address) {
            return Ok(*known);
        }
        let frame = draft.importer.symbolic(&self.name(address), "", 0)?;
        self.made.insert(address, frame);
        Ok(frame)
    }

    fn mapping(&self, address: u64) -> Option<&Mapping<'a>> {
        let before = self.mappings.partition_point(|mapping| mapping.start <= address);
        before.checked_sub(1).and_then(|at| self.mappings.get(at)).filter(|mapping| address < mapping.end)
    }

    /// What the file is called that an address lies in.
    pub(super) fn module(&self, address: u64) -> Option<&'a str> {
        self.mapping(address).map(|mapping| mapping.path.rsplit('/').next().unwrap_or(mapping.path))
    }

    fn name(&self, address: u64) -> String {
        match (self.mapping(address), self.module(address)) {
            (Some(Mapping { start, offset, .. }), Some(name)) => {
                let place = Address::Mapped { file_offset: *offset, distance: address - start };
                format!("{name}+{:#x}", place.shown())
            }
            _ => format!("{address:#x}"),
        }
    }
}

/// Such as `00400000-00fcb000 r-xp 00000000 fd:01 1234   /usr/bin/shop`, or `00400000-00fcb000: /usr/bin/shop`.
fn mapping(line: &str) -> Option<Mapping<'_>> {
    let line = line.trim();
    let (range, rest) = line.split_once([' ', '\t', ':'])?;
    let (start, end) = range.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = (hex(start)?, hex(end)?);
    let mut words = rest.split_whitespace();
    let (offset, path) = if line.as_bytes().get(range.len()) == Some(&b':') {
        (0, words.next()?)
    } else {
        let rights = words.next()?;
        let offset = hex(words.next()?)?;
        let path = words.nth(2)?;
        if !rights.contains('x') {
            return None;
        }
        (offset, path)
    };
    (start < end).then_some(Mapping { start, end, offset, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_by_what_they_lie_in() {
        let text = "build=/x\n00400000-00500000 r-xp 00001000 fd:01 12   /usr/bin/shop\n00500000-00600000 rw-p 00000000 fd:01 12 /usr/bin/shop\n\
                    \x20 7f00-8000: /lib/libc.so\nffff-0001 r-xp 0 0:0 0 /back\nnonsense\n";
        let modules = Modules::read(text);
        for (address, name) in [
            (0x40_0010, "shop+0x1010"),
            (0x7f10, "libc.so+0x10"),
            (0x8000, "0x8000"),
            (0x50_0010, "0x500010"),
            (0, "0x0"),
            (u64::MAX, "0xffffffffffffffff"),
        ] {
            assert_eq!(modules.name(address), name);
        }
    }
}
