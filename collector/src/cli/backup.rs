//! `tephra backup` and `tephra restore`: a whole store in a folder, and back.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::fail;
use super::store::StoreArgs;
use crate::backup::restore::{Restored, restore};
use crate::backup::{BackupError, Report, backup};
use crate::base::times::format_utc;

/// What `tephra backup` takes.
#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    /// Where it goes: an empty folder, or an earlier backup of the same store, which is brought up to date
    dir: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
    /// Share the bytes of segments with the store where both are on one file system. They never change; but a disk that fails takes both
    #[arg(long)]
    link: bool,
}

/// What `tephra restore` takes.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The backup
    dir: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

/// Takes a backup.
pub(super) fn run(args: BackupArgs) -> ExitCode {
    let BackupArgs { dir, store, link } = args;
    let shown = dir.display().to_string();
    let place = match store.place() {
        Ok(place) => place,
        Err(error) => return fail(2, &error),
    };
    finish(async move { backup(&place, &dir, link).await }, |report| say_backup(report, &shown))
}

/// Restores one.
pub(super) fn run_restore(args: RestoreArgs) -> ExitCode {
    let RestoreArgs { dir, store } = args;
    let place = match store.place() {
        Ok(place) => place,
        Err(error) => return fail(2, &error),
    };
    finish(async move { restore(&dir, &place).await }, |restored| {
        let Restored { segments, windows, symbols } = restored;
        format!(
            "restored {windows} windows in {segments} segments, and {symbols} symbol files: start `tephra serve` on it"
        )
    })
}

fn finish<T>(work: impl Future<Output = Result<T, BackupError>>, say: impl Fn(&T) -> String) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start threads: {error}")),
    };
    match runtime.block_on(work) {
        Ok(done) => {
            let _ = writeln!(std::io::stdout(), "{}", say(&done));
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error),
    }
}

fn say_backup(report: &Report, dir: &str) -> String {
    let Report { taken_ms, segments, windows, objects, bytes, copied, copied_bytes, removed, symbols, lost } = report;
    let lost = match lost {
        0 => String::new(),
        lost => {
            format!("\n{lost} segments are lost in the store itself: answers over their time say that they are damaged")
        }
    };
    format!(
        "{dir} is a backup as of {}: {windows} windows in {segments} segments, {objects} objects with {bytes} bytes, {symbols} symbol files\n\
         {copied} objects with {copied_bytes} bytes were copied, {removed} that the store let go of were removed{lost}\n\
         `tephra serve --data {dir}` serves it as it is; `tephra restore {dir}` makes a store of it elsewhere",
        format_utc(*taken_ms)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_says_what_it_did_and_what_is_lost() {
        let report =
            Report { taken_ms: 1_772_373_900_000, windows: 7, copied: 2, copied_bytes: 99, ..Report::default() };
        let said = say_backup(&report, "/backup");
        assert!(said.contains("/backup is a backup as of 2026-03-01 14:05 UTC: 7 windows"), "{said}");
        assert!(said.contains("2 objects with 99 bytes were copied") && !said.contains("lost"), "{said}");
        let said = say_backup(&Report { lost: 3, ..report }, "/backup");
        assert!(said.contains("3 segments are lost in the store itself"), "{said}");
    }
}
