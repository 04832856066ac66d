//! Symbols of real binaries, built here; and files that lie about themselves.

mod addresses;
mod failures;
mod retention;
mod richness;
mod uploads;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use tephra_proto::codec::compress;
use tephra_proto::ids::BuildId;
use tephra_proto::limits::SYMBOL_CHUNK_BYTES_MAX;

use super::upload::UploadError;
use super::{Symbols, Worker, elf, has_no_file, share, table, worker};
use crate::profile::model::{Frame, Merged, Module, Node};
use crate::profile::report::Coverage;
use crate::profile::resolution::{Resolution, Symbol};
use crate::profile::testing::Sketch;
use crate::store::Store;
use crate::store::bulk::Bulk;
use crate::store::testing::{TestPlace, options};

const SOURCE: &str = r#"
#[inline(always)]
fn inner(x: u64) -> u64 { std::hint::black_box(x) * 3 }
#[inline(never)]
fn outer(x: u64) -> u64 { inner(x) + inner(x + 1) }
struct Cart;
trait Price { fn price(&self) -> u64; }
impl Price for Cart {
    #[inline(never)]
    fn price(&self) -> u64 { outer(std::hint::black_box(5)) }
}
fn main() { println!("{}", Cart.price()); }
"#;

struct Binaries {
    _folder: tempfile::TempDir,
    /// Debug info, inlining.
    with_lines: PathBuf,
    /// A symbol table only.
    names_only: PathBuf,
    /// Nothing.
    stripped: PathBuf,
}

/// Built once for all tests.
static BINARIES: LazyLock<Binaries> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("basket.rs");
    fs::write(&source, SOURCE).unwrap();
    let build = |name: &str, flags: &[&str]| {
        let out = folder.path().join(name);
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(rustc);
        command.args(["--crate-name", "basket", "-O", "-Clink-arg=-Wl,--build-id"]).args(flags);
        assert!(command.arg(&source).arg("-o").arg(&out).status().unwrap().success(), "rustc {flags:?}");
        out
    };
    Binaries {
        with_lines: build("with-lines", &["-g"]),
        names_only: build("names-only", &["-Cdebuginfo=0", "-Cstrip=debuginfo"]),
        stripped: build("stripped", &["-Cstrip=symbols"]),
        _folder: folder,
    }
});

/// The child process of these tests: this test program, told to run the one test that does what the child does.
fn test_worker() -> Worker {
    let args = ["--exact", "symbols::tests::the_child_process", "--quiet", "--nocapture"].map(OsString::from).into();
    // The two paths and the limits follow: names of tests that do not exist.
    Worker { program: std::env::current_exe().unwrap(), args, deadline: Duration::from_secs(120) }
}

/// Not a test when run with the others: they are told apart by what is at the end of the command line.
#[test]
fn the_child_process() {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let [.., nocapture, elf, out, memory, output] = &args[..]
        && nocapture == "--nocapture"
        && Path::new(elf).is_absolute()
    {
        // The limits end the process, so no other test may run in it: `--exact` made sure of that.
        std::process::exit(worker::run(&[elf, out, memory, output]).into());
    }
}

fn open() -> (tempfile::TempDir, Symbols) {
    let data = tempfile::tempdir().unwrap();
    let symbols = Symbols::open(data.path(), test_worker()).unwrap();
    (data, symbols)
}

fn identity(path: &Path) -> elf::Identity {
    elf::identify(&File::open(path).unwrap()).unwrap()
}

/// Sends a file as an agent does and waits until it is symbolized.
fn upload(symbols: &Symbols, path: &Path, id: BuildId) -> Result<(), UploadError> {
    let content = fs::read(path).unwrap();
    let mut upload = symbols.begin(id, content.len() as u64)?;
    for chunk in content.chunks(SYMBOL_CHUNK_BYTES_MAX) {
        upload.chunk(&compress(chunk).unwrap())?;
    }
    symbols.symbolize(upload.finish()?);
    Ok(())
}

/// Where `name` (part of a mangled name) starts, by the binary's own symbol table.
fn addresses_of(path: &Path, name: &str) -> std::ops::Range<u64> {
    let content = fs::read(path).unwrap();
    let object = symbolic_debuginfo::elf::ElfObject::parse(&content).unwrap();
    let base = object.load_address();
    let found = object.symbols().find(|s| s.name().is_some_and(|n| n.contains(name)));
    let symbol = found.unwrap_or_else(|| panic!("no symbol {name}"));
    base + symbol.address..base + symbol.address + symbol.size
}

fn module(id: BuildId, name: &str) -> Module {
    Module { build_id: id, name: name.into() }
}

fn resolve(symbols: &Symbols, id: BuildId, address: u64) -> Resolution {
    symbols.resolve(&[module(id, "basket")], &[Frame::Native { build_id: id, address }]).remove(0)
}

fn functions(resolution: &Resolution) -> Vec<&str> {
    match resolution {
        Resolution::Symbols(symbols) => symbols.iter().map(|s: &Symbol| &*s.function).collect(),
        _ => vec![],
    }
}

#[test]
fn inlined_frames_of_a_real_binary_are_found_with_their_lines() {
    let path = &BINARIES.with_lines;
    let id = identity(path).build_id();
    let (_data, symbols) = open();
    upload(&symbols, path, id).unwrap();
    let mut inlined = false;
    for address in addresses_of(path, "outer") {
        let resolution = resolve(&symbols, id, address);
        assert_eq!(functions(&resolution).first(), Some(&"basket::outer"), "{address:#x}");
        let Resolution::Symbols(chain) = resolution else { unreachable!() };
        assert!(!chain[0].inlined && chain[0].file.ends_with("basket.rs"), "{chain:?}");
        if chain.len() > 1 && &*chain[1].function == "basket::inner" {
            inlined = true;
            assert!(chain[1].inlined && chain[1].line == 3 && chain[0].line == 5, "{chain:?}");
            assert_eq!(&*chain[1].module, "basket");
        }
    }
    assert!(inlined, "no address of outer has inner inlined");
    let method = addresses_of(path, "price").start;
    assert_eq!(functions(&resolve(&symbols, id, method)), ["<basket::Cart as basket::Price>::price"]);
}

#[test]
fn a_binary_without_debug_info_still_has_names() {
    let path = &BINARIES.names_only;
    let id = identity(path).build_id();
    let (_data, symbols) = open();
    upload(&symbols, path, id).unwrap();
    let addresses = addresses_of(path, "outer");
    for address in [addresses.start, addresses.end - 1] {
        let Resolution::Symbols(chain) = resolve(&symbols, id, address) else { panic!("{address:#x}") };
        assert_eq!((chain.len(), &*chain[0].function, chain[0].line), (1, "basket::outer", 0));
    }
    let (merged, resolutions) = profile_at(&symbols, id, addresses.start);
    let Coverage { share, missing, no_lines } = symbols.coverage(&[(&merged, &resolutions)]);
    assert_eq!((share, missing.len()), (1.0, 0));
    assert_eq!((no_lines[0].build_id.as_str(), no_lines[0].module.as_str()), (id.to_string().as_str(), "basket"));
}

fn profile_at(symbols: &Symbols, id: BuildId, address: u64) -> (Merged, Vec<Resolution>) {
    let mut sketch = Sketch::cpu(1);
    sketch.add("x", 0, 10, 1);
    let (mut merged, _) = sketch.finish();
    merged.modules = vec![module(id, "basket")];
    merged.frames = vec![Frame::Native { build_id: id, address }];
    let resolutions = symbols.resolve(&merged.modules, &merged.frames);
    (merged, resolutions)
}

#[test]
fn tables_outlive_a_restart_and_uploads_in_progress_do_not() {
    let path = &BINARIES.with_lines;
    let id = identity(path).build_id();
    let (data, symbols) = open();
    upload(&symbols, path, id).unwrap();
    fs::write(data.path().join("symbols/incoming/half"), b"half").unwrap();
    fs::write(data.path().join("symbols").join(format!("{}.symcache", "ab".repeat(20))), b"torn").unwrap();
    let stats = symbols.stats();
    assert_eq!(stats.builds, 1);
    let again = Symbols::open(data.path(), test_worker()).unwrap();
    assert_eq!(again.stats(), stats);
    assert!(again.wanted(&[module(id, "basket")]).is_empty());
    let torn = BuildId::from_bytes(&[0xab; 20]).unwrap();
    assert_eq!(again.wanted(&[module(torn, "basket")]), [torn], "a torn table is wanted again");
    assert_eq!(fs::read_dir(data.path().join("symbols/incoming")).unwrap().count(), 0);
    assert!(!functions(&resolve(&again, id, addresses_of(path, "outer").start)).is_empty());
}

#[test]
fn a_file_is_only_taken_as_the_build_it_is() {
    let path = &BINARIES.with_lines;
    let id = identity(path).build_id();
    assert_ne!(id, identity(&BINARIES.names_only).build_id());
    let (data, symbols) = open();
    let other = BuildId::from_bytes(&[7; 20]).unwrap();
    let refused = upload(&symbols, path, other).unwrap_err();
    assert!(matches!(&refused, UploadError::Identity(reason) if reason.contains(&id.to_string())), "{refused}");
    assert_eq!(symbols.wanted(&[module(other, "x")]), [other], "nothing was learned about that build");
    assert_eq!(fs::read_dir(data.path().join("symbols/incoming")).unwrap().count(), 0, "nothing is left behind");
}

/// A binary with lines and without a build id, and its content.
fn without_a_note(folder: &Path) -> (PathBuf, Vec<u8>) {
    let path = folder.join("no-note");
    let mut content = fs::read(&BINARIES.with_lines).unwrap();
    let id = identity(&BINARIES.with_lines).gnu_build_id.unwrap();
    // Overwrites the owner's name in the note: then it is somebody else's.
    let at = content.windows(20).position(|bytes| bytes == id.as_bytes()).unwrap();
    content[at - 4..at].copy_from_slice(b"XXX\0");
    fs::write(&path, &content).unwrap();
    (path, content)
}

#[test]
fn a_file_without_a_note_is_named_by_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    let (path, content) = without_a_note(folder.path());
    let unnamed = identity(&path);
    assert_eq!((unnamed.gnu_build_id, unnamed.build_id()), (None, unnamed.htlhash));
    let (head, tail) = (&content[..4096], &content[content.len() - 4096..]);
    assert_eq!(unnamed.htlhash, BuildId::htlhash(head, tail, content.len() as u64));
    let (_data, symbols) = open();
    upload(&symbols, &path, unnamed.htlhash).unwrap();
    assert_eq!(symbols.stats().builds, 1);
}

#[test]
fn a_hash_of_what_does_not_come_is_taken_from_the_agent_and_from_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut content) = without_a_note(folder.path());
    let id = BuildId::htlhash(&content[..4096], &content[content.len() - 4096..], content.len() as u64);
    // As an agent sends it: what lies between the headers and the first section is not for symbols.
    content[2048..4096].fill(0);
    let send = |content: &[u8], id: BuildId, ends_withheld: bool| {
        let (_data, symbols) = open();
        let mut upload = symbols.begin(id, content.len() as u64)?.with_ends_withheld(ends_withheld);
        for chunk in content.chunks(SYMBOL_CHUNK_BYTES_MAX) {
            upload.chunk(&compress(chunk).unwrap())?;
        }
        symbols.symbolize(upload.finish()?);
        Ok::<_, UploadError>(symbols.stats().builds)
    };
    assert_eq!(send(&content, id, true).unwrap(), 1);
    assert!(matches!(send(&content, id, false), Err(UploadError::Identity(_))), "old agents send the ends");
    let longer = BuildId::from_bytes(&[7; 20]).unwrap();
    assert!(matches!(send(&content, longer, true), Err(UploadError::Identity(_))), "no hash is as long");
    let named = fs::read(&BINARIES.with_lines).unwrap();
    assert!(matches!(send(&named, id, true), Err(UploadError::Identity(_))), "its note says what it is");
}

#[test]
fn damaged_files_neither_panic_nor_hang_the_collector() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("elf"), folder.path().join("out"));
    for binary in [&BINARIES.names_only, &BINARIES.with_lines] {
        let content = fs::read(binary).unwrap();
        let mut cuts: Vec<usize> = (0..128).chain((0..40).map(|i| content.len() * i / 40)).collect();
        cuts.dedup();
        for cut in cuts {
            fs::write(&path, &content[..cut]).unwrap();
            // Identification runs inside the collector: it must answer for anything.
            let named = elf::identify(&File::open(&path).unwrap());
            assert!(cut >= 64 || named.is_err(), "cut at {cut}");
        }
        // Headers full of every byte value, where sizes, counts and offsets are.
        for at in 16..64 {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = content.clone();
                damaged[at] = value;
                fs::write(&path, &damaged).unwrap();
                let named = elf::identify(&File::open(&path).unwrap());
                if let Ok(identity) = named {
                    assert!(identity.build_id().as_bytes().len() >= 8);
                }
            }
        }
    }
    let content = fs::read(&BINARIES.with_lines).unwrap();
    let (data, symbols) = open();
    for i in 1..24u8 {
        let mut damaged = content.clone();
        let cut = damaged.len() * usize::from(i) / 24;
        // Cut, or sprayed with ones from some place on.
        if i % 2 == 0 {
            damaged.truncate(cut);
        } else {
            damaged.iter_mut().skip(cut).step_by(97).for_each(|byte| *byte = 0xff);
        }
        fs::write(&path, &damaged).unwrap();
        let id = BuildId::from_bytes(&[i; 20]).unwrap();
        let claim = symbols.shared.folder.claim(id, damaged.len() as u64).unwrap();
        super::job::run(&test_worker(), &symbols.shared.memory, &symbols.shared.room, claim, &path, &out);
        match symbols.shared.folder.state(&id) {
            Some(super::folder::State::Ready { .. }) => {
                let table = table::Table::parse(&fs::read(data.path().join(format!("symbols/{id}.symcache"))).unwrap());
                let name = "basket".into();
                let table = table.unwrap();
                (0..content.len() as u64).step_by(61).for_each(|address| drop(table.lookup(address, &name)));
            }
            Some(super::folder::State::Failed(failure)) => assert!(!failure.reason.is_empty()),
            state => panic!("{i}: {state:?}"),
        }
    }
}

#[test]
fn modules_of_the_kernel_are_never_wanted() {
    let (_data, symbols) = open();
    let id = BuildId::from_bytes(&[7; 20]).unwrap();
    for name in ["linux-vdso.so.1", "[vdso]", "[vsyscall]", "linux-gate.so.1"] {
        assert!(has_no_file(name) && symbols.wanted(&[module(id, name)]).is_empty(), "{name}");
    }
    assert_eq!(symbols.wanted(&[module(id, "libc.so.6"), module(id, "libc.so.6")]), [id], "once");
}

#[test]
fn coverage_weighs_frames_by_what_passes_through_them() {
    let (_data, symbols) = open();
    let (known, unknown) = (BuildId::from_bytes(&[1; 20]).unwrap(), BuildId::from_bytes(&[2; 20]).unwrap());
    let (mut merged, _) = {
        let mut sketch = Sketch::cpu(1);
        sketch.add("a;b", 0, 30, 1);
        sketch.add("a;c", 0, 10, 1);
        sketch.finish()
    };
    merged.modules = vec![module(known, "shop"), module(unknown, "plugin.so")];
    assert_eq!(merged.nodes, [(Node::ROOT, 0), (0, 1), (0, 2)].map(|(parent, frame)| Node { parent, frame }));
    merged.frames =
        [(known, 1), (known, 2), (unknown, 3)].map(|(build_id, address)| Frame::Native { build_id, address }).to_vec();
    let named = |name: &str| {
        Resolution::Symbols(vec![Symbol {
            function: name.into(),
            module: "shop".into(),
            file: "".into(),
            line: 0,
            inlined: false,
        }])
    };
    let lost = Resolution::Unresolved { module: "plugin.so".into(), address: 3 };
    let coverage = symbols.coverage(&[(&merged, &[named("a"), named("b"), lost])]);
    // a carries 40, b 30, c 10 without a name.
    assert!((coverage.share - 70.0 / 80.0).abs() < 1e-12);
    assert_eq!(coverage.missing.len(), 1);
    assert!((coverage.missing[0].share - 10.0 / 80.0).abs() < 1e-12);
    assert!(coverage.missing[0].hint.contains("tephra symbols upload"), "{}", coverage.missing[0].hint);
}

#[tokio::test]
async fn symbols_in_a_folder_are_one_collector_s_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).await.unwrap();
    assert!(!Symbols::beside(&store, test_worker()).unwrap().is_shared());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_collector_symbolized_the_others_name_too() {
    let Some(place) = TestPlace::shared().await else { return };
    let store = place.open().await;
    let first = Symbols::beside(&store, test_worker()).unwrap();
    let beside = place.beside().unwrap();
    let second = Symbols::beside(&*beside.open().await, test_worker()).unwrap();
    let (plain, lines, broken) = (&BINARIES.names_only, &BINARIES.with_lines, &BINARIES.stripped);
    let ids = [plain, lines, broken].map(|path| identity(path).build_id());
    assert_eq!(second.wanted(&ids.map(|id| module(id, "basket"))).len(), 3);
    let uploaded = first.clone();
    let sent = tokio::task::spawn_blocking(move || {
        let paths = [&BINARIES.names_only, &BINARIES.with_lines, &BINARIES.stripped];
        paths.iter().zip(ids).for_each(|(path, id)| upload(&uploaded, path, id).unwrap());
    });
    sent.await.unwrap();
    share::exchange(&first).await.unwrap();
    share::exchange(&second).await.unwrap();
    assert!(second.wanted(&ids.map(|id| module(id, "basket"))).is_empty(), "nobody is asked again");
    assert_eq!(second.stats(), first.stats());
    for (path, id) in [(plain, ids[0]), (lines, ids[1])] {
        let resolution = resolve(&second, id, addresses_of(path, "outer").start);
        assert_eq!(functions(&resolution).first(), Some(&"basket::outer"));
    }
    let files = beside.data().join("symbols");
    assert!(files.join(format!("{}.symcache", ids[1])).exists(), "it need not be fetched a second time");
    let (merged, resolutions) = profile_at(&second, ids[2], 0x1000);
    let hint = second.coverage(&[(&merged, &resolutions)]).missing.remove(0).hint;
    assert!(hint.contains("cannot be symbolized"), "the reason is known everywhere: {hint}");

    // A table that was lost from the bucket is asked for again.
    fs::remove_file(files.join(format!("{}.symcache", ids[0]))).unwrap();
    store.bucket().unwrap().beside("symbols").delete(&format!("{}.names", ids[0])).unwrap();
    let third = place.beside().unwrap();
    let again = Symbols::beside(&*third.open().await, test_worker()).unwrap();
    share::exchange(&again).await.unwrap();
    assert!(functions(&resolve(&again, ids[0], addresses_of(plain, "outer").start)).is_empty());
    assert_eq!(again.wanted(&[module(ids[0], "basket")]), [ids[0]]);
}
