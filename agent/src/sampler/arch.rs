//! Everything that depends on the processor: registers of interrupted and of running code, and the thread pointer.

use std::arch::asm;
use std::ffi::c_void;

use framehop::UnwindRegsNative;
#[cfg(target_arch = "aarch64")]
use framehop::aarch64::PtrAuthMask;
use framehop::aarch64::UnwindRegsAarch64;
use framehop::x86_64::UnwindRegsX86_64;

use crate::sampler::unwinding::walk_memory::State;

/// What a walk asks of an unwinder's registers, besides to be unwound. For every processor everywhere, so that walks
/// recorded on one are tested on another.
pub(crate) trait Unwound {
    /// The stack pointer.
    fn sp(&self) -> u64;

    /// Makes values harmless that the unwinder would stumble over.
    fn tame(&mut self);

    /// A return address without the signature that the processor may have put in its upper bits.
    fn without_signature(&self, return_address: u64) -> u64;

    /// Where it is, in a frame that has called another.
    fn state(&self) -> State;

    /// Goes to where [`state`](Self::state) was taken.
    fn set_state(&mut self, state: &State);
}

impl Unwound for UnwindRegsX86_64 {
    fn sp(&self) -> u64 {
        self.sp()
    }

    /// A DWARF rule based on a tiny frame pointer would compute an address below zero, and the unwinder's arithmetic is
    /// checked in debug builds. Zero stays, because it marks the root.
    fn tame(&mut self) {
        if (1..4096).contains(&self.bp()) {
            self.set_bp(4096);
        }
    }

    fn without_signature(&self, return_address: u64) -> u64 {
        return_address
    }

    fn state(&self) -> State {
        State { return_address: self.ip(), sp: self.sp(), fp: self.bp() }
    }

    fn set_state(&mut self, state: &State) {
        self.set_ip(state.return_address);
        self.set_sp(state.sp);
        self.set_bp(state.fp);
    }
}

impl Unwound for UnwindRegsAarch64 {
    fn sp(&self) -> u64 {
        self.sp()
    }

    /// This unwinder checks its own arithmetic.
    fn tame(&mut self) {}

    fn without_signature(&self, return_address: u64) -> u64 {
        self.lr_mask().strip_ptr_auth(return_address)
    }

    fn state(&self) -> State {
        State { return_address: self.lr(), sp: self.sp(), fp: self.fp() }
    }

    fn set_state(&mut self, state: &State) {
        self.set_lr(state.return_address);
        self.set_sp(state.sp);
        self.set_fp(state.fp);
    }
}

/// The registers a stack walk starts from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registers {
    /// Program counter.
    pub(crate) pc: u64,
    /// Stack pointer.
    pub(crate) sp: u64,
    /// Frame pointer, which code is free to use for something else.
    pub(crate) fp: u64,
    /// Link register, where the processor has one.
    #[cfg(target_arch = "aarch64")]
    pub(crate) lr: u64,
}

#[cfg(target_arch = "x86_64")]
impl Registers {
    /// Reads the registers of the code a signal interrupted.
    ///
    /// # Safety
    /// `context` is the third argument of a running `SA_SIGINFO` handler.
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

    /// As the unwinder wants them.
    pub(crate) fn for_unwinding(&self) -> UnwindRegsNative {
        UnwindRegsNative::new(self.pc, self.sp, self.fp)
    }
}

/// Address of the running thread's control block, which C libraries place at the top of the thread's own stack.
#[cfg(target_arch = "x86_64")]
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: the ABI keeps the thread pointer itself at fs:0 in every thread.
    unsafe {
        asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly));
    }
    pointer
}

#[cfg(target_arch = "aarch64")]
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

    /// As the unwinder wants them.
    pub(crate) fn for_unwinding(&self) -> UnwindRegsNative {
        UnwindRegsNative::new_with_ptr_auth_mask(address_mask(), self.lr, self.sp, self.fp)
    }
}

/// The bits of a code address that are not part of a signature. How many a signature takes depends on the kernel's
/// configuration, so the processor is asked to strip one: an instruction that is none where addresses are not signed.
#[cfg(target_arch = "aarch64")]
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
#[cfg(target_arch = "aarch64")]
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: reads a register that user code may always read.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}
