//! The commands of `tephra`. Each ends with 0 when all is well, 1 when not, and 2 when it was called wrongly.

mod access;
mod backup;
mod budget;
mod client;
mod comparison;
mod delete;
mod export;
mod gate;
mod import;
mod repair;
mod reports;
mod retention;
mod serve;
mod store;
mod symbols;
mod tenant;
mod token;
pub(crate) mod verdict;
mod view;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};
use tephra_proto::address::printable;

use crate::serve::{PRIVATE, mask_permissions};
use crate::symbols::worker;

/// Always-on profiling: stores profiles, merges them, compares them.
#[derive(Debug, Parser)]
#[command(name = "tephra", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a collector: takes profiles from agents, answers with flame graphs
    Serve(Box<serve::Args>),
    /// Compare a candidate with a baseline and fail if it regressed: two selections, or two files
    Gate(Box<gate::Args>),
    /// Print what changed between two selections, or two files
    Diff(Box<gate::DiffArgs>),
    /// Save a flame graph: folded, pprof, speedscope, svg or json
    Export(export::Args),
    /// Send a profile of another tool to a collector: pprof, folded stacks, perf script, speedscope, V8, Firefox, gperftools
    Import(import::Args),
    /// Show a profile of another tool in the web view, without a collector: nothing is kept
    View(view::Args),
    /// Delete a service or a trace for good
    Delete(delete::Args),
    /// Copy a whole store into a folder, while collectors run
    Backup(backup::BackupArgs),
    /// Make a store of a backup again
    Restore(backup::RestoreArgs),
    /// Answer a collector that asks before it lets go of much
    Retention(retention::Args),
    /// Give names to builds that were stripped
    Symbols(symbols::Args),
    /// Create, list and revoke the tokens that `tephra serve --auth` asks for
    Token(token::Args),
    /// Create, limit, list and delete tenants: each has a store of its own
    Tenant(tenant::Args),
    /// Build a store's catalog from its segments, where it is lost or does not fit them; nothing is deleted
    ///
    /// No collector may be using the store. With --bucket, --catalog names an empty database to build it in.
    Repair(repair::Args),
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // The child that reads uploaded files: it must not even parse a command line first.
    if args.next().is_some_and(|first| first == worker::SUBCOMMAND) {
        return ExitCode::from(worker::run(&args.collect::<Vec<OsString>>()));
    }
    let called = Cli::try_parse().unwrap_or_else(|error| without_secrets(error).exit());
    // What is made of a store is as private as the store.
    if matches!(
        called.command,
        Command::Backup(_) | Command::Restore(_) | Command::Repair(_) | Command::Token(_) | Command::Tenant(_)
    ) {
        mask_permissions(PRIVATE);
    }
    match called.command {
        Command::Serve(args) => serve::run(*args),
        Command::Gate(args) => gate::run(&args),
        Command::Diff(args) => gate::run_diff(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
        Command::View(args) => view::run(&args),
        Command::Delete(args) => delete::run(&args),
        Command::Backup(args) => backup::run(args),
        Command::Restore(args) => backup::run_restore(args),
        Command::Retention(args) => retention::run(&args),
        Command::Symbols(args) => symbols::run(&args),
        Command::Token(args) => token::run(args),
        Command::Tenant(args) => tenant::run(args),
        Command::Repair(args) => repair::run(args),
    }
}

/// What is wrong with a command line, without the passwords in the addresses that it repeats.
fn without_secrets(mut error: clap::Error) -> clap::Error {
    let repeated: Vec<(ContextKind, ContextValue)> =
        error.context().map(|(kind, value)| (kind, value.clone())).collect();
    for (kind, value) in repeated {
        let shown = match value {
            ContextValue::String(text) => ContextValue::String(printable(&text).into_owned()),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.iter().map(|text| printable(text).into_owned()).collect())
            }
            _ => continue,
        };
        error.insert(kind, shown);
    }
    error
}

/// Ends with a sentence on stderr.
fn fail(code: u8, problem: &dyn std::fmt::Display) -> ExitCode {
    // Not `eprintln!`: a closed stderr is no reason to panic.
    let _ = writeln!(std::io::stderr(), "tephra: {problem}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_names_a_store_in_the_same_words_and_shows_no_address_of_the_environment() {
        let options = |name: &str| {
            let tephra = Cli::command();
            let command = tephra.find_subcommand(name).unwrap();
            ["data", "catalog", "bucket", "s3_endpoint"].map(|id| {
                let option = command.get_arguments().find(|option| option.get_id() == id).unwrap();
                assert!(id == "data" || option.is_hide_env_values_set(), "{name} {id}");
                format!("{:?} {:?} {}", option.get_long(), option.get_env(), option.get_help().unwrap())
            })
        };
        for name in ["backup", "restore", "repair"] {
            assert_eq!(options(name), options("serve"), "{name}");
        }
    }

    #[test]
    fn no_password_of_an_address_is_repeated() {
        for wrong in [
            &["serve", "--bucket", "s3://b", "--catalog", "mysql://alice:hunter2@db/tephra"][..],
            &["serve", "--bucket", "s3://b", "--catalog=mysql://db/?password=hunter2"],
            &["repair", "--bucket", "s3://b", "--catalog", "mysql://alice:hunter2@db/tephra"],
            &["backup", "dir", "--bucket", "s3://b", "--catalog=mysql://db/?password=hunter2"],
            &["serve", "postgres://alice:hunter2@db"],
            &["serve", "--listen", "http://alice:hunter2@host"],
            &["postgres://alice:hunter2@db"],
            &["export", "--servre=http://alice:hunter2@host"],
        ] {
            let error = Cli::try_parse_from(["tephra"].iter().chain(wrong)).unwrap_err();
            let said = without_secrets(error).to_string();
            assert!(!said.contains("hunter2") && !said.contains("alice"), "{said}");
        }
        let error = Cli::try_parse_from(["tephra", "serve", "--retention", "soon"]).unwrap_err();
        assert!(without_secrets(error).to_string().contains("'soon'"), "all else is repeated");
    }
}
