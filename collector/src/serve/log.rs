//! A log that strangers can neither flood nor forge: of each kind of line only so many in a minute, and then how many more there were; and
//! whatever stands in a line, it is one line.
//!
//! A kind is the place in the code that says it, ours or a library's: a line for each connection that somebody resets is one kind.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tephra_proto::label;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber, info};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, fmt};

use crate::base::clock;
use crate::http::REQUESTS;

/// Lines of one kind within a [`PERIOD`].
const LINES_MAX: u32 = 20;

/// How long a place of the code counts until it may log again.
const PERIOD: Duration = Duration::from_secs(60);

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// An object a line, for programs.
    Json,
}

/// The layer that writes the log.
pub fn lines<S, W>(format: Format, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_ansi(false).with_writer(Plain(writer));
    match format {
        Format::Text => layer.boxed(),
        Format::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    }
}

/// Makes writers for which what cannot be printed is written as an escape that JSON knows, too. A line is what is written at once.
#[derive(Debug)]
struct Plain<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Plain<W> {
    type Writer = Plain<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Plain(self.0.make_writer())
    }
}

impl<W: io::Write> io::Write for Plain<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(plain(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn plain(line: &str) -> String {
    let (said, end) = line.strip_suffix('\n').map_or((line, ""), |said| (said, "\n"));
    let mut out = String::with_capacity(line.len());
    for c in said.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            c if label::is_printable(c) => out.push(c),
            // As JSON writes it, in units of UTF-16.
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string does not fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out + end
}

/// A layer that leaves out what is too much. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Flood(Arc<Mutex<HashMap<Identifier, Kind>>>);

#[derive(Debug)]
struct Kind {
    since: Instant,
    lines: u32,
    left_out: u64,
    /// Where it is said.
    place: String,
}

impl Flood {
    /// Says every minute what was left out, for as long as the runtime lives.
    pub fn tell_every_minute(&self) {
        let flood = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PERIOD).await;
                for (place, lines) in flood.left_out() {
                    info!(place, lines, "lines like others were left out of this log");
                }
            }
        });
    }

    /// What was left out since the last time, by place.
    fn left_out(&self) -> Vec<(String, u64)> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = kinds.values_mut().filter(|kind| kind.left_out > 0);
        left_out.map(|kind| (kind.place.clone(), std::mem::take(&mut kind.left_out))).collect()
    }

    fn admits(&self, callsite: Identifier, place: impl FnOnce() -> String) -> bool {
        let (mut kinds, now) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), clock::instant());
        kinds.entry(callsite).or_insert_with(|| Kind::new(now, place())).admits(now)
    }
}

impl Kind {
    fn new(since: Instant, place: String) -> Self {
        Self { since, lines: 0, left_out: 0, place }
    }

    fn admits(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= PERIOD {
            (self.since, self.lines) = (now, 0);
        }
        let is_admitted = self.lines < LINES_MAX;
        match is_admitted {
            true => self.lines += 1,
            false => self.left_out += 1,
        }
        is_admitted
    }
}

impl<S: Subscriber> Layer<S> for Flood {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let about = event.metadata();
        // Who asks for a line of every request gets them all.
        if about.target() == REQUESTS && *about.level() == Level::DEBUG {
            return true;
        }
        let place = || match (about.file(), about.line()) {
            (Some(file), Some(line)) => format!("{} ({file}:{line})", about.target()),
            _ => about.target().to_owned(),
        };
        self.admits(about.callsite(), place)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::Value;
    use tracing::{debug, error, warn};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flood_of_one_kind_is_cut_off_and_counted_and_other_lines_are_not() {
        let (flood, written) = (Flood::default(), Written::default());
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let log = tracing_subscriber::registry().with(flood.clone()).with(layer);
        tracing::subscriber::with_default(log, || {
            for connection in 0..10_000 {
                warn!(connection, "it was reset");
            }
            warn!("the disk is full");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("it was reset").count(), LINES_MAX as usize);
        assert_eq!(text.matches("the disk is full").count(), 1);
        let left_out = flood.left_out();
        assert_eq!(left_out.len(), 1);
        assert!(left_out[0].0.contains("log.rs:") && left_out[0].1 == 10_000 - u64::from(LINES_MAX), "{left_out:?}");
        assert_eq!(flood.left_out(), [], "told once");
    }

    /// What is written of a few lines that strangers may have had a hand in.
    fn written(format: Format) -> String {
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::registry().with(lines(format, move || writer.clone()));
        tracing::subscriber::with_default(log, || {
            for hostile in
                ["a\nERROR b", "a\r\n\u{1b}[2J", "\u{202e}gpj\u{2028}", "\"}\n{\"level\":\"x", "\u{9b}31m\u{7f}"]
            {
                warn!(debug = hostile, display = %hostile, "it says {hostile}");
                error!("{hostile}");
            }
        });
        let written = written.0.lock().unwrap().clone();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn whatever_is_said_a_line_is_one_line_and_changes_no_terminal() {
        let text = written(Format::Text);
        assert_eq!(text.lines().count(), 10, "{text}");
        for (line, level) in text.lines().zip(["WARN", "ERROR"].into_iter().cycle()) {
            assert_eq!(line.split_whitespace().nth(1), Some(level), "{line}");
            assert!(line.chars().all(label::is_printable), "{line:?}");
        }
        assert!(text.contains("a\\nERROR b"), "{text}");
    }

    #[test]
    fn a_line_is_an_object_for_programs_and_says_what_was_said() {
        let text = written(Format::Json);
        let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects.len(), 10, "{text}");
        assert!(text.chars().all(|c| c == '\n' || label::is_printable(c)), "{text:?}");
        assert_eq!((&objects[0]["level"], &objects[0]["debug"]), (&"WARN".into(), &"a\nERROR b".into()));
        assert_eq!(objects[2]["display"], "a\r\n\u{1b}[2J");
        assert_eq!(objects[5]["message"], "\u{202e}gpj\u{2028}");
        assert!(objects.iter().all(|object| object["timestamp"].is_string() && object["target"].is_string()));
    }

    #[test]
    fn who_asks_for_every_request_gets_them_all_and_strangers_still_flood_nothing() {
        let (flood, written) = (Flood::default(), Written::default());
        let writer = written.clone();
        let log = tracing_subscriber::registry().with(flood).with(lines(Format::Text, move || writer.clone()));
        tracing::subscriber::with_default(log, || {
            for _ in 0..1_000 {
                debug!(target: REQUESTS, "fine");
                info!(target: REQUESTS, "refused");
            }
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!((text.matches("fine").count(), text.matches("refused").count()), (1_000, LINES_MAX as usize));
    }

    #[test]
    fn a_minute_later_a_kind_is_told_again() {
        let begun = Instant::now();
        let mut kind = Kind::new(begun, String::new());
        let mut admitted = |now| (0..100).filter(|_| kind.admits(now)).count();
        assert_eq!(admitted(begun), LINES_MAX as usize);
        assert_eq!(admitted(begun + PERIOD / 2), 0);
        assert_eq!(admitted(begun + PERIOD), LINES_MAX as usize);
    }
}
