//! The alarm of a process at rest: one timer on the CPU time of the whole process wakes the agent thread, and no other, as soon as a
//! little of it was used. So the kernel looks, where it counts CPU time anyway, and the agent thread sleeps.

use std::io;
use std::time::Duration;

use super::cpu_timer::Timer;

/// What the alarm's signals carry: an address that nothing else can have.
static MARK: u8 = 0;

/// CPU time of the whole process after which the agent thread is woken: less than one sample stands for at the usual rate, and far
/// less than fills a ring.
const ALARM_AFTER: Duration = Duration::from_millis(5);

/// What its signals carry.
fn mark() -> usize {
    &raw const MARK as usize
}

/// Whether a signal's value says that the alarm sent it. Safe in a signal handler.
pub(crate) fn is_from_alarm(value: usize) -> bool {
    value == mark()
}

/// Rings once the process has used a little CPU time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alarm(Timer);

impl Alarm {
    /// Sets one that rings for thread `tid`, which is the one that waits.
    ///
    /// # Errors
    /// The kernel's, as for any timer.
    pub(crate) fn set(tid: u32) -> io::Result<Self> {
        Timer::of_process_for(tid, mark(), ALARM_AFTER).map(Self)
    }

    /// Sets it anew, whether it rang or not.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn set_again(self) -> io::Result<()> {
        self.0.run(ALARM_AFTER, Duration::ZERO)
    }

    /// Never rings again.
    pub(crate) fn delete(self) {
        self.0.delete();
    }
}
