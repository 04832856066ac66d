//! Runs the child process on one uploaded file and files what comes of it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::folder::{Claim, Filed};
use super::memory::{Memory, Share};
use super::room::{Room, RoomError};
use super::{elf, worker};
use crate::base::clock::{self, now_ms};
use crate::profile::names;

/// How the child process is started.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The program: this one again.
    pub program: PathBuf,
    /// What comes before the two paths and the two limits.
    pub args: Vec<OsString>,
    /// After this long it is killed. More than its CPU limit: it may share the machine.
    pub deadline: Duration,
}

impl Worker {
    /// The running program with its hidden subcommand.
    ///
    /// # Errors
    /// When the operating system does not say where the program is.
    pub fn this_program() -> std::io::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self { program, args: vec![worker::SUBCOMMAND.into()], deadline: Duration::from_secs(300) })
    }
}

const STDERR_BYTES_MAX: u64 = 1_000;

/// A table: a service of 1.5 GiB with full debug info has a tenth of it.
const OUTPUT_BYTES_MAX: u64 = 1 << 30;

/// What a Rust program says before it ends for want of memory.
const OUT_OF_MEMORY: &str = "memory allocation of";

/// Symbolizes an uploaded file. Blocks for as long as the child runs, and for as long as others need the memory.
pub(super) fn run(
    worker: &Worker,
    memory: &Memory,
    room: &Room,
    claim: Claim,
    elf: &Path,
    out: &Path,
) -> Option<Filed> {
    let id = claim.id;
    let made = match with_share(worker, memory.share(), room, elf, out) {
        // Once more, with all there is.
        Err(Failed::OfMemory { .. }) if memory.is_shared() => with_share(worker, memory.all(), room, elf, out),
        made => made,
    };
    let filed = match made {
        Ok(()) => claim.succeed(out).map(Some),
        Err(failed) => {
            tracing::warn!(build_id = %id, reason = %failed, "a symbol file could not be read");
            let of_file = matches!(failed, Failed::OfFile(_));
            claim.fail(of_file, &failed.to_string(), now_ms()).map(|()| None)
        }
    };
    filed.unwrap_or_else(|error| {
        tracing::error!(build_id = %id, %error, "symbols cannot be stored");
        None
    })
}

/// Why a child made no table.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// It read the file, and found nothing of use.
    #[error("{0}")]
    OfFile(String),
    /// It would have taken more memory than it may.
    #[error(
        "its file of {file_bytes} bytes takes more than {memory} MiB of memory to read: give more with --symbol-memory, or upload a smaller .debug file"
    )]
    OfMemory {
        /// What it might take, MiB.
        memory: u64,
        /// Size of the file.
        file_bytes: u64,
    },
    /// It did not end by itself.
    #[error("the process that reads its file took longer than {0} s")]
    TooLong(u64),
    /// It was ended from outside, such as for its memory.
    #[error(
        "the process that reads its file was ended by signal {0}: signal 9 is how the kernel makes room when memory is short"
    )]
    Killed(i32),
    /// It failed otherwise.
    #[error("the process that reads its file failed ({status}): {said}")]
    Broken {
        /// Exit code or signal.
        status: ExitStatus,
        /// The end of its standard error.
        said: String,
    },
    /// It could not even begin.
    #[error("the process that reads its file could not be run: {0}")]
    NotRun(std::io::Error),
    /// There is no room for what it would write.
    #[error(transparent)]
    Room(#[from] RoomError),
}

fn with_share(worker: &Worker, share: Share<'_>, room: &Room, elf: &Path, out: &Path) -> Result<(), Failed> {
    let output = room.free()?.min(OUTPUT_BYTES_MAX);
    let spawned = Command::new(&worker.program)
        .args(&worker.args)
        .args([elf, out])
        .args([share.bytes, output].map(|limit| limit.to_string()))
        .env_clear()
        // The program's allocator sets a gigabyte aside at once: only what it uses of that is to count.
        .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.map_err(Failed::NotRun)?;
    let status = wait(&mut child, worker.deadline).ok_or(Failed::TooLong(worker.deadline.as_secs()))?;
    let status = status.map_err(Failed::NotRun)?;
    if status.success() {
        return Ok(());
    }
    let said = last_words(&mut child);
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    if code == Some(worker::OF_MEMORY) || said.contains(OUT_OF_MEMORY) {
        #[expect(clippy::disallowed_methods, reason = "the worker that read the file is gone, and says no more")]
        let file_bytes = std::fs::metadata(elf).map_or(0, |about| about.len());
        return Err(Failed::OfMemory { memory: share.bytes >> 20, file_bytes });
    }
    Err(match (code, status.signal()) {
        (Some(worker::OF_FILE), _) => Failed::OfFile(said),
        (_, Some(signal)) => Failed::Killed(signal),
        _ => Failed::Broken { status, said },
    })
}

/// What a child that has ended wrote to stderr.
fn last_words(child: &mut Child) -> String {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // What cannot be read was not said.
        stderr.take(STDERR_BYTES_MAX).read_to_end(&mut said).ok();
    }
    names::printable(String::from_utf8_lossy(&said).trim())
}

/// Waits until the child ends, or kills it at the deadline.
fn wait(child: &mut Child, deadline: Duration) -> Option<std::io::Result<ExitStatus>> {
    let end = clock::instant() + deadline;
    // Most files take a fraction of a second, the largest a minute: look often, then seldom.
    let mut pause = Duration::from_millis(2);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(Ok(status)),
            Err(error) => return Some(Err(error)),
            Ok(None) if clock::instant() >= end => {
                child.kill().ok();
                child.wait().ok();
                return None;
            }
            Ok(None) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Checks that an uploaded file is the build it claims to be, as far as what came of it tells.
pub(super) fn check_identity(
    file: &File,
    claimed: &tephra_proto::ids::BuildId,
    ends_withheld: bool,
) -> Result<(), String> {
    let identity = elf::identify(file).map_err(|e| e.to_string())?;
    if identity.is(claimed, ends_withheld) {
        return Ok(());
    }
    Err(format!("the file is build {}, not {claimed} as announced", identity.build_id()))
}
