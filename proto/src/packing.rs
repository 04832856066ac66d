//! Columns as they travel: addresses, the tree and references to it as small steps from what came before.
//!
//! Windows hold a few hundred stacks, so most of their bytes are such numbers, and small numbers that look alike compress where large
//! ones do not: a window of CPU samples becomes a fifth smaller. Programs work with the plain columns; [`pack`] replaces them before
//! a window is serialized, and [`unpack`] brings them back.

use crate::v1::{FrameTable, Series, StackTree, WindowPayload};

/// Why packed columns cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackingError {
    /// A table that says the same thing twice.
    #[error("{plain} and {packed} exclude each other")]
    Both {
        /// The plain column.
        plain: &'static str,
        /// The packed one.
        packed: &'static str,
    },
    /// Sibling columns of different length.
    #[error("{what} stand for {found} entries, their siblings for {expected}")]
    Ragged {
        /// Which column.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length of its siblings.
        expected: usize,
    },
    /// A chain that begins above the root.
    #[error("chain {at} climbs {levels} levels, there are {depth}")]
    Climb {
        /// Position of the chain.
        at: usize,
        /// How far it climbs.
        levels: u32,
        /// How far it can.
        depth: usize,
    },
}

/// Replaces the plain columns of a window by packed ones. What cannot be packed, such as a tree that is not depth first, and what is
/// packed already stay as they are.
pub fn pack(window: &mut WindowPayload) {
    if let Some(frames) = &mut window.frames {
        pack_addresses(frames);
    }
    if let Some(stacks) = &mut window.stacks {
        pack_tree(stacks, count(&window.frames));
    }
    window.series.iter_mut().for_each(pack_references);
}

/// Brings the plain columns of a window back. One that is not packed stays as it is.
///
/// # Errors
/// When packed columns contradict each other. Indices are not looked at: they are checked, as ever, by whoever follows them.
pub fn unpack(window: &mut WindowPayload) -> Result<(), PackingError> {
    if let Some(frames) = &mut window.frames {
        unpack_addresses(frames)?;
    }
    if let Some(stacks) = &mut window.stacks {
        unpack_tree(stacks, count(&window.frames))?;
    }
    window.series.iter_mut().try_for_each(unpack_references)
}

fn count(frames: &Option<FrameTable>) -> usize {
    frames.as_ref().map_or(0, |frames| frames.module.len())
}

fn exclude<A, B>(plain: (&'static str, &[A]), packed: (&'static str, &[B])) -> Result<(), PackingError> {
    if plain.1.is_empty() || packed.1.is_empty() {
        return Ok(());
    }
    Err(PackingError::Both { plain: plain.0, packed: packed.0 })
}

fn pack_addresses(frames: &mut FrameTable) {
    let native = frames.module.iter().filter(|module| **module != 0);
    if frames.address_delta.is_empty() || frames.address_delta.len() != native.clone().count() {
        return;
    }
    let deltas = std::mem::take(&mut frames.address_delta);
    let (mut module, mut address) = (0, 0u64);
    frames.address_step = native
        .zip(deltas)
        .map(|(&its, delta)| {
            let before = if its == module { address } else { 0 };
            (module, address) = (its, address.wrapping_add_signed(delta));
            address.wrapping_sub(before)
        })
        .collect();
}

fn unpack_addresses(frames: &mut FrameTable) -> Result<(), PackingError> {
    exclude(("address_delta", &frames.address_delta), ("address_step", &frames.address_step))?;
    let steps = std::mem::take(&mut frames.address_step);
    if steps.is_empty() {
        return Ok(());
    }
    let native = frames.module.iter().filter(|module| **module != 0);
    let expected = native.clone().count();
    if steps.len() != expected {
        return Err(PackingError::Ragged { what: "steps between addresses", found: steps.len(), expected });
    }
    let (mut module, mut address) = (0, 0u64);
    frames.address_delta = native
        .zip(steps)
        .map(|(&its, step)| {
            let before = if its == module { address } else { 0 };
            let new = before.wrapping_add(step);
            let delta = new.wrapping_sub(address) as i64;
            (module, address) = (its, new);
            delta
        })
        .collect();
    Ok(())
}

/// The frame that was last seen below each frame, and below none.
struct Below(Vec<Option<u32>>);

impl Below {
    /// For a table of so many frames.
    fn new(frames: usize) -> Self {
        Self(vec![None; frames + 1])
    }

    /// What the step of a node under a node with the frame `parent` counts from; and the place to note its own frame in.
    fn base(&mut self, parent: Option<u32>) -> (u32, Option<&mut Option<u32>>) {
        let seen = self.0.get_mut(parent.map_or(0, |frame| frame as usize + 1));
        (seen.as_ref().and_then(|seen| **seen).or(parent).unwrap_or(0), seen)
    }
}

fn pack_tree(stacks: &mut StackTree, frames: usize) {
    let StackTree { parent, frame, .. } = &*stacks;
    if parent.is_empty() || parent.len() != frame.len() {
        return;
    }
    let (mut chain, mut climb, mut steps) = (Vec::new(), Vec::new(), Vec::with_capacity(frame.len()));
    let mut below = Below::new(frames);
    // Nodes from the root to the one before.
    let mut path: Vec<usize> = Vec::new();
    for (at, (&distance, &own)) in parent.iter().zip(frame).enumerate() {
        let above = if distance == 0 { None } else { at.checked_sub(distance as usize) };
        if above.is_none() && distance > 0 {
            return;
        }
        let depth = path.len();
        while path.last().copied() != above {
            if path.pop().is_none() {
                return;
            }
        }
        match (chain.last_mut(), depth - path.len()) {
            (Some(length), 0) => *length += 1,
            (first, levels) => {
                if first.is_some() {
                    climb.push(levels as u32);
                }
                chain.push(1);
            }
        }
        path.push(at);
        let (base, seen) = below.base(above.and_then(|above| frame.get(above)).copied());
        steps.push(own.wrapping_sub(base) as i32);
        if let Some(seen) = seen {
            *seen = Some(own);
        }
    }
    (stacks.parent, stacks.frame) = (Vec::new(), Vec::new());
    (stacks.chain, stacks.climb, stacks.frame_step) = (chain, climb, steps);
}

fn unpack_tree(stacks: &mut StackTree, frames: usize) -> Result<(), PackingError> {
    exclude(("parent", &stacks.parent), ("chain", &stacks.chain))?;
    exclude(("frame", &stacks.frame), ("frame_step", &stacks.frame_step))?;
    let (chain, climb) = (std::mem::take(&mut stacks.chain), std::mem::take(&mut stacks.climb));
    let steps = std::mem::take(&mut stacks.frame_step);
    // Before anything is allocated: one number can claim any length.
    let nodes = chain.iter().fold(0usize, |sum, &length| sum.saturating_add(length as usize));
    if nodes != steps.len() {
        return Err(PackingError::Ragged { what: "chains of nodes", found: nodes, expected: steps.len() });
    }
    if climb.len() != chain.len().saturating_sub(1) {
        let expected = chain.len().saturating_sub(1);
        return Err(PackingError::Ragged { what: "climbs between chains", found: climb.len(), expected });
    }
    if nodes == 0 {
        return Ok(());
    }
    let (mut parent, mut frame) = (Vec::with_capacity(nodes), Vec::with_capacity(nodes));
    let mut below = Below::new(frames);
    let mut path: Vec<usize> = Vec::new();
    let mut steps = steps.into_iter();
    for (at, (length, levels)) in chain.into_iter().zip(std::iter::once(0).chain(climb)).enumerate() {
        let depth = path.len();
        let Some(kept) = depth.checked_sub(levels as usize) else {
            return Err(PackingError::Climb { at, levels, depth });
        };
        path.truncate(kept);
        for step in steps.by_ref().take(length as usize) {
            let (node, above) = (frame.len(), path.last().copied());
            parent.push(above.map_or(0, |above| (node - above) as u32));
            let (base, seen) = below.base(above.and_then(|above| frame.get(above)).copied());
            let own = base.wrapping_add_signed(step);
            if let Some(seen) = seen {
                *seen = Some(own);
            }
            frame.push(own);
            path.push(node);
        }
    }
    (stacks.parent, stacks.frame) = (parent, frame);
    Ok(())
}

fn pack_references(series: &mut Series) {
    if series.stack.is_empty() {
        return;
    }
    let mut before = 0u32;
    series.stack_step = std::mem::take(&mut series.stack);
    for stack in &mut series.stack_step {
        let own = *stack;
        *stack = own.wrapping_sub(before);
        before = own;
    }
}

fn unpack_references(series: &mut Series) -> Result<(), PackingError> {
    exclude(("stack", &series.stack), ("stack_step", &series.stack_step))?;
    if series.stack.is_empty() {
        series.stack = std::mem::take(&mut series.stack_step);
        let mut stack = 0u32;
        for step in &mut series.stack {
            stack = stack.wrapping_add(*step);
            *step = stack;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(module: &[u32], address_delta: &[i64]) -> FrameTable {
        FrameTable { module: module.to_vec(), address_delta: address_delta.to_vec(), ..FrameTable::default() }
    }

    fn window(frames: FrameTable, parent: &[u32], frame: &[u32], stack: &[u32]) -> WindowPayload {
        let stacks = StackTree { parent: parent.to_vec(), frame: frame.to_vec(), ..StackTree::default() };
        let series = vec![Series { stack: stack.to_vec(), ..Series::default() }];
        WindowPayload { frames: Some(frames), stacks: Some(stacks), series, ..WindowPayload::default() }
    }

    fn there_and_back(plain: &WindowPayload) -> WindowPayload {
        let mut window = plain.clone();
        pack(&mut window);
        let packed = window.clone();
        pack(&mut window);
        assert_eq!(window, packed, "packed already");
        unpack(&mut window).unwrap();
        assert_eq!(&window, plain);
        packed
    }

    #[test]
    fn addresses_count_from_the_one_before_in_their_module() {
        let table = frames(&[1, 1, 0, 2, 2], &[0x1000, 0x20, -0x820, i64::MAX]);
        let packed = there_and_back(&window(table, &[], &[], &[])).frames.unwrap();
        assert_eq!(packed.address_step, [0x1000, 0x20, 0x800, i64::MAX as u64]);
        assert!(packed.address_delta.is_empty());
    }

    #[test]
    fn a_tree_is_chains_and_climbs_and_frames_are_near_what_was_seen_there_last() {
        // main → (a → (b, c), d → b), and another thread's main → a → b.
        let table = frames(&[1, 1, 1, 1, 1], &[10, 1, 1, 1, 1]);
        let tree = window(table, &[0, 1, 1, 2, 4, 1, 0, 1, 1], &[0, 1, 2, 3, 4, 2, 0, 1, 2], &[2, 3, 3, 5, 8]);
        let packed = there_and_back(&tree);
        let stacks = packed.stacks.unwrap();
        assert_eq!((stacks.chain, stacks.climb), (vec![3, 1, 2, 3], vec![1, 2, 3]));
        assert_eq!(stacks.frame_step, [0, 1, 1, 1, 3, -2, 0, -3, -1]);
        assert_eq!(packed.series[0].stack_step, [2, 1, 0, 2, 3]);
        assert!(stacks.parent.is_empty() && stacks.frame.is_empty() && packed.series[0].stack.is_empty());
    }

    #[test]
    fn what_cannot_be_packed_stays_as_it_is() {
        // The third node goes back to the first one's child, which the second one's family came after.
        let breadth_first = window(frames(&[0; 3], &[]), &[0, 1, 2, 2], &[0, 1, 2, 0], &[3]);
        assert_eq!(there_and_back(&breadth_first).stacks, breadth_first.stacks);
        for (parent, frame) in [(&[0, 2][..], &[0, 0][..]), (&[0, 1], &[0])] {
            let nonsense = window(frames(&[0; 3], &[]), parent, frame, &[0]);
            assert_eq!(there_and_back(&nonsense).stacks, nonsense.stacks);
        }
        let ragged = window(frames(&[1, 1], &[10]), &[], &[], &[]);
        assert_eq!(there_and_back(&ragged).frames, ragged.frames);
        there_and_back(&WindowPayload::default());
    }

    #[test]
    fn any_depth_first_tree_survives() {
        let mut random = 1u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for _ in 0..500 {
            let (mut parent, mut frame, mut path) = (Vec::new(), Vec::new(), Vec::new());
            for at in 0..next(60) {
                path.truncate(next(path.len() as u64 + 1) as usize);
                parent.push(path.last().map_or(0, |above| (at - above) as u32));
                // Some point past the table, as hostile ones do.
                frame.push(if next(50) == 0 { next(u64::from(u32::MAX)) as u32 } else { next(9) as u32 });
                path.push(at);
            }
            let stack: Vec<u32> = (0..next(20)).map(|_| next(u64::from(u32::MAX)) as u32).collect();
            let table = frames(&[1; 9], &[5; 9]);
            let packed = there_and_back(&window(table, &parent, &frame, &stack));
            assert!(packed.stacks.is_some_and(|stacks| stacks.parent.is_empty()));
        }
    }

    #[test]
    fn columns_that_contradict_each_other_are_refused_before_anything_is_made_of_them() {
        let tree = |chain: &[u32], climb: &[u32], nodes: usize| StackTree {
            chain: chain.to_vec(),
            climb: climb.to_vec(),
            frame_step: vec![0; nodes],
            ..StackTree::default()
        };
        let refused = |stacks: StackTree| {
            let mut window = WindowPayload { stacks: Some(stacks), ..WindowPayload::default() };
            unpack(&mut window).unwrap_err().to_string()
        };
        assert_eq!(
            refused(tree(&[u32::MAX; 9], &[1; 8], 2)),
            "chains of nodes stand for 38654705655 entries, their siblings for 2"
        );
        assert_eq!(refused(tree(&[1, 1], &[], 2)), "climbs between chains stand for 0 entries, their siblings for 1");
        assert_eq!(refused(tree(&[2, 1], &[3], 3)), "chain 1 climbs 3 levels, there are 2");
        assert_eq!(refused(StackTree { parent: vec![0], ..tree(&[1], &[], 1) }), "parent and chain exclude each other");
        assert_eq!(
            refused(StackTree { frame: vec![0], ..tree(&[1], &[], 1) }),
            "frame and frame_step exclude each other"
        );
        let refused = |mut window: WindowPayload| unpack(&mut window).unwrap_err().to_string();
        let twice = FrameTable { address_step: vec![1], ..frames(&[1], &[1]) };
        assert_eq!(refused(window(twice, &[], &[], &[])), "address_delta and address_step exclude each other");
        let long = FrameTable { address_step: vec![1; 3], ..frames(&[1, 0], &[]) };
        assert_eq!(
            refused(window(long, &[], &[], &[])),
            "steps between addresses stand for 3 entries, their siblings for 1"
        );
        let mut twice = window(FrameTable::default(), &[], &[], &[1]);
        twice.series[0].stack_step = vec![1];
        assert_eq!(refused(twice), "stack and stack_step exclude each other");
    }
}
