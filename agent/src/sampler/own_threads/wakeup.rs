//! What wakes the agent thread before its time: a command, or the process at work.
//!
//! While a process rests, the agent thread looks at nothing: the kernel does, where it counts CPU time anyway. A timer on the CPU time
//! of the whole process sends the agent thread, and no other, a signal as soon as a little of it was used. The signal interrupts the
//! wait; one that comes just before the wait has moved the count by which the wait is told that it is late.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Wake-ups so far.
static WAKEUPS: AtomicU32 = AtomicU32::new(0);

/// The alarm went off, on the agent thread itself, so nobody has to be woken. Safe in a signal handler.
pub(crate) fn came() {
    WAKEUPS.fetch_add(1, Ordering::Relaxed);
}

/// Wakes the agent thread. For every other thread.
pub(crate) fn wake() {
    WAKEUPS.fetch_add(1, Ordering::Release);
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: wakes whoever waits for this static; the kernel reads nothing else.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            WAKEUPS.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
            nothing,
            nothing,
            0,
        );
    }
}

/// Wake-ups so far. To be asked before whatever they come for is looked at.
pub(crate) fn seen() -> u32 {
    WAKEUPS.load(Ordering::Acquire)
}

/// Waits for one more wake-up than were `seen`, but no longer than `at_most`. May return early.
pub(crate) fn wait(seen: u32, at_most: Duration) {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(at_most.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: at_most.subsec_nanos().into(),
    };
    let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the kernel compares a static with a number and reads a local; with a timeout, a signal ends the wait in any case.
    unsafe { libc::syscall(libc::SYS_futex, WAKEUPS.as_ptr(), wait, seen, &raw const timeout, nothing, 0) };
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Longer than any test machine is away.
    const FOR_EVER: Duration = Duration::from_secs(3600);

    #[test]
    fn whoever_was_late_does_not_wait() {
        let before = seen();
        wake();
        wait(before, FOR_EVER);
    }

    #[test]
    fn a_wake_up_ends_the_wait() {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let before = seen();
                while seen() == before {
                    wait(before, FOR_EVER);
                }
            });
            while !waiting.is_finished() {
                wake();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }

    #[test]
    fn without_one_the_time_ends_it() {
        let (started, time) = (Instant::now(), Duration::from_millis(20));
        while started.elapsed() < time {
            wait(seen(), time);
        }
    }
}
