//! Alert links: which windows to compare, and the answer in words. A link is stateless and fixed for ever.
//!
//! | module | what it does |
//! |---|---|
//! | [`link`] | the grammar of links |
//! | [`baseline`] | what to compare with, and why |
//! | [`answering`] | answers from memory, or when its turn comes |
//! | `evidence` | all that is looked up for an answer |
//! | `words`, `onset`, `slower` | what was found, as an answer in words; since when; which requests it hurts |
//! | [`answer`] | the answer, as machines get it |

pub mod answer;
pub mod answering;
pub mod baseline;
mod evidence;
pub mod link;
mod onset;
mod slower;
mod words;
