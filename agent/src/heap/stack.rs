//! Where a sampled allocation's stack comes from: the sampler walks it. An interpreter has no stack to walk, so under one the
//! sample is only noted, and everything around it can be interpreted.

#[cfg(not(miri))]
pub(super) use crate::sampler::{Registers, record_alloc as record};

#[cfg(miri)]
pub(super) use self::noted::{Registers, record};

#[cfg(miri)]
pub(super) mod noted {
    use std::ops::Range;
    use std::sync::{Mutex, PoisonError};

    /// Bytes and weight of each sample since the last [`take`].
    static NOTED: Mutex<Vec<(u64, f64)>> = Mutex::new(Vec::new());

    /// Registers of an interpreted thread, which has none.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::heap) struct Registers;

    impl Registers {
        pub(in crate::heap) fn here() -> Self {
            Self
        }
    }

    /// Notes a sample. All have the same stack.
    pub(in crate::heap) fn record(_: Registers, bytes: u64, weight: f64, _: Range<u64>) -> Option<u64> {
        NOTED.lock().unwrap_or_else(PoisonError::into_inner).push((bytes, weight));
        Some(1)
    }

    /// Forgets what was noted, and returns it.
    #[cfg(test)]
    pub(in crate::heap) fn take() -> Vec<(u64, f64)> {
        std::mem::take(&mut NOTED.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
