//! Finds where threads' stacks end, from the kernel's list of mappings.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;

use crate::sampler::threads::{Bounds, BoundsRequest};

/// Who asks for the bounds of a stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) request: BoundsRequest,
    /// The process's first thread.
    pub(crate) by_main: bool,
}

/// The stacks that were asked for, in order; `None` where it was not a thread's own stack, a coroutine's for example. The list is
/// read once and kept nowhere: some processes have tens of thousands of mappings.
///
/// # Errors
/// When `/proc` is not there.
pub(crate) fn find(asked: &[Asked]) -> io::Result<Vec<Option<Bounds>>> {
    find_in(BufReader::new(File::open("/proc/self/maps")?), asked)
}

fn find_in(mut list: impl BufRead, asked: &[Asked]) -> io::Result<Vec<Option<Bounds>>> {
    let mut found = vec![None; asked.len()];
    let mut line = Vec::new();
    while list.read_until(b'\n', &mut line)? > 0 {
        if let Some(mapping) = Mapping::parse(&line) {
            for (asked, found) in asked.iter().zip(&mut found) {
                *found = found.or_else(|| mapping.stack_of(asked));
            }
        }
        line.clear();
    }
    Ok(found)
}

struct Mapping {
    memory: Range<u64>,
    readable_and_writable: bool,
    is_main_stack: bool,
}

impl Mapping {
    /// Reads a line such as `7ffc0000-7ffd0000 rw-p 00000000 00:00 0    [stack]`.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut parts = line.trim_ascii_end().splitn(2, |byte| *byte == b' ');
        let (low, high) = std::str::from_utf8(parts.next()?).ok()?.split_once('-')?;
        let rest = parts.next()?;
        Some(Self {
            memory: u64::from_str_radix(low, 16).ok()?..u64::from_str_radix(high, 16).ok()?,
            readable_and_writable: rest.starts_with(b"rw"),
            is_main_stack: rest.ends_with(b"[stack]"),
        })
    }

    /// The stack that lies here, if it is the one that was asked for.
    ///
    /// C libraries place the control block on top of the stack it belongs to. The main thread is the exception: the kernel
    /// made its stack, and names it.
    fn stack_of(&self, asked: &Asked) -> Option<Bounds> {
        let BoundsRequest { sp, control_block } = asked.request;
        let Range { start: low, end: high } = self.memory;
        if !self.memory.contains(&sp) || !self.readable_and_writable {
            return None;
        }
        if control_block > sp && control_block < high {
            return Some(Bounds { low, high: control_block & !7 });
        }
        (asked.by_main && self.is_main_stack).then_some(Bounds { low, high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::arch::{self, Registers};

    fn check(sp: u64, control_block: u64, by_main: bool, expect: Option<(u64, u64)>) {
        let text = "10000-20000 rw-p 00000000 00:00 0\n\
            30000-31000 ---p 00000000 00:00 0\n\
            31000-40000 rw-p 00000000 00:00 0 \n\
            50000-60000 r--p 00000000 08:01 77 /usr/lib/libc.so.6\n\
            70000-80000 rw-p 00000000 00:00 0                          [stack]\n";
        let asked = Asked { request: BoundsRequest { sp, control_block }, by_main };
        let found = find_in(text.as_bytes(), &[asked]).unwrap();
        assert_eq!(found, [expect.map(|(low, high)| Bounds { low, high })]);
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
            (request, find(&[Asked { request, by_main: false }]).unwrap())
        });
        let (request, found) = asked.join().unwrap();
        let bounds = found[0].expect("a thread's control block lies on its stack");
        assert!(bounds.low < request.sp && request.sp < bounds.high);
    }

    #[test]
    fn each_of_many_finds_its_own_in_a_long_list_whatever_files_are_called() {
        let stack = |number: u64| number * 0x10000 + 0x8000..number * 0x10000 + 0x10000;
        let mut list = Vec::new();
        for number in 1..60_000 {
            let Range { start, end } = stack(number);
            list.extend(format!("{:x}-{start:x} r-xp 00000000 08:01 9 /a \u{e9}", start - 0x8000).bytes());
            list.extend(b"\xff.so\n");
            list.extend(format!("{start:x}-{end:x} rw-p 00000000 00:00 0 \n").bytes());
        }
        let ask = |number: u64| {
            let control_block = stack(number).end - 0x100;
            Asked { request: BoundsRequest { sp: control_block - 0x900, control_block }, by_main: false }
        };
        let found = find_in(&list[..], &[59_999, 1, 70_000, 30_000].map(ask)).unwrap();
        let expect = |number: u64| Some(Bounds { low: stack(number).start, high: stack(number).end - 0x100 });
        assert_eq!(found, [expect(59_999), expect(1), None, expect(30_000)]);
    }
}
