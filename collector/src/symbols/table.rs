//! `<build id>.symcache`: what the child process makes of an ELF file. A header of ours, then the symcache.
//!
//! ```text
//! "TSYM"  u32le version = 2   u64le image base   u32le detail (0 names, 1 inlines, 2 lines)   u32le records
//! u32le segments   u32le 0    per segment 5 × u64le: offset, address, bytes in the file, bytes in memory, 1 if executable
//! symcache
//! ```
//! The image base is stored because a symcache counts addresses from it, while a frame holds the ELF virtual address; the segments, because
//! frames of imported profiles hold a place in a mapping. Version 1 had neither records nor segments, 1 for lines as its detail, and 12 zero
//! bytes in place of what follows it; it is still read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symbolic_symcache::SymCache;

use super::segments::{SEGMENTS_MAX, Segment, elf_address};
use crate::profile::address::Address;
use crate::profile::resolution::Symbol;

const MAGIC: &[u8; 4] = b"TSYM";
const VERSION: u32 = 2;
/// The part of the header that says how long it is. Also the alignment the symcache needs, twice over.
pub(super) const HEADER_BYTES: usize = 32;
const SEGMENT_BYTES: usize = 40;

/// Inlining deeper than this is a damaged table.
const INLINE_DEPTH_MAX: usize = 128;

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Not one of ours, or of another version.
    #[error("not a symbol table of version 1 to {VERSION}")]
    Header,
    /// The symcache in it is damaged.
    #[error("damaged symbol table: {0}")]
    Damaged(#[from] symbolic_symcache::Error),
}

/// How much of a build a table tells: one that tells less never replaces one that tells more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Richness {
    /// The best that is known of its functions.
    pub detail: Detail,
    /// Functions and symbols.
    pub records: u32,
}

/// What is known of functions, the poorest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Their names.
    Names,
    /// What is inlined into them too.
    Inlines,
    /// Files and lines too.
    Lines,
}

impl Detail {
    /// The same again from its position.
    fn of(number: u32) -> Option<Self> {
        [Self::Names, Self::Inlines, Self::Lines].get(number as usize).copied()
    }
}

/// What a table says of itself, before its symcache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) image_base: u64,
    pub(super) richness: Richness,
    pub(super) segments: Vec<Segment>,
}

/// The first bytes of a header.
pub(super) struct Head {
    pub(super) richness: Richness,
    pub(super) segments: usize,
}

impl Head {
    pub(super) fn read(head: &[u8; HEADER_BYTES]) -> Result<Self, TableError> {
        if !head.starts_with(MAGIC) {
            return Err(TableError::Header);
        }
        let detail = u32_at(head, 16);
        match u32_at(head, 4) {
            1 => {
                let detail = if detail == 1 { Detail::Lines } else { Detail::Names };
                Ok(Self { richness: Richness { detail, records: 0 }, segments: 0 })
            }
            VERSION => {
                let segments = u32_at(head, 24) as usize;
                let detail = Detail::of(detail).filter(|_| segments <= SEGMENTS_MAX).ok_or(TableError::Header)?;
                Ok(Self { richness: Richness { detail, records: u32_at(head, 20) }, segments })
            }
            _ => Err(TableError::Header),
        }
    }
}

impl Header {
    pub(super) fn write(&self) -> Vec<u8> {
        let Richness { detail, records } = self.richness;
        let mut bytes = Vec::from(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.image_base.to_le_bytes());
        bytes.extend([detail as u32, records, self.segments.len() as u32, 0].map(u32::to_le_bytes).concat());
        for Segment { offset, address, file_bytes, memory_bytes, executable } in &self.segments {
            let numbers = [*offset, *address, *file_bytes, *memory_bytes, u64::from(*executable)];
            bytes.extend(numbers.map(u64::to_le_bytes).concat());
        }
        bytes
    }

    /// Reads a header; answers what follows it too.
    fn read(content: &[u8]) -> Result<(Self, &[u8]), TableError> {
        let (first, rest) = content.split_first_chunk::<HEADER_BYTES>().ok_or(TableError::Header)?;
        let head = Head::read(first)?;
        let (segments, cache) = rest.split_at_checked(head.segments * SEGMENT_BYTES).ok_or(TableError::Header)?;
        let segments = segments.chunks_exact(SEGMENT_BYTES).map(|bytes| Segment {
            offset: u64_at(bytes, 0),
            address: u64_at(bytes, 8),
            file_bytes: u64_at(bytes, 16),
            memory_bytes: u64_at(bytes, 24),
            executable: u64_at(bytes, 32) == 1,
        });
        let header = Self { image_base: u64_at(first, 8), richness: head.richness, segments: segments.collect() };
        Ok((header, cache))
    }
}

// Callers pass records of a fixed size.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

/// A table, with the segments that another table of the same build has; `None` where that one has none either.
pub(super) fn with_segments_of(content: &[u8], other: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
    let ((mut header, cache), (other, _)) = (Header::read(content)?, Header::read(other)?);
    if other.segments.is_empty() {
        return Ok(None);
    }
    header.segments = other.segments;
    Ok(Some([&header.write(), cache].concat()))
}

/// A symbol table in memory.
#[derive(Debug)]
pub struct Table {
    header: Header,
    bytes: Vec<u8>,
    /// Where the symcache starts in `bytes`: chosen so that it is aligned.
    start: usize,
    /// Set once a lookup has met nonsense.
    damaged: AtomicBool,
}

impl Table {
    /// Takes a table file's content.
    ///
    /// # Errors
    /// When it is not one, or damaged.
    pub fn parse(content: &[u8]) -> Result<Self, TableError> {
        let (header, cache) = Header::read(content)?;
        let mut bytes: Vec<u8> = Vec::with_capacity(cache.len() + 16);
        let start = bytes.as_ptr().align_offset(16).min(16);
        bytes.resize(start, 0);
        bytes.extend_from_slice(cache);
        let table = Self { header, bytes, start, damaged: AtomicBool::new(false) };
        table.cache()?;
        Ok(table)
    }

    /// Memory it takes, in bytes.
    pub fn size(&self) -> usize {
        self.bytes.capacity()
    }

    /// The ELF virtual address of what is stored as a frame's address; `None` where it cannot be known.
    pub fn elf_address(&self, address: Address) -> Option<u64> {
        match address {
            Address::Elf(address) => Some(address),
            Address::Mapped { file_offset, distance } => elf_address(&self.header.segments, file_offset, distance),
        }
    }

    /// The function at an ELF virtual address and what is inlined there, outermost first; empty where nothing is known.
    ///
    /// What the table says comes from a file that a stranger uploaded, by way of a process that may have been misled by it. The library that
    /// reads it checks where tables lie, but not all that is in them: a lookup that panics leaves the table without names, and the
    /// pages that asked as they are.
    pub fn lookup(&self, address: u64, module: &Arc<str>) -> Vec<Symbol> {
        if self.damaged.load(Ordering::Relaxed) {
            return Vec::new();
        }
        catch_unwind(AssertUnwindSafe(|| self.find(address, module))).unwrap_or_else(|_| {
            tracing::warn!(%module, "a symbol table is damaged: its frames stay addresses");
            self.damaged.store(true, Ordering::Relaxed);
            Vec::new()
        })
    }

    fn find(&self, address: u64, module: &Arc<str>) -> Vec<Symbol> {
        let (Ok(cache), Some(address)) = (self.cache(), address.checked_sub(self.header.image_base)) else {
            return Vec::new();
        };
        let locations = cache.lookup(address).take(INLINE_DEPTH_MAX);
        let mut symbols: Vec<Symbol> = locations
            .map(|location| Symbol {
                function: location.function().name().into(),
                module: module.clone(),
                file: location.file().map(|file| file.full_path()).unwrap_or_default().into(),
                line: location.line(),
                inlined: true,
            })
            .collect();
        symbols.reverse();
        if let Some(outermost) = symbols.first_mut() {
            outermost.inlined = false;
        }
        symbols.retain(|symbol| !symbol.function.is_empty());
        symbols
    }

    fn cache(&self) -> Result<SymCache<'_>, TableError> {
        Ok(SymCache::parse(&self.bytes[self.start..])?)
    }
}
