//! Installs the handler beside whatever else handles signals in this process.

use std::ffi::c_int;
use std::io;

use super::on_signal::on_signal;
use super::previous::{self, Handler};

/// A handler that touches only what signal handlers may.
const OURS: Handler = on_signal;

/// Handles SIGPROF, unless it is handled already. Who did so before keeps getting the signals that are not ours.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn install() -> io::Result<()> {
    keep_out_of_crash_handlers()?;
    let current = current_action(libc::SIGPROF)?;
    if current.sa_sigaction == OURS as usize {
        return Ok(());
    }
    let foreign = is_handler(&current);
    previous::remember(if foreign { current.sa_sigaction } else { 0 }, current.sa_flags);
    handle(libc::SIGPROF)
}

/// Handles SIGVTALRM, unless the program does so itself.
///
/// # Errors
/// `AddrInUse` when the program does; otherwise the kernel's.
pub(crate) fn install_for_process() -> io::Result<()> {
    let current = current_action(libc::SIGVTALRM)?;
    match current.sa_sigaction {
        ours if ours == OURS as usize => Ok(()),
        _ if is_handler(&current) => Err(io::ErrorKind::AddrInUse.into()),
        _ => handle(libc::SIGVTALRM),
    }
}

/// Lets crash handlers with a stack of their own finish before ours runs: such a stack is small, and one signal's registers and
/// frames on top of another's may not fit. The process would end without a word.
fn keep_out_of_crash_handlers() -> io::Result<()> {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        let mut action = current_action(signal)?;
        if !is_handler(&action) || action.sa_flags & libc::SA_ONSTACK == 0 {
            continue;
        }
        for ours in [libc::SIGPROF, libc::SIGVTALRM] {
            // SAFETY: adds to a set that the kernel filled in.
            unsafe { libc::sigaddset(&raw mut action.sa_mask, ours) };
        }
        let before = set_action(signal, &action)?;
        if before.sa_sigaction != action.sa_sigaction {
            // Somebody else's has come in between: it stays, as it was.
            set_action(signal, &before)?;
        }
    }
    Ok(())
}

fn is_handler(action: &libc::sigaction) -> bool {
    action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN
}

fn current_action(signal: c_int) -> io::Result<libc::sigaction> {
    // SAFETY: `sigaction` is a C structure for which zero is valid.
    let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: asks only, and writes to a local.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut current) };
    if asked == 0 { Ok(current) } else { Err(io::Error::last_os_error()) }
}

fn handle(signal: c_int) -> io::Result<()> {
    // SAFETY: `sigaction` is a C structure for which zero is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = OURS as usize;
    // Interrupted calls go on by themselves. No alternate stack: std's is too small to share, and ours needs little. No
    // other signal is blocked meanwhile, for blocking one of the process's hands it on to another thread.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    set_action(signal, &action).map(drop)
}

/// Installs a handler that has the signature its flags ask for and touches only what signal handlers may. Returns what was there.
fn set_action(signal: c_int, action: &libc::sigaction) -> io::Result<libc::sigaction> {
    // SAFETY: `sigaction` is a C structure for which zero is valid.
    let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: ours is such a handler, and every other one comes from the kernel as it was installed.
    let set = unsafe { libc::sigaction(signal, action, &raw mut before) };
    if set == 0 { Ok(before) } else { Err(io::Error::last_os_error()) }
}
