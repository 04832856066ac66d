//! Loaded objects: the program and its libraries, where their code is, what builds they are, and how to unwind them.

mod build_id;
pub(crate) mod ifunc;
pub(crate) mod loader;
mod map;
pub(crate) mod pointer_auth;
mod tracker;

pub(crate) use self::map::ModuleMap;
pub(crate) use self::tracker::Tracker;
