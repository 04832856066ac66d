//! The child process that parses what strangers uploaded: `tephra __symbolize <elf> <out>`.
//!
//! Its own process, because debug info is a program for a stack machine: no parser of it can be trusted with hostile
//! input. Here it can exhaust, loop or crash only a process with hard limits, and the collector stays as it was.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

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

/// Address space: a service of 1.5 GiB with full debug info fits.
const ADDRESS_SPACE_BYTES: u64 = 4 << 30;
const CPU_SECONDS: u64 = 120;
const OUTPUT_BYTES: u64 = 1 << 30;
const OPEN_FILES: u64 = 32;

/// Names longer than this are cut: nobody reads them, and a demangler can be made to write megabytes.
const NAME_BYTES_MAX: usize = tephra_proto::limits::STRING_BYTES_MAX;

/// Functions that cannot be read are skipped; a file of nothing else is refused.
const BAD_FUNCTIONS_MAX: usize = 10_000;

/// Runs the child: `args` are the ELF file and where to write its table. What goes wrong is said on stderr.
pub fn run<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> ExitCode {
    let [elf, out] = args else {
        eprintln!("{SUBCOMMAND} needs an ELF file and an output file; it is started by the collector");
        return ExitCode::from(2);
    };
    let result = limit_resources().and_then(|()| symbolize(Path::new(elf), Path::new(out)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
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
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The file's headers.
    #[error(transparent)]
    Header(#[from] elf::ElfError),
    /// The file as a whole.
    #[error("damaged ELF file: {0}")]
    Elf(#[from] symbolic_debuginfo::elf::ElfError),
    /// There is nothing to read names from.
    #[error("the file has neither debug info nor a symbol table; build without `strip`, or upload its .debug file")]
    NoSymbols,
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> WorkerError {
    move |source| WorkerError::Io { what, source }
}

fn limit_resources() -> Result<(), WorkerError> {
    for (resource, limit) in [
        (Resource::As, ADDRESS_SPACE_BYTES),
        (Resource::Cpu, CPU_SECONDS),
        (Resource::Fsize, OUTPUT_BYTES),
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
