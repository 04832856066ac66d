//! Which parts of an ELF file name its functions: those are sent, and nothing else.

use std::fs::File;
use std::io;
use std::ops::Range;

use crate::elf::{self, Section, Sections};

const NOTE_BYTES_MAX: u64 = 4_096;

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

/// Outlines an ELF file.
///
/// # Errors
/// When the file cannot be read or is something else.
pub(super) fn outline(file: &File) -> io::Result<Outline> {
    let sections = Sections::of(file)?;
    let mut outline = Outline { file_bytes: sections.file_bytes, kept: sections.tables.to_vec(), ..Outline::default() };
    let (mut exports, mut stripped) = (Exports::default(), true);
    for Section { name, range, holds_names } in sections.in_file() {
        if !holds_names && !is_for_symbols(name) {
            continue;
        }
        outline.has_symbols |= matches!(name, b".symtab" | b".dynsym") && !range.is_empty();
        outline.has_debug_info |= matches!(name, b".debug_line" | b".debug_info" | b".zdebug_line");
        match name {
            b".symtab" => stripped = false,
            b".dynsym" => exports.symbols = range.clone(),
            b".dynstr" => exports.names = range.clone(),
            b".note.gnu.build-id" if range.end - range.start <= NOTE_BYTES_MAX => {
                let notes = elf::read(file, range.clone(), sections.file_bytes)?;
                outline.build_id = elf::notes::build_id(&notes).map(<[u8]>::to_vec);
            }
            _ => {}
        }
        outline.kept.push(range);
    }
    outline.kept = merged(outline.kept, sections.file_bytes);
    outline.exports = Some(exports).filter(|_| stripped);
    Ok(outline)
}

fn is_for_symbols(name: &[u8]) -> bool {
    let exact: [&[u8]; 6] = [b".symtab", b".strtab", b".dynsym", b".dynstr", b".gnu_debuglink", b".gnu_debugdata"];
    exact.contains(&name) || [&b".debug_"[..], b".zdebug_", b".note"].iter().any(|prefix| name.starts_with(prefix))
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

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
        let table = u64::from_le_bytes(*whole[40..].first_chunk().unwrap()) as usize;
        let file = temporary(&whole);
        for at in (table..table + 40 * 64).step_by(7) {
            let Some(&byte) = whole.get(at) else { break };
            file.write_all_at(&[!byte], at as u64).unwrap();
            if let Ok(outline) = outline(&file) {
                assert!(outline.kept.iter().all(|range| range.end <= size));
            }
            file.write_all_at(&[byte], at as u64).unwrap();
        }
    }
}
