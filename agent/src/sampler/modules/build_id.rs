//! Names a module's build: by its GNU build id note, or by a hash of its file when it has none.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tephra_proto::ids::BuildId;
use tephra_proto::limits::HTLHASH_END_BYTES;

const NT_GNU_BUILD_ID: u32 = 3;

/// Finds the build id among ELF notes.
pub(crate) fn in_notes(mut notes: &[u8]) -> Option<BuildId> {
    while let Some((header, rest)) = notes.split_first_chunk::<12>() {
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (name_bytes, id_bytes, kind) = (word(0) as usize, word(4) as usize, word(8));
        // Sizes are padded to 4 on disk. Sections aligned to 8 hold only property notes, whose sizes are multiples of 8.
        let name = rest.get(..name_bytes)?;
        let rest = rest.get(name_bytes.checked_next_multiple_of(4)?..)?;
        let id = rest.get(..id_bytes)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return BuildId::from_bytes(id).ok();
        }
        notes = rest.get(id_bytes.checked_next_multiple_of(4)?..)?;
    }
    None
}

/// The file's [`htlhash`](BuildId::htlhash).
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn of_file(path: &Path) -> std::io::Result<BuildId> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let end = length.min(HTLHASH_END_BYTES);
    let (mut head, mut tail) = (vec![0; end as usize], vec![0; end as usize]);
    file.read_exact_at(&mut head, 0)?;
    file.read_exact_at(&mut tail, length - end)?;
    Ok(BuildId::htlhash(&head, &tail, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_is_found_behind_others_and_torn_ones_are_refused() {
        let note = |kind: u32, name: &[u8], id: &[u8]| {
            let mut bytes = [name.len() as u32, id.len() as u32, kind].map(u32::to_ne_bytes).concat();
            bytes.extend(name);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(id);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let notes = [note(1, b"GNU\0", &[0; 16]), note(3, b"GNU\0", &[0xab; 20])].concat();
        assert_eq!(in_notes(&notes).unwrap().as_bytes(), [0xab; 20]);
        assert!(in_notes(&notes[..notes.len() - 1]).is_none());
        assert!(in_notes(&note(3, b"GNU\0", &[1; 64])).is_none(), "longer than an id may be");
        let huge = [u32::MAX, u32::MAX, 3].map(u32::to_ne_bytes).concat();
        assert!(in_notes(&huge).is_none());
    }

    #[test]
    fn a_file_shorter_than_the_edges_is_hashed_whole_twice() {
        let path = std::env::temp_dir().join(format!("tephra-htlhash-{}", std::process::id()));
        std::fs::write(&path, b"abc").unwrap();
        let id = of_file(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(id, BuildId::htlhash(b"abc", b"abc", 3));
    }
}
