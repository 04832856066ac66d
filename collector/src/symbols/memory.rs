//! The memory that child processes may take together. Each gets its share; one whose file needs more is run again alone, with all of it.
#![expect(clippy::disallowed_methods, reason = "the kernel tells in files how much memory there is")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

/// Below this not even a small service's file is read.
pub const MEMORY_BYTES_MIN: u64 = 64 << 20;

/// What it is where nobody says otherwise.
pub const MEMORY_BYTES: u64 = 1 << 30;

/// Child processes at the same time, where there is memory for them.
const WORKERS_MAX: u64 = 2;

/// The children's memory.
#[derive(Debug)]
pub(super) struct Memory {
    total: u64,
    workers: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

/// Memory of one child, given back when dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    of: &'a Memory,
    pub(super) bytes: u64,
}

impl Memory {
    /// `wanted` bytes together, but not more than half of what the machine has; for one child at a time where that is little.
    pub(super) fn new(wanted: u64, machine: u64) -> Self {
        let total = wanted.min((machine / 2).max(MEMORY_BYTES_MIN));
        let workers = if machine / 4 < total { 1 } else { WORKERS_MAX };
        Self { total, workers, free: Mutex::new(total), freed: Condvar::new() }
    }

    /// What a child gets at first. Blocks until it is there.
    pub(super) fn share(&self) -> Share<'_> {
        self.take(self.total / self.workers)
    }

    /// All of it. Blocks until all others have given theirs back.
    pub(super) fn all(&self) -> Share<'_> {
        self.take(self.total)
    }

    /// True where a share is less than everything.
    pub(super) fn is_shared(&self) -> bool {
        self.workers > 1
    }

    fn take(&self, bytes: u64) -> Share<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free < bytes).unwrap_or_else(PoisonError::into_inner);
        *free -= bytes;
        Share { of: self, bytes }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.of.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.of.freed.notify_all();
    }
}

/// Bytes of memory that this process may use: the machine's, or what its control group leaves of it.
pub(super) fn of_machine() -> u64 {
    let all = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)).unwrap_or(u64::MAX);
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limits(&group).into_iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).fold(all, u64::min)
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The files that limit a process's memory, by its `/proc/self/cgroup`: those of its groups and of all above them.
fn limits(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(group.trim_start_matches('/'));
        files.extend(group.ancestors().map(|group| Path::new(root).join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn where_memory_is_small_there_is_less_of_it_for_one_at_a_time() {
        for (wanted, machine, total, workers) in [
            (GIB, 16 * GIB, GIB, 2),
            (GIB, u64::MAX, GIB, 2),
            (GIB, 4 * GIB, GIB, 2),
            (GIB, 3 * GIB, GIB, 1),
            (GIB, GIB / 2, GIB / 4, 1),
            (GIB, 0, MEMORY_BYTES_MIN, 1),
        ] {
            let memory = Memory::new(wanted, machine);
            assert_eq!((memory.total, memory.workers), (total, workers), "{wanted} of {machine}");
            let share = memory.share().bytes;
            assert_eq!((share, memory.all().bytes), (total / workers, total));
        }
    }

    #[test]
    fn all_of_it_waits_for_the_shares_of_others() {
        let memory = Memory::new(GIB, u64::MAX);
        let share = memory.share();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| memory.all().bytes);
            assert_eq!(memory.share().bytes, GIB / 2, "there is a second share");
            drop(share);
            assert_eq!(other.join().unwrap(), GIB);
        });
    }

    #[test]
    fn limits_of_both_generations_of_control_groups_are_known() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       24684092 kB\n"), Some(24_684_092 * 1024));
        assert_eq!(total("nothing"), None);
        let files = limits("0::/a/b\n");
        let expected =
            ["a/b/memory.max", "a/memory.max", "memory.max"].map(|file| Path::new("/sys/fs/cgroup").join(file));
        assert_eq!(files, expected);
        assert_eq!(limits("0::/\n"), [Path::new("/sys/fs/cgroup/memory.max")]);
        let old = limits("4:cpu:/x\n3:hugetlb,memory:/x\n");
        assert_eq!(old[0], Path::new("/sys/fs/cgroup/memory/x/memory.limit_in_bytes"));
        assert_eq!(old.len(), 2);
        assert!(of_machine() > MEMORY_BYTES_MIN);
    }
}
