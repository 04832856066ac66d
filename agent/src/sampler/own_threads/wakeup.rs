//! What wakes the agent thread before its time: a command, or the process at work.
//!
//! While a process rests, the agent thread looks at nothing: the kernel does, where it counts CPU time anyway. A timer on the CPU time
//! of the whole process sends the agent thread, and no other, a signal as soon as a little of it was used. The signal interrupts the
//! wait; one that comes just before the wait has moved the count by which the wait is told that it is late.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How often it rang.
static RUNG: AtomicU32 = AtomicU32::new(0);

/// The alarm went off, on the agent thread itself, so nobody has to be woken. Safe in a signal handler.
pub(crate) fn rung() {
    RUNG.fetch_add(1, Ordering::Relaxed);
}

/// Wakes the agent thread. For every other thread.
pub(crate) fn ring() {
    RUNG.fetch_add(1, Ordering::Release);
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: wakes whoever waits for this static; the kernel reads nothing else.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            RUNG.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
            nothing,
            nothing,
            0,
        );
    }
}

/// How often it rang so far. To be asked before whatever it rings for is looked at.
pub(crate) fn heard() -> u32 {
    RUNG.load(Ordering::Acquire)
}

/// Waits until it rings once more than was `heard`, but no longer than `at_most`. May return early.
pub(crate) fn wait(heard: u32, at_most: Duration) {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(at_most.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: at_most.subsec_nanos().into(),
    };
    let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the kernel compares a static with a number and reads a local; with a timeout, a signal ends the wait in any case.
    unsafe { libc::syscall(libc::SYS_futex, RUNG.as_ptr(), wait, heard, &raw const timeout, nothing, 0) };
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Longer than any test machine is away.
    const FOR_EVER: Duration = Duration::from_secs(3600);

    #[test]
    fn whoever_was_late_does_not_wait() {
        let before = heard();
        ring();
        wait(before, FOR_EVER);
    }

    #[test]
    fn a_ring_ends_the_wait() {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let before = heard();
                while heard() == before {
                    wait(before, FOR_EVER);
                }
            });
            while !waiting.is_finished() {
                ring();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }

    #[test]
    fn without_a_ring_the_time_ends_it() {
        let (started, time) = (Instant::now(), Duration::from_millis(20));
        while started.elapsed() < time {
            wait(heard(), time);
        }
    }
}
