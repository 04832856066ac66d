//! Work to be profiled: many distinct stacks, steady allocation.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use tephra_tests::bench::Random;

/// Recursion over uneven paths, hashing, maps and short-lived strings: many distinct stacks, steady allocation.
pub(crate) struct Work {
    random: Random,
    kept: BTreeMap<u64, String>,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self { random: Random::seeded(5), kept: BTreeMap::new() }
    }

    /// Rounds per second of CPU time, interruptions included: what other processes take is not the agent's doing.
    pub(crate) fn run(&mut self, lasts: Duration) -> f64 {
        let start = Instant::now();
        let on_cpu = thread_cpu();
        let mut rounds = 0;
        while start.elapsed() < lasts {
            for _ in 0..50 {
                let path = self.random.next();
                black_box(self.walk(path, 28));
                rounds += 1;
            }
        }
        f64::from(rounds) / (thread_cpu() - on_cpu).as_secs_f64()
    }

    #[inline(never)]
    fn walk(&mut self, path: u64, depth: u32) -> u64 {
        if depth == 0 {
            return self.leaf(path);
        }
        match path >> depth & 3 {
            0 => self.left(path, depth - 1),
            1 => self.right(path, depth - 1),
            _ => self.walk(path, depth - 1).wrapping_add(1),
        }
    }

    #[inline(never)]
    fn left(&mut self, path: u64, depth: u32) -> u64 {
        self.walk(path, depth).rotate_left(3)
    }

    #[inline(never)]
    fn right(&mut self, path: u64, depth: u32) -> u64 {
        self.walk(path, depth) ^ 0x55
    }

    #[inline(never)]
    fn leaf(&mut self, path: u64) -> u64 {
        let text = format!("{path:x}").repeat(8);
        let hash = text.bytes().fold(path, |hash, byte| hash.wrapping_mul(31) ^ u64::from(byte));
        self.kept.insert(path % 4_096, text);
        hash
    }
}

/// CPU time of this thread so far.
pub(crate) fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0))
}
