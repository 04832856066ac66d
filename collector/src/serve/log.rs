//! A log that strangers cannot flood: of each kind of line only so many in a minute, and then how many more there were.
//!
//! A kind is the place in the code that says it, ours or a library's: a line for each connection that somebody resets is one kind.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Subscriber, info};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::base::clock;

/// Lines of one kind within a [`PERIOD`].
const LINES_MAX: u32 = 20;

/// How long a place of the code counts until it may log again.
const PERIOD: Duration = Duration::from_secs(60);

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

    use tracing::warn;
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
