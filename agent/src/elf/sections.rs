//! The header and the section table of a file, and nothing else of it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::numbers::{invalid, u16_at, u32_at, u64_at};

const HEADER_BYTES: u64 = 64;
const SECTION_BYTES: usize = 64;
const SEGMENT_BYTES: u64 = 56;
/// Executables have about 40; one per function is for object files.
const SECTIONS_MAX: usize = 4_096;
const NAMES_BYTES_MAX: u64 = 1 << 20;

const SHT_NOBITS: u32 = 8;

/// The sections of a file.
#[derive(Debug)]
pub(crate) struct Sections {
    /// Size of the file.
    pub(crate) file_bytes: u64,
    /// Where the header, the table of segments and the table of sections stand.
    pub(crate) tables: [Range<u64>; 3],
    sections: Vec<Entry>,
    names_index: usize,
    names: Vec<u8>,
}

/// One section of a file.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) name: &'a [u8],
    /// Where it stands, as the table says: it may lie outside the file.
    pub(crate) range: Range<u64>,
    /// It holds the names of the sections.
    pub(crate) holds_names: bool,
}

impl Sections {
    /// Reads the table of a 64-bit little-endian ELF file.
    ///
    /// # Errors
    /// When the file cannot be read or is something else.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let file_bytes = file.metadata()?.len();
        let header = read(file, 0..HEADER_BYTES, file_bytes)?;
        if header.get(..6) != Some(b"\x7fELF\x02\x01") {
            return Err(invalid("not a 64-bit little-endian ELF file"));
        }
        let (segments, segment_count) = (u64_at(&header, 32)?, u64::from(u16_at(&header, 56)?));
        let (table, count) = (u64_at(&header, 40)?, usize::from(u16_at(&header, 60)?));
        let names_index = usize::from(u16_at(&header, 62)?);
        if usize::from(u16_at(&header, 58)?) != SECTION_BYTES || count == 0 || count > SECTIONS_MAX {
            return Err(invalid("no section table, or a huge one"));
        }
        let segments = segments..segments.saturating_add(segment_count.saturating_mul(SEGMENT_BYTES));
        let table = table..table.saturating_add(count.saturating_mul(SECTION_BYTES) as u64);
        let sections = read(file, table.clone(), file_bytes)?;
        let sections: Vec<Entry> = sections.chunks_exact(SECTION_BYTES).map(Entry::read).collect::<io::Result<_>>()?;
        let names = sections.get(names_index).ok_or_else(|| invalid("no section names"))?.range();
        if names.end.saturating_sub(names.start) > NAMES_BYTES_MAX {
            return Err(invalid("too many section names"));
        }
        let names = read(file, names, file_bytes)?;
        Ok(Self { file_bytes, tables: [0..HEADER_BYTES, segments, table], sections, names_index, names })
    }

    /// Those that have bytes in the file.
    pub(crate) fn in_file(&self) -> impl Iterator<Item = Section<'_>> {
        let all = self.sections.iter().enumerate().filter(|(_, entry)| entry.kind != SHT_NOBITS);
        all.map(|(index, entry)| Section {
            name: self.name_at(entry.name),
            range: entry.range(),
            holds_names: index == self.names_index,
        })
    }

    fn name_at(&self, at: u32) -> &[u8] {
        let rest = self.names.get(at as usize..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

/// An entry of the table.
#[derive(Debug)]
struct Entry {
    name: u32,
    kind: u32,
    offset: u64,
    bytes: u64,
}

impl Entry {
    fn read(entry: &[u8]) -> io::Result<Self> {
        Ok(Self {
            name: u32_at(entry, 0)?,
            kind: u32_at(entry, 4)?,
            offset: u64_at(entry, 24)?,
            bytes: u64_at(entry, 32)?,
        })
    }

    fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.bytes)
    }
}

/// Reads a part of a file that has `file_bytes`. Callers bound the size of the range first.
///
/// # Errors
/// When the range ends behind the file, or the file cannot be read.
pub(crate) fn read(file: &File, range: Range<u64>, file_bytes: u64) -> io::Result<Vec<u8>> {
    if range.end > file_bytes {
        return Err(invalid("an offset lies past its end"));
    }
    let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}
