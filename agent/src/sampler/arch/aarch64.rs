//! Registers and the thread pointer of AArch64, where return addresses may be signed.

use std::arch::asm;
use std::ffi::c_void;

use framehop::UnwindRegsNative;
use framehop::aarch64::PtrAuthMask;

/// The registers a stack walk starts from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registers {
    /// Program counter.
    pub(crate) pc: u64,
    /// Stack pointer.
    pub(crate) sp: u64,
    /// Frame pointer, which code is free to use for something else.
    pub(crate) fp: u64,
    /// Link register.
    pub(crate) lr: u64,
}

impl Registers {
    /// Reads the registers of the code a signal interrupted.
    ///
    /// # Safety
    /// `context` is the third argument of a running `SA_SIGINFO` handler.
    pub(crate) unsafe fn interrupted(context: *const c_void) -> Self {
        // SAFETY: the caller got the pointer from the kernel, which points it at a whole ucontext on the signal frame.
        let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
        Self { pc: machine.pc, sp: machine.sp, fp: machine.regs[29], lr: machine.regs[30] }
    }

    /// Reads the registers here. Valid for a walk as long as the function this is inlined into has not returned.
    #[inline(always)]
    pub(crate) fn here() -> Self {
        let (pc, sp, fp, lr): (u64, u64, u64, u64);
        // SAFETY: only copies registers; touches no memory, stack or flags.
        unsafe {
            asm!("adr {pc}, .", "mov {sp}, sp", "mov {fp}, x29", "mov {lr}, x30", pc = out(reg) pc, sp = out(reg) sp,
                fp = out(reg) fp, lr = out(reg) lr, options(nomem, nostack, preserves_flags));
        }
        Self { pc, sp, fp, lr }
    }

    /// The stack pointer.
    pub(crate) fn sp(&self) -> u64 {
        self.sp
    }

    /// As the unwinder wants them.
    pub(crate) fn for_unwinding(&self) -> UnwindRegsNative {
        UnwindRegsNative::new_with_ptr_auth_mask(address_mask(), self.lr, self.sp, self.fp)
    }
}

/// The bits of a code address that are not part of a signature. How many a signature takes depends on the kernel's
/// configuration, so the processor is asked to strip one: an instruction that is none where addresses are not signed.
fn address_mask() -> PtrAuthMask {
    /// What a signature may occupy, but for bit 55: it tells user space from the kernel and stays.
    const SIGNED_EVERYWHERE: u64 = !(1 << 55);
    let mask: u64;
    // SAFETY: changes the one register named. 7 is the hint for `xpaclri`, by which every assembler knows it.
    unsafe {
        asm!("hint #7", inout("x30") SIGNED_EVERYWHERE => mask, options(nomem, nostack, preserves_flags));
    }
    // The upper byte is ignored by the processor wherever it is not part of the signature.
    PtrAuthMask(mask & (u64::MAX >> 8))
}

/// Address of the running thread's control block, which C libraries place at the top of the thread's own stack.
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: reads a register that user code may always read.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}
