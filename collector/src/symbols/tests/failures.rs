//! No failure is for ever, and none of the machine's is silent.

use super::*;
use crate::base::clock::now_ms;
use crate::store::Store;
use crate::store::testing::options;
use crate::symbols::failure::Failure;
use crate::symbols::folder::State;

const HOUR_MS: u64 = 3_600_000;

/// A child that runs these commands of a shell.
fn shell(commands: &str, deadline: Duration) -> Worker {
    Worker { program: "sh".into(), args: ["-c".into(), commands.into()].into(), deadline }
}

fn failure(symbols: &Symbols, id: BuildId) -> Failure {
    match symbols.shared.folder.state(&id) {
        Some(State::Failed(failure)) => failure,
        state => panic!("{state:?}"),
    }
}

fn hint(symbols: &Symbols, id: BuildId) -> String {
    let (merged, resolutions) = profile_at(symbols, id, 0x1000);
    symbols.coverage(&[(&merged, &resolutions)]).missing.remove(0).hint
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_was_ended_or_never_began_is_tried_again_and_told() {
    let path = &BINARIES.names_only;
    let id = identity(path).build_id();
    let patience = Duration::from_secs(120);
    let ended = [
        (shell("kill -9 $$", patience), "ended by signal 9"),
        (shell("exec sleep 600", Duration::from_millis(50)), "took longer than"),
        (shell("echo memory allocation of 5 bytes failed >&2; kill -6 $$", patience), "--symbol-memory"),
        (shell("exit 1", patience), "failed"),
        (Worker { program: "/nonexistent".into(), args: vec![], deadline: patience }, "could not be run"),
    ];
    for (worker, reason) in ended {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), options()).await.unwrap();
        let symbols = Symbols::beside(&store, worker).unwrap();
        upload(&symbols, path, id).unwrap();
        let failed = failure(&symbols, id);
        assert!(!failed.of_file && failed.reason.contains(reason), "{failed:?}");
        assert!(hint(&symbols, id).contains("tried again"), "{}", hint(&symbols, id));
        let told = store.conditions().all();
        assert_eq!((told[0].kind, told[0].subject.as_str()), ("symbols_failed", id.to_string().as_str()));
        assert!(told[0].message.contains(reason), "{}", told[0].message);
        let asked = |symbols: &Symbols, at_ms| symbols.wanted_at(&[module(id, "basket")], at_ms) == [id];
        assert!(!asked(&symbols, now_ms()) && asked(&symbols, now_ms() + HOUR_MS), "{reason}");
        drop((symbols, store));

        // After a restart it is the same, and when it succeeds, it is over.
        let store = Store::open(data.path(), options()).await.unwrap();
        let symbols = Symbols::beside(&store, test_worker()).unwrap();
        assert_eq!(failure(&symbols, id), failed);
        assert_eq!(store.conditions().all().len(), 1);
        assert!(asked(&symbols, now_ms() + HOUR_MS));
        upload(&symbols, path, id).unwrap();
        assert!(!functions(&resolve(&symbols, id, addresses_of(path, "outer").start)).is_empty());
        assert!(store.conditions().all().is_empty(), "{reason}");
    }
}

#[test]
fn a_file_of_no_use_is_remembered_and_another_one_taken() {
    let full = &BINARIES.names_only;
    let id = identity(full).build_id();
    let folder = tempfile::tempdir().unwrap();
    let stripped = folder.path().join("stripped");
    richness::objcopy(&["--strip-all"], full, &stripped);
    let (data, symbols) = open();
    upload(&symbols, &stripped, id).unwrap();
    for symbols in [&symbols, &Symbols::open(data.path(), test_worker()).unwrap()] {
        let failed = failure(symbols, id);
        assert!(failed.of_file && failed.reason.contains("without `strip`"), "{failed:?}");
        let asked = |at_ms| symbols.wanted_at(&[module(id, "basket")], at_ms) == [id];
        assert!(!asked(now_ms()), "not for the same file again");
        assert!(asked(now_ms() + 2 * HOUR_MS), "but in the end there may be another");
        let hint = hint(symbols, id);
        assert!(hint.contains("another file of it is taken"), "{hint}");
    }
    upload(&symbols, full, id).unwrap();
    assert!(!functions(&resolve(&symbols, id, addresses_of(full, "outer").start)).is_empty());
    upload(&symbols, &stripped, id).unwrap();
    assert!(!functions(&resolve(&symbols, id, addresses_of(full, "outer").start)).is_empty(), "it stays");
}

#[tokio::test]
async fn an_agent_with_another_file_is_asked_at_once() {
    use tephra_proto::v1::symbol_service_server::SymbolService;
    use tephra_proto::v1::{OfferRequest, SymbolFile};
    let id = BuildId::from_bytes(&[7; 20]).unwrap();
    let (_data, symbols) = open();
    symbols.shared.folder.claim(id, 100).unwrap().fail(true, "stripped", now_ms()).unwrap();
    let service = crate::symbols::service::SymbolUploads::new(symbols);
    for (file_bytes, wanted) in [(100, 0), (101, 1)] {
        let file = SymbolFile { build_id: id.as_bytes().to_vec(), file_bytes, ..SymbolFile::default() };
        let offer = tonic::Request::new(OfferRequest { files: vec![file] });
        assert_eq!(service.offer(offer).await.unwrap().into_inner().wanted.len(), wanted, "{file_bytes} bytes");
    }
}

#[test]
fn what_an_earlier_release_gave_up_is_asked_for_again() {
    let id = BuildId::from_bytes(&[7; 20]).unwrap();
    let data = tempfile::tempdir().unwrap();
    fs::create_dir_all(data.path().join("symbols")).unwrap();
    fs::write(data.path().join(format!("symbols/{id}.failed")), "the symbolizer gave up on the file (signal: 9)")
        .unwrap();
    let symbols = Symbols::open(data.path(), test_worker()).unwrap();
    assert!(failure(&symbols, id).reason.contains("gave up"));
    assert_eq!(symbols.wanted(&[module(id, "basket")]), [id]);
}

#[test]
fn a_small_file_that_would_take_all_memory_is_refused_by_name() {
    // Compressed debug info that says it is far larger: its reader makes room for that before it reads.
    let full = &BINARIES.with_lines;
    let mut content = fs::read(full).unwrap();
    let id = identity(full).build_id();
    let section = section_of(&content, ".debug_info");
    // SHF_COMPRESSED, and a header of compressed sections: zlib, 40 GiB, aligned to 1.
    let flags = u64::from_le_bytes(content[section + 8..section + 16].try_into().unwrap()) | 0x800;
    content[section + 8..section + 16].copy_from_slice(&flags.to_le_bytes());
    let at = u64::from_le_bytes(content[section + 24..section + 32].try_into().unwrap()) as usize;
    content[at..at + 24].copy_from_slice(&[1u64, 40 << 30, 1].map(u64::to_le_bytes).concat());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb");
    fs::write(&path, &content).unwrap();
    let (_data, symbols) = open();
    upload(&symbols, &path, id).unwrap();
    match symbols.shared.folder.state(&id) {
        Some(State::Failed(failure)) => {
            let reason = &failure.reason;
            assert!(
                !failure.of_file && reason.contains("MiB of memory") && reason.contains("--symbol-memory"),
                "{reason}"
            );
        }
        state => panic!("{state:?}"),
    }
}

/// Where the header of a section is.
fn section_of(content: &[u8], name: &str) -> usize {
    let number = |at: usize, bytes: usize| {
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(&content[at..at + bytes]);
        u64::from_le_bytes(word) as usize
    };
    let (table, count, names) = (number(40, 8), number(60, 2), number(62, 2));
    let names = number(table + 64 * names + 24, 8);
    let is_it = |at: &usize| content[names + number(*at, 4)..].starts_with(&[name.as_bytes(), &[0]].concat());
    (0..count).map(|i| table + 64 * i).find(is_it).unwrap()
}
