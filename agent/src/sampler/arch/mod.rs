//! Everything that depends on the processor: registers of interrupted and of running code, and the thread pointer. One file for each.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use self::aarch64::{Registers, thread_pointer};
#[cfg(target_arch = "x86_64")]
pub(crate) use self::x86_64::{Registers, thread_pointer};
