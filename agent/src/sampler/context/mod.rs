//! What the current thread works for, where its signal handler and other profilers find it.

mod published;
mod record;

pub(crate) use self::record::{current, labels, replace};
