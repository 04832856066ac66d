//! System calls of a thread, trapped by the kernel's own dispatch of them. A lock that is waited for is a system call too.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// From `linux/prctl.h`: system calls of this thread are trapped or let through, as one byte of its memory says.
const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;
const PR_SYS_DISPATCH_ON: libc::c_ulong = 1;
pub const ALLOW: u8 = 0;
pub const BLOCK: u8 = 1;

pub type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

pub static SYSCALLS: AtomicU64 = AtomicU64::new(0);
/// The number of the last one trapped.
pub static LAST_SYSCALL: AtomicI32 = AtomicI32::new(-1);

thread_local! {
    /// Read by the kernel at every system call of a thread that asked for it.
    static SELECTOR: UnsafeCell<u8> = const { UnsafeCell::new(ALLOW) };
}

pub extern "C" fn on_trapped(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // Open before anything else: this handler has to return by a system call.
    set_trap(ALLOW);
    SYSCALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the kernel passes SIGSYS handlers the call's address, number and architecture behind the three common fields.
    LAST_SYSCALL.store(unsafe { info.cast::<c_int>().add(6).read() }, Ordering::Relaxed);
}

pub fn set_trap(selector: u8) {
    // SAFETY: only this thread and the kernel on its behalf use the byte, one at a time.
    SELECTOR.with(|byte| unsafe { byte.get().write_volatile(selector) });
}

pub fn install(signal: c_int, handler: Handler) -> usize {
    // SAFETY: `sigaction` is a C structure for which zero is valid, the pointers are to locals, and the handler has the
    // signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        assert_eq!(libc::sigaction(signal, &raw const action, &raw mut before), 0);
        before.sa_sigaction
    }
}

/// From now on, system calls of this thread obey its selector.
pub fn obey_selector() {
    let byte = SELECTOR.with(UnsafeCell::get);
    // SAFETY: the byte lives as long as the thread does.
    let set = unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, byte) };
    assert_eq!(set, 0, "Linux 5.11 or later is needed: {}", std::io::Error::last_os_error());
}
