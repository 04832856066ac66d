//! Clocks that a signal handler may read: the kernel answers through the vDSO, without a system call.

/// Milliseconds since 1970, to the kernel's tick: windows are 10 s long, and the coarse clock costs next to nothing.
pub(crate) fn unix_time_ms() -> u64 {
    let now = read(libc::CLOCK_REALTIME_COARSE);
    (now.tv_sec as u64).wrapping_mul(1_000).wrapping_add(now.tv_nsec as u64 / 1_000_000)
}

/// Nanoseconds of a clock that only moves forward.
pub(crate) fn monotonic_ns() -> u64 {
    nanos(read(libc::CLOCK_MONOTONIC))
}

/// CPU time of the whole process since it began, in nanoseconds, threads that ended included. A system call, so not for
/// signal handlers.
pub(crate) fn process_cpu_ns() -> u64 {
    nanos(read(libc::CLOCK_PROCESS_CPUTIME_ID))
}

/// CPU time of all of the process's threads but the calling one, since the process began, in nanoseconds. Two system calls.
pub(crate) fn others_cpu_ns() -> u64 {
    process_cpu_ns().saturating_sub(nanos(read(libc::CLOCK_THREAD_CPUTIME_ID)))
}

fn nanos(time: libc::timespec) -> u64 {
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a local; allowed in signal handlers by POSIX.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now
}
