//! CPU profiles of gperftools: words of the machine that wrote them, then what it had mapped where; of Java, names instead.
//! <https://gperftools.github.io/gperftools/cpuprofile-fileformat.html>

use rustc_hash::FxHashMap;

use super::draft::{Asked, Draft, Measure};
use super::modules::Modules;
use crate::profile::import::{ImportError, Imported, Place};

const FORMAT: &str = "a CPU profile of gperftools";

/// How a machine writes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Words {
    bytes: usize,
    is_big: bool,
}

impl Words {
    const ALL: [Self; 4] = [
        Self { bytes: 4, is_big: false },
        Self { bytes: 8, is_big: false },
        Self { bytes: 4, is_big: true },
        Self { bytes: 8, is_big: true },
    ];

    fn read(self, body: &[u8], at: usize) -> Option<u64> {
        let bytes = body.get(at.checked_mul(self.bytes)?..)?.get(..self.bytes)?;
        let add = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
        Some(if self.is_big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }

    /// 0, how many words of the header follow, a version, the period in microseconds, and padding.
    fn header(self, body: &[u8]) -> Option<Header> {
        let word = |at| self.read(body, at);
        let (zero, length, version, period_us) = (word(0)?, word(1)?, word(2)?, word(3)?);
        word(4)?;
        let is_one = zero == 0 && (3..16).contains(&length) && version <= 1 && period_us > 0;
        is_one.then(|| Header { words: self, first: length as usize + 2, is_java: version == 1, period_us })
    }
}

struct Header {
    words: Words,
    /// The first word behind it.
    first: usize,
    is_java: bool,
    period_us: u64,
}

fn header(body: &[u8]) -> Option<Header> {
    Words::ALL.into_iter().find_map(|words| words.header(body))
}

pub(super) fn is_one(body: &[u8]) -> bool {
    header(body).is_some()
}

/// How often a stack was seen, and where in the body's words it is.
#[derive(Debug, Clone, Copy)]
struct Sample {
    count: u64,
    first: usize,
    len: usize,
}

pub(super) fn decode(body: &[u8], asked: &Asked) -> Result<Imported, ImportError> {
    let broken = |byte: usize, problem: &str| ImportError::Broken {
        format: FORMAT,
        place: Place::Byte(byte),
        problem: problem.to_owned(),
        advice: "the file is damaged or cut short: take it or copy it again",
    };
    let Header { words, first, is_java, period_us } = header(body).ok_or_else(|| broken(0, "it has no header"))?;
    let mut samples = Vec::new();
    let mut at = first;
    // The last one is no sample: it was seen 0 times at the address 0.
    let end = loop {
        let here = at.saturating_mul(words.bytes);
        let (Some(count), Some(len)) = (words.read(body, at), words.read(body, at + 1)) else {
            return Err(broken(here.min(body.len()), "it ends before its last sample"));
        };
        let (start, rest) = (at + 2, (body.len() / words.bytes).saturating_sub(at + 2));
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= rest) else {
            return Err(broken(here, "a sample is longer than the file"));
        };
        at = start + len;
        if count == 0 && len == 1 && words.read(body, start) == Some(0) {
            break at * words.bytes;
        }
        samples.push(Sample { count, first: start, len });
    };
    let text = String::from_utf8_lossy(body.get(end..).unwrap_or_default());
    let distance = period_us.saturating_mul(1_000);
    let mut draft = Draft::of_each(&[Measure { distance, ..Measure::new("cpu", "nanoseconds") }], asked)?;
    let mut names = if is_java { Names::Java(java(&text, &mut draft)?) } else { Names::Mapped(Modules::read(&text)) };
    let address = |sample: &Sample, at: usize| {
        let address = words.read(body, sample.first + at).filter(|_| at < sample.len);
        // Callers are where they go on; the call is before that.
        address.map(|address| if at == 0 || is_java { address } else { address.wrapping_sub(1) })
    };
    let handler = handler(&samples, &names, address);
    let mut stack = Vec::new();
    for sample in &samples {
        stack.clear();
        let mut rest = sample.len.min(1);
        // What the signal handler left behind: its own frame, and the leaf a second time.
        rest += usize::from(handler.is_some() && address(sample, rest) == handler);
        let is_leaf = |next: u64| Some(next.wrapping_add(1)) == address(sample, 0);
        rest += usize::from(!is_java && address(sample, rest).is_some_and(is_leaf));
        for at in (rest..sample.len).rev().chain((sample.len > 0).then_some(0)) {
            if let Some(address) = address(sample, at) {
                stack.push(names.frame(address, &mut draft)?);
            }
        }
        draft.sample(&stack, 0, &[sample.count.saturating_mul(distance)], sample.count)?;
    }
    draft.finish(0, 0)
}

/// The frame above the leaf that nearly all samples have, where that is how the system calls a signal handler: older versions of gperftools
/// leave it in the stack.
fn handler(samples: &[Sample], names: &Names<'_>, address: impl Fn(&Sample, usize) -> Option<u64>) -> Option<u64> {
    let Names::Mapped(modules) = names else { return None };
    let mut seen: FxHashMap<u64, usize> = FxHashMap::default();
    for address in samples.iter().filter_map(|sample| address(sample, 1)) {
        *seen.entry(address).or_default() += 1;
    }
    let needed = samples.len() - samples.len() / 32;
    let is_system = |address: u64| {
        modules
            .module(address)
            .is_some_and(|name| ["libpthread", "libc.", "libc-", "[vdso]"].iter().any(|start| name.starts_with(start)))
    };
    seen.into_iter().find(|(address, count)| *count >= needed && is_system(*address)).map(|(address, _)| address)
}

enum Names<'a> {
    Mapped(Modules<'a>),
    Java(FxHashMap<u64, u32>),
}

impl Names<'_> {
    fn frame(&mut self, address: u64, draft: &mut Draft) -> Result<u32, ImportError> {
        match self {
            Self::Mapped(modules) => modules.frame(address, draft),
            Self::Java(frames) => match frames.get(&address) {
                Some(known) => Ok(*known),
                None => draft.importer.symbolic(&format!("{address:#x}"), "", 0),
            },
        }
    }
}

/// Lines such as `0x2d com.example.Shop.total (Shop.java:21)`.
fn java(text: &str, draft: &mut Draft) -> Result<FxHashMap<u64, u32>, ImportError> {
    let mut frames = FxHashMap::default();
    for line in text.lines() {
        let Some((address, rest)) =
            line.trim().strip_prefix("0x").and_then(|line| line.split_once(char::is_whitespace))
        else {
            continue;
        };
        let Ok(address) = u64::from_str_radix(address, 16) else { continue };
        let rest = rest.trim();
        let place = rest.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("));
        let (name, place) = place.unwrap_or((rest, ""));
        let (file, line) = place.rsplit_once(':').unwrap_or(("", ""));
        let (file, line) = line.parse().map_or(("", 0), |line| (file, line));
        frames.insert(address, draft.importer.symbolic(name.trim(), file, line)?);
    }
    Ok(frames)
}
