//! What the address of a native frame counts from.
//!
//! Agents know where the loader put a module and send ELF virtual addresses. A pprof profile that came without names has run-time
//! addresses and the mappings of the process: which ELF address that is depends on the file's program headers, which nobody
//! may have seen yet. So such a frame keeps its place within its mapping, which is the same in every process that runs the build, until
//! the file is known. Both fit into the 64 bits that windows and segments hold for an address.

/// Where a native frame is, in terms of its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Address {
    /// An ELF virtual address.
    Elf(u64),
    /// A place in a mapping of the module's file.
    Mapped {
        /// Where in the file the mapping begins: whole pages.
        file_offset: u64,
        /// How far behind the mapping's start.
        distance: u64,
    },
}

/// Bits 63 and 62 of what is stored are `01` for a place in a mapping. No processor has code there: addresses of programs lie below 2^57,
/// those of kernels have bit 63.
const TAG: u64 = 0b01 << 62;
const TAG_MASK: u64 = 0b11 << 62;
const DISTANCE_BITS: u32 = 31;
const DISTANCE_MASK: u64 = (1 << DISTANCE_BITS) - 1;
const PAGES_MASK: u64 = DISTANCE_MASK;

/// Mappings begin at multiples of this in their file; also where pages are larger.
pub const PAGE: u64 = 4096;

impl Address {
    /// Reads what is stored.
    pub fn of(stored: u64) -> Self {
        if stored & TAG_MASK != TAG {
            return Self::Elf(stored);
        }
        Self::Mapped { file_offset: (stored >> DISTANCE_BITS & PAGES_MASK) * PAGE, distance: stored & DISTANCE_MASK }
    }

    /// What is stored; `None` where it does not fit: no program's code is there.
    pub fn stored(self) -> Option<u64> {
        match self {
            Self::Elf(address) => (address & TAG_MASK != TAG).then_some(address),
            Self::Mapped { file_offset, distance } => {
                // A mapping that begins within a page begins at the page as well.
                let (pages, distance) = (file_offset / PAGE, distance.checked_add(file_offset % PAGE)?);
                let fits = pages <= PAGES_MASK && distance <= DISTANCE_MASK;
                fits.then_some(TAG | pages << DISTANCE_BITS | distance)
            }
        }
    }

    /// The number that is shown where there is no name: the ELF address, or the offset in the file.
    pub fn shown(self) -> u64 {
        match self {
            Self::Elf(address) => address,
            Self::Mapped { file_offset, distance } => file_offset.saturating_add(distance),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_fit_is_not_stored() {
        for address in [
            Address::Elf(TAG),
            Address::Elf(TAG | 5),
            Address::Mapped { file_offset: 0, distance: 1 << 31 },
            Address::Mapped { file_offset: 1, distance: (1 << 31) - 1 },
            Address::Mapped { file_offset: 1 << 43, distance: 0 },
            Address::Mapped { file_offset: u64::MAX, distance: u64::MAX },
        ] {
            assert_eq!(address.stored(), None, "{address:?}");
        }
        let kernel = Address::Elf(0xffff_ffff_8100_0000);
        assert_eq!(kernel.stored().map(Address::of), Some(kernel));
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read_back(stored: u64, file_offset in 0..1u64 << 43, distance in 0..(1u64 << 31) - PAGE) {
            prop_assert_eq!(Address::of(stored).stored(), Some(stored));
            let read = Address::Mapped { file_offset, distance }.stored().map(Address::of).unwrap();
            prop_assert_eq!(read.shown(), file_offset + distance);
            let Address::Mapped { file_offset: begins, .. } = read else { panic!("{read:?}") };
            prop_assert_eq!(begins, file_offset / PAGE * PAGE);
        }
    }
}
