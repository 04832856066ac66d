//! Names for the code that a stripped C library chose at run time, such as its `memcpy` for this processor: the file says
//! where the choice is made, only the process knows what was chosen.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use super::outline::{Exports, Outline};
use crate::{elf, sampler};

/// A C library exports 3 000 functions under 30 KiB of names.
const TABLE_BYTES_MAX: u64 = 4 << 20;

const SYMBOL_BYTES: usize = 24;
const STT_FUNC: u8 = 2;
const STT_GNU_IFUNC: u8 = 10;

/// The table of exported functions as the process sees it: each indirect function at the code that was chosen for it. With
/// the place in the file where it belongs. `None` where the file says as much by itself.
pub(super) fn resolved_exports(file: &File, outline: &Outline, path: &Path) -> Option<(u64, Vec<u8>)> {
    let Exports { symbols, names } = outline.exports.as_ref()?;
    if symbols.is_empty() || symbols.end - symbols.start > TABLE_BYTES_MAX || names.end - names.start > TABLE_BYTES_MAX
    {
        return None;
    }
    let mut table = elf::read(file, symbols.clone(), outline.file_bytes).ok()?;
    let names = elf::read(file, names.clone(), outline.file_bytes).ok()?;
    let indirect = indirect_functions(&table, &names);
    let asked: Vec<CString> = indirect.iter().map(|(_, name)| name.clone()).collect();
    let resolved = sampler::resolve(path, &asked);
    let found = indirect.into_iter().zip(resolved).filter_map(|((at, name), code)| Some((at, name, code?)));
    (patch(&mut table, found) > 0).then_some((symbols.start, table))
}

/// Position in the table and name of each.
fn indirect_functions(table: &[u8], names: &[u8]) -> Vec<(usize, CString)> {
    let (entries, _) = table.as_chunks::<SYMBOL_BYTES>();
    let is_indirect = |entry: &[u8; SYMBOL_BYTES]| entry[4] & 0xf == STT_GNU_IFUNC && entry[6..8] != [0, 0];
    let indirect = entries.iter().enumerate().filter(|(_, entry)| is_indirect(entry));
    let named = indirect.filter_map(|(at, &[a, b, c, d, ..])| {
        let rest = names.get(u32::from_le_bytes([a, b, c, d]) as usize..)?;
        CString::new(rest.split(|&byte| byte == 0).next()?).ok().map(|name| (at, name))
    });
    named.collect()
}

/// Writes type, address and size of the code into the table; answers how many were written. Where several names lead to one
/// code, a plain name wins over one with underscores, and then the later in the alphabet: `memmove` says more than `memcpy`.
fn patch(table: &mut [u8], found: impl Iterator<Item = (usize, CString, Range<u64>)>) -> usize {
    let mut best: HashMap<u64, (usize, CString, Range<u64>)> = HashMap::new();
    let rank = |name: &CString| (!name.as_bytes().starts_with(b"_"), name.clone());
    for candidate in found {
        match best.get(&candidate.2.start) {
            Some((_, name, _)) if rank(name) >= rank(&candidate.1) => {}
            _ => _ = best.insert(candidate.2.start, candidate),
        }
    }
    let (entries, _) = table.as_chunks_mut::<SYMBOL_BYTES>();
    for (at, _, code) in best.values() {
        let Some(entry) = entries.get_mut(*at) else { continue };
        entry[4] = entry[4] & 0xf0 | STT_FUNC;
        entry[8..16].copy_from_slice(&code.start.to_le_bytes());
        entry[16..24].copy_from_slice(&(code.end - code.start).to_le_bytes());
    }
    best.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: u32, kind: u8) -> [u8; SYMBOL_BYTES] {
        let mut entry = [0; SYMBOL_BYTES];
        entry[..4].copy_from_slice(&name.to_le_bytes());
        (entry[4], entry[6]) = (0x10 | kind, 1);
        entry
    }

    #[test]
    fn one_name_of_each_chosen_code_gets_its_place_and_the_rest_stays() {
        let names = b"\0memcpy\0memmove\0__memset\0malloc\0";
        let before = [entry(1, STT_GNU_IFUNC), entry(8, STT_GNU_IFUNC), entry(16, STT_GNU_IFUNC), entry(25, STT_FUNC)];
        let mut table = before.concat();
        let indirect = indirect_functions(&table, names);
        let found: Vec<_> = indirect.iter().map(|(at, name)| (*at, name.to_str().unwrap())).collect();
        assert_eq!(found, [(0, "memcpy"), (1, "memmove"), (2, "__memset")]);
        let code = [0x100..0x180, 0x100..0x180, 0x200..0x210];
        let found = indirect.into_iter().zip(code).map(|((at, name), code)| (at, name, code));
        assert_eq!(patch(&mut table, found), 2);
        let (after, _) = table.as_chunks::<SYMBOL_BYTES>();
        assert_eq!((after[0], after[3]), (before[0], before[3]), "memcpy shares memmove's code; malloc is no choice");
        assert_eq!(after[1][4] & 0xf, STT_FUNC);
        assert_eq!(after[1][8..], [0x100u64.to_le_bytes(), 0x80u64.to_le_bytes()].concat());
        assert_eq!(after[2][8..], [0x200u64.to_le_bytes(), 0x10u64.to_le_bytes()].concat());
    }

    #[test]
    fn names_outside_their_table_are_no_names() {
        assert_eq!(indirect_functions(&entry(1_000, STT_GNU_IFUNC), b"\0memcpy\0"), []);
    }
}
