//! `tephra export`: a flame graph as a file.
#![expect(clippy::disallowed_methods, reason = "the file is named on the command line")]

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::client::{Server, query, selection};
use super::fail;

/// What `tephra export` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    server: Server,
    /// What to save, such as service=checkout,type=cpu,from=now-1h,version=v2
    #[arg(value_name = "SELECTION")]
    selection: String,
    /// json, flame, folded, svg, pprof or speedscope
    #[arg(long, default_value = "pprof")]
    format: String,
    /// Which stacks, such as keep:crate:shop, hide:family:runtime or focus:rate_for; may be repeated, and applies in this order
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Where to; standard output if left out
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes what was asked for to a file or standard output.
pub(super) fn run(args: &Args) -> ExitCode {
    let query = match selection(&args.selection) {
        Ok(pairs) => query(&pairs, ""),
        Err(problem) => return fail(2, &problem),
    };
    let is_binary = matches!(args.format.as_str(), "pprof" | "flame");
    if is_binary && args.output.is_none() && std::io::stdout().is_terminal() {
        let problem = format!("{} is no text: say where to write it, such as -o profile.pb.gz", args.format);
        return fail(2, &problem);
    }
    let mut path = format!("/api/v1/flamegraph?{query}&format={}", crate::urls::encode(&args.format));
    for filter in &args.filter {
        path.push_str("&filter=");
        path.push_str(&crate::urls::encode(filter));
    }
    let (content, is_damaged) = match args.server.get_part(&path) {
        Ok(answer) => answer,
        Err(error) => return fail(1, &error),
    };
    if is_damaged {
        let note = "tephra: some of what was stored in this range is damaged and left out: the sums are too small";
        let _ = writeln!(std::io::stderr(), "{note}");
    }
    let written = match &args.output {
        Some(file) => std::fs::write(file, &content),
        None => std::io::stdout().write_all(&content),
    };
    match (written, &args.output) {
        (Ok(()), None) => ExitCode::SUCCESS,
        (Ok(()), Some(file)) => {
            let note = note(&args.format, &content, &file.display().to_string());
            let _ = writeln!(std::io::stdout(), "{note}");
            ExitCode::SUCCESS
        }
        (Err(error), Some(file)) => fail(1, &format!("cannot write {}: {error}", file.display())),
        (Err(error), None) => fail(1, &format!("cannot write to standard output: {error}")),
    }
}

/// What was written, and what to do with it.
fn note(format: &str, content: &[u8], file: &str) -> String {
    let is_empty = match format {
        "pprof" => crate::profile::pprof::decode(content)
            .is_ok_and(|read| read.payload.series.iter().all(|series| series.stack.is_empty())),
        "folded" => content.is_empty(),
        _ => false,
    };
    let next = match (is_empty, format) {
        (true, _) => "nothing was sampled in this selection: try a longer range, such as from=now-1d",
        (_, "pprof") => "open it with: go tool pprof, or tephra import",
        (_, "speedscope") => "open it at speedscope.app",
        (_, "folded") => "flame graph tools read it",
        (_, "svg") => "open it in a browser",
        _ => "",
    };
    let bytes = content.len();
    format!("wrote {file}, {bytes} bytes{}{next}", if next.is_empty() { "" } else { ": " })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::pprof::encode;
    use crate::profile::testing::{Sketch, simulated};

    #[test]
    fn what_was_written_is_said_with_what_to_do_next() {
        let (merged, resolutions) = simulated(1, 1, |_| 1.0);
        assert!(note("pprof", &encode((&merged, &resolutions)), "e.pb.gz").contains("go tool pprof"));
        let (merged, resolutions) = Sketch::cpu(1).finish();
        assert!(note("pprof", &encode((&merged, &resolutions)), "e.pb.gz").contains("nothing was sampled"));
        assert!(note("folded", b"", "e.folded").contains("nothing was sampled"));
        assert_eq!(note("json", b"{}", "e.json"), "wrote e.json, 2 bytes");
    }
}
