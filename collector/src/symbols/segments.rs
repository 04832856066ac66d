//! From where code was mapped to where its file says it is: the part of an ELF file's program headers that this takes.
//!
//! The loader moves all segments of a file by one distance. So the ELF address of where a mapping begins is enough, and that is known by the
//! segment its offset in the file belongs to. Where small segments share a page, two may fit; then the code must be in an executable one.

use crate::profile::address::PAGE;

/// Of a file with more, only code in the first ones has names in profiles that were imported.
pub const SEGMENTS_MAX: usize = 32;

/// A segment that is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its ELF virtual address.
    pub address: u64,
    /// How much of it is in the file, bytes.
    pub file_bytes: u64,
    /// How much memory it takes, bytes.
    pub memory_bytes: u64,
    /// Whether it is mapped to be executed.
    pub executable: bool,
}

impl Segment {
    /// True if a mapping that begins at this offset of the file, which is a whole number of pages, may be of this segment.
    fn may_begin_at(&self, file_offset: u64) -> bool {
        // The loader maps whole pages, what lies before the segment in its first page included.
        let first_page = self.offset.saturating_sub(self.address % PAGE);
        self.file_bytes > 0 && first_page <= file_offset && file_offset < self.offset.saturating_add(self.memory_bytes)
    }
}

fn holds(start: u64, bytes: u64, at: u64) -> bool {
    at.checked_sub(start).is_some_and(|distance| distance < bytes)
}

/// The ELF address of what lies `distance` behind the start of a mapping that begins at `file_offset`; `None` where that cannot be known.
pub fn elf_address(segments: &[Segment], file_offset: u64, distance: u64) -> Option<u64> {
    let at = file_offset.checked_add(distance)?;
    let is_code = |address: u64| segments.iter().any(|s| s.executable && holds(s.address, s.memory_bytes, address));
    let fitting = segments.iter().filter(|segment| segment.may_begin_at(file_offset)).filter_map(|segment| {
        let address = at.wrapping_sub(segment.offset).wrapping_add(segment.address);
        is_code(address).then_some((address, holds(segment.offset, segment.file_bytes, at)))
    });
    let fitting: Vec<(u64, bool)> = fitting.collect();
    // What lies in its segment also by its place in the file is meant before what does not.
    let only = |mut found: Vec<u64>| {
        found.dedup();
        <[u64; 1]>::try_from(found).ok().map(|[address]| address)
    };
    let by_both: Vec<u64> = fitting.iter().filter(|(_, in_file)| *in_file).map(|(address, _)| *address).collect();
    if by_both.is_empty() { only(fitting.into_iter().map(|(address, _)| address).collect()) } else { only(by_both) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(offset: u64, address: u64, bytes: u64) -> Segment {
        Segment { offset, address, file_bytes: bytes, memory_bytes: bytes, executable: false }
    }

    fn code(offset: u64, address: u64, bytes: u64) -> Segment {
        Segment { executable: true, ..data(offset, address, bytes) }
    }

    #[test]
    fn the_loaded_pages_of_each_linker_lead_back_to_its_addresses() {
        // As GNU ld lays them out, position-independent and not.
        let gnu = [data(0, 0, 0x6f8), code(0x1000, 0x1000, 0x2e1), data(0x2000, 0x2000, 0x1c4)];
        assert_eq!(elf_address(&gnu, 0x1000, 0x16e), Some(0x116e));
        let fixed = [data(0, 0x40_0000, 0x6f8), code(0x1000, 0x40_1000, 0x2e1)];
        assert_eq!(elf_address(&fixed, 0x1000, 0x16e), Some(0x40_116e));
        // As LLD does: the code's first page in the file is the last one of what comes before it.
        let lld = [data(0, 0, 0x1_2d54), code(0x1_2d60, 0x1_3d60, 0x3_b000), data(0x4_dd60, 0x4_fd60, 0x2a0)];
        assert_eq!(elf_address(&lld, 0x1_2000, 0x28b1), Some(0x1_58b1), "not 0x1_48b1, which is code too");
        assert_eq!(elf_address(&lld, 0x2_0000, 0x10), Some(0x2_1010), "a mapping may be split");
        let lld_fixed = [data(0, 0x20_0000, 0x5b4), code(0x5c0, 0x20_15c0, 0x400)];
        assert_eq!(elf_address(&lld_fixed, 0, 0x5d0), Some(0x20_15d0));
    }

    #[test]
    fn one_mapping_for_all_of_a_file_counts_in_memory_and_not_in_the_file() {
        let lld = [data(0, 0, 0x1_2d54), code(0x1_2d60, 0x1_3d60, 0x3_b000)];
        assert_eq!(elf_address(&lld, 0, 0x1_58b1), Some(0x1_58b1));
    }

    #[test]
    fn what_is_no_code_or_may_be_two_things_is_not_known() {
        let gnu = [data(0, 0, 0x6f8), code(0x1000, 0x1000, 0x2e1)];
        for (file_offset, distance) in [(0, 0x10), (0x1000, 0x2e1), (0x5000, 0), (0x1000, u64::MAX), (u64::MAX, 1)] {
            assert_eq!(elf_address(&gnu, file_offset, distance), None, "{file_offset:#x} {distance:#x}");
        }
        let twice = [code(0x1000, 0x1000, 0x800), code(0x1000, 0x9000, 0x800)];
        assert_eq!(elf_address(&twice, 0x1000, 0x10), None);
        assert_eq!(elf_address(&[], 0, 0), None);
        let hostile = [code(u64::MAX, u64::MAX, u64::MAX), code(1, u64::MAX, u64::MAX)];
        for at in [0, 1, u64::MAX] {
            elf_address(&hostile, at, at);
        }
    }
}
