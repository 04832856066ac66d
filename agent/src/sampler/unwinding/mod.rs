//! Walks stacks: without allocating, locking or calling the kernel.

pub(crate) mod allocation_policy;
pub(crate) mod rule_caches;
pub(crate) mod walk;
pub(crate) mod walk_memory;
