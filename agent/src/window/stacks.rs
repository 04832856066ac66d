//! Stacks as a prefix tree of module-relative frames: equal callers are stored once, and nothing refers to an address
//! that a later `dlclose` could give another meaning.

use rustc_hash::FxHashMap;
use tephra_proto::limits::{WINDOW_FRAMES_MAX, WINDOW_MODULES_MAX, WINDOW_STACK_NODES_MAX};

use super::entry_bytes::in_map;
use super::interned::Interned;
use super::recent::Recent;
use crate::locate::{Locate, Symbol};

/// A module that frames refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) build_id: Vec<u8>,
    pub(crate) name: String,
}

/// One position in code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Frame {
    /// Code that no module holds. Index into [`StackTable::symbols`]; `None` when it has no name either.
    Foreign { symbol: Option<u32> },
    /// Index into [`StackTable::modules`], and the address in the module's own address space.
    Native { module: u32, address: u64 },
}

/// One frame under its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    /// The caller's node, or [`ROOT`], or [`CUT_ROOT`].
    pub(crate) parent: u32,
    /// Index into [`StackTable::frames`].
    pub(crate) frame: u32,
}

/// The parent of a thread's first frame.
pub(crate) const ROOT: u32 = u32::MAX;
/// The parent of the first frame of a stack whose callers are not known.
pub(crate) const CUT_ROOT: u32 = u32::MAX - 1;

/// A stack that was interned.
#[derive(Debug, Clone, Copy)]
struct Known {
    leaf: u32,
    /// When something was last sampled here in this window that refers to it later on, an allocation or a task that began to wait, from the
    /// window's start: the block may be live, and the task waiting, without being known to be.
    allocated_ms: Option<u32>,
}

/// All stacks of a window, and those of live heap blocks from earlier ones.
#[derive(Debug, Default)]
pub(crate) struct StackTable {
    modules: Vec<Module>,
    symbols: Interned<Symbol>,
    frames: Interned<Frame>,
    nodes: Interned<Node>,
    by_hash: FxHashMap<u64, Known>,
    recent: Recent,
}

impl StackTable {
    /// Modules that frames refer to.
    pub(crate) fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Names that frames came with.
    pub(crate) fn symbols(&self) -> &[Symbol] {
        self.symbols.values()
    }

    /// Distinct frames.
    pub(crate) fn frames(&self) -> &[Frame] {
        self.frames.values()
    }

    /// The prefix tree; a parent precedes its children.
    pub(crate) fn nodes(&self) -> &[Node] {
        self.nodes.values()
    }

    /// The leaf node of a stack that was interned before.
    pub(crate) fn find(&self, hash: u64) -> Option<u32> {
        self.by_hash.get(&hash).map(|known| known.leaf)
    }

    /// The same, of a stack that now comes again. `allocated_ms`: a block was allocated there, so long after the window's start.
    pub(crate) fn meet(&mut self, hash: u64, allocated_ms: Option<u32>) -> Option<u32> {
        let known = self.by_hash.get_mut(&hash)?;
        known.allocated_ms = known.allocated_ms.max(allocated_ms);
        Some(known.leaf)
    }

    /// Remembers a stack (leaf first) that was not met before, and names it by its leaf node. `None` when it is empty or a table
    /// is full.
    pub(crate) fn intern(
        &mut self,
        hash: u64,
        stack: &[u64],
        truncated: bool,
        allocated_ms: Option<u32>,
        modules: &dyn Locate,
    ) -> Option<u32> {
        if stack.is_empty() || self.nodes.len() + stack.len() > WINDOW_STACK_NODES_MAX {
            return None;
        }
        let (shared, mut node) = self.recent.begin(if truncated { CUT_ROOT } else { ROOT }, stack);
        for &pc in stack.iter().rev().skip(shared) {
            let frame = self.frame(pc, modules)?;
            node = self.nodes.intern(Node { parent: node, frame });
            self.recent.step(pc, node);
        }
        self.by_hash.insert(hash, Known { leaf: node, allocated_ms });
        Some(node)
    }

    /// Addresses may mean other code than before.
    pub(crate) fn forget_addresses(&mut self) {
        self.recent = Recent::default();
    }

    /// An upper bound of what the tables hold, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.frames.bytes()
            + self.nodes.bytes()
            + self.by_hash.len() * in_map::<(u64, Known)>()
            + self.modules.len() * 128
            + self.symbols.len() * 512
            + Recent::BYTES
    }

    /// Takes no more stacks, so what finds frames and nodes can go.
    pub(crate) fn close(&mut self) {
        self.symbols.close();
        self.frames.close();
        self.nodes.close();
        self.recent = Recent::default();
    }

    /// A table with only the stacks of blocks that are live, or may be since it was asked which are: those allocated at `since_ms`
    /// or later.
    pub(crate) fn carry_over(&self, since_ms: u32, is_live: impl Fn(u64) -> bool) -> Self {
        let mut next = Self { modules: self.modules.clone(), ..Self::default() };
        for symbol in self.symbols() {
            next.symbol(symbol);
        }
        let mut path = Vec::new();
        for (&hash, known) in &self.by_hash {
            if known.allocated_ms < Some(since_ms) && !is_live(hash) {
                continue;
            }
            let mut node = known.leaf;
            while let Some(&Node { parent, frame }) = self.nodes.get(node) {
                path.push(frame);
                node = parent;
            }
            for frame in path.drain(..).rev() {
                let Some(&frame) = self.frames.get(frame) else { continue };
                let frame = next.frames.intern(frame);
                node = next.nodes.intern(Node { parent: node, frame });
            }
            next.by_hash.insert(hash, Known { leaf: node, allocated_ms: None });
        }
        next
    }

    fn frame(&mut self, pc: u64, modules: &dyn Locate) -> Option<u32> {
        if let Some(known) = self.recent.frame(pc) {
            return Some(known);
        }
        let native = modules.locate(pc).and_then(|(index, address)| Some((modules.module(index)?, address)));
        let frame = match native {
            None => Frame::Foreign { symbol: modules.symbol(pc).map(|symbol| self.symbol(symbol)) },
            Some(((build_id, name), address)) => Frame::Native { module: self.module(build_id, name)?, address },
        };
        if self.frames.len() >= WINDOW_FRAMES_MAX {
            return None;
        }
        let frame = self.frames.intern(frame);
        self.recent.note_frame(pc, frame);
        Some(frame)
    }

    /// A process maps tens of files, and this is asked of new addresses only.
    fn module(&mut self, build_id: &[u8], name: &str) -> Option<u32> {
        if let Some(known) = self.modules.iter().position(|module| module.build_id == build_id) {
            return Some(known as u32);
        }
        if self.modules.len() >= WINDOW_MODULES_MAX {
            return None;
        }
        self.modules.push(Module { build_id: build_id.to_vec(), name: name.to_owned() });
        Some(self.modules.len() as u32 - 1)
    }

    fn symbol(&mut self, symbol: &Symbol) -> u32 {
        self.symbols.find(symbol).unwrap_or_else(|| self.symbols.intern(symbol.clone()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two modules of 4 KiB at 0x10000 and 0x20000, the second linked at 0x400000; everything else is unknown.
    pub(crate) struct TwoModules;

    impl Locate for TwoModules {
        fn locate(&self, pc: u64) -> Option<(usize, u64)> {
            match pc {
                0x10000..0x11000 => Some((0, pc - 0x10000)),
                0x20000..0x21000 => Some((1, pc - 0x20000 + 0x40_0000)),
                _ => None,
            }
        }

        fn module(&self, index: usize) -> Option<(&[u8], &str)> {
            [(&[1u8; 20][..], "shop"), (&[2u8; 20][..], "libc.so.6")].get(index).copied()
        }
    }

    fn path(table: &StackTable, mut node: u32) -> (Vec<Frame>, u32) {
        let mut frames = Vec::new();
        while let Some(n) = table.nodes().get(node as usize) {
            frames.push(table.frames()[n.frame as usize]);
            node = n.parent;
        }
        (frames, node)
    }

    #[test]
    fn a_stack_reads_back_as_module_relative_frames() {
        let mut table = StackTable::default();
        let leaf = table.intern(7, &[0x20010, 0x999, 0x10020], false, None, &TwoModules).unwrap();
        let (frames, root) = path(&table, leaf);
        let module = |name: &str| table.modules().iter().position(|m| m.name == name).unwrap() as u32;
        assert_eq!(
            frames,
            [
                Frame::Native { module: module("libc.so.6"), address: 0x40_0010 },
                Frame::Foreign { symbol: None },
                Frame::Native { module: module("shop"), address: 0x20 },
            ]
        );
        assert_eq!(root, ROOT);
        assert_eq!(table.find(7), Some(leaf));
    }

    #[test]
    fn a_stack_reads_back_whatever_came_before_it() {
        let mut table = StackTable::default();
        let mut random = 1u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for hash in 0..5_000 {
            let stack: Vec<u64> = (0..1 + next(12)).map(|_| 0x10000 * (1 + next(2)) + next(3) * 0x400).collect();
            let truncated = next(4) == 0;
            let leaf = table.intern(hash, &stack, truncated, None, &TwoModules).unwrap();
            let frames = stack.iter().map(|&pc| {
                let (index, address) = TwoModules.locate(pc).unwrap();
                let name = TwoModules.module(index).unwrap().1;
                let module = table.modules().iter().position(|module| module.name == name).unwrap() as u32;
                Frame::Native { module, address }
            });
            let root = if truncated { CUT_ROOT } else { ROOT };
            assert_eq!(path(&table, leaf), (frames.collect(), root));
        }
    }

    #[test]
    fn shared_callers_are_stored_once() {
        let mut table = StackTable::default();
        table.intern(1, &[0x10001, 0x10002, 0x10003], false, None, &TwoModules);
        table.intern(2, &[0x10004, 0x10002, 0x10003], false, None, &TwoModules);
        assert_eq!(table.nodes().len(), 4);
    }

    #[test]
    fn a_cut_stack_never_shares_a_root_with_a_whole_one() {
        let mut table = StackTable::default();
        let whole = table.intern(1, &[0x10001], false, None, &TwoModules).unwrap();
        let cut = table.intern(2, &[0x10001], true, None, &TwoModules).unwrap();
        assert_ne!(whole, cut);
        assert_eq!(path(&table, cut).1, CUT_ROOT);
    }

    #[test]
    fn only_stacks_of_blocks_that_may_be_live_are_carried_over() {
        let mut table = StackTable::default();
        table.intern(1, &[0x10001, 0x10002], false, None, &TwoModules);
        table.intern(2, &[0x10003, 0x10002], false, Some(8_999), &TwoModules);
        table.intern(3, &[0x10004, 0x10002], true, Some(9_000), &TwoModules);
        table.intern(4, &[0x10005, 0x10002], false, Some(7), &TwoModules);
        assert_eq!(table.meet(4, None), table.find(4));
        table.intern(5, &[0x10006, 0x10002], false, Some(7), &TwoModules);
        table.meet(5, Some(9_500));
        table.meet(5, Some(11));
        let second = table.carry_over(9_000, |hash| hash == 2);
        assert_eq!([1, 2, 3, 4, 5].map(|hash| second.find(hash).is_some()), [false, true, true, false, true]);
        assert_eq!(path(&second, second.find(3).unwrap()).1, CUT_ROOT);
        assert_eq!(path(&second, second.find(2).unwrap()).0, path(&table, table.find(2).unwrap()).0);
        let third = second.carry_over(9_000, |hash| hash == 2);
        assert_eq!(third.find(3), None, "its block was freed");
        assert_eq!(path(&third, third.find(2).unwrap()).0, path(&table, table.find(2).unwrap()).0);
    }

    #[test]
    fn an_address_means_what_it_meant_until_code_has_changed() {
        /// The first module, where the second was.
        struct Moved;
        impl Locate for Moved {
            fn locate(&self, pc: u64) -> Option<(usize, u64)> {
                TwoModules.locate(pc).map(|(_, address)| (0, address))
            }

            fn module(&self, index: usize) -> Option<(&[u8], &str)> {
                TwoModules.module(index)
            }
        }
        let mut table = StackTable::default();
        let stack = [0x20010, 0x20020];
        let before = table.intern(1, &stack, false, None, &TwoModules).unwrap();
        table.forget_addresses();
        let after = table.intern(2, &stack, false, None, &Moved).unwrap();
        let modules = |node| {
            path(&table, node).0.into_iter().map(|frame| match frame {
                Frame::Native { module, .. } => table.modules()[module as usize].name.clone(),
                Frame::Foreign { .. } => panic!("it lies in a module"),
            })
        };
        assert!(modules(before).all(|name| name == "libc.so.6"));
        assert!(modules(after).all(|name| name == "shop"));
    }
}
