//! One frame of a stack, as a walk sees it: in an unwinder's registers.

use framehop::aarch64::UnwindRegsAarch64;
use framehop::x86_64::UnwindRegsX86_64;

/// Frames of the deepest stack that can be asked for.
pub(crate) const DEPTH_MAX: usize = 512;

/// What a frame's code and the way to its caller follow from, but for the words of stack that are read on that way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct State {
    /// Without the signature that some processors give it.
    pub(crate) return_address: u64,
    pub(crate) sp: u64,
    pub(crate) fp: u64,
}

/// What a walk asks of an unwinder's registers, besides to be unwound. For every processor everywhere, so that walks
/// recorded on one are tested on another.
pub(crate) trait Unwound {
    /// The stack pointer.
    fn sp(&self) -> u64;

    /// Makes values harmless that the unwinder would stumble over.
    fn tame(&mut self);

    /// A return address without the signature that the processor may have put in its upper bits.
    fn without_signature(&self, return_address: u64) -> u64;

    /// Where it is, in a frame that has called another.
    fn state(&self) -> State;

    /// Goes to where [`state`](Self::state) was taken.
    fn set_state(&mut self, state: &State);
}

impl Unwound for UnwindRegsX86_64 {
    fn sp(&self) -> u64 {
        self.sp()
    }

    /// A DWARF rule based on a tiny frame pointer would compute an address below zero, and the unwinder's arithmetic is
    /// checked in debug builds. Zero stays, because it marks the root.
    fn tame(&mut self) {
        if (1..4096).contains(&self.bp()) {
            self.set_bp(4096);
        }
    }

    fn without_signature(&self, return_address: u64) -> u64 {
        return_address
    }

    fn state(&self) -> State {
        State { return_address: self.ip(), sp: self.sp(), fp: self.bp() }
    }

    fn set_state(&mut self, state: &State) {
        self.set_ip(state.return_address);
        self.set_sp(state.sp);
        self.set_bp(state.fp);
    }
}

impl Unwound for UnwindRegsAarch64 {
    fn sp(&self) -> u64 {
        self.sp()
    }

    /// This unwinder checks its own arithmetic.
    fn tame(&mut self) {}

    fn without_signature(&self, return_address: u64) -> u64 {
        self.lr_mask().strip_ptr_auth(return_address)
    }

    fn state(&self) -> State {
        State { return_address: self.lr(), sp: self.sp(), fp: self.fp() }
    }

    fn set_state(&mut self, state: &State) {
        self.set_lr(state.return_address);
        self.set_sp(state.sp);
        self.set_fp(state.fp);
    }
}
