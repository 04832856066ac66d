//! What the agent thread looks after: threads and their timers, and where their stacks end.

mod stack_bounds;
pub(crate) mod threads;
