//! Walks a stack inside known bounds, without allocating, locking or calling the kernel.

use std::ops::Range;

use framehop::{FrameAddress, Unwinder};

use super::frame::Unwound;
use super::rule_cache::RuleCache;
use super::snapshot::Snapshot;
use super::stack_memory::StackMemory;
use super::walk_cache::{Reads, Retracing};

/// How a walk went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Frames written.
    pub(crate) depth: usize,
    /// It ended before the thread's root.
    pub(crate) truncated: bool,
}

/// What a walk needs besides where it begins.
pub(crate) struct Walker<'a, U: Unwinder> {
    pub(crate) snapshot: &'a Snapshot<U>,
    pub(crate) rules: &'a mut RuleCache<U::Cache>,
    /// Of an earlier walk of the same thread, if possible.
    pub(crate) retracing: Retracing<'a>,
    pub(crate) memory: &'a StackMemory<'a>,
    /// Leading frames in here are left out.
    pub(crate) skip: &'a Range<u64>,
}

impl<U: Unwinder<UnwindRegs: Unwound>> Walker<'_, U> {
    /// Writes the code addresses from `pc` and `registers` outwards to `out`, leaf first.
    ///
    /// Stops, with `truncated`, when `out` is full, when the stack pointer does not rise (so no loop is possible), when memory
    /// outside the bounds is needed, and at the second frame that belongs to no module: one such frame may be generated code,
    /// walked by its frame pointer, but two are more likely nonsense.
    pub(crate) fn walk(mut self, pc: u64, registers: U::UnwindRegs, out: &mut [u64]) -> Walk {
        let mut found = Found { skip: self.skip, out, depth: 0 };
        let reached_root = self.walk_to_root(pc, registers, &mut found).is_some();
        self.retracing.finish();
        Walk { depth: found.depth, truncated: !reached_root }
    }

    /// `None` when it ends before.
    fn walk_to_root(&mut self, pc: u64, mut registers: U::UnwindRegs, found: &mut Found<'_>) -> Option<()> {
        let mut strangers = 0;
        let mut address = FrameAddress::from_instruction_pointer(pc);
        let mut code = 0..0;
        loop {
            let pc = address.address_for_lookup();
            if !code.contains(&pc) {
                code = self.snapshot.code_around(pc);
            }
            let is_known = code.contains(&pc);
            strangers += u32::from(!is_known);
            if strangers > 1 || !found.add(pc) {
                return None;
            }
            let frame = registers.state();
            registers.tame();
            let mut reads = Reads::default();
            let mut read = |at| self.memory.read(at).inspect(|&word| reads.note(at, word));
            match self.snapshot.unwinder.unwind_frame(address, &mut registers, self.rules.of(pc), &mut read) {
                Ok(Some(_)) => {}
                Ok(None) | Err(framehop::Error::ReturnAddressIsNull) => {
                    self.retracing.note_last(&frame);
                    return is_known.then_some(());
                }
                Err(_) => return None,
            }
            // Only a leaf that keeps its return address in a register may stay where it is.
            let is_leaf = !address.is_return_address();
            if registers.sp() < frame.sp || (registers.sp() == frame.sp && !is_leaf) {
                return None;
            }
            match (is_leaf, is_known) {
                // It may be anywhere in its code, so it is seldom met again.
                (true, _) => {}
                (false, true) => self.retracing.note(&frame, &registers, &reads),
                (false, false) => self.retracing.forget(),
            }
            self.retracing
                .follow(&mut registers, self.memory, |return_address| found.add(return_address.wrapping_sub(1)));
            match FrameAddress::from_return_address(registers.state().return_address) {
                Some(caller) => address = caller,
                None => return is_known.then_some(()),
            }
        }
    }
}

/// The addresses of a walk so far.
struct Found<'a> {
    skip: &'a Range<u64>,
    out: &'a mut [u64],
    depth: usize,
}

impl Found<'_> {
    /// `false` when there is no room.
    fn add(&mut self, pc: u64) -> bool {
        if self.depth > 0 || !self.skip.contains(&pc) {
            let Some(place) = self.out.get_mut(self.depth) else { return false };
            *place = pc;
            self.depth += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::sampler::arch::Registers;
    use crate::sampler::unwinding::walk_cache::WalkCache;

    #[test]
    fn random_registers_and_stacks_end_quietly() {
        let snapshot = Snapshot::of_this_process();
        let (mut rules, mut walks) = (RuleCache::default(), WalkCache::default());
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
            let retracing = walks.walk(0);
            let walker = Walker { snapshot: &snapshot, rules: &mut rules, retracing, memory: &memory, skip: &(0..0) };
            let walk = walker.walk(pc, unwound, &mut out);
            assert!(walk.depth <= out.len());
        }
    }

    /// What a walk finds in the words from `registers` on.
    fn walk_copy(
        walks: &mut WalkCache,
        rules: &mut RuleCache,
        registers: &Registers,
        words: &[u64],
    ) -> (Vec<u64>, bool) {
        static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(Snapshot::of_this_process);
        let mut out = [0; 128];
        let memory = StackMemory::copied(registers.sp & !7, words);
        let walker = Walker { snapshot: &SNAPSHOT, rules, retracing: walks.walk(0), memory: &memory, skip: &(0..0) };
        let walk = walker.walk(registers.pc, registers.for_unwinding(), &mut out);
        (out[..walk.depth].to_vec(), walk.truncated)
    }

    #[inline(never)]
    fn under(depth: u32, work: &mut dyn FnMut()) {
        if depth == 0 {
            work();
        } else {
            under(depth - 1, work);
        }
        std::hint::black_box(depth);
    }

    #[test]
    fn a_walk_that_remembers_finds_what_one_that_does_not_finds() {
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 20) as usize % below
        };
        let (mut walks, mut rules) = (WalkCache::default(), RuleCache::default());
        let (mut whole, mut cut) = (0, 0);
        for _ in 0..40 {
            let depth = next(60) as u32;
            under(depth, &mut || {
                let registers = Registers::here();
                let end = crate::sampler::arch::thread_pointer() & !7;
                let length = (end - (registers.sp & !7)) as usize / 8;
                // SAFETY: this thread's own stack, from here up to its control block.
                let whole_stack = unsafe { std::slice::from_raw_parts((registers.sp & !7) as *const u64, length) };
                let unchanged = whole_stack[..length.min(4096)].to_vec();
                // What is unwound by is an address of code or of stack.
                let addresses: Vec<usize> = (0..unchanged.len()).filter(|&at| unchanged[at] >> 40 != 0).collect();
                for _ in 0..50 {
                    // As it was, or with some words that are another's.
                    let mut words = unchanged.clone();
                    for _ in 0..next(2) * next(20) {
                        let (to, from) = (addresses[next(addresses.len())], addresses[next(addresses.len())]);
                        words[to] = if next(4) == 0 { next(1 << 30) as u64 } else { words[from] };
                    }
                    let fresh = walk_copy(&mut WalkCache::default(), &mut RuleCache::default(), &registers, &words);
                    assert_eq!(walk_copy(&mut walks, &mut rules, &registers, &words), fresh);
                    *(if fresh.1 { &mut cut } else { &mut whole }) += 1;
                }
            });
        }
        assert!(whole > 500 && cut > 100, "{whole} whole, {cut} cut short");
    }
}
