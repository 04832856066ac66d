//! Profiles for tests: written as stacks, or drawn at random with a fixed seed.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Cost, Frame, Kind, Merged, Node, ProfileType, Row};
use super::resolution::{Resolution, Symbol};

const START_MS: u64 = 1_700_000_000_000;

/// A profile being written down, one stack at a time.
pub(crate) struct Sketch {
    kind: Kind,
    name: &'static str,
    unit: &'static str,
    seconds: f64,
    instances: usize,
    rows: BTreeMap<(Vec<String>, u16), (u64, u64)>,
    replicates: u16,
}

impl Sketch {
    /// CPU time over `replicates` slices of 10 s.
    pub(crate) fn cpu(replicates: u16) -> Self {
        Self {
            kind: Kind::Counter,
            name: "cpu",
            unit: "nanoseconds",
            seconds: 10.0,
            instances: 1,
            rows: BTreeMap::new(),
            replicates,
        }
    }

    pub(crate) fn gauge(replicates: u16) -> Self {
        Self { kind: Kind::Gauge, name: "inuse_space", unit: "bytes", ..Self::cpu(replicates) }
    }

    pub(crate) fn instances(mut self, n: usize) -> Self {
        self.instances = n;
        self
    }

    /// Adds a stack, root first, `;` between frames.
    pub(crate) fn add(&mut self, stack: &str, replicate: u16, value: u64, samples: u64) {
        self.add_frames(stack.split(';').map(str::to_owned).collect(), replicate, value, samples);
    }

    pub(crate) fn add_frames(&mut self, stack: Vec<String>, replicate: u16, value: u64, samples: u64) {
        let row = self.rows.entry((stack, replicate)).or_default();
        row.0 += value;
        row.1 += samples;
    }

    /// Adds a stack to every replicate, with Poisson noise around `samples` ticks of 10 ms.
    pub(crate) fn add_noisy(&mut self, random: &mut Random, stack: &str, samples: f64) {
        for replicate in 0..self.replicates {
            let n = random.poisson(samples);
            if n > 0 {
                self.add(stack, replicate, n * 10_000_000, n);
            }
        }
    }

    /// The profile and what its frames are. A frame named `module!function` is in that module, `~` marks an inlined one,
    /// `(cut)` a truncated stack.
    pub(crate) fn finish(self) -> (Merged, Vec<Resolution>) {
        let mut frames: BTreeMap<String, u32> = BTreeMap::new();
        let mut nodes: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        let until_ms = START_MS + u64::from(self.replicates) * (self.seconds * 1000.0) as u64;
        let mut merged = Merged {
            profile_type: ProfileType {
                name: self.name.into(),
                unit: self.unit.into(),
                kind: self.kind,
                period: 10_000_000,
            },
            from_ms: START_MS,
            until_ms,
            received_from_ms: START_MS,
            received_until_ms: until_ms,
            modules: vec![],
            frames: vec![],
            nodes: vec![],
            rows: vec![],
            replicate_seconds: vec![self.seconds; self.replicates.into()],
            replicate_from_ms: (0..u64::from(self.replicates))
                .map(|replicate| START_MS + replicate * (self.seconds * 1000.0) as u64)
                .collect(),
            covered_seconds: self.seconds * f64::from(self.replicates),
            windows: u64::from(self.replicates) * self.instances as u64,
            instances: (0..self.instances).map(|i| format!("host-{i}")).collect(),
            labels: BTreeSet::from([("version".to_owned(), "v1".to_owned())]),
            empty_because: self.rows.is_empty().then(|| "nothing was sent".to_owned()),
            partial: None,
            cost: Cost::default(),
        };
        let mut resolutions = vec![];
        for ((stack, replicate), (value, samples)) in self.rows {
            let mut parent = Node::ROOT;
            for name in stack {
                let next = frames.len() as u32;
                let frame = *frames.entry(name.clone()).or_insert(next);
                if frame == next {
                    merged.frames.push(symbolic(&name));
                    resolutions.push(resolution(&name));
                }
                let next = nodes.len() as u32;
                let node = *nodes.entry((parent, frame)).or_insert(next);
                if node == next {
                    merged.nodes.push(Node { parent, frame });
                }
                parent = node;
            }
            merged.rows.push(Row { node: parent, replicate, value, samples });
        }
        merged.rows.sort_unstable_by_key(|row| (row.node, row.replicate));
        (merged, resolutions)
    }
}

fn symbolic(name: &str) -> Frame {
    if name == "(cut)" {
        return Frame::Truncated;
    }
    let function = name.rsplit('!').next().unwrap_or(name).trim_start_matches('~');
    let inlined = name.contains('~');
    Frame::Symbolic { function: function.into(), file: "".into(), line: 0, inlined }
}

fn resolution(name: &str) -> Resolution {
    if name == "(cut)" {
        return Resolution::Truncated;
    }
    let (module, function) = name.split_once('!').unwrap_or(("shop", name));
    Resolution::Symbols(vec![Symbol {
        function: function.trim_start_matches('~').into(),
        module: module.into(),
        file: "".into(),
        line: 0,
        inlined: function.starts_with('~'),
    }])
}

/// xorshift64*: good enough to draw noise, and the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Between 0 and 1, neither included.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Knuth's method, in steps that do not underflow.
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        let (mut left, mut n) = (mean, 0);
        while left > 0.0 {
            let step = left.min(100.0);
            left -= step;
            let (limit, mut product) = ((-step).exp(), self.unit());
            while product > limit {
                n += 1;
                product *= self.unit();
            }
        }
        n
    }
}

/// A service of some hundred functions with Poisson noise; `factor` scales what each stack takes.
pub(crate) fn simulated(seed: u64, replicates: u16, factor: impl Fn(&str) -> f64) -> (Merged, Vec<Resolution>) {
    let mut random = Random::new(seed);
    let mut sketch = Sketch::cpu(replicates);
    for route in 0..6 {
        for step in 0..8 {
            for leaf in ["", ";core::iter::fold", ";alloc::vec::push;libc.so.6!malloc", ";libc.so.6!memcpy"] {
                let stack =
                    format!("std::rt::lang_start;shop::main;shop::route{route}::handle;shop::step{step}::run{leaf}");
                let size = 40.0 / (1.0 + f64::from(step) * f64::from(route + 1));
                sketch.add_noisy(&mut random, &stack, size * factor(&stack));
            }
        }
    }
    sketch.finish()
}

/// `content` as a gzip file.
pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut out, content).expect("memory takes what it is given");
    out.finish().expect("memory takes what it is given")
}
