//! `<build id>.symcache`: what the child process makes of an ELF file. A 32-byte header of ours, then the symcache.
//!
//! ```text
//! "TSYM"  u32le version = 1   u64le image base   u32le 1 if it has lines   12 zero bytes   symcache
//! ```
//! The image base is stored because a symcache counts addresses from it, while a frame holds the ELF virtual address.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symbolic_symcache::SymCache;

use crate::profile::resolution::Symbol;

const MAGIC: &[u8; 4] = b"TSYM";
const VERSION: u32 = 1;
/// Also the alignment the symcache needs, twice over.
pub(super) const HEADER_BYTES: usize = 32;

/// Inlining deeper than this is a damaged table.
const INLINE_DEPTH_MAX: usize = 128;

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Not one of ours, or of another version.
    #[error("not a symbol table of version {VERSION}")]
    Header,
    /// The symcache in it is damaged.
    #[error("damaged symbol table: {0}")]
    Damaged(#[from] symbolic_symcache::Error),
}

/// A symbol table in memory.
#[derive(Debug)]
pub struct Table {
    bytes: Vec<u8>,
    /// Where the symcache starts in `bytes`: chosen so that it is aligned.
    start: usize,
    image_base: u64,
    has_lines: bool,
    /// Set once a lookup has met nonsense.
    damaged: AtomicBool,
}

pub(super) fn header(image_base: u64, has_lines: bool) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(MAGIC);
    header[4..8].copy_from_slice(&VERSION.to_le_bytes());
    header[8..16].copy_from_slice(&image_base.to_le_bytes());
    header[16..20].copy_from_slice(&u32::from(has_lines).to_le_bytes());
    header
}

/// Reads whether a table has lines, from its header alone.
pub(super) fn has_lines(header: &[u8; HEADER_BYTES]) -> Result<bool, TableError> {
    if !header.starts_with(MAGIC) || header[4..8] != VERSION.to_le_bytes() {
        return Err(TableError::Header);
    }
    Ok(header[16] == 1)
}

impl Table {
    /// Takes a table file's content.
    ///
    /// # Errors
    /// When it is not one, or damaged.
    pub fn parse(content: &[u8]) -> Result<Self, TableError> {
        let (header, cache) = content.split_first_chunk::<HEADER_BYTES>().ok_or(TableError::Header)?;
        let has_lines = has_lines(header)?;
        let image_base = u64::from_le_bytes(std::array::from_fn(|i| header[8 + i]));
        let mut bytes: Vec<u8> = Vec::with_capacity(cache.len() + 16);
        let start = bytes.as_ptr().align_offset(16).min(16);
        bytes.resize(start, 0);
        bytes.extend_from_slice(cache);
        let table = Self { bytes, start, image_base, has_lines, damaged: AtomicBool::new(false) };
        table.cache()?;
        Ok(table)
    }

    /// Memory it takes, in bytes.
    pub fn size(&self) -> usize {
        self.bytes.capacity()
    }

    /// True if it knows lines, not only functions.
    pub fn has_lines(&self) -> bool {
        self.has_lines
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
        let (Ok(cache), Some(address)) = (self.cache(), address.checked_sub(self.image_base)) else {
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
