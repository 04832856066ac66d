//! Names a module's build: by its GNU build id note, or by a hash of its file when it has none.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tephra_proto::ids::BuildId;
use tephra_proto::limits::HTLHASH_END_BYTES;

use crate::elf;

/// The build id that the object's notes name.
pub(crate) fn in_notes(notes: &[u8]) -> Option<BuildId> {
    BuildId::from_bytes(elf::notes::build_id(notes)?).ok()
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
    fn an_id_that_is_longer_than_an_id_may_be_is_none() {
        let note = |bytes: u32| [&[4, bytes, 3].map(u32::to_le_bytes).concat()[..], b"GNU\0", &[1; 64]].concat();
        assert_eq!(in_notes(&note(20)), BuildId::from_bytes(&[1; 20]).ok());
        assert!(in_notes(&note(64)).is_none());
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
