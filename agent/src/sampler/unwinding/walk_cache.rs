//! Remembers the frames of a walk, so that the next walk through the same frames need only look whether they are still there.
//!
//! How a frame is unwound follows from where its code is, from its registers, and from the words of stack that are read for it. So
//! where all of these are what they were, its caller is who it was, and no rule has to be looked up: what is compared lies in one
//! piece of memory, in order, where rules lie all over theirs. Samples of a thread share most of their outer frames.

use std::ops::Range;

use super::frame::{DEPTH_MAX, State, Unwound};
use super::stack_memory::StackMemory;

/// Frames that are remembered of a walk, those nearest the thread's root. As many take 4 KiB.
const FRAMES: usize = 128;
/// Walks that are remembered, each of other threads.
const WALKS: usize = 8;

/// Where on the stack a frame's caller was found, in bytes above the frame's stack pointer.
#[derive(Debug, Clone, Copy, Default)]
struct Link {
    return_address_at: u32,
    /// [`KEPT`] where nothing was read for it.
    fp_at: u32,
}

/// A frame pointer that was not read from the stack follows from what it was before.
const KEPT: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    state: State,
    link: Link,
}

/// The words that were read to unwind one frame.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reads {
    words: [(u64, u64); 2],
    count: usize,
}

impl Reads {
    /// Notes that `value` was read at `address`.
    pub(crate) fn note(&mut self, address: u64, value: u64) {
        if let Some(word) = self.words.get_mut(self.count) {
            *word = (address, value);
        }
        self.count += 1;
    }

    /// How these words, and nothing else, lead from one frame to its caller; `None` if that is done in an unusual way.
    fn link(&self, from: &State, to: &State, registers: &impl Unwound) -> Option<Link> {
        let at = |address: u64| u32::try_from(address.checked_sub(from.sp)?).ok().filter(|&at| at != KEPT);
        let returns = |word: u64| registers.without_signature(word) == to.return_address;
        match *self.words.get(..self.count)? {
            [(address, word)] if returns(word) => Some(Link { return_address_at: at(address)?, fp_at: KEPT }),
            [(address, word), (saved, fp)] | [(saved, fp), (address, word)] if returns(word) && fp == to.fp => {
                Some(Link { return_address_at: at(address)?, fp_at: at(saved)? })
            }
            _ => None,
        }
    }
}

/// The frames of the last walk.
struct CachedWalk {
    /// The first is the outermost. Each but that one is linked to the one before it.
    frames: Box<[Frame; FRAMES]>,
    length: usize,
}

impl Default for CachedWalk {
    fn default() -> Self {
        Self { frames: Box::new([Frame::default(); FRAMES]), length: 0 }
    }
}

/// One cached walk for each of several groups of threads, for no frame of one thread is ever one of another's.
pub(crate) struct WalkCache {
    walks: [CachedWalk; WALKS],
    fresh: Box<[Frame; DEPTH_MAX]>,
}

impl Default for WalkCache {
    fn default() -> Self {
        Self { walks: std::array::from_fn(|_| CachedWalk::default()), fresh: Box::new([Frame::default(); DEPTH_MAX]) }
    }
}

impl WalkCache {
    /// Begins a walk of a thread's stack.
    pub(crate) fn walk(&mut self, tid: u32) -> Retracing<'_> {
        let [first, more @ ..] = &mut self.walks;
        // Consecutive numbers, as threads of one pool have them, get different walks.
        let cached = match (tid as usize % WALKS).checked_sub(1).and_then(|at| more.get_mut(at)) {
            Some(cached) => cached,
            None => first,
        };
        Retracing { ahead: cached.length, cached, fresh: &mut self.fresh, fresh_length: 0, rejoined: None }
    }

    /// Forgets everything: code has changed.
    pub(crate) fn forget(&mut self) {
        self.walks.iter_mut().for_each(|cached| cached.length = 0);
    }
}

/// A walk under way, and the one before it.
pub(crate) struct Retracing<'a> {
    cached: &'a mut CachedWalk,
    /// Frames of the cached walk that this walk has not passed.
    ahead: usize,
    /// Frames found by unwinding, innermost first.
    fresh: &'a mut [Frame; DEPTH_MAX],
    fresh_length: usize,
    /// Frames of the cached walk that were passed since the last one of `fresh`.
    rejoined: Option<Range<usize>>,
}

impl Retracing<'_> {
    /// Goes on from the frame that `registers` are at, along the cached walk, as long as it leads there and nothing on it has changed.
    /// Shows the return address of each frame that is left for its caller; ends where `each` refuses one.
    pub(crate) fn follow(
        &mut self,
        registers: &mut impl Unwound,
        memory: &StackMemory<'_>,
        mut each: impl FnMut(u64) -> bool,
    ) {
        let mut state = registers.state();
        let Some(start) = self.find(&state) else { return };
        let mut at = start;
        while let Some(caller) = self.caller(at, registers, memory)
            && each(state.return_address)
        {
            state = caller;
            at -= 1;
        }
        registers.set_state(&state);
        self.ahead = at;
        self.rejoined = Some(at..start + 1);
    }

    /// Where ahead on the cached walk a frame is.
    fn find(&mut self, state: &State) -> Option<usize> {
        loop {
            let at = self.ahead.checked_sub(1)?;
            let known = self.cached.frames.get(at)?;
            if known.state.sp >= state.sp {
                return (known.state == *state).then_some(at);
            }
            self.ahead = at;
        }
    }

    /// The caller of a frame of the cached walk, if it is found where it was.
    fn caller(&self, at: usize, registers: &impl Unwound, memory: &StackMemory<'_>) -> Option<State> {
        let Frame { state, link } = self.cached.frames.get(at)?;
        let caller = self.cached.frames.get(at.checked_sub(1)?)?.state;
        let read = |offset: u32| memory.read(state.sp.wrapping_add(u64::from(offset))).ok();
        let returns = registers.without_signature(read(link.return_address_at)?) == caller.return_address;
        (returns && (link.fp_at == KEPT || read(link.fp_at)? == caller.fp)).then_some(caller)
    }

    /// Notes that the caller of `frame`, which `registers` are at now, was found by unwinding, and what was read for it.
    pub(crate) fn note(&mut self, frame: &State, registers: &impl Unwound, reads: &Reads) {
        match reads.link(frame, &registers.state(), registers) {
            Some(link) => self.add(Frame { state: *frame, link }),
            // Nothing on this side of the gap can be linked to what follows.
            None => self.forget(),
        }
    }

    /// Notes the last frame of a walk.
    pub(crate) fn note_last(&mut self, frame: &State) {
        // If it is the cached walk's first it is there already.
        if self.rejoined.as_ref().is_none_or(|passed| passed.start > 0) {
            self.add(Frame { state: *frame, link: Link::default() });
        }
    }

    /// Forgets what was noted so far.
    pub(crate) fn forget(&mut self) {
        self.rejoined = None;
        self.fresh_length = 0;
    }

    fn add(&mut self, frame: Frame) {
        if let Some(passed) = self.rejoined.take() {
            // All but the frame where it was left, which is the one to be added now.
            for at in (passed.start + 1..passed.end).rev() {
                self.cached.frames.get(at).copied().into_iter().for_each(|known| self.push(known));
            }
        }
        self.push(frame);
    }

    fn push(&mut self, frame: Frame) {
        if self.fresh_length == DEPTH_MAX {
            self.fresh_length = 0;
        }
        if let Some(place) = self.fresh.get_mut(self.fresh_length) {
            *place = frame;
            self.fresh_length += 1;
        }
    }

    /// Leaves this walk's frames for the next one.
    pub(crate) fn finish(self) {
        let Self { cached, fresh, fresh_length, rejoined, .. } = self;
        cached.length = match rejoined {
            Some(kept) if kept.start == 0 => kept.end,
            Some(kept) => {
                cached.frames.copy_within(kept.clone(), 0);
                kept.len()
            }
            None => 0,
        };
        let fresh = fresh.get(..fresh_length).unwrap_or_default();
        for (place, frame) in cached.frames.iter_mut().skip(cached.length).zip(fresh.iter().rev()) {
            *place = *frame;
            cached.length += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use framehop::x86_64::UnwindRegsX86_64;

    use super::*;

    const STACK: u64 = 0x7000_0000;

    /// Frames of four words each, outermost last: the caller's frame pointer is in the third, the return address in the fourth.
    fn stack(frames: u64) -> Vec<u64> {
        (1..=frames).flat_map(|caller| [7, 7, 0xf0 + caller, 0x1000 + caller]).collect()
    }

    fn state(frame: u64) -> State {
        State { return_address: 0x1000 + frame, sp: STACK + 32 * frame, fp: 0xf0 + frame }
    }

    fn registers(state: &State) -> UnwindRegsX86_64 {
        UnwindRegsX86_64::new(state.return_address, state.sp, state.fp)
    }

    /// Notes the way from frame `inner` to frame `outer`, as unwinding finds it.
    fn unwind(retracing: &mut Retracing<'_>, inner: u64, outer: u64) {
        for frame in inner..outer {
            let mut reads = Reads::default();
            reads.note(state(frame).sp + 16, state(frame + 1).fp);
            reads.note(state(frame).sp + 24, state(frame + 1).return_address);
            retracing.note(&state(frame), &registers(&state(frame + 1)), &reads);
        }
    }

    /// Walks from frame `inner` to the root at frame `outer`, by unwinding alone.
    fn first_walk(walks: &mut WalkCache, inner: u64, outer: u64) {
        let mut retracing = walks.walk(1);
        unwind(&mut retracing, inner, outer);
        retracing.note_last(&state(outer));
        retracing.finish();
    }

    /// Follows the retracing from a frame; returns the frame that it leads to.
    fn follow(retracing: &mut Retracing<'_>, from: &State, words: &[u64]) -> State {
        let mut registers = registers(from);
        let mut shown = Vec::new();
        retracing.follow(&mut registers, &StackMemory::copied(STACK, words), |return_address| {
            shown.push(return_address);
            true
        });
        let reached = registers.state();
        let passed = (from.return_address..reached.return_address).collect::<Vec<_>>();
        assert_eq!(shown, passed, "every frame that was left for its caller is shown, in order");
        reached
    }

    #[test]
    fn a_cached_walk_leads_from_any_of_its_frames_to_the_outermost() {
        let mut walks = WalkCache::default();
        first_walk(&mut walks, 0, 20);
        for from in 0..=20 {
            let mut retracing = walks.walk(1);
            assert_eq!(follow(&mut retracing, &state(from), &stack(20)), state(20));
        }
    }

    #[test]
    fn a_frame_that_was_elsewhere_or_came_from_elsewhere_is_not_on_it() {
        let mut walks = WalkCache::default();
        first_walk(&mut walks, 0, 20);
        let frame = state(5);
        let moved = State { sp: frame.sp + 8, ..frame };
        let other = State { return_address: 0x1777, ..frame };
        let disguised = State { fp: 0, ..frame };
        for strange in [moved, other, disguised] {
            assert_eq!(follow(&mut walks.walk(1), &strange, &stack(20)), strange);
        }
        assert_eq!(follow(&mut walks.walk(2), &frame, &stack(20)), frame, "another thread's");
    }

    #[test]
    fn a_cached_walk_ends_where_the_stack_has_changed_and_goes_on_behind() {
        let mut walks = WalkCache::default();
        first_walk(&mut walks, 0, 20);
        for changed in 0..20 {
            for word in [2, 3] {
                let mut words = stack(20);
                words[changed as usize * 4 + word] += 0x100;
                let mut retracing = walks.walk(1);
                assert_eq!(follow(&mut retracing, &state(0), &words), state(changed), "word {word} is another");
                assert_eq!(follow(&mut retracing, &state(changed + 1), &words), state(20));
            }
        }
    }

    #[test]
    fn memory_that_can_no_longer_be_read_ends_a_cached_walk() {
        let mut walks = WalkCache::default();
        first_walk(&mut walks, 0, 20);
        let words = stack(20);
        assert_eq!(follow(&mut walks.walk(1), &state(0), &words[..4 * 10 - 1]), state(9));
    }

    #[test]
    fn a_walk_leaves_both_what_it_followed_and_what_it_found() {
        let mut walks = WalkCache::default();
        first_walk(&mut walks, 4, 20);
        // Deeper than before, then along the retracing but for one frame in its middle.
        let mut retracing = walks.walk(1);
        unwind(&mut retracing, 0, 4);
        let mut broken = stack(20);
        broken[9 * 4 + 3] = 0;
        assert_eq!(follow(&mut retracing, &state(4), &broken), state(9));
        unwind(&mut retracing, 9, 10);
        assert_eq!(follow(&mut retracing, &state(10), &broken), state(20));
        retracing.note_last(&state(20));
        retracing.finish();
        assert_eq!(follow(&mut walks.walk(1), &state(0), &stack(20)), state(20));
    }

    #[test]
    fn a_walk_that_was_cut_short_leaves_the_part_it_knows() {
        let mut walks = WalkCache::default();
        first_walk(&mut walks, 0, 20);
        let mut retracing = walks.walk(1);
        let mut left = 8;
        retracing.follow(&mut registers(&state(3)), &StackMemory::copied(STACK, &stack(20)), |_| {
            left -= 1;
            left > 0
        });
        retracing.finish();
        assert_eq!(follow(&mut walks.walk(1), &state(3), &stack(20)), state(10));
    }

    #[test]
    fn what_is_unwound_in_unusual_ways_is_not_remembered() {
        let mut walks = WalkCache::default();
        let (from, to) = (state(1), state(2));
        let usual = [(from.sp + 16, to.fp), (from.sp + 24, to.return_address)];
        for (reads, remembered) in [
            (&usual[..], true),
            (&[usual[1], usual[0]], true),
            (&usual[1..], true),
            (&usual[..1], false),
            (&[], false),
            (&[usual[0], usual[1], usual[0]], false),
            (&[(usual[0].0, 1), usual[1]], false),
            (&[(from.sp - 8, to.fp), usual[1]], false),
            (&[usual[0], (from.sp + (1 << 32), to.return_address)], false),
        ] {
            let mut retracing = walks.walk(1);
            let mut noted = Reads::default();
            reads.iter().for_each(|&(address, word)| noted.note(address, word));
            retracing.note(&from, &registers(&to), &noted);
            retracing.note_last(&to);
            retracing.finish();
            let reached = follow(&mut walks.walk(1), &from, &stack(20));
            assert_eq!(reached, if remembered { to } else { from }, "{reads:x?}");
        }
    }

    #[test]
    fn recursion_does_not_hide_a_frame_that_is_not_remembered() {
        let mut walks = WalkCache::default();
        let frame = |sp| State { return_address: 0x1001, sp: STACK + sp, fp: 0xf1 };
        let mut retracing = walks.walk(1);
        for at in 0..4 {
            let mut reads = Reads::default();
            reads.note(frame(32 * at).sp + 24, 0x1001);
            // The second looks at more of the stack than others do.
            (0..if at == 1 { 4 } else { 0 }).for_each(|more| reads.note(more, more));
            retracing.note(&frame(32 * at), &registers(&frame(32 * (at + 1))), &reads);
        }
        retracing.finish();
        let words = vec![0x1001; 40];
        for (from, to) in [(0, 0), (32, 32), (64, 96)] {
            let mut reached = registers(&frame(from));
            walks.walk(1).follow(&mut reached, &StackMemory::copied(STACK, &words), |_| true);
            assert_eq!(reached.state(), frame(to));
        }
    }

    #[test]
    fn of_very_deep_stacks_the_outer_frames_are_remembered() {
        let mut walks = WalkCache::default();
        let deep = DEPTH_MAX as u64 + 300;
        for _ in 0..2 {
            first_walk(&mut walks, 0, deep);
            let mut retracing = walks.walk(1);
            let inner = deep + 1 - FRAMES as u64;
            assert_eq!(follow(&mut retracing, &state(inner - 1), &stack(deep)), state(inner - 1));
            assert_eq!(follow(&mut retracing, &state(inner), &stack(deep)), state(deep));
        }
    }

    #[test]
    fn nothing_is_followed_after_code_has_changed() {
        let mut walks = WalkCache::default();
        first_walk(&mut walks, 0, 20);
        walks.forget();
        assert_eq!(follow(&mut walks.walk(1), &state(0), &stack(20)), state(0));
    }
}
