//! What `perf script` prints: for each sample a line that says who was seen when and by which event, then its stack, leaf first.
//!
//! ```text
//! shop  4152/4153 [001] 75695.008865:    1001001 cpu-clock:ppp:
//!             55d0c1f3a643 inner (inlined)
//!             55d0c1f3a643 outer+0x13 (/usr/bin/shop)
//! ```
//!
//! The number before the event is its period: how many of the event one sample stands for. That of the clocks is in nanoseconds. Times
//! count from when the machine was started, so they say how long the recording took and not when.

use indexmap::IndexMap;
use tephra_proto::limits::WINDOW_SERIES_MAX;

use super::draft::{Asked, Draft, Measure};
use crate::profile::import::{ImportError, Imported, Place, within};

/// Events whose periods are nanoseconds of a processor.
const CLOCKS: [&str; 2] = ["cpu-clock", "task-clock"];

/// Marks behind a colon that say whom an event was counted for, and how precisely.
const MODIFIERS: &str = "ukhGHpPSDWIeb";

/// What a sample begins with.
#[derive(Debug, PartialEq)]
struct Header<'a> {
    /// Of a process or thread.
    name: &'a str,
    /// Nanoseconds since some moment.
    time: u64,
    period: Option<u64>,
    event: &'a str,
    /// What follows in the same line.
    rest: &'a str,
}

/// What is known of the samples of an event.
#[derive(Clone, Copy)]
struct Event {
    /// 0: they differ.
    period: u64,
    has_periods: bool,
}

pub(super) fn is_header(line: &str) -> bool {
    header(line).is_some()
}

/// A word, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    text.split_at(end)
}

fn header(line: &str) -> Option<Header<'_>> {
    if line.starts_with('\t') {
        return None;
    }
    let (mut rest, mut id) = (line, "");
    let mut name_end = 0;
    // The name may hold anything, so what is sure comes first: a number, a time, a colon.
    let time = loop {
        let (next, after) = word(rest);
        if next.is_empty() {
            return None;
        }
        let time = next.strip_suffix(':').and_then(nanoseconds);
        rest = after;
        match time {
            Some(time) if is_id(id) && name_end > 0 => break time,
            _ => {}
        }
        // A processor stands between the two.
        let is_processor = next.starts_with('[') && next.ends_with(']') && is_number(&next[1..next.len() - 1]);
        if !is_processor {
            id = next;
            name_end = line.len() - after.len() - next.len();
        }
    };
    let name = line.get(..name_end)?.trim();
    let (first, after) = word(rest);
    let (period, event, rest) = match first.parse() {
        Ok(period) => {
            let (event, after) = word(after);
            (Some(period), event, after)
        }
        Err(_) => (None, first, after),
    };
    // Of other records than samples nothing follows that is of use.
    let is_record = event.starts_with("PERF_RECORD_");
    let event = if is_record { event } else { plain_event(event.strip_suffix(':')?) };
    (!event.is_empty()).then_some(Header { name, time, period, event, rest: rest.trim() })
}

/// A process, or a process and its thread.
fn is_id(text: &str) -> bool {
    let (process, of_thread) = text.split_once('/').unwrap_or((text, "0"));
    let process = process.strip_prefix('-').unwrap_or(process);
    is_number(process) && is_number(of_thread.strip_prefix('-').unwrap_or(of_thread))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Of `75695.008865`.
fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    if !is_number(seconds) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// `cycles` of `cycles:u` and of `cpu_core/cycles/P`.
fn plain_event(event: &str) -> &str {
    if let Some((unit, inner)) = event.split_once('/')
        && unit.starts_with("cpu")
        && let Some((inner, _)) = inner.split_once('/')
    {
        return inner;
    }
    match event.rsplit_once(':') {
        Some((plain, marks)) if marks.chars().all(|c| MODIFIERS.contains(c)) => plain,
        _ => event,
    }
}

/// A line of a stack.
#[derive(Debug, PartialEq)]
struct Frame<'a> {
    name: &'a str,
    /// Of a module; for what has no name.
    module: &'a str,
    file: &'a str,
    line: u32,
    is_inlined: bool,
}

/// Such as `55d0c1f3a643 main+0x13 (/usr/bin/shop)`.
fn frame(text: &str) -> Option<Frame<'_>> {
    let (address, rest) = word(text);
    if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let rest = rest.trim();
    let (name, module) = match rest.strip_suffix(')') {
        Some(inner) => {
            let inner = inner.strip_suffix(" (deleted)").unwrap_or(inner);
            inner.rsplit_once(" (").or_else(|| inner.strip_prefix('(').map(|module| ("", module))).unwrap_or((rest, ""))
        }
        None => (rest, ""),
    };
    let is_inlined = module == "inlined";
    let module = if is_inlined { "" } else { module.rsplit('/').next().unwrap_or(module) };
    let name = match name.rsplit_once("+0x") {
        Some((name, offset)) if offset.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    };
    Some(Frame { name: without_hash(name.trim()), module, file: "", line: 0, is_inlined })
}

/// Older versions print the names of Rust with the hash that differs between builds.
fn without_hash(name: &str) -> &str {
    let is_hash = |hash: &str| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.rsplit_once("::h").filter(|(_, hash)| is_hash(hash)).map_or(name, |(name, _)| name)
}

/// Such as `main.c:12`, which follows the frame that it is about.
fn source_line(text: &str) -> Option<(&str, u32)> {
    let (file, line) = text.trim().rsplit_once(':')?;
    let line = line.split_whitespace().next()?.parse().ok()?;
    (!file.is_empty()).then_some((file, line))
}

fn broken(line: usize, problem: String) -> ImportError {
    ImportError::Broken {
        format: "an output of perf script",
        place: Place::Line(line),
        problem,
        advice: "print it with perf script and its own fields, or with -F comm,pid,tid,time,period,event,ip,sym,dso",
    }
}

pub(super) fn decode(text: &str, asked: &Asked) -> Result<Imported, ImportError> {
    let mut events: IndexMap<&str, Event> = IndexMap::new();
    let (mut first, mut last) = (u64::MAX, 0);
    for header in text.lines().filter_map(header).filter(is_sample) {
        (first, last) = (first.min(header.time), last.max(header.time));
        let period = header.period.unwrap_or(0);
        within(
            "events",
            events.len().saturating_sub(usize::from(events.contains_key(header.event))),
            WINDOW_SERIES_MAX,
        )?;
        let event = events.entry(header.event).or_insert(Event { period, has_periods: true });
        event.has_periods &= header.period.is_some();
        if event.period != period {
            event.period = 0;
        }
    }
    let measures: Vec<Measure> = events.iter().map(|(name, event)| measure(name, *event, events.len())).collect();
    let mut draft = Draft::of_each(&measures, asked)?;
    let mut values = vec![0; events.len()];
    let mut sample: Option<Header<'_>> = None;
    let mut frames: Vec<Frame<'_>> = Vec::new();
    let mut stack = Vec::new();
    let mut end = |sample: Option<Header<'_>>, frames: &mut Vec<Frame<'_>>| {
        let Some(header) = sample.filter(is_sample) else {
            frames.clear();
            return Ok(());
        };
        stack.clear();
        for frame in frames.drain(..).rev() {
            stack.push(add(&frame, &mut draft)?);
        }
        values.fill(0);
        if let Some((column, _, event)) = events.get_full(header.event)
            && let Some(value) = values.get_mut(column)
        {
            *value = header.period.filter(|_| event.has_periods).unwrap_or(1);
        }
        let of_thread = draft.of_thread(header.name)?;
        draft.sample(&stack, of_thread, &values, 1)
    };
    for (i, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            end(sample.take(), &mut frames)?;
        } else if let Some(header) = header(line) {
            end(sample.take(), &mut frames)?;
            frames.extend(frame(header.rest).filter(|frame| !frame.module.is_empty()));
            sample = Some(header);
        } else if line.starts_with('#') && sample.is_none() {
        } else if let Some(frame) = frame(line).filter(|_| sample.is_some() && line.starts_with(char::is_whitespace)) {
            frames.push(frame);
        } else if sample.is_some() && line.starts_with(char::is_whitespace) {
            // Where a frame is in its source; whatever else is printed for a sample is no part of its stack.
            if let (Some(frame), Some((file, line))) = (frames.last_mut(), source_line(line)) {
                (frame.file, frame.line) = (file, line);
            }
        } else {
            let shown: String = line.trim().chars().take(60).collect();
            return Err(broken(
                i + 1,
                format!("{shown:?} is neither the first line of a sample nor a part of its stack"),
            ));
        }
    }
    end(sample.take(), &mut frames)?;
    draft.finish(0, last.saturating_sub(first))
}

/// Records of mapped files and ended threads are printed as samples are.
fn is_sample(header: &Header<'_>) -> bool {
    !header.event.starts_with("PERF_RECORD_")
}

fn measure(event: &str, Event { period, has_periods }: Event, events: usize) -> Measure {
    if !has_periods {
        let name = if events == 1 { "samples".to_owned() } else { format!("{event}_samples") };
        return Measure { name, unit: "count".to_owned(), distance: 0 };
    }
    let (name, unit) = match event {
        _ if CLOCKS.contains(&event) => ("cpu", "nanoseconds"),
        // Each of these was seen.
        _ if event.contains(':') => (event, "count"),
        "cpu-cycles" => ("cycles", "cycles"),
        _ if event.contains("cycles") => (event, "cycles"),
        _ if event.contains("instructions") => (event, "instructions"),
        _ => (event, "events"),
    };
    Measure { name: name.to_owned(), unit: unit.to_owned(), distance: period }
}

fn add(frame: &Frame<'_>, draft: &mut Draft) -> Result<u32, ImportError> {
    let importer = &mut draft.importer;
    if frame.name.is_empty() || frame.name == "[unknown]" {
        return match frame.module.trim_matches(['[', ']']) {
            "" | "unknown" => importer.unknown(),
            module => importer.symbolic(&format!("[{module}]"), "", 0),
        };
    }
    if frame.is_inlined {
        importer.inlined(frame.name, frame.file, frame.line)
    } else {
        importer.symbolic(frame.name, frame.file, frame.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_begin_in_many_ways() {
        let of = |line| header(line).map(|h| (h.name, h.time, h.period, h.event, h.rest));
        for (line, expected) in [
            ("shop  4152 75695.008865:          1 cycles:u: ", ("shop", 75_695_008_865_000, Some(1), "cycles", "")),
            ("my shop 12 4152/4153 [001] 1.5: 10 cpu-clock:", ("my shop 12", 1_500_000_000, Some(10), "cpu-clock", "")),
            ("            perf   7 [000]   5.000001: cpu-clock:ppp: ", ("perf", 5_000_001_000, None, "cpu-clock", "")),
            (
                "swapper 0 [003] 5.000001: 1 sched:sched_switch: prev=a",
                ("swapper", 5_000_001_000, Some(1), "sched:sched_switch", "prev=a"),
            ),
            ("a 1/-1 2.000000001: 7 cpu_core/cycles/P:  ff f (x)", ("a", 2_000_000_001, Some(7), "cycles", "ff f (x)")),
            ("a 1 2.0: PERF_RECORD_MMAP2 1/1: [0x1]", ("a", 2_000_000_000, None, "PERF_RECORD_MMAP2", "1/1: [0x1]")),
        ] {
            assert_eq!(of(line), Some(expected), "{line}");
        }
        for line in
            ["\t 5d0 main 1 2.5: 3 cycles:", "2.5: 3 cycles:", "main;a 3", "a 1 2.5:", "at 12:30 2.5 it: was", ""]
        {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn frames_end_in_their_modules() {
        let of = |line| frame(line).map(|f| (f.name, f.module, f.is_inlined));
        for (line, expected) in [
            ("\t  d70 _start+0xffff018fd5dce000 (/usr/lib/ld-2.24.so)", ("_start", "ld-2.24.so", false)),
            ("  7f0 operator()(int, char) const+0x1 (/bin/a b)", ("operator()(int, char) const", "a b", false)),
            ("  7f0 f (inlined)", ("f", "", true)),
            ("  7f0 shop::main::hc2aaa9b4591a10c7+0x1 (/a)", ("shop::main", "a", false)),
            ("  7f0 f (/bin/a (deleted))", ("f", "a", false)),
            ("  40 [unknown] ([unknown])", ("[unknown]", "[unknown]", false)),
            ("  40 (/bin/x)", ("", "x", false)),
            ("  40 f", ("f", "", false)),
            ("  40", ("", "", false)),
        ] {
            assert_eq!(of(line), Some(expected), "{line}");
        }
        assert_eq!(of("  main.c:12"), None);
        assert_eq!(source_line("  src/main.c:12 "), Some(("src/main.c", 12)));
    }
}
