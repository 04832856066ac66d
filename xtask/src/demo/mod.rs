//! `cargo xtask demo`: a shop under load, a bad release, an alert, and links to look at it all.

mod check;
mod clock;
mod counts;
mod links;
mod pages;
mod screenshots;
mod story;
mod tail;

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use crate::binaries::{self, Binaries};
use crate::demo::links::Links;
use crate::demo::story::{Stage, Story};
use crate::tools::{need_chromium, root, step};
use crate::{Result, stop};

const PORT: u16 = 4040;

/// How long each release runs before its links are worth opening: whole windows of 10 s, enough of them to tell a change
/// from noise.
const PHASE: Duration = Duration::from_secs(65);
const PHASE_IN_CHECK: Duration = Duration::from_secs(45);

#[derive(Debug)]
struct Options {
    check: bool,
    port: u16,
}

/// Runs the demo until Ctrl-C; or, with `--check`, until it is known to hold or not.
pub(crate) fn run(args: &[&str]) -> Result {
    let options = read_options(args)?;
    stop::listen();
    need_port(options.port)?;
    // Before the builds: installing one can fail too, and then the pages are not looked at, which is said.
    let browser = options.check.then(|| need_chromium().map_err(|why| why.to_string()));
    play(&options, browser, binaries::release()?)
}

/// Plays the story and takes the pictures of it that the README shows.
pub(crate) fn screenshots() -> Result {
    stop::listen();
    need_port(PORT)?;
    let browser = need_chromium()?;
    let mut stage = Stage::open(binaries::release()?, PORT)?;
    let story = Story::play(&mut stage, PHASE)?;
    let links = Links::gather(&stage.api, &story)?;
    let outcome = screenshots::take(&browser, &stage.api.base, &links);
    step("stopping everything", || stage.close())?;
    outcome
}

/// As with `--check`, when all that it needs is there.
pub(crate) fn check(browser: PathBuf, binaries: Binaries) -> Result {
    stop::listen();
    need_port(PORT)?;
    play(&Options { check: true, port: PORT }, Some(Ok(browser)), binaries)
}

fn play(options: &Options, browser: Option<std::result::Result<PathBuf, String>>, binaries: Binaries) -> Result {
    stop::check()?;
    let mut stage = Stage::open(binaries, options.port)?;
    let story = Story::play(&mut stage, if options.check { PHASE_IN_CHECK } else { PHASE })?;
    let links = Links::gather(&stage.api, &story)?;
    links.print(&stage.api.base);
    let outcome = match &browser {
        Some(browser) => check::judge(&stage, &story, &links, browser),
        None => stay(&mut stage),
    };
    if outcome.is_err() {
        stage.keep_logs();
    }
    step("stopping everything", || stage.close())?;
    outcome
}

fn stay(stage: &mut Stage) -> Result {
    println!("{}", next_steps(&stage.api.base));
    println!("\nThe shop stays under load. Ctrl-C stops everything and removes the data.");
    while !stop::asked() {
        stage.check()?;
        let _ = stop::sleep(Duration::from_secs(1));
    }
    println!();
    Ok(())
}

/// What to type for a service of one's own, while the demo's collector runs.
fn next_steps(base: &str) -> String {
    let agent = root().join("agent");
    format!(
        r#"
A service of your own, while this runs:

  cargo add --path {}

  #[global_allocator]
  static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();
  // first in main, and kept until its end:
  let _agent = tephra_agent::Agent::builder("my-service").endpoint("{base}").start()?;

  cargo run --release, and after ten seconds open {base}/s/my-service
  A collector that stays: cargo build --release -p tephra-collector && target/release/tephra serve"#,
        agent.display()
    )
}

fn read_options(args: &[&str]) -> Result<Options> {
    let mut options = Options { check: false, port: PORT };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--check" => options.check = true,
            "--port" => {
                let port = args.next().ok_or("--port needs a number")?;
                options.port = port.parse().map_err(|_| format!("--port {port} is not a port: use 1 to 65535"))?;
            }
            _ => return Err(format!("unknown option {arg}: try `cargo xtask demo [--check] [--port N]`").into()),
        }
    }
    Ok(options)
}

/// Better now than after the builds.
fn need_port(port: u16) -> Result {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok(()),
        Err(why) => {
            Err(format!("port {port} is not free ({why}): stop what uses it, or choose another with --port").into())
        }
    }
}
