//! Where samples are made and left: a few slots, each with room to unwind in and a ring for the records.

pub(crate) mod record;
pub(crate) mod ring;
pub(crate) mod slots;
