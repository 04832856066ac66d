//! The repository's own commands: `cargo xtask demo`, `check`, `test`, `web`, `bench`, `dev` and more.
//!
//! Everything a person or a pipeline does with this repository goes through here, so both do the same.

mod aarch64;
mod api;
mod bench;
mod binaries;
mod check;
mod ci;
mod demo;
mod dev;
mod fuzz;
mod interop;
mod open_data;
mod process;
mod sanitize;
mod servers;
mod soak;
mod stop;
mod test;
mod tidy;
mod timings;
mod tools;
mod web;

use std::process::ExitCode;

/// What every step returns: either it is done, or a sentence says why not.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "\
cargo xtask <command>

  demo [--check] [--port N]        a shop under load with a bad release, and links to look at it; --check judges by itself
  check                            the inner loop: format, lints, and the unit tests of what changed since the main branch
  test                             every test: Rust, web, whole system, browser
  ci                               all that a change must pass: format, lints, demo --check, test; and where the time went
  tidy [--write]                   what the documentation promises about the structure; --write: THIRD-PARTY.md as it is now
  web                              builds the view into web/dist
  bench [agent|store|web] [--json] measures what the design promises; `bench agent rest`, `bench store http=10`: parts of it
  soak --minutes N | demo=N        the tests that can go on for ever, for that long; the demo judging itself N times
  fuzz --seconds N                 every door for strangers' bytes, attacked by coverage, each for that long
  interop                          other people's clients, unmodified, against a collector: what they send is what they did
  aarch64                          the agent's lints and unit tests on AArch64, in an emulator
  record                           stacks of AArch64 programs, recorded again for the agent's tests
  sanitize [address|thread|miri]   the heap profiler under tools that see what tests cannot
  screenshots                      the README's pictures, taken anew of the demo's pages
  dev                              the view with hot reload, against a collector on port 4040
  binaries                         release builds of the collector and both shops; prints their folder";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.split_first() {
        Some((&"demo", rest)) => demo::run(rest),
        Some((&"screenshots", [])) => demo::screenshots(),
        Some((&"check", [])) => check::run(),
        Some((&"test", [])) => test::run(),
        Some((&"ci", [])) => ci::run(),
        Some((&"tidy", rest)) => tidy::run(rest),
        Some((&"web", [])) => web::build(),
        Some((&"bench", rest)) => bench::run(rest),
        Some((&"soak", rest)) => soak::run(rest),
        Some((&"sanitize", rest)) => sanitize::run(rest),
        Some((&"dev", [])) => dev::run(),
        Some((&"fuzz", rest)) => fuzz::run(rest),
        Some((&"interop", [])) => interop::run(None),
        // As the tests begin it, once everything is built.
        Some((&"interop", ["--built", folder])) => interop::run(Some(folder)),
        Some((&"aarch64", [])) => aarch64::run(),
        Some((&"record", [])) => aarch64::record(),
        Some((&"binaries", [])) => binaries::release().map(|built| println!("{}", built.folder.display())),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if stop::asked() => ExitCode::from(130),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
