//! What the kernel says about this process: CPU time, by `/proc`. Where that is missing, the answer is zero.

use std::fs;
use std::time::Duration;

/// CPU time of the whole process since it began, in nanoseconds, to 10 ms.
#[cfg_attr(not(test), allow(dead_code, reason = "only the fallback asks: the sampler has a better clock"))]
pub(crate) fn cpu_ns() -> u64 {
    fs::read_to_string("/proc/self/stat").ok().and_then(|stat| parse_stat(&stat)).unwrap_or_default()
}

/// User and system time follow the command in parentheses, which may itself hold parentheses and spaces.
fn parse_stat(stat: &str) -> Option<u64> {
    /// The kernel shows process times in ticks of 10 ms (USER_HZ), whatever its own clock does.
    const TICK_NS: u64 = 10_000_000;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|ticks| ticks.parse::<u64>().ok());
    times.next()??.checked_add(times.next()??)?.checked_mul(TICK_NS)
}

/// The calling thread's id.
pub(crate) fn thread_id() -> Option<u32> {
    fs::read_link("/proc/thread-self").ok()?.file_name()?.to_str()?.parse().ok()
}

/// CPU time of one of this process's threads; zero for one that is gone.
pub(crate) fn thread_cpu(tid: u32) -> Duration {
    let schedstat = fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).unwrap_or_default();
    let ns = schedstat.split_whitespace().next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_past_any_command_name() {
        let stat = "42 (a ) b (c) 1 R) S 1 42 42 0 -1 4194304 1 2 3 4 150 50 7 8 20 0 9 0 1 2 3";
        assert_eq!(parse_stat(stat), Some(2_000_000_000));
        assert_eq!(parse_stat("garbage"), None);
        assert_eq!(parse_stat("1 (x) S 1 2"), None);
    }

    #[test]
    fn work_shows_in_both_clocks() {
        let tid = thread_id().unwrap();
        let before = thread_cpu(tid);
        while thread_cpu(tid) < before + Duration::from_millis(30) {
            std::hint::black_box((0..1_000u64).sum::<u64>());
        }
        assert!(cpu_ns() >= 20_000_000);
    }
}
