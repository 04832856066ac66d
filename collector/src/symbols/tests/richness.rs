//! A file that tells less never takes away what one that tells more has told.

use super::*;
use crate::symbols::folder::State;
use crate::symbols::table::Detail;
use crate::symbols::upload::Named;

/// Makes another file of a binary, with the tool that comes with the linker.
pub(super) fn objcopy(flags: &[&str], from: &Path, to: &Path) {
    assert!(Command::new("objcopy").args(flags).arg(from).arg(to).status().unwrap().success(), "objcopy {flags:?}");
}

/// Sends a file by hand.
fn send(symbols: &Symbols, path: &Path, id: BuildId) -> Result<Named, UploadError> {
    let content = fs::read(path).unwrap();
    let mut receiving = symbols.receive(id, content.len() as u64)?;
    receiving.write(&content)?;
    receiving.finish()
}

#[test]
fn a_poorer_file_never_replaces_a_richer_one_and_the_answer_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let full = &BINARIES.with_lines;
    let id = identity(full).build_id();
    let place = |name: &str| folder.path().join(name);
    let (names, exported, debug) = (place("names"), place("exported"), place("debug"));
    objcopy(&["--strip-debug"], full, &names);
    objcopy(&["--only-keep-debug"], full, &debug);
    // The one symbol that is left is one of many.
    objcopy(&["--strip-all", "--keep-symbol=main"], full, &exported);
    let (data, symbols) = open();
    let at = addresses_of(full, "outer").start;
    let line = |symbols: &Symbols| match resolve(symbols, id, at) {
        Resolution::Symbols(chain) => Some(chain[0].line),
        _ => None,
    };
    let taken = |detail| Named { detail, less: None };
    assert_eq!(send(&symbols, &exported, id).unwrap(), taken(Detail::Names));
    assert_eq!(send(&symbols, &names, id).unwrap(), taken(Detail::Names));
    assert_eq!(line(&symbols), Some(0));
    let fewer = send(&symbols, &exported, id).unwrap();
    assert_eq!(fewer, Named { detail: Detail::Names, less: Some(Detail::Names) });
    assert_eq!(line(&symbols), Some(0), "the other functions keep their names");
    assert_eq!(send(&symbols, full, id).unwrap(), taken(Detail::Lines));
    assert!(line(&symbols) > Some(0));
    for poorer in [&names, &exported] {
        assert_eq!(send(&symbols, poorer, id).unwrap(), Named { detail: Detail::Lines, less: Some(Detail::Names) });
        assert!(line(&symbols) > Some(0), "{poorer:?}");
    }
    assert_eq!(send(&symbols, &debug, id).unwrap(), taken(Detail::Lines), "as rich as what is there");
    let again = Symbols::open(data.path(), test_worker()).unwrap();
    assert!(line(&again) > Some(0));
}

#[test]
fn a_table_of_an_earlier_release_is_still_read_and_richer_than_names() {
    let path = &BINARIES.with_lines;
    let id = identity(path).build_id();
    let (data, symbols) = open();
    upload(&symbols, path, id).unwrap();
    let file = data.path().join(format!("symbols/{id}.symcache"));
    let content = fs::read(&file).unwrap();
    let segments = u32::from_le_bytes(content[24..28].try_into().unwrap()) as usize;
    assert!(segments > 0);
    let mut old = [&b"TSYM\x01\0\0\0"[..], &content[8..16], &[1, 0, 0, 0], &[0; 12]].concat();
    old.extend_from_slice(&content[32 + 40 * segments..]);
    fs::write(&file, &old).unwrap();
    let again = Symbols::open(data.path(), test_worker()).unwrap();
    assert!(
        matches!(again.shared.folder.state(&id), Some(State::Ready { richness, .. }) if richness.detail == Detail::Lines)
    );
    assert_eq!(functions(&resolve(&again, id, addresses_of(path, "outer").start)).first(), Some(&"basket::outer"));
}
