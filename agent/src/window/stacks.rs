//! Stacks as a prefix tree of module-relative frames: equal callers are stored once, and nothing refers to an address
//! that a later `dlclose` could give another meaning.

use rustc_hash::FxHashMap;
use tephra_proto::limits::{WINDOW_FRAMES_MAX, WINDOW_MODULES_MAX, WINDOW_STACK_NODES_MAX};

/// Finds the module that holds a code address.
pub(crate) trait Locate {
    /// The module's index and the address inside it; `None` for code that no file backs, such as a JIT's.
    fn locate(&self, pc: u64) -> Option<(usize, u64)>;
    /// Build id and file name of a module.
    fn module(&self, index: usize) -> Option<(&[u8], &str)>;
    /// What stands at an address outside all modules, for samplers that know names instead of modules.
    fn symbol(&self, _pc: u64) -> Option<&Symbol> {
        None
    }
}

/// A position in code that came with its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Symbol {
    pub(crate) function: String,
    pub(crate) file: String,
    /// 0: not known.
    pub(crate) line: u32,
}

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
    /// An allocation was sampled here in this window. Its block may turn out to live only when the next one ends.
    allocated: bool,
}

/// The most that an entry of a list costs: lists grow by doubling.
pub(super) const fn in_list<T>() -> usize {
    2 * size_of::<T>()
}

/// The most that an entry of a hash map costs, in bytes: maps are filled to seven eighths, have a byte more per place, and grow
/// by doubling.
pub(super) const fn in_map<T>() -> usize {
    ((size_of::<T>() + 1) * 16).div_ceil(7)
}

/// All stacks of a window, and those of live heap blocks from earlier ones.
#[derive(Debug, Default)]
pub(crate) struct StackTable {
    modules: Vec<Module>,
    symbols: Vec<Symbol>,
    frames: Vec<Frame>,
    nodes: Vec<Node>,
    symbol_ids: FxHashMap<Symbol, u32>,
    frame_ids: FxHashMap<Frame, u32>,
    node_ids: FxHashMap<Node, u32>,
    by_hash: FxHashMap<u64, Known>,
}

impl StackTable {
    /// Modules that frames refer to.
    pub(crate) fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Names that frames came with.
    pub(crate) fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// Distinct frames.
    pub(crate) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The prefix tree; a parent precedes its children.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The leaf node of a stack that was interned before.
    pub(crate) fn find(&self, hash: u64) -> Option<u32> {
        self.by_hash.get(&hash).map(|known| known.leaf)
    }

    /// Remembers a stack (leaf first) and names it by its leaf node. `allocated`: a live block may come to refer to it.
    /// `None` when it is empty or a table is full.
    pub(crate) fn intern(
        &mut self,
        hash: u64,
        stack: &[u64],
        truncated: bool,
        allocated: bool,
        modules: &dyn Locate,
    ) -> Option<u32> {
        if let Some(known) = self.by_hash.get_mut(&hash) {
            known.allocated |= allocated;
            return Some(known.leaf);
        }
        if stack.is_empty() || self.nodes.len() + stack.len() > WINDOW_STACK_NODES_MAX {
            return None;
        }
        let mut node = if truncated { CUT_ROOT } else { ROOT };
        for &pc in stack.iter().rev() {
            let frame = self.frame(pc, modules)?;
            node = self.node(Node { parent: node, frame });
        }
        self.by_hash.insert(hash, Known { leaf: node, allocated });
        Some(node)
    }

    /// An upper bound of what the tables hold, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let frame = in_list::<Frame>() + in_map::<(Frame, u32)>();
        let node = in_list::<Node>() + in_map::<(Node, u32)>();
        self.frames.len() * frame
            + self.nodes.len() * node
            + self.by_hash.len() * in_map::<(u64, Known)>()
            + self.modules.len() * 128
            + self.symbols.len() * 512
    }

    /// Takes no more stacks, so what finds frames and nodes can go: most of the memory.
    pub(crate) fn close(&mut self) {
        self.symbol_ids = FxHashMap::default();
        self.frame_ids = FxHashMap::default();
        self.node_ids = FxHashMap::default();
    }

    /// A table with only the stacks that live heap blocks refer to, now or as soon as the sampler is asked again.
    pub(crate) fn carry_over(&self, is_live: impl Fn(u64) -> bool) -> Self {
        let mut next = Self { modules: self.modules.clone(), ..Self::default() };
        for symbol in &self.symbols {
            next.symbol(symbol);
        }
        let mut path = Vec::new();
        for (&hash, known) in &self.by_hash {
            if !known.allocated && !is_live(hash) {
                continue;
            }
            let mut node = known.leaf;
            while let Some(&Node { parent, frame }) = self.nodes.get(node as usize) {
                path.push(frame);
                node = parent;
            }
            for frame in path.drain(..).rev() {
                let Some(&frame) = self.frames.get(frame as usize) else { continue };
                let frame = next.frame_id(frame);
                node = next.node(Node { parent: node, frame });
            }
            next.by_hash.insert(hash, Known { leaf: node, allocated: false });
        }
        next
    }

    fn frame(&mut self, pc: u64, modules: &dyn Locate) -> Option<u32> {
        let native = modules.locate(pc).and_then(|(index, address)| Some((modules.module(index)?, address)));
        let frame = match native {
            None => Frame::Foreign { symbol: modules.symbol(pc).map(|symbol| self.symbol(symbol)) },
            Some(((build_id, name), address)) => Frame::Native { module: self.module(build_id, name)?, address },
        };
        (self.frames.len() < WINDOW_FRAMES_MAX).then(|| self.frame_id(frame))
    }

    /// A process maps tens of files, so a scan is as fast as a hash, and the last one used is the likeliest.
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
        if let Some(&known) = self.symbol_ids.get(symbol) {
            return known;
        }
        self.symbols.push(symbol.clone());
        let id = self.symbols.len() as u32 - 1;
        self.symbol_ids.insert(symbol.clone(), id);
        id
    }

    fn frame_id(&mut self, frame: Frame) -> u32 {
        *self.frame_ids.entry(frame).or_insert_with(|| {
            self.frames.push(frame);
            self.frames.len() as u32 - 1
        })
    }

    fn node(&mut self, node: Node) -> u32 {
        *self.node_ids.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            self.nodes.len() as u32 - 1
        })
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
        let leaf = table.intern(7, &[0x20010, 0x999, 0x10020], false, false, &TwoModules).unwrap();
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
    fn shared_callers_are_stored_once() {
        let mut table = StackTable::default();
        table.intern(1, &[0x10001, 0x10002, 0x10003], false, false, &TwoModules);
        table.intern(2, &[0x10004, 0x10002, 0x10003], false, false, &TwoModules);
        assert_eq!(table.nodes().len(), 4);
    }

    #[test]
    fn a_cut_stack_never_shares_a_root_with_a_whole_one() {
        let mut table = StackTable::default();
        let whole = table.intern(1, &[0x10001], false, false, &TwoModules).unwrap();
        let cut = table.intern(2, &[0x10001], true, false, &TwoModules).unwrap();
        assert_ne!(whole, cut);
        assert_eq!(path(&table, cut).1, CUT_ROOT);
    }

    #[test]
    fn only_stacks_of_live_blocks_are_carried_over() {
        let mut table = StackTable::default();
        table.intern(1, &[0x10001, 0x10002], false, false, &TwoModules);
        table.intern(2, &[0x10003, 0x10002], false, true, &TwoModules);
        table.intern(3, &[0x10004, 0x10002], true, true, &TwoModules);
        let second = table.carry_over(|_| false);
        assert_eq!((second.find(1), second.find(2).is_some(), second.find(3).is_some()), (None, true, true));
        assert_eq!(path(&second, second.find(3).unwrap()).1, CUT_ROOT);
        let third = second.carry_over(|hash| hash == 2);
        assert_eq!(third.find(3), None, "its block was freed");
        assert_eq!(path(&third, third.find(2).unwrap()).0, path(&table, table.find(2).unwrap()).0);
    }
}
