//! What a frame turned out to be once its symbols were looked up. Kept apart from the lookup, so that trees stay pure.

use std::sync::Arc;

/// One function of a resolved frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Symbol {
    /// Demangled, with its crate path, without the compiler's hash suffix.
    pub function: Arc<str>,
    /// File name of the binary or library it is in; empty for frames that came symbolized.
    pub module: Arc<str>,
    /// Source file as the compiler recorded it, or empty.
    pub file: Arc<str>,
    /// Line, or 0.
    pub line: u32,
    /// The compiler copied it into the function above it.
    pub inlined: bool,
}

/// What one frame stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The function, then what was inlined into it: outermost first, never empty.
    Symbols(Vec<Symbol>),
    /// No symbols cover it: shown as `module+0x1f3a`.
    Unresolved {
        /// File name of the binary or library.
        module: Arc<str>,
        /// Address in the module's own address space.
        address: u64,
    },
    /// The stack was cut here.
    Truncated,
}
