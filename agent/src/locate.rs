//! What code addresses mean: asked by whoever keeps stacks, answered by whoever took them.

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
