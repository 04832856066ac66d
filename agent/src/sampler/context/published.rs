//! Lets other profilers find the thread's record: the thread-local variable that OTEP 4947 names.
//!
//! `otel_thread_ctx_v1` points at the record of the thread while it works for a trace, and is null otherwise. A reader outside
//! the process looks it up among the program's exported symbols; an executable exports it when it is linked with
//! `-Wl,--export-dynamic-symbol=otel_thread_ctx_v1`. The language has no way to name a thread-local's symbol or the way it
//! is accessed, so both are written in assembly. The symbol is weak: whoever else publishes one wins over this, and two
//! agents linked into one program share it.

use std::arch::{asm, global_asm};
use std::sync::atomic::{AtomicPtr, Ordering, compiler_fence};

global_asm!(
    ".pushsection .tbss, \"awT\", @nobits",
    ".weak otel_thread_ctx_v1",
    ".type otel_thread_ctx_v1, @tls_object",
    ".size otel_thread_ctx_v1, 8",
    ".p2align 3",
    "otel_thread_ctx_v1:",
    ".zero 8",
    ".popsection",
);

/// Shows the record to whoever looks, or nothing. `record` outlives the thread's last call of this.
pub(crate) fn publish<T>(record: *const T) {
    compiler_fence(Ordering::Release);
    // SAFETY: the variable is this thread's own, eight bytes, aligned, and lives as long as the thread.
    let variable = unsafe { AtomicPtr::from_ptr(address()) };
    variable.store(record.cast_mut().cast(), Ordering::Relaxed);
}

/// Where this thread's variable is.
#[cfg(target_arch = "x86_64")]
fn address() -> *mut *mut u8 {
    let address: *mut *mut u8;
    // SAFETY: the sequence that the x86-64 ABI gives for TLS descriptors, in the form that linkers know how to shorten. It
    // changes nothing but rax and the flags.
    unsafe {
        asm!(
            "leaq otel_thread_ctx_v1@tlsdesc(%rip), %rax",
            "call *otel_thread_ctx_v1@tlscall(%rax)",
            "addq %fs:0, %rax",
            out("rax") address,
            options(att_syntax),
        );
    }
    address
}

/// Where this thread's variable is.
#[cfg(target_arch = "aarch64")]
fn address() -> *mut *mut u8 {
    let address: *mut *mut u8;
    // SAFETY: the sequence that the AArch64 ABI gives for TLS descriptors, in the form that linkers know how to shorten. It
    // changes nothing but the registers named.
    unsafe {
        asm!(
            "adrp x0, :tlsdesc:otel_thread_ctx_v1",
            "ldr x1, [x0, :tlsdesc_lo12:otel_thread_ctx_v1]",
            "add x0, x0, :tlsdesc_lo12:otel_thread_ctx_v1",
            ".tlsdesccall otel_thread_ctx_v1",
            "blr x1",
            "mrs x1, tpidr_el0",
            "add x0, x1, x0",
            out("x0") address,
            out("x1") _,
            out("x30") _,
        );
    }
    address
}
