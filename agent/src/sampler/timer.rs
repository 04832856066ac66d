//! POSIX CPU timers of other threads, by the kernel's own interface: C libraries offer no way to name another thread.

use std::io;
use std::time::Duration;

/// One timer. Not deleted on drop, because the process may have forked and the timer may be the parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timer {
    id: libc::c_int,
}

impl Timer {
    /// Arms a timer on the CPU time of thread `tid` that sends it SIGPROF with `value` attached, first after `first`, then
    /// every `period`.
    ///
    /// # Errors
    /// The kernel's: `EAGAIN` when RLIMIT_SIGPENDING is reached, `EINVAL` when the thread is gone.
    pub(super) fn arm(tid: u32, value: usize, first: Duration, period: Duration) -> io::Result<Self> {
        // Bit 2: a thread's clock rather than a process's; 2: scheduler time. As the kernel's CPUCLOCK macros have it.
        let clock = ((!tid as libc::c_int) << 3) | 6;
        let mut event: libc::sigevent = zeroed_sigevent();
        event.sigev_value.sival_ptr = value as *mut libc::c_void;
        event.sigev_signo = libc::SIGPROF;
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_notify_thread_id = tid as libc::c_int;
        let mut id: libc::c_int = 0;
        // SAFETY: both pointers are to locals of the kernel's types.
        check(unsafe { libc::syscall(libc::SYS_timer_create, clock, &raw mut event, &raw mut id) })?;
        let timer = Self { id };
        let times = libc::itimerspec { it_interval: timespec(period), it_value: timespec(first) };
        let nothing = std::ptr::null_mut::<libc::itimerspec>();
        // SAFETY: the timer was just made; `times` is a local; no old value is asked for.
        let set = check(unsafe { libc::syscall(libc::SYS_timer_settime, timer.id, 0, &raw const times, nothing) });
        if let Err(error) = set {
            timer.delete();
            return Err(error);
        }
        Ok(timer)
    }

    /// Whether the timer's thread still runs. The kernel clears the timer of a thread that ended, even if another thread
    /// has its number by now.
    pub(super) fn is_running(self) -> bool {
        let zero = timespec(Duration::ZERO);
        let mut times = libc::itimerspec { it_interval: zero, it_value: zero };
        // SAFETY: `times` is a local of the kernel's type; an unknown id is only an error.
        let got = check(unsafe { libc::syscall(libc::SYS_timer_gettime, self.id, &raw mut times) });
        got.is_ok() && (times.it_value.tv_sec, times.it_value.tv_nsec) != (0, 0)
    }

    /// Deletes the timer.
    pub(super) fn delete(self) {
        // SAFETY: takes a number; deleting an unknown timer is only an error.
        unsafe { libc::syscall(libc::SYS_timer_delete, self.id) };
    }
}

fn zeroed_sigevent() -> libc::sigevent {
    // SAFETY: a plain C structure of integers and a pointer, for which all zero is a valid value.
    unsafe { std::mem::zeroed() }
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec { tv_sec: duration.as_secs() as libc::time_t, tv_nsec: duration.subsec_nanos() as libc::c_long }
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
