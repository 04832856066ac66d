//! Which parts of an ELF file name its functions: a reader for the section table and nothing else.
//!
//! The file may have been replaced by anything since it was mapped, so every offset is checked against its size, and no
//! more than the section table and its names are read.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

const HEADER_BYTES: u64 = 64;
const SECTION_BYTES: usize = 64;
const SEGMENT_BYTES: u64 = 56;
/// Executables have about 40; one per function is for object files.
const SECTIONS_MAX: usize = 4_096;
const NAMES_BYTES_MAX: u64 = 1 << 20;
const NOTE_BYTES_MAX: u64 = 4_096;

const SHT_NOBITS: u32 = 8;
const NT_GNU_BUILD_ID: u32 = 3;

/// What to send of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Outline {
    /// Size of the file.
    pub(super) file_bytes: u64,
    /// Parts that symbolization reads, ascending, without overlaps; everything else counts as zeros.
    pub(super) kept: Vec<Range<u64>>,
    /// The GNU build id note.
    pub(super) build_id: Option<Vec<u8>>,
    /// It has functions with names.
    pub(super) has_symbols: bool,
    /// It has DWARF, so inlined frames and lines can be shown.
    pub(super) has_debug_info: bool,
    /// Its exported functions and their names, where it has no fuller table.
    pub(super) exports: Option<Exports>,
}

/// `.dynsym` and `.dynstr`: all that a stripped library still says of its functions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Exports {
    pub(super) symbols: Range<u64>,
    pub(super) names: Range<u64>,
}

/// Outlines a 64-bit little-endian ELF file.
///
/// # Errors
/// When the file cannot be read or is something else.
pub(super) fn outline(file: &File) -> io::Result<Outline> {
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
    let table = table..table.saturating_add((count * SECTION_BYTES) as u64);
    let sections = read(file, table.clone(), file_bytes)?;
    let sections: Vec<Section> = sections.chunks_exact(SECTION_BYTES).map(Section::read).collect::<io::Result<_>>()?;
    let names = sections.get(names_index).ok_or_else(|| invalid("no section names"))?.range();
    if names.end - names.start > NAMES_BYTES_MAX {
        return Err(invalid("too many section names"));
    }
    let names = read(file, names, file_bytes)?;

    let mut outline = Outline { file_bytes, ..Outline::default() };
    let (mut exports, mut stripped) = (Exports::default(), true);
    let segments = segments..segments.saturating_add(segment_count * SEGMENT_BYTES);
    outline.kept.extend([0..HEADER_BYTES, segments, table]);
    for (index, section) in sections.iter().enumerate() {
        let name = name_at(&names, section.name);
        if section.kind == SHT_NOBITS || !(index == names_index || is_for_symbols(name)) {
            continue;
        }
        outline.has_symbols |= matches!(name, b".symtab" | b".dynsym") && section.bytes > 0;
        outline.has_debug_info |= matches!(name, b".debug_line" | b".debug_info" | b".zdebug_line");
        match name {
            b".symtab" => stripped = false,
            b".dynsym" => exports.symbols = section.range(),
            b".dynstr" => exports.names = section.range(),
            _ => {}
        }
        if name == b".note.gnu.build-id" && section.bytes <= NOTE_BYTES_MAX {
            outline.build_id = build_id(&read(file, section.range(), file_bytes)?);
        }
        outline.kept.push(section.range());
    }
    outline.kept = merged(outline.kept, file_bytes);
    outline.exports = Some(exports).filter(|_| stripped);
    Ok(outline)
}

fn is_for_symbols(name: &[u8]) -> bool {
    let exact: [&[u8]; 6] = [b".symtab", b".strtab", b".dynsym", b".dynstr", b".gnu_debuglink", b".gnu_debugdata"];
    exact.contains(&name) || [&b".debug_"[..], b".zdebug_", b".note"].iter().any(|prefix| name.starts_with(prefix))
}

struct Section {
    name: u32,
    kind: u32,
    offset: u64,
    bytes: u64,
}

impl Section {
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

/// Sorted, clipped to the file, and joined where they touch.
fn merged(mut ranges: Vec<Range<u64>>, file_bytes: u64) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let range = range.start.min(file_bytes)..range.end.min(file_bytes);
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ if range.is_empty() => {}
            _ => merged.push(range),
        }
    }
    merged
}

fn build_id(notes: &[u8]) -> Option<Vec<u8>> {
    let name_bytes = u32_at(notes, 0).ok()? as usize;
    let id_bytes = u32_at(notes, 4).ok()? as usize;
    let from = name_bytes.checked_next_multiple_of(4)?.checked_add(12)?;
    let id = notes.get(from..from.checked_add(id_bytes)?)?;
    (u32_at(notes, 8).ok()? == NT_GNU_BUILD_ID && notes.get(12..16) == Some(b"GNU\0")).then(|| id.to_vec())
}

fn name_at(names: &[u8], at: u32) -> &[u8] {
    let rest = names.get(at as usize..).unwrap_or_default();
    rest.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Callers bound the size of the range first.
pub(super) fn read(file: &File, range: Range<u64>, file_bytes: u64) -> io::Result<Vec<u8>> {
    if range.end > file_bytes {
        return Err(invalid("an offset lies past its end"));
    }
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> io::Result<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> io::Result<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; N]> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or_else(|| invalid("it is cut short"))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn this_binary() -> File {
        File::open("/proc/self/exe").unwrap()
    }

    fn temporary(content: &[u8]) -> File {
        static N: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = N.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tephra-elf-{}-{n}", std::process::id()));
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn a_rust_binary_is_outlined_without_its_code() {
        let outline = outline(&this_binary()).unwrap();
        assert!(outline.has_symbols && outline.has_debug_info);
        assert_eq!(outline.file_bytes, this_binary().metadata().unwrap().len());
        assert!(outline.kept.is_sorted_by(|a, b| a.end < b.start));
        let kept: u64 = outline.kept.iter().map(|range| range.end - range.start).sum();
        assert!(kept < outline.file_bytes, "code and data are left out");
        assert_eq!(outline.kept[0].start, 0, "the ELF header is kept");
    }

    #[test]
    fn of_a_file_without_a_build_id_no_more_is_kept_than_of_others() {
        let binary = this_binary();
        let size = binary.metadata().unwrap().len();
        let mut whole = vec![0; size as usize];
        binary.read_exact_at(&mut whole, 0).unwrap();
        let of_named = outline(&binary).unwrap();
        assert!(of_named.build_id.is_some());
        let note =
            whole.windows(16).position(|at| at[8..] == *b"\x03\0\0\0GNU\0" && at[4..8] == *b"\x14\0\0\0").unwrap();
        whole[note + 8] = 0x7f;
        let outline = outline(&temporary(&whole)).unwrap();
        assert_eq!(outline.build_id, None);
        assert_eq!(outline.kept, of_named.kept, "its ends are hashed here, and stay here");
    }

    #[test]
    fn a_damaged_file_is_refused_or_outlined_within_its_bounds() {
        let binary = this_binary();
        let mut head = vec![0; 4096];
        binary.read_exact_at(&mut head, 0).unwrap();
        for (cut, flip) in (0..64).flat_map(|cut| [(cut, 0), (4096, cut)]) {
            let mut damaged = head[..cut].to_vec();
            if let Some(byte) = damaged.get_mut(flip) {
                *byte ^= 0xff;
            }
            assert!(outline(&temporary(&damaged)).is_err(), "its section table lies past 4 KiB");
        }
        let size = binary.metadata().unwrap().len();
        let mut whole = vec![0; size as usize];
        binary.read_exact_at(&mut whole, 0).unwrap();
        let table = u64_at(&whole, 40).unwrap() as usize;
        let file = temporary(&whole);
        for at in (table..table + 40 * SECTION_BYTES).step_by(7) {
            let Some(&byte) = whole.get(at) else { break };
            file.write_all_at(&[!byte], at as u64).unwrap();
            if let Ok(outline) = outline(&file) {
                assert!(outline.kept.iter().all(|range| range.end <= size));
            }
            file.write_all_at(&[byte], at as u64).unwrap();
        }
    }
}
