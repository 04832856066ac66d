//! pprof profiles as a Go service's own profiler writes them: gzipped, some 80 samples of a dozen to thirty frames, with the names, files and
//! lines of real code.

use std::collections::HashMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use pprof::protos::{Function, Label, Line, Location, Mapping, Message as _, Profile, Sample, ValueType};
use tephra_tests::bench::Random;

/// Samples of a profile that differ in stack or labels.
pub(crate) const SAMPLES: u64 = 80;

/// Distinct stacks of a service; each profile saw some of them.
const STACKS: u64 = 400;

const PERIOD_NS: i64 = 10_000_000;

/// Ten seconds of one process of the service with this number.
pub(crate) fn profile(service: u64, variant: u64) -> Vec<u8> {
    let mut random = Random::seeded(service << 32 | variant);
    let mut profile = Building::default();
    let (samples, count, cpu, nanoseconds) =
        (profile.text("samples"), profile.text("count"), profile.text("cpu"), profile.text("nanoseconds"));
    let mut seen: HashMap<(u64, u64), i64> = HashMap::new();
    while seen.len() < SAMPLES as usize {
        *seen.entry((random.skewed(STACKS), random.next() % 2)).or_default() += 1 + (random.next() % 4) as i64;
    }
    let mut seen: Vec<_> = seen.into_iter().collect();
    seen.sort_unstable();
    for ((stack, route), samples) in seen {
        let mut locations = profile.stack(service, stack);
        locations.reverse();
        let label = profile.label("endpoint", ["/checkout", "/catalog"][route as usize]);
        profile.samples.push(Sample {
            location_id: locations,
            value: vec![samples, samples * PERIOD_NS],
            label: vec![label],
        });
    }
    let (path, build) = (profile.text("/app/server"), profile.text(&format!("{service:040x}")));
    let value_type = |ty, unit| ValueType { ty, unit };
    let profile = Profile {
        sample_type: vec![value_type(samples, count), value_type(cpu, nanoseconds)],
        sample: profile.samples,
        mapping: vec![Mapping {
            id: 1,
            memory_start: 0x40_0000,
            memory_limit: 0x140_0000,
            filename: path,
            build_id: build,
            has_functions: true,
            ..Mapping::default()
        }],
        location: profile.locations,
        function: profile.functions,
        string_table: profile.strings,
        duration_nanos: 10_000_000_000,
        period_type: Some(value_type(cpu, nanoseconds)),
        period: PERIOD_NS,
        ..Profile::default()
    };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&profile.encode_to_vec()).expect("memory does not fail");
    gzip.finish().expect("memory does not fail")
}

#[derive(Default)]
struct Building {
    strings: Vec<String>,
    texts: HashMap<String, i64>,
    functions: Vec<Function>,
    locations: Vec<Location>,
    places: HashMap<(u64, u64), u64>,
    samples: Vec<Sample>,
}

impl Building {
    fn text(&mut self, text: &str) -> i64 {
        if self.strings.is_empty() {
            self.strings.push(String::new());
        }
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let number = self.strings.len() as i64;
        self.strings.push(text.to_owned());
        self.texts.insert(text.to_owned(), number);
        number
    }

    fn label(&mut self, key: &str, value: &str) -> Label {
        Label { key: self.text(key), str: self.text(value), ..Label::default() }
    }

    /// The locations of a stack, root first: what serves requests, then the service's own functions, then what they call of the runtime.
    fn stack(&mut self, service: u64, stack: u64) -> Vec<u64> {
        let mut shape = Random::seeded(service ^ stack << 20);
        let mut locations: Vec<u64> = (0..5).map(|at| self.location(FRAMEWORK, at, 0)).collect();
        for depth in 0..4 + shape.next() % 12 {
            locations.push(self.location(1 + service, shape.skewed(60) + depth * 4, shape.next() % 3));
        }
        for _ in 0..1 + shape.next() % 6 {
            locations.push(self.location(RUNTIME, shape.skewed(80), shape.next() % 2));
        }
        locations
    }

    fn location(&mut self, package: u64, function: u64, line: u64) -> u64 {
        let key = (package << 32 | function, line);
        if let Some(known) = self.places.get(&key) {
            return *known;
        }
        let (name, file) = match package {
            FRAMEWORK => {
                (format!("net/http.(*conn).serve.func{function}"), "/usr/local/go/src/net/http/server.go".to_owned())
            }
            RUNTIME => (
                format!("runtime.{}{function}", VERBS[function as usize % VERBS.len()]),
                format!("/usr/local/go/src/runtime/proc{}.go", function % 9),
            ),
            _ => {
                let verb = VERBS[function as usize % VERBS.len()];
                let (noun, service) = (NOUNS[function as usize / 3 % NOUNS.len()], package - 1);
                (
                    format!("github.com/acme/shop{service}/internal/{noun}.(*{noun}Store).{verb}{function}"),
                    format!("/build/shop{service}/internal/{noun}/{verb}.go"),
                )
            }
        };
        let (name, file) = (self.text(&name), self.text(&file));
        let id = self.functions.len() as u64 + 1;
        self.functions.push(Function { id, name, system_name: name, filename: file, start_line: 10 });
        self.locations.push(Location {
            id,
            mapping_id: 1,
            address: 0x40_1000 + function * 0x140 + line * 8 + (package << 14),
            line: vec![Line { function_id: id, line: 12 + line as i64 * 7 }],
            is_folded: false,
        });
        self.places.insert(key, id);
        id
    }
}

const FRAMEWORK: u64 = 1 << 20;
const RUNTIME: u64 = 2 << 20;
const VERBS: [&str; 12] = [
    "Lookup",
    "Encode",
    "mallocgc",
    "Validate",
    "Price",
    "scanobject",
    "Marshal",
    "Query",
    "memmove",
    "Reserve",
    "Render",
    "mapassign",
];
const NOUNS: [&str; 8] = ["cart", "order", "catalog", "session", "payment", "stock", "customer", "discount"];
