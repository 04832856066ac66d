//! Profiles of other tools, told apart by their content: nobody has to say what a file is. One file here for each format; each makes of a
//! file what pprof's decoder makes of one, within the same limits.
//!
//! | module | what it reads |
//! |---|---|
//! | `recognise` | what a body is |
//! | `folded` | folded stacks, and lines of stacks without a count |
//! | `perf` | what `perf script` prints |
//! | `speedscope` | speedscope's JSON, evented and sampled |
//! | `v8` | V8's `.cpuprofile`, old and new, and `.heapprofile` |
//! | `gecko` | the Firefox Profiler's JSON, which samply writes |
//! | `gperftools` | CPU profiles of gperftools, of C++ and Java |
//! | `counts` | texts of addresses: heaps of gperftools, jemalloc and Go, Go's other profiles with `debug=1`, contention |
//! | `draft`, `calls`, `json`, `modules` | what they share: a window under construction, trees of calls, JSON, mapped files |
//!
//! A format more is a variant of [`Format`], a line in `recognise`, and a file with a `decode` that ends in a `Draft`.

mod calls;
mod counts;
mod draft;
mod folded;
mod gecko;
mod gperftools;
mod json;
mod modules;
mod perf;
mod recognise;
mod speedscope;
#[cfg(test)]
mod tests;
mod v8;

use std::borrow::Cow;

use super::import::{ImportError, Imported};
use super::pprof;
pub use draft::Asked;

/// What a file can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `perftools.profiles.Profile`.
    Pprof,
    /// `outer;inner 12`, a line for each stack.
    Folded,
    /// The same without a number: each line is one sample.
    Lines,
    /// What `perf script` prints.
    PerfScript,
    /// speedscope's JSON.
    Speedscope,
    /// V8's `.cpuprofile`.
    V8Cpu,
    /// V8's `.heapprofile`.
    V8Heap,
    /// The Firefox Profiler's JSON.
    Gecko,
    /// A CPU profile of gperftools.
    GperftoolsCpu,
    /// A text of addresses: heaps, contention, and what Go writes with `debug=1`.
    Counts,
}

impl Format {
    /// As people call such files, in the plural.
    fn name(self) -> &'static str {
        match self {
            Self::Pprof => "pprof profiles",
            Self::Folded => "folded stacks",
            Self::Lines => "lines of stacks",
            Self::PerfScript => "outputs of perf script",
            Self::Speedscope => "speedscope files",
            Self::V8Cpu => "CPU profiles of V8",
            Self::V8Heap => "heap profiles of V8",
            Self::Gecko => "profiles of Firefox or samply",
            Self::GperftoolsCpu => "CPU profiles of gperftools",
            Self::Counts => "profiles as text",
        }
    }

    /// Whether files of it leave open what their numbers are.
    fn is_bare(self) -> bool {
        matches!(self, Self::Folded | Self::Lines | Self::Speedscope)
    }
}

/// Decodes a body of any format, gzipped or not.
///
/// # Errors
/// When it is none that is known, is damaged, or exceeds what one window may hold. The error says what it looks like.
pub fn decode(body: &[u8]) -> Result<Imported, ImportError> {
    decode_as(body, &Asked::default())
}

/// The same where somebody says more of it than its file.
///
/// # Errors
/// As [`decode`], and when what is said does not fit it.
pub fn decode_as(body: &[u8], asked: &Asked) -> Result<Imported, ImportError> {
    let inflated = recognise::as_utf8(pprof::inflate(body)?);
    decode_in(recognise::recognise(&inflated).unwrap_or(Format::Pprof), &inflated, asked)
}

/// Decodes what is known to be of a format, and not gzipped.
///
/// # Errors
/// As [`decode_as`].
pub fn decode_in(format: Format, body: &[u8], asked: &Asked) -> Result<Imported, ImportError> {
    if let Some(unit) = asked.unit.clone().filter(|_| !format.is_bare()) {
        return Err(ImportError::UnitKnown { format: format.name(), unit });
    }
    match format {
        Format::Pprof => return pprof::decode_inflated(body, &asked.kinds),
        Format::GperftoolsCpu => return gperftools::decode(body, asked),
        _ => {}
    }
    let text = String::from_utf8_lossy(body);
    let decoded = match format {
        Format::Folded => folded::decode(&text, asked),
        Format::Lines => folded::decode_lines(&text, asked),
        Format::PerfScript => perf::decode(&text, asked),
        Format::Speedscope => speedscope::decode(&text, asked),
        Format::V8Cpu => v8::decode_cpu(&text, asked),
        Format::V8Heap => v8::decode_heap(&text, asked),
        Format::Gecko => gecko::decode(&text, asked),
        _ => counts::decode(&text, asked),
    };
    decoded.map(|mut imported| {
        imported.remarks.names_made_fit += u64::from(matches!(text, Cow::Owned(_)));
        imported
    })
}
