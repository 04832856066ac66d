//! The child process that parses what strangers uploaded: `tephra __symbolize <elf> <out>`.
//!
//! Its own process, because debug info is a program for a stack machine: no parser of it can be trusted with hostile
//! input. Here it can exhaust, loop or crash only a process with hard limits, and the collector stays as it was.
#![expect(clippy::disallowed_methods, reason = "this is a process of its own, which reads one file and writes another")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

use rustix::process::{Resource, Rlimit, setrlimit};
use symbolic_common::ByteView;
use symbolic_debuginfo::elf::ElfObject;
use symbolic_symcache::SymCacheConverter;
use symbolic_symcache::transform::{Function, Transformer};

use super::table::{Detail, Richness};
use super::{elf, table};
use crate::profile::demangle::demangle;

/// Hidden subcommand of `tephra` that ends up in [`run`].
pub const SUBCOMMAND: &str = "__symbolize";

/// Address space beside the file, which is mapped: the program itself, and what its allocator sets aside. Memory has a limit of its own.
const ADDRESS_SPACE_BYTES: u64 = 4 << 30;
const CPU_SECONDS: u64 = 120;
const OPEN_FILES: u64 = 32;

/// How the child ends when it has read the file, and there is nothing in it. Whatever else happens to a process has another code.
pub(super) const OF_FILE: u8 = 10;
/// When there was too little memory.
pub(super) const OF_MEMORY: u8 = 11;
/// When the operating system refused something else.
const OF_SYSTEM: u8 = 12;

/// Names longer than this are cut: nobody reads them, and a demangler can be made to write megabytes.
const NAME_BYTES_MAX: usize = tephra_proto::limits::STRING_BYTES_MAX;

/// Functions that cannot be read are skipped; a file of nothing else is refused.
const BAD_FUNCTIONS_MAX: usize = 10_000;

/// Runs the child: `args` are the ELF file, where to write its table, and how many bytes of memory and of output it may take. What goes wrong is
/// said on stderr. Answers its exit code.
pub fn run<S: AsRef<OsStr>>(args: &[S]) -> u8 {
    let number = |arg: &S| arg.as_ref().to_str()?.parse::<u64>().ok();
    let parsed = match args {
        [elf, out, memory, output] => Some((elf, out, number(memory), number(output))),
        _ => None,
    };
    let Some((elf, out, Some(memory), Some(output))) = parsed else {
        eprintln!("{SUBCOMMAND} needs an ELF file, an output file and two limits; it is started by the collector");
        return 2;
    };
    let (elf, out) = (Path::new(elf), Path::new(out));
    match limit_resources(elf, memory, output).and_then(|()| symbolize(elf, out)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            error.code()
        }
    }
}

/// Why a file could not be symbolized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The file's headers are damaged, or not those of an ELF file.
    #[error(transparent)]
    Header(#[from] elf::ElfError),
    /// The file as a whole.
    #[error("damaged ELF file: {0}")]
    Elf(#[from] symbolic_debuginfo::elf::ElfError),
    /// There is nothing to read names from.
    #[error("the file has neither debug info nor a symbol table; build without `strip`, or upload its .debug file")]
    NoSymbols,
}

impl WorkerError {
    fn code(&self) -> u8 {
        match self {
            Self::Io { source, .. } | Self::Header(elf::ElfError::Io(source)) => match source.kind() {
                ErrorKind::OutOfMemory => OF_MEMORY,
                _ => OF_SYSTEM,
            },
            Self::Header(_) | Self::Elf(_) | Self::NoSymbols => OF_FILE,
        }
    }
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> WorkerError {
    move |source| WorkerError::Io { what, source }
}

fn limit_resources(elf: &Path, memory: u64, output: u64) -> Result<(), WorkerError> {
    // Should memory end all the same, this process goes first and not the collector. Nobody needs leave for that; where it fails, so be it.
    fs::write("/proc/self/oom_score_adj", "1000").ok();
    let file_bytes = fs::metadata(elf).map_err(io("cannot look at the uploaded file"))?.len();
    for (resource, limit) in [
        // What is written to, in memory. Pages of the file are not: the kernel takes them back when it needs them.
        (Resource::Data, memory),
        (Resource::As, ADDRESS_SPACE_BYTES.saturating_add(memory).saturating_add(file_bytes)),
        (Resource::Cpu, CPU_SECONDS),
        (Resource::Fsize, output),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Core, 0),
    ] {
        let rlimit = Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(resource, rlimit).map_err(|e| io("cannot limit the process")(e.into()))?;
    }
    Ok(())
}

/// Turns an ELF file into a symbol table.
///
/// # Errors
/// When the file is damaged or has no names, or the output cannot be written.
pub fn symbolize(elf_path: &Path, out: &Path) -> Result<(), WorkerError> {
    let file = File::open(elf_path).map_err(io("cannot open the uploaded file"))?;
    let image_base = elf::image_base(&file)?;
    let view = ByteView::map_file_ref(&file).map_err(io("cannot map the uploaded file"))?;
    let object = ElfObject::parse(&view)?;
    let mut converter = SymCacheConverter::new();
    converter.add_transformer(Demangler);
    converter.set_arch(object.arch());
    let mut richness = add_debug_info(&mut converter, &object);
    for symbol in object.symbols() {
        converter.process_symbolic_symbol(&symbol);
        richness.records = richness.records.saturating_add(1);
    }
    if richness.records == 0 {
        return Err(WorkerError::NoSymbols);
    }
    let header = table::Header { image_base, richness, segments: elf::segments(&file)? };
    let mut writer = BufWriter::new(File::create(out).map_err(io("cannot create the table"))?);
    let write = |writer: &mut BufWriter<File>| {
        writer.write_all(&header.write())?;
        converter.serialize(writer)?;
        writer.flush()?;
        writer.get_ref().sync_all()
    };
    write(&mut writer).map_err(io("cannot write the table"))
}

/// Adds what the debug info knows, and answers how much that is. Damaged debug info leaves what was read before.
fn add_debug_info<'a>(converter: &mut SymCacheConverter<'a>, object: &ElfObject<'a>) -> Richness {
    let mut richness = Richness { detail: Detail::Names, records: 0 };
    let Ok(session) = object.debug_session() else { return richness };
    let mut bad = 0;
    for function in session.functions() {
        match function {
            Ok(function) => {
                let has_lines = function.lines.iter().any(|line| line.line > 0);
                let of_this = match (has_lines, function.inlinees.is_empty()) {
                    (true, _) => Detail::Lines,
                    (false, false) => Detail::Inlines,
                    (false, true) => Detail::Names,
                };
                richness.detail = richness.detail.max(of_this);
                richness.records = richness.records.saturating_add(1);
                converter.process_symbolic_function(&function);
            }
            Err(_) if bad < BAD_FUNCTIONS_MAX => bad += 1,
            Err(_) => break,
        }
    }
    richness
}

/// Demangles here, once per build and inside the limits, and not for every view.
struct Demangler;

impl Transformer for Demangler {
    fn transform_function<'f>(&'f mut self, mut function: Function<'f>) -> Function<'f> {
        let mut name = readable(&function.name);
        if name.len() > NAME_BYTES_MAX {
            name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
        }
        function.name = name.into();
        function
    }
}

fn readable(name: &str) -> String {
    // Symbol versions (`memcpy@@GLIBC_2.14`) are the linker's business.
    demangle(name).unwrap_or_else(|| name.split('@').next().unwrap_or(name).to_owned())
}
