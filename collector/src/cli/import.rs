//! `tephra import`: a profile of any tool, sent to a collector.
#![expect(clippy::disallowed_methods, reason = "the file is named on the command line")]

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;
use tephra_proto::limits::STACK_DEPTH_MAX;

use super::client::{Server, query, selection};
use super::fail;
use crate::base::times;
use crate::profile::pprof::PPROF_BYTES_MAX;

/// What `tephra import` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    server: Server,
    /// A profile, gzipped or not; - for standard input. Its content says what it is: pprof, folded stacks, an output of perf script,
    /// speedscope, .cpuprofile and .heapprofile of V8, Firefox or samply, gperftools, heaps as text
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// As what to store it, such as service=checkout,version=v2. With type=cpu only this type; folded stacks and speedscope are called so
    #[arg(value_name = "SELECTION")]
    selection: String,
    /// When it started, such as now-5m; what the file says if left out, and if it says nothing, it has just ended
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// How long it took, such as 30s; what the file says if left out, and 10s if it says nothing
    #[arg(long, value_name = "DURATION")]
    duration: Option<String>,
    /// In what folded stacks are counted, such as microseconds; count if left out, which is samples
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
    /// How a type adds up, where its name does not say: a gauge is a state, such as what is in use; a counter counts events
    #[arg(long = "kind", value_name = "TYPE=gauge|counter", value_parser = kind)]
    kinds: Vec<(String, String)>,
}

fn kind(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, kind @ ("gauge" | "counter"))) if !name.is_empty() => Ok((name.to_owned(), kind.to_owned())),
        _ => Err("write such as goroutine=gauge or space=counter".to_owned()),
    }
}

/// Sends the file, and says what was stored.
pub(super) fn run(args: &Args) -> ExitCode {
    let query = match selection(&args.selection) {
        Ok(pairs) => query(&pairs, ""),
        Err(problem) => return fail(2, &problem),
    };
    let content = match read(&args.file) {
        Ok(content) => content,
        Err(problem) => return fail(1, &problem),
    };
    let given = [("at", &args.at), ("duration", &args.duration), ("unit", &args.unit)];
    let given = given.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
    let times: String = given.map(|(name, value)| format!("&{name}={}", crate::urls::encode(value))).collect();
    let kinds: String =
        args.kinds.iter().map(|(name, kind)| format!("&kind.{}={kind}", crate::urls::encode(name))).collect();
    match args.server.post(&format!("/api/v1/profiles?{query}{times}{kinds}"), &content) {
        Ok(answer) => {
            let _ = write!(std::io::stdout(), "{}", report(&answer));
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error),
    }
}

/// The file, as long as a collector would take it.
fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let limit = PPROF_BYTES_MAX as u64 + 1;
    let read = if file == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut content)
    } else {
        File::open(file).and_then(|open| open.take(limit).read_to_end(&mut content))
    };
    let name = file.display();
    match read {
        Err(error) => Err(format!("cannot read {name}: {error}")),
        Ok(_) if content.len() > PPROF_BYTES_MAX => Err(format!(
            "{name} has more than {PPROF_BYTES_MAX} bytes, the most that a collector takes: gzip it, or take it over a shorter time"
        )),
        Ok(_) => Ok(content),
    }
}

/// What was stored, and what was done to it on the way: a line for each.
fn report(answer: &Value) -> String {
    let number = |of: &Value, key: &str| of.get(key).and_then(Value::as_u64).unwrap_or(0);
    let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |key: &str| answer.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let types = list("types");
    let mut lines = Vec::new();
    if number(answer, "stacks") == 0 {
        let names: Vec<String> = types.iter().map(|t| text(t, "name")).collect();
        lines.push(format!("nothing was sampled: stored as a time without {}", names.join(", ")));
    } else {
        let sums = types.iter().map(|t| format!("{} {} {}", text(t, "name"), number(t, "value"), text(t, "unit")));
        let sums: Vec<String> = sums.map(|sum| sum.trim_end().to_owned()).collect();
        let (samples, stacks) = (number(answer, "stored_samples"), number(answer, "stacks"));
        lines.push(format!("stored {} ({} in {})", sums.join(", "), many(samples, "sample"), many(stacks, "stack")));
    }
    if answer.get("duplicate") == Some(&Value::Bool(true)) {
        lines.push("it was stored a moment ago: it counts once".to_owned());
    }
    let (from, until) = (number(answer, "from"), number(answer, "until"));
    if until > from {
        let (start, length) = (times::format_utc(from), times::format_duration(until - from));
        lines.push(format!("it counts from {start}, for {length}"));
    }
    if answer.get("duration_known") == Some(&Value::Bool(false)) {
        lines.push("the file does not say how long it took: --duration does".to_owned());
    }
    let lost = number(answer, "samples_without_stack");
    if lost > 0 {
        lines.push(format!("{} without a stack: they stand under [unknown]", many(lost, "sample")));
    }
    let cut = number(answer, "samples_cut");
    if cut > 0 {
        lines.push(format!("{} deeper than {STACK_DEPTH_MAX} frames: cut at the root", many(cut, "stack")));
    }
    for renamed in list("renamed") {
        lines.push(format!("{:?} is called {} here", text(&renamed, "was"), text(&renamed, "is")));
    }
    let unnamed = number(answer, "names_made_fit").saturating_sub(list("renamed").len() as u64);
    if unnamed > 0 {
        lines.push(format!("{} made readable", many(unnamed, "name")));
    }
    for left in list("left_out") {
        lines.push(format!("left out: {} {}", text(&left, "name"), text(&left, "why")));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn many(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_collector_takes_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("large.pb");
        std::fs::write(&file, vec![0; PPROF_BYTES_MAX + 1]).unwrap();
        assert!(read(&file).unwrap_err().contains("16777216"));
        std::fs::write(&file, vec![0; PPROF_BYTES_MAX]).unwrap();
        assert_eq!(read(&file).unwrap().len(), PPROF_BYTES_MAX);
        assert!(read(&folder.path().join("none")).unwrap_err().contains("cannot read"));
    }

    #[test]
    fn the_report_says_what_was_stored_and_what_was_done_to_it() {
        let gauge = json!({
            "stored_samples": 1, "stacks": 1,
            "types": [
                { "name": "inuse_objects", "unit": "count", "value": 5, "samples": 1 },
                { "name": "inuse_space", "unit": "bytes", "value": 500, "samples": 1 },
            ],
            "names_made_fit": 3, "renamed": [{ "was": "Wall-Time", "is": "wall_time" }],
            "samples_without_stack": 7, "samples_cut": 1, "left_out": [{ "name": "alloc", "why": "is a number" }],
        });
        assert_eq!(
            report(&gauge),
            "stored inuse_objects 5 count, inuse_space 500 bytes (1 sample in 1 stack)\n\
             7 samples without a stack: they stand under [unknown]\n\
             1 stack deeper than 512 frames: cut at the root\n\
             \"Wall-Time\" is called wall_time here\n\
             2 names made readable\n\
             left out: alloc is a number\n"
        );
        let timed = json!({
            "stored_samples": 0, "stacks": 0, "types": [], "from": 1_772_373_600_000u64, "until": 1_772_373_610_000u64,
            "duration_known": false,
        });
        assert_eq!(
            report(&timed).lines().skip(1).collect::<Vec<_>>(),
            ["it counts from 2026-03-01 14:00 UTC, for 10s", "the file does not say how long it took: --duration does"]
        );
        let idle = json!({ "stored_samples": 0, "stacks": 0, "types": [{ "name": "cpu", "unit": "", "value": 0 }] });
        assert_eq!(report(&idle), "nothing was sampled: stored as a time without cpu\n");
    }
}
