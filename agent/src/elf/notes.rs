//! The GNU build id among the notes of an object.

use super::numbers::u32_at;

const NT_GNU_BUILD_ID: u32 = 3;
const HEADER_BYTES: usize = 12;

/// The build id that stands in a section or segment of notes.
pub(crate) fn build_id(mut notes: &[u8]) -> Option<&[u8]> {
    while let Some((header, rest)) = notes.split_at_checked(HEADER_BYTES) {
        let word = |at: usize| u32_at(header, at).ok();
        let (name_bytes, id_bytes, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        // Sizes are padded to 4 on disk. Sections aligned to 8 hold only property notes, whose sizes are multiples of 8.
        let name = rest.get(..name_bytes)?;
        let rest = rest.get(name_bytes.checked_next_multiple_of(4)?..)?;
        let id = rest.get(..id_bytes)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(id);
        }
        notes = rest.get(id_bytes.checked_next_multiple_of(4)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_is_found_behind_others_and_torn_ones_are_refused() {
        let note = |kind: u32, name: &[u8], id: &[u8]| {
            let mut bytes = [name.len() as u32, id.len() as u32, kind].map(u32::to_le_bytes).concat();
            bytes.extend(name);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(id);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let notes = [note(1, b"GNU\0", &[0; 16]), note(3, b"GNU\0", &[0xab; 20])].concat();
        assert_eq!(build_id(&notes), Some(&[0xab; 20][..]));
        assert_eq!(build_id(&notes[..notes.len() - 1]), None);
        assert_eq!(build_id(&note(3, b"Go\0\0", &[1; 20])), None, "another's");
        let huge = [u32::MAX, u32::MAX, 3].map(u32::to_le_bytes).concat();
        assert_eq!(build_id(&huge), None);
    }
}
