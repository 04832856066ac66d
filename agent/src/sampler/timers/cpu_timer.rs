//! POSIX CPU timers of other threads, by the kernel's own interface: C libraries offer no way to name another thread.

use std::io;
use std::time::Duration;

/// One timer. Not deleted on drop, because the process may have forked and the timer may be the parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timer {
    id: libc::c_int,
}

impl Timer {
    /// Arms a timer on the CPU time of thread `tid` that sends it SIGPROF with `value` attached, first after `first`, then
    /// every `period`.
    ///
    /// # Errors
    /// The kernel's: `EAGAIN` when RLIMIT_SIGPENDING is reached, `EINVAL` when the thread is gone.
    pub(crate) fn of_thread(tid: u32, value: usize, first: Duration, period: Duration) -> io::Result<Self> {
        Self::arm(clock_of_thread(tid), event_for(tid, value), first, period)
    }

    /// Arms a timer on the CPU time of the whole process that sends SIGVTALRM with `value` attached to whichever thread
    /// uses it up.
    ///
    /// # Errors
    /// `Unsupported` for kernels before 6.4: they would rather interrupt the main thread, even in its sleep. Otherwise as
    /// for [`of_thread`](Self::of_thread).
    pub(crate) fn of_process(value: usize, first: Duration, period: Duration) -> io::Result<Self> {
        if kernel_release().is_none_or(|release| release < (6, 4)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut event = event(value);
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGVTALRM;
        Self::arm(libc::CLOCK_PROCESS_CPUTIME_ID, event, first, period)
    }

    /// Arms a timer on the CPU time of the whole process that sends thread `tid` SIGPROF with `value` attached, once, when `after` of it
    /// was used, by whomever.
    ///
    /// # Errors
    /// As for [`of_thread`](Self::of_thread).
    pub(crate) fn of_process_for(tid: u32, value: usize, after: Duration) -> io::Result<Self> {
        Self::arm(libc::CLOCK_PROCESS_CPUTIME_ID, event_for(tid, value), after, Duration::ZERO)
    }

    fn arm(clock: libc::clockid_t, mut event: libc::sigevent, first: Duration, period: Duration) -> io::Result<Self> {
        let mut id: libc::c_int = 0;
        // SAFETY: both pointers are to locals of the kernel's types.
        check(unsafe { libc::syscall(libc::SYS_timer_create, clock, &raw mut event, &raw mut id) })?;
        let timer = Self { id };
        timer.run(first, period).inspect_err(|_| timer.delete())?;
        Ok(timer)
    }

    /// Expires after `first`, then every `period`; once only if that is zero.
    ///
    /// # Errors
    /// The kernel's: `EINVAL` when the thread is gone.
    pub(crate) fn run(self, first: Duration, period: Duration) -> io::Result<()> {
        let times = libc::itimerspec { it_interval: timespec(period), it_value: timespec(first) };
        let nothing = std::ptr::null_mut::<libc::itimerspec>();
        // SAFETY: `times` is a local; no old value is asked for; an unknown id is only an error.
        check(unsafe { libc::syscall(libc::SYS_timer_settime, self.id, 0, &raw const times, nothing) })
    }

    /// Does not expire until it runs again. It stays, so no limit can refuse it then.
    pub(crate) fn rest(self) {
        // Zero is how timers are stopped. An unknown one is stopped already.
        let _ = self.run(Duration::ZERO, Duration::ZERO);
    }

    /// Whether the timer's thread still runs. The kernel clears the timer of a thread that ended, even if another thread
    /// has its number by now.
    pub(crate) fn is_running(self) -> bool {
        let zero = timespec(Duration::ZERO);
        let mut times = libc::itimerspec { it_interval: zero, it_value: zero };
        // SAFETY: `times` is a local of the kernel's type; an unknown id is only an error.
        let got = check(unsafe { libc::syscall(libc::SYS_timer_gettime, self.id, &raw mut times) });
        got.is_ok() && (times.it_value.tv_sec, times.it_value.tv_nsec) != (0, 0)
    }

    /// Deletes the timer.
    pub(crate) fn delete(self) {
        // SAFETY: takes a number; deleting an unknown timer is only an error.
        unsafe { libc::syscall(libc::SYS_timer_delete, self.id) };
    }
}

/// CPU time that thread `tid` of this process has used; zero for one that is gone.
pub(crate) fn thread_cpu(tid: u32) -> Duration {
    let mut used = timespec(Duration::ZERO);
    // SAFETY: writes to a local; an unknown clock is only an error.
    unsafe { libc::clock_gettime(clock_of_thread(tid), &raw mut used) };
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// Bit 2: a thread's clock rather than a process's; 2: scheduler time. As the kernel's CPUCLOCK macros have it.
fn clock_of_thread(tid: u32) -> libc::clockid_t {
    ((!tid as libc::c_int) << 3) | 6
}

/// SIGPROF to one thread.
fn event_for(tid: u32, value: usize) -> libc::sigevent {
    let mut event = event(value);
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = libc::SIGPROF;
    event.sigev_notify_thread_id = tid as libc::c_int;
    event
}

fn event(value: usize) -> libc::sigevent {
    // SAFETY: a plain C structure of integers and a pointer, for which all zero is a valid value.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_value.sival_ptr = value as *mut libc::c_void;
    event
}

/// Major and minor version of the running kernel.
fn kernel_release() -> Option<(u32, u32)> {
    parse_release(&std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?)
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec { tv_sec: duration.as_secs() as libc::time_t, tv_nsec: duration.subsec_nanos() as libc::c_long }
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_told_apart_by_their_release() {
        assert_eq!(parse_release("6.18.44-fc-v595\n"), Some((6, 18)));
        assert_eq!(parse_release("5.4"), Some((5, 4)));
        assert_eq!(parse_release("6"), None);
        assert_eq!(parse_release("generic"), None);
        assert!(kernel_release().is_some());
    }
}
