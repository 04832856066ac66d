//! The signal handler: installed once and for ever, because a signal may arrive long after sampling stopped and would end
//! the process if nobody handled it.
//!
//! Threads' own timers and the agent thread's alarm send SIGPROF, the process's timer sends SIGVTALRM. They must differ: a signal to the
//! process that meets a handler of the same signal is handed on to another thread, which may be asleep.

mod install;
mod mask;
mod on_signal;
mod previous;

pub(crate) use self::install::{install, install_for_process};
pub(crate) use self::mask::set_blocked;
