//! Finds where a thread's stack ends, from the kernel's list of mappings.

use std::fs::File;
use std::io::Read;

use super::thread_state::{Bounds, BoundsRequest};

/// A list of mappings longer than this is read in part: stacks in the rest keep being copied, which is slower, not wrong.
const MAPS_BYTES_MAX: u64 = 16 << 20;

/// The process's mappings at one moment.
pub(super) struct Mappings {
    text: String,
}

impl Mappings {
    /// Reads them.
    ///
    /// # Errors
    /// When `/proc` is not there.
    pub(super) fn read() -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        File::open("/proc/self/maps")?.take(MAPS_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(Self { text: String::from_utf8_lossy(&bytes).into_owned() })
    }

    /// The stack that a request came from; `None` when it was not a thread's own stack, a coroutine's for example.
    ///
    /// C libraries place the control block on top of the stack it belongs to. The main thread is the exception: the kernel
    /// made its stack, and names it.
    pub(super) fn stack_of(&self, request: BoundsRequest, is_main: bool) -> Option<Bounds> {
        let BoundsRequest { sp, control_block } = request;
        let mapping = self.text.lines().filter_map(Mapping::parse).find(|m| (m.low..m.high).contains(&sp))?;
        if !mapping.readable_and_writable {
            return None;
        }
        let Mapping { low, high, .. } = mapping;
        if control_block > sp && control_block < high {
            return Some(Bounds { low, high: control_block & !7 });
        }
        (is_main && mapping.is_main_stack).then_some(Bounds { low, high })
    }
}

struct Mapping {
    low: u64,
    high: u64,
    readable_and_writable: bool,
    is_main_stack: bool,
}

impl Mapping {
    /// Reads a line such as `7ffc0000-7ffd0000 rw-p 00000000 00:00 0    [stack]`.
    fn parse(line: &str) -> Option<Self> {
        let (range, rest) = line.split_once(' ')?;
        let (low, high) = range.split_once('-')?;
        Some(Self {
            low: u64::from_str_radix(low, 16).ok()?,
            high: u64::from_str_radix(high, 16).ok()?,
            readable_and_writable: rest.starts_with("rw"),
            is_main_stack: rest.ends_with("[stack]"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::arch::{self, Registers};

    fn check(sp: u64, control_block: u64, is_main: bool, expect: Option<(u64, u64)>) {
        let text = "10000-20000 rw-p 00000000 00:00 0\n\
            30000-31000 ---p 00000000 00:00 0\n\
            31000-40000 rw-p 00000000 00:00 0 \n\
            50000-60000 r--p 00000000 08:01 77 /usr/lib/libc.so.6\n\
            70000-80000 rw-p 00000000 00:00 0                          [stack]\n";
        let maps = Mappings { text: text.into() };
        let bounds = maps.stack_of(BoundsRequest { sp, control_block }, is_main);
        assert_eq!(bounds, expect.map(|(low, high)| Bounds { low, high }));
    }

    #[test]
    fn stacks_end_at_the_control_block_or_at_the_end_of_the_main_stack() {
        check(0x35000, 0x3f000, false, Some((0x31000, 0x3f000)));
        check(0x75000, 0x11000, true, Some((0x70000, 0x80000)));
    }

    #[test]
    fn anything_else_stays_unbounded() {
        check(0x35000, 0x11000, false, None);
        check(0x3f800, 0x3f000, false, None);
        check(0x75000, 0x11000, false, None);
        check(0x30800, 0x3f000, false, None);
        check(0x55000, 0x5f000, false, None);
        check(0x90000, 0x91000, true, None);
    }

    #[test]
    fn a_real_threads_stack_is_found() {
        let request = || BoundsRequest { sp: Registers::here().sp, control_block: arch::thread_pointer() };
        let asked = std::thread::spawn(move || {
            let request = request();
            (request, Mappings::read().unwrap().stack_of(request, false))
        });
        let (request, bounds) = asked.join().unwrap();
        let bounds = bounds.expect("a thread's control block lies on its stack");
        assert!(bounds.low < request.sp && request.sp < bounds.high);
    }
}
