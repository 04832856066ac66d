//! What is known of each thread of the process, where a signal handler can read it.

mod current;
mod state;

pub(crate) use self::current::{current, is_exempt, set_exempt};
pub(crate) use self::state::{Bounds, BoundsRequest, ThreadState, assign, at_address, of};
