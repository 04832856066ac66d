//! Walks stacks: without allocating, locking or calling the kernel.

pub(crate) mod allocation_policy;
pub(crate) mod frame;
pub(crate) mod rule_cache;
pub(crate) mod snapshot;
pub(crate) mod stack_memory;
pub(crate) mod walk;
pub(crate) mod walk_cache;
