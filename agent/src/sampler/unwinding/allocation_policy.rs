//! How much room unwinding may take: fixed, for it happens in signal handlers on stacks that may be small.
//!
//! The unwinder's own fixed sizes suit any processor's registers; a row of its table has room for 192 rules, and is built on
//! the stack. Compilers write rules for the registers that calls preserve, of which x86-64 has 7 and AArch64 20; the C
//! library's trampolines name all 17 and 34. What needs more ends the walk, which is then marked as cut short.

use framehop::AllocationPolicy;
use gimli::{EvaluationStorage, Piece, Reader, ReaderOffset, Register, RegisterRule, UnwindContextStorage};
use gimli::{UnwindTableRow, Value};

/// Storage of the unwinder whose sizes are fixed when the agent is compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FixedRoom;

impl AllocationPolicy for FixedRoom {
    type GimliUnwindContextStorage<R: ReaderOffset> = Self;
    type GimliEvaluationStorage<R: Reader> = Self;
}

impl<R: ReaderOffset> UnwindContextStorage<R> for FixedRoom {
    type Rules = [(Register, RegisterRule<R>); 40];
    /// Rows that a function remembers while it goes through an epilogue.
    type Stack = [UnwindTableRow<R, Self>; 4];
}

impl<R: Reader> EvaluationStorage<R> for FixedRoom {
    type Stack = [Value; 16];
    type ExpressionStack = [(R, R); 1];
    type Result = [Piece<R>; 1];
}
