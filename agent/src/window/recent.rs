//! What the last stacks that were interned had in common with those to come: their frames, and the way from the root.

/// Addresses that are remembered at once. Those that share a place push each other out.
const ADDRESSES: usize = 1024;

/// No frame has this number.
const NONE: u32 = u32::MAX;

/// One frame of a stack, and its node.
#[derive(Debug, Clone, Copy)]
struct Step {
    pc: u64,
    node: u32,
}

/// Holds for as long as an address means the same code.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Frame by code address; empty until there is one.
    frames: Vec<(u64, u32)>,
    /// Where the last stack began.
    root: u32,
    /// The last stack, from its root outwards.
    path: Vec<Step>,
}

impl Recent {
    /// The bytes it takes, however much is interned.
    pub(super) const BYTES: usize = ADDRESSES * size_of::<(u64, u32)>();

    /// The frame at an address that was noted lately.
    pub(super) fn frame(&self, pc: u64) -> Option<u32> {
        let &(known, frame) = self.frames.get(place(pc))?;
        (known == pc && frame != NONE).then_some(frame)
    }

    /// Notes the frame at an address.
    pub(super) fn note_frame(&mut self, pc: u64, frame: u32) {
        self.frames.resize(ADDRESSES, (0, NONE));
        if let Some(known) = self.frames.get_mut(place(pc)) {
            *known = (pc, frame);
        }
    }

    /// Begins a stack (leaf first) under `root`. How many frames, from its outermost one, it has in common with the last, and the node
    /// that they lead to.
    pub(super) fn begin(&mut self, root: u32, stack: &[u64]) -> (usize, u32) {
        if self.root != root {
            self.path.clear();
            self.root = root;
        }
        let shared = self.path.iter().zip(stack.iter().rev()).take_while(|(step, pc)| step.pc == **pc).count();
        self.path.truncate(shared);
        (shared, self.path.last().map_or(root, |step| step.node))
    }

    /// The stack that was begun goes on.
    pub(super) fn step(&mut self, pc: u64, node: u32) {
        self.path.push(Step { pc, node });
    }
}

fn place(pc: u64) -> usize {
    (pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % ADDRESSES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_by_its_address_until_another_takes_its_place() {
        let mut recent = Recent::default();
        assert_eq!((recent.frame(0), recent.frame(7)), (None, None));
        for pc in 0..50_000 {
            recent.note_frame(pc, pc as u32 + 1);
            assert_eq!(recent.frame(pc), Some(pc as u32 + 1));
        }
        let known = (0..50_000).filter_map(|pc| Some((pc, recent.frame(pc)?)));
        let right = known.inspect(|&(pc, frame)| assert_eq!(frame, pc as u32 + 1)).count();
        assert!(right > ADDRESSES / 2 && right <= ADDRESSES, "{right}");
    }

    #[test]
    fn a_stack_shares_the_outer_frames_that_it_has_in_common_with_the_last() {
        let mut recent = Recent::default();
        assert_eq!(recent.begin(9, &[1, 2, 3]), (0, 9));
        for (pc, node) in [(3, 30), (2, 20), (1, 10)] {
            recent.step(pc, node);
        }
        assert_eq!(recent.begin(9, &[7, 2, 3]), (2, 20));
        recent.step(7, 70);
        assert_eq!(recent.begin(9, &[7, 2, 3]), (3, 70));
        assert_eq!(recent.begin(9, &[2, 3]), (2, 20));
        assert_eq!(recent.begin(9, &[1]), (0, 9), "inner frames are not outer ones");
        recent.step(1, 11);
        assert_eq!(recent.begin(8, &[1]), (0, 8), "another root");
        recent.step(1, 12);
        assert_eq!(recent.begin(8, &[5, 1]), (1, 12));
    }
}
