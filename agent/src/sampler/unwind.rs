//! Walks a stack inside known bounds, without allocating, locking or calling the kernel.

use std::marker::PhantomData;
use std::ops::Range;

use framehop::{FrameAddress, Unwinder};

use super::arch::Unwound;
use super::modules::Snapshot;
use super::rules::Rules;

/// A span of stack that can be read: the thread's own, in place, or a copy of it.
#[derive(Clone, Copy)]
pub(super) struct StackMemory<'a> {
    /// Address of the first byte, in the walked thread's terms.
    start: u64,
    /// One past the last byte.
    end: u64,
    /// Where those bytes really are.
    data: *const u8,
    lives_for: PhantomData<&'a [u64]>,
}

impl<'a> StackMemory<'a> {
    /// The running thread's own stack from `start` to `end`.
    ///
    /// # Safety
    /// The whole span stays mapped and readable for `'a`.
    pub(super) unsafe fn in_place(start: u64, end: u64) -> Self {
        Self { start, end, data: start as *const u8, lives_for: PhantomData }
    }

    /// A copy of the words that begin at `start`. Empty means that nothing can be read.
    pub(super) fn copied(start: u64, words: &'a [u64]) -> Self {
        let end = start.saturating_add(words.len() as u64 * 8);
        Self { start, end, data: words.as_ptr().cast(), lives_for: PhantomData }
    }

    fn read(&self, address: u64) -> Result<u64, ()> {
        let offset = address.wrapping_sub(self.start);
        let length = self.end.saturating_sub(self.start);
        if !address.is_multiple_of(8) || address < self.start || length < 8 || offset > length - 8 {
            return Err(());
        }
        // SAFETY: the eight bytes lie inside the span that the constructor vouched for, and this very thread, which alone
        // writes them, stands still below us.
        Ok(unsafe { self.data.add(offset as usize).cast::<u64>().read_unaligned() })
    }
}

/// How a walk went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walk {
    /// Frames written.
    pub(super) depth: usize,
    /// It ended before the thread's root.
    pub(super) truncated: bool,
}

/// Writes the code addresses from `pc` and `registers` outwards to `out`, leaf first. Leading frames inside `skip` are left
/// out.
///
/// Stops, with `truncated`, when `out` is full, when the stack pointer does not rise (so no loop is possible), when memory
/// outside the bounds is needed, and at the second frame that belongs to no module: one such frame may be generated code,
/// walked by its frame pointer, but two are more likely nonsense.
pub(super) fn walk<U: Unwinder<UnwindRegs: Unwound>>(
    snapshot: &Snapshot<U>,
    rules: &mut Rules<U::Cache>,
    pc: u64,
    mut registers: U::UnwindRegs,
    memory: &StackMemory<'_>,
    skip: &Range<u64>,
    out: &mut [u64],
) -> Walk {
    let mut depth = 0;
    let mut strangers = 0;
    let mut first = true;
    let mut address = FrameAddress::from_instruction_pointer(pc);
    let mut read = |address| memory.read(address);
    loop {
        let pc = address.address_for_lookup();
        let known = snapshot.is_code(pc);
        strangers += u32::from(!known);
        if strangers > 1 {
            return Walk { depth, truncated: true };
        }
        if depth > 0 || !skip.contains(&pc) {
            let Some(place) = out.get_mut(depth) else { return Walk { depth, truncated: true } };
            *place = pc;
            depth += 1;
        }
        let sp = registers.sp();
        registers.tame();
        match snapshot.unwinder.unwind_frame(address, &mut registers, rules.of(pc), &mut read) {
            Ok(Some(signed)) => match FrameAddress::from_return_address(registers.without_signature(signed)) {
                Some(caller) => address = caller,
                None => return Walk { depth, truncated: !known },
            },
            Ok(None) => return Walk { depth, truncated: !known },
            Err(framehop::Error::ReturnAddressIsNull) => return Walk { depth, truncated: !known },
            Err(_) => return Walk { depth, truncated: true },
        }
        // Only a leaf that keeps its return address in a register may stay where it is.
        if registers.sp() < sp || (registers.sp() == sp && !first) {
            return Walk { depth, truncated: true };
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::arch::Registers;

    #[test]
    fn reads_stay_inside_the_bounds() {
        let words = [10, 20, 30];
        let memory = StackMemory::copied(0x1000, &words);
        let reads: Vec<_> = [0xff8, 0x1000, 0x1004, 0x1010, 0x1018, !7, 0].map(|a| memory.read(a)).into();
        assert_eq!(reads, [Err(()), Ok(10), Err(()), Ok(30), Err(()), Err(()), Err(())]);
        assert_eq!(StackMemory::copied(0x1000, &[]).read(0x1000), Err(()));
    }

    #[test]
    fn random_registers_and_stacks_end_quietly() {
        let snapshot = Snapshot::of_this_process();
        let mut rules = Rules::default();
        let mut out = [0; 128];
        let code = random_registers_and_stacks_end_quietly as *const () as u64;
        let mut random = 0x1234_5678_9abc_def1u64;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for _ in 0..20_000 {
            // Code of this program, its stack, small numbers, anything: what a stack really holds.
            let mut word = |sp: u64| match next() % 4 {
                0 => code + next() % 4096,
                1 => sp + next() % 2048,
                2 => next() % 64,
                _ => next(),
            };
            let sp = 0x7000_0000_0000;
            let words: Vec<u64> = (0..256).map(|_| word(sp)).collect();
            let mut registers = Registers::here();
            (registers.pc, registers.sp, registers.fp) = (word(sp), sp, word(sp));
            let memory = StackMemory::copied(sp, &words);
            let (pc, unwound) = (registers.pc, registers.for_unwinding());
            let walk = walk(&snapshot, &mut rules, pc, unwound, &memory, &(0..0), &mut out);
            assert!(walk.depth <= out.len());
        }
    }
}
