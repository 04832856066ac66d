//! Reads the little of an ELF file that names it and says where it is loaded: build id, image base, segments. Everything else about the file is for the
//! child process to parse, because this reader runs inside the collector on files that strangers sent.
//!
//! Each read is bounded and at an offset that was checked; nothing loops over a count the file claims without a cap.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use tephra_proto::ids::BuildId;
use tephra_proto::limits::HTLHASH_END_BYTES;

use super::segments::{SEGMENTS_MAX, Segment};

/// Why a file is not one that can be symbolized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// It could not be read.
    #[error("cannot read the file: {0}")]
    Io(#[from] io::Error),
    /// Not a 64-bit little-endian ELF file.
    #[error("not a 64-bit little-endian ELF file; upload the binary or library itself, or its .debug file")]
    NotElf,
    /// A header points outside of the file or claims absurd sizes.
    #[error("damaged ELF file: {0}")]
    Damaged(&'static str),
}

/// What names a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// From its GNU note, if it has one.
    pub gnu_build_id: Option<BuildId>,
    /// Hash of its first and last 4 KiB and its length: names files without a note.
    pub htlhash: BuildId,
}

impl Identity {
    /// What the agent calls this file.
    pub fn build_id(&self) -> BuildId {
        self.gnu_build_id.unwrap_or(self.htlhash)
    }

    /// True if the file may be uploaded under this id. Of a file without a note whose ends are withheld, its sender alone can say what
    /// their hash is.
    pub fn is(&self, claimed: &BuildId, ends_withheld: bool) -> bool {
        let is_hash = claimed.as_bytes().len() == self.htlhash.as_bytes().len();
        self.build_id() == *claimed || (ends_withheld && self.gnu_build_id.is_none() && is_hash)
    }
}

const EHDR_BYTES: usize = 64;
const PHDR_BYTES: usize = 56;
const SHDR_BYTES: usize = 64;
/// Linkers write a dozen program headers and a few dozen sections; per-function sections reach some ten thousands.
const PROGRAM_HEADERS_MAX: u16 = 256;
const SECTION_HEADERS_MAX: u64 = 65_536;
const NOTE_BYTES_MAX: u64 = 64 << 10;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PF_X: u32 = 1;
const SHT_NOTE: u32 = 7;
const SHT_NOBITS: u32 = 8;
const SHF_EXECINSTR: u64 = 4;
const NT_GNU_BUILD_ID: u32 = 3;

/// Reads what names `file`.
///
/// # Errors
/// When it is not an ELF file of 64 bits, little-endian, or is damaged.
pub fn identify(file: &File) -> Result<Identity, ElfError> {
    let header = Header::read(file)?;
    let mut gnu_build_id = None;
    for notes in header.notes(file)? {
        gnu_build_id = gnu_build_id.or(find_build_id(file, notes)?);
    }
    Ok(Identity { gnu_build_id, htlhash: htlhash(file)? })
}

/// The lowest address the file asks to be mapped at: what symbol tables of position-independent code count from.
///
/// # Errors
/// Like [`identify`].
pub fn image_base(file: &File) -> Result<u64, ElfError> {
    let header = Header::read(file)?;
    let loads = header.program_headers(file)?.into_iter().filter(|p| p.kind == PT_LOAD);
    Ok(loads.map(|p| p.segment.address).min().unwrap_or(0))
}

/// What of the file is loaded where; empty for a file of debug info, whose offsets say nothing about the file that is run.
///
/// # Errors
/// Like [`identify`].
pub fn segments(file: &File) -> Result<Vec<Segment>, ElfError> {
    let header = Header::read(file)?;
    let is_debug_file = header
        .sections(file)?
        .chunks_exact(SHDR_BYTES)
        .any(|section| u32_at(section, 4) == SHT_NOBITS && u64_at(section, 8) & SHF_EXECINSTR != 0);
    if is_debug_file {
        return Ok(Vec::new());
    }
    let loads = header.program_headers(file)?.into_iter().filter(|p| p.kind == PT_LOAD && p.segment.file_bytes > 0);
    Ok(loads.map(|p| p.segment).take(SEGMENTS_MAX).collect())
}

/// The OpenTelemetry eBPF profiler's name for a file without a build id.
fn htlhash(file: &File) -> Result<BuildId, ElfError> {
    let len = file.metadata()?.len();
    let end = len.min(HTLHASH_END_BYTES);
    Ok(BuildId::htlhash(&read_at(file, 0, end)?, &read_at(file, len - end, end)?, len))
}

struct Header {
    program_offset: u64,
    program_count: u16,
    section_offset: u64,
    section_count: u64,
}

struct ProgramHeader {
    kind: u32,
    segment: Segment,
}

impl Header {
    fn read(file: &File) -> Result<Self, ElfError> {
        let mut bytes = [0; EHDR_BYTES];
        let got = file.read_at(&mut bytes, 0)?;
        // Magic, 64-bit, little-endian.
        if got < EHDR_BYTES || !bytes.starts_with(b"\x7fELF\x02\x01") {
            return Err(ElfError::NotElf);
        }
        if u16_at(&bytes, 54) as usize != PHDR_BYTES && u16_at(&bytes, 56) != 0 {
            return Err(ElfError::Damaged("program headers of an unknown size"));
        }
        let section_count = u16_at(&bytes, 60);
        let section_offset = u64_at(&bytes, 40);
        if section_count != 0 && u16_at(&bytes, 58) as usize != SHDR_BYTES {
            return Err(ElfError::Damaged("section headers of an unknown size"));
        }
        let section_offset = if section_count == 0 { 0 } else { section_offset };
        Ok(Self {
            program_offset: u64_at(&bytes, 32),
            program_count: u16_at(&bytes, 56).min(PROGRAM_HEADERS_MAX),
            section_offset,
            section_count: u64::from(section_count).min(SECTION_HEADERS_MAX),
        })
    }

    fn program_headers(&self, file: &File) -> Result<Vec<ProgramHeader>, ElfError> {
        let bytes = read_at(file, self.program_offset, u64::from(self.program_count) * PHDR_BYTES as u64)?;
        let headers = bytes.chunks_exact(PHDR_BYTES).map(|h| ProgramHeader {
            kind: u32_at(h, 0),
            segment: Segment {
                offset: u64_at(h, 8),
                address: u64_at(h, 16),
                file_bytes: u64_at(h, 32),
                memory_bytes: u64_at(h, 40),
                executable: u32_at(h, 4) & PF_X != 0,
            },
        });
        Ok(headers.collect())
    }

    /// The section table.
    fn sections(&self, file: &File) -> Result<Vec<u8>, ElfError> {
        read_at(file, self.section_offset, self.section_count * SHDR_BYTES as u64)
    }

    /// Where notes are, by segments and by sections: a .debug file has only the latter.
    fn notes(&self, file: &File) -> Result<Vec<Notes>, ElfError> {
        let segments = self.program_headers(file)?.into_iter().filter(|p| p.kind == PT_NOTE).map(|p| p.segment);
        let mut notes: Vec<_> = segments.map(|of| Notes { offset: of.offset, bytes: of.file_bytes }).collect();
        let bytes = self.sections(file)?;
        let sections = bytes.chunks_exact(SHDR_BYTES).filter(|h| u32_at(h, 4) == SHT_NOTE);
        let of_section = |h: &[u8]| Notes { offset: u64_at(h, 24), bytes: u64_at(h, 32) };
        notes.extend(sections.map(of_section).take(usize::from(PROGRAM_HEADERS_MAX)));
        Ok(notes)
    }
}

/// A part of the file that holds notes, as its headers say.
#[derive(Debug, Clone, Copy)]
struct Notes {
    offset: u64,
    bytes: u64,
}

fn find_build_id(file: &File, Notes { offset, bytes }: Notes) -> Result<Option<BuildId>, ElfError> {
    // A .debug file keeps the segment's header but not its bytes: whatever is there is not an error.
    let Ok(notes) = read_at(file, offset, bytes.min(NOTE_BYTES_MAX)) else { return Ok(None) };
    let mut rest = &notes[..];
    while rest.len() >= 12 {
        let (name_bytes, id_bytes, kind) = (u32_at(rest, 0) as usize, u32_at(rest, 4) as usize, u32_at(rest, 8));
        let padded = |n: usize| n.checked_add(3).map(|n| n & !3);
        let (Some(name_room), Some(id_room)) = (padded(name_bytes), padded(id_bytes)) else { return Ok(None) };
        let after = &rest[12..];
        let Some((name, after)) = after.split_at_checked(name_room) else { return Ok(None) };
        let Some(id) = after.get(..id_bytes) else { return Ok(None) };
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Ok(BuildId::from_bytes(id).ok());
        }
        rest = after.get(id_room..).unwrap_or_default();
    }
    Ok(None)
}

fn read_at(file: &File, offset: u64, len: u64) -> Result<Vec<u8>, ElfError> {
    let end = offset.checked_add(len).ok_or(ElfError::Damaged("an offset overflows"))?;
    if end > file.metadata()?.len() {
        return Err(ElfError::Damaged("a table lies outside of the file"));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

// Callers pass tables of fixed-size records.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}
