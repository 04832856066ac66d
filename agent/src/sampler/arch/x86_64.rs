//! Registers and the thread pointer of x86-64.

use std::arch::asm;
use std::ffi::c_void;

use framehop::UnwindRegsNative;

/// The registers a stack walk starts from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registers {
    /// Program counter.
    pub(crate) pc: u64,
    /// Stack pointer.
    pub(crate) sp: u64,
    /// Frame pointer, which code is free to use for something else.
    pub(crate) fp: u64,
}

impl Registers {
    /// Reads the registers of the code a signal interrupted.
    ///
    /// # Safety
    /// `context` is the third argument of a running `SA_SIGINFO` handler.
    #[allow(
        clippy::indexing_slicing,
        reason = "by constants, which the compiler holds against the length of the array"
    )]
    pub(crate) unsafe fn interrupted(context: *const c_void) -> Self {
        // SAFETY: the caller got the pointer from the kernel, which points it at a whole ucontext on the signal frame.
        let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        Self {
            pc: registers[libc::REG_RIP as usize] as u64,
            sp: registers[libc::REG_RSP as usize] as u64,
            fp: registers[libc::REG_RBP as usize] as u64,
        }
    }

    /// Reads the registers here. Valid for a walk as long as the function this is inlined into has not returned.
    #[inline(always)]
    pub(crate) fn here() -> Self {
        let (pc, sp, fp): (u64, u64, u64);
        // SAFETY: only copies registers; touches no memory, stack or flags.
        unsafe {
            asm!("lea {pc}, [rip]", "mov {sp}, rsp", "mov {fp}, rbp", pc = out(reg) pc, sp = out(reg) sp,
                fp = out(reg) fp, options(nomem, nostack, preserves_flags));
        }
        Self { pc, sp, fp }
    }

    /// The stack pointer.
    pub(crate) fn sp(&self) -> u64 {
        self.sp
    }

    /// As the unwinder wants them.
    pub(crate) fn for_unwinding(&self) -> UnwindRegsNative {
        UnwindRegsNative::new(self.pc, self.sp, self.fp)
    }
}

/// Address of the running thread's control block, which C libraries place at the top of the thread's own stack.
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: the ABI keeps the thread pointer itself at fs:0 in every thread.
    unsafe {
        asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly));
    }
    pointer
}
