//! Names of imported run-time addresses, for what each linker makes: the program itself says where its functions are.

use std::fmt::Write as _;

use super::*;
use crate::profile::pprof;

const PROGRAM: &str = r#"
#[inline(never)]
fn alpha(x: u64) -> u64 { (0..x).fold(x, |a, b| a.rotate_left(5) ^ std::hint::black_box(b)) }
#[inline(never)]
fn beta(x: u64) -> u64 { (0..x).fold(x, |a, b| a.wrapping_mul(31) ^ std::hint::black_box(b)) }
fn main() {
    println!("{:x} {:x}", alpha as fn(u64) -> u64 as usize, beta as fn(u64) -> u64 as usize);
    println!("{} {}", alpha(std::hint::black_box(3)), beta(std::hint::black_box(4)));
    print!("{}", std::fs::read_to_string("/proc/self/maps").unwrap());
}
"#;

/// Flags of rustc, and what they make.
const LAYOUTS: [(&str, &[&str]); 4] = [
    ("default", &[]),
    ("default-fixed", &["-Crelocation-model=static"]),
    // Elsewhere another linker is the default already.
    ("gnu", &["-Clink-arg=-fuse-ld=bfd"]),
    ("gnu-fixed", &["-Clink-arg=-fuse-ld=bfd", "-Crelocation-model=static"]),
];

struct Program {
    path: PathBuf,
    id: BuildId,
    /// Where its functions are while it runs.
    functions: [u64; 2],
    /// Start, limit and file offset of the mapping that holds them.
    code: (u64, u64, u64),
    /// Start and limit of all its mappings.
    all: (u64, u64),
}

fn build_and_run(folder: &Path, name: &str, flags: &[&str]) -> Program {
    let (source, path) = (folder.join("layout.rs"), folder.join(name));
    fs::write(&source, PROGRAM).unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command
        .args(["--crate-name", "layout", "-O", "-g", "-Clink-arg=-Wl,--build-id"])
        .args(flags)
        .arg(&source)
        .arg("-o")
        .arg(&path);
    assert!(command.status().unwrap().success(), "rustc {flags:?}");
    let said = Command::new(&path).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let (first, rest) = said.split_once('\n').unwrap();
    let functions: Vec<u64> = first.split(' ').map(hex).collect();
    let maps: Vec<(u64, u64, u64)> = rest
        .lines()
        .filter(|line| line.ends_with(path.to_str().unwrap()))
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (start, limit) = fields[0].split_once('-').unwrap();
            (hex(start), hex(limit), hex(fields[2]))
        })
        .collect();
    let code = *maps.iter().find(|(start, limit, _)| (*start..*limit).contains(&functions[0])).unwrap();
    let id = identity(&path).build_id();
    let all = (maps.iter().map(|map| map.0).min().unwrap(), maps.iter().map(|map| map.1).max().unwrap());
    Program { path, id, functions: functions.try_into().unwrap(), code, all }
}

/// The native frames that an import makes of addresses in a mapping.
fn frames(program: &Program, mapped: (u64, u64, u64), addresses: &[u64]) -> Vec<Frame> {
    let body = pprof::testing::unsymbolized(program.path.to_str().unwrap(), &program.id.to_string(), mapped, addresses);
    let payload = pprof::decode(&body).unwrap().payload;
    let deltas = payload.frames.unwrap().address_delta;
    let addresses = deltas.iter().scan(0u64, |at, delta| {
        *at = at.wrapping_add_signed(*delta);
        Some(*at)
    });
    addresses.map(|address| Frame::Native { build_id: program.id, address }).collect()
}

fn names(symbols: &Symbols, program: &Program, frames: &[Frame]) -> Vec<String> {
    let resolved = symbols.resolve(&[module(program.id, "layout")], frames);
    resolved.iter().map(|resolution| functions(resolution).first().copied().unwrap_or("nothing").to_owned()).collect()
}

/// What Go's pprof says of a profile and the program's file; `None` where there is no Go.
fn go_says(program: &Program, profile: &[u8]) -> Option<String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, profile).unwrap();
    let mut go = Command::new("go");
    let output = go.args(["tool", "pprof", "-top"]).arg(&program.path).arg(file.path()).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn run_time_addresses_get_the_names_that_the_program_itself_gives_them() {
    let folder = tempfile::tempdir().unwrap();
    let (_data, symbols) = open();
    for (name, flags) in LAYOUTS {
        let program = build_and_run(folder.path(), name, flags);
        upload(&symbols, &program.path, program.id).unwrap();
        let expected = ["layout::alpha", "layout::beta"];
        let inside = program.functions.map(|at| at + 1);
        let real = frames(&program, program.code, &inside);
        assert_eq!(names(&symbols, &program, &real), expected, "{name}");
        // As unwinders write it that know only where a file begins, or where its addresses were before they were moved.
        let whole = frames(&program, (program.all.0, program.all.1, 0), &inside);
        assert_eq!(names(&symbols, &program, &whole), expected, "{name}: one mapping for all");
        let own = ["alpha", "beta"].map(|function| addresses_of(&program.path, function).start + 1);
        let moved = frames(&program, (0, 0, 0), &own);
        assert_eq!(names(&symbols, &program, &moved), expected, "{name}: from 0");

        // Data is no function, whatever is near.
        let data = frames(&program, (program.all.0, program.all.1, 0), &[program.all.0 + 8]);
        assert_eq!(names(&symbols, &program, &data), ["nothing"], "{name}");

        // What is exported without names can be named by who has the file, and comes back as it was.
        let mut sketch = Sketch::cpu(1);
        sketch.add("alpha", 0, 10, 1);
        sketch.add("beta", 0, 20, 1);
        let (mut merged, _) = sketch.finish();
        for native in [real, moved] {
            merged.modules =
                vec![module(BuildId::from_bytes(&[7; 20]).unwrap(), "libc.so.6"), module(program.id, "layout")];
            merged.frames = native;
            let nameless = Symbols::open(tempfile::tempdir().unwrap().path(), test_worker()).unwrap();
            let bare = nameless.resolve(&merged.modules, &merged.frames);
            assert!(matches!(bare[..], [Resolution::Unresolved { .. }, Resolution::Unresolved { .. }]));
            let exported = pprof::encode((&merged, &bare));
            let back = pprof::decode(&exported).unwrap().payload;
            let deltas = &back.frames.as_ref().unwrap().address_delta;
            let first = Frame::Native { build_id: program.id, address: deltas[0] as u64 };
            assert_eq!((back.modules.len(), first), (1, merged.frames[0].clone()), "{name}");
            if let Some(said) = go_says(&program, &exported) {
                let mut missing = String::new();
                for function in ["alpha", "beta"].iter().filter(|function| !said.contains(**function)) {
                    write!(missing, "{function} ").unwrap();
                }
                assert!(missing.is_empty(), "{name}: no {missing}in\n{said}");
            }
        }
    }
}

#[test]
fn a_debug_file_names_imports_once_the_program_s_own_file_came() {
    let folder = tempfile::tempdir().unwrap();
    let program = build_and_run(folder.path(), "default", &[]);
    let debug = folder.path().join("layout.debug");
    richness::objcopy(&["--only-keep-debug"], &program.path, &debug);
    let real = frames(&program, program.code, &program.functions);
    let own = addresses_of(&program.path, "alpha").start;
    for debug_first in [true, false] {
        let (_data, symbols) = open();
        let mut files = [&debug, &program.path];
        if !debug_first {
            files.reverse();
        }
        for path in files {
            upload(&symbols, path, program.id).unwrap();
            let expected = if path == &debug && debug_first { "nothing" } else { "layout::alpha" };
            assert_eq!(names(&symbols, &program, &real)[0], expected, "its offsets are not those of the program");
            assert_eq!(functions(&resolve(&symbols, program.id, own)).first(), Some(&"layout::alpha"));
        }
    }
}
