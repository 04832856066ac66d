//! What the agent has to say to people, on stderr: rarely, in one line, and never more than once a minute per matter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A matter that may need saying. One `static` per call site.
pub(crate) struct Notice {
    /// Seconds since the first notice of the process, plus one; 0: never said.
    last: AtomicU64,
}

impl Notice {
    const PAUSE_S: u64 = 60;

    pub(crate) const fn new() -> Self {
        Self { last: AtomicU64::new(0) }
    }

    /// Writes `text`, unless this matter was mentioned less than a minute ago. Control characters, which may come
    /// from a collector's reply, are escaped, and the line is cut at 500 characters.
    pub(crate) fn say(&self, text: &str) {
        if self.due() {
            let line: String = text.chars().take(500).flat_map(char::escape_debug).collect();
            // A closed stderr is no reason to fail.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("tephra: {line}\n").as_bytes());
        }
    }

    fn due(&self) -> bool {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let now = START.get_or_init(Instant::now).elapsed().as_secs() + 1;
        let last = self.last.load(Ordering::Relaxed);
        (last == 0 || now >= last + Self::PAUSE_S)
            && self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_matter_is_said_once_a_minute() {
        let (one, other) = (Notice::new(), Notice::new());
        assert!(one.due());
        assert!(!one.due());
        assert!(other.due());
    }
}
