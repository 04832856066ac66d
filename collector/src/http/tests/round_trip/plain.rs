//! pprof files, written and read by hand from the format's description: shares no code with what it tests.

use std::collections::{BTreeMap, HashMap};

/// A profile as one would write it on paper.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plain {
    /// Name and unit.
    pub(super) types: Vec<(String, String)>,
    pub(super) samples: Vec<Sample>,
    pub(super) duration_nanos: i64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sample {
    /// Root first.
    pub(super) stack: Vec<Location>,
    /// One for each type.
    pub(super) values: Vec<i64>,
    pub(super) labels: BTreeMap<String, String>,
    /// Each with its unit, which may be empty.
    pub(super) numbers: BTreeMap<String, (i64, String)>,
}

/// A function, and those that were inlined into it: the outermost first.
pub(super) type Location = Vec<Place>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) function: String,
    pub(super) file: String,
    pub(super) line: u64,
}

/// Each place of a stack, root first, and whether it was inlined; the labels; and the numbers, with the units that readers take them to have.
pub(super) type Key = (Vec<(Place, bool)>, BTreeMap<String, String>, BTreeMap<String, (i64, String)>);

/// As `go tool pprof` says it of numbers whose unit is not named.
pub(super) fn unit_of(name: &str, unit: &str) -> String {
    match (name, unit) {
        ("alignment" | "request", "") => "bytes".to_owned(),
        (_, "") => name.to_owned(),
        _ => unit.to_owned(),
    }
}

impl Plain {
    /// Values of one type by stack and labels; nothing where there is none.
    pub(super) fn sums(&self, name: &str) -> BTreeMap<Key, i64> {
        let column = self.types.iter().position(|(known, _)| known == name).expect("a type of the profile");
        let mut sums = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.values[column] != 0) {
            let places = |location: &Location| {
                let all = location.iter().enumerate().map(|(i, place)| (place.clone(), i > 0));
                all.collect::<Vec<_>>()
            };
            let stack = sample.stack.iter().flat_map(places).collect();
            let number =
                |(name, (number, unit)): (&String, &(i64, String))| (name.clone(), (*number, unit_of(name, unit)));
            let numbers = sample.numbers.iter().map(number).collect();
            *sums.entry((stack, sample.labels.clone(), numbers)).or_default() += sample.values[column];
        }
        sums
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut texts = Texts::default();
        texts.add("");
        let mut out = Message::default();
        for (name, unit) in &self.types {
            let mut one = Message::default();
            one.number(1, texts.add(name)).number(2, texts.add(unit));
            out.bytes(1, &one.0);
        }
        let (mut functions, mut locations) = (HashMap::new(), HashMap::new());
        for sample in &self.samples {
            let mut one = Message::default();
            for location in sample.stack.iter().rev() {
                let next = locations.len() as u64 + 1;
                let id = *locations.entry(location.clone()).or_insert(next);
                one.number(1, id);
                if id != next {
                    continue;
                }
                let mut written = Message::default();
                written.number(1, id);
                for place in location.iter().rev() {
                    let next = functions.len() as u64 + 1;
                    let function = *functions.entry((place.function.clone(), place.file.clone())).or_insert(next);
                    if function == next {
                        let mut written = Message::default();
                        let name = texts.add(&place.function);
                        written.number(1, function).number(2, name).number(3, name).number(4, texts.add(&place.file));
                        out.bytes(5, &written.0);
                    }
                    let mut line = Message::default();
                    line.number(1, function).number(2, place.line);
                    written.bytes(4, &line.0);
                }
                out.bytes(4, &written.0);
            }
            sample.values.iter().for_each(|value| {
                one.number(2, *value as u64);
            });
            for (key, value) in &sample.labels {
                let mut label = Message::default();
                label.number(1, texts.add(key)).number(2, texts.add(value));
                one.bytes(3, &label.0);
            }
            for (key, (value, unit)) in &sample.numbers {
                let mut label = Message::default();
                label.number(1, texts.add(key)).number(3, *value as u64).number(4, texts.add(unit));
                one.bytes(3, &label.0);
            }
            out.bytes(2, &one.0);
        }
        texts.0.iter().for_each(|text| out.bytes(6, text.as_bytes()));
        out.number(10, self.duration_nanos as u64);
        out.0
    }

    /// Reads a file that follows all rules that `go tool pprof` holds files to.
    pub(super) fn read(file: &[u8]) -> Self {
        let mut inflated = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut inflated).unwrap();
        let fields = fields(&inflated);
        let all = |number: u64| fields.iter().filter(move |field| field.0 == number).map(|field| &field.1);
        let texts: Vec<String> = all(6).map(|text| String::from_utf8(text.bytes().to_vec()).unwrap()).collect();
        assert_eq!(texts[0], "", "the first text is empty");
        let text = |index: u64| texts[index as usize].clone();
        let types: Vec<_> =
            all(1).map(|of| one(of.bytes())).map(|of| (text(of.number(1)), text(of.number(2)))).collect();
        let distinct: std::collections::BTreeSet<&str> = types.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(distinct.len(), types.len(), "no two types of one name: {types:?}");
        let mut functions = HashMap::new();
        for of in all(5).map(|of| one(of.bytes())) {
            assert!(of.number(1) > 0, "functions have an id");
            assert_eq!(functions.insert(of.number(1), (text(of.number(2)), text(of.number(4)))), None, "of their own");
        }
        let mut mappings = std::collections::HashSet::from([0]);
        for of in all(3).map(|of| one(of.bytes())) {
            assert!(mappings.insert(of.number(1)), "mappings have an id of their own");
        }
        let mut locations = HashMap::new();
        for of in all(4).map(|of| one(of.bytes())) {
            assert!(
                of.number(1) > 0 && mappings.contains(&of.number(2)),
                "locations have an id, and a mapping or none"
            );
            let lines = of.0.iter().filter(|field| field.0 == 4).map(|field| one(field.1.bytes()));
            let place = |line: Read| {
                let (function, file) = functions[&line.number(1)].clone();
                Place { function, file, line: line.number(2) }
            };
            let mut places: Location = lines.map(place).collect();
            places.reverse();
            assert_eq!(locations.insert(of.number(1), places), None, "of their own");
        }
        let sample = |of: &Value| {
            let of = one(of.bytes());
            let values: Vec<i64> = of.numbers(2).into_iter().map(|value| value as i64).collect();
            assert_eq!(values.len(), types.len(), "a value for each type");
            let mut stack: Vec<Location> = of.numbers(1).iter().map(|id| locations[id].clone()).collect();
            stack.reverse();
            let of = of.0.iter().filter(|field| field.0 == 3).map(|field| one(field.1.bytes()));
            let (texts, numbers): (Vec<Read>, Vec<Read>) = of.partition(|label| label.number(2) != 0);
            let labels = texts.iter().map(|label| (text(label.number(1)), text(label.number(2)))).collect();
            let number = |label: &Read| (text(label.number(1)), (label.number(3) as i64, text(label.number(4))));
            Sample { stack, values, labels, numbers: numbers.iter().map(number).collect() }
        };
        let samples = all(2).map(sample).collect();
        let duration_nanos = all(10).next_back().map_or(0, |value| value.number() as i64);
        Self { types, samples, duration_nanos }
    }
}

#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn add(&mut self, text: &str) -> u64 {
        let known = self.0.iter().position(|known| known == text);
        known.unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        }) as u64
    }
}

/// A message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) -> &mut Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(&mut self, field: u64, content: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(content.len() as u64);
        self.0.extend_from_slice(content);
    }
}

/// What a field holds.
#[derive(Debug, Clone)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Value {
    fn number(&self) -> u64 {
        match self {
            Self::Number(value) => *value,
            Self::Bytes(_) => panic!("not a number"),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(content) => content,
            Self::Number(_) => panic!("not a message"),
        }
    }
}

/// A message that was read.
struct Read(Vec<(u64, Value)>);

fn one(content: &[u8]) -> Read {
    Read(fields(content))
}

impl Read {
    fn number(&self, field: u64) -> u64 {
        self.0.iter().rfind(|known| known.0 == field).map_or(0, |known| known.1.number())
    }

    /// All numbers of a field, packed or not.
    fn numbers(&self, field: u64) -> Vec<u64> {
        let of = self.0.iter().filter(|known| known.0 == field);
        of.flat_map(|known| match &known.1 {
            Value::Number(value) => vec![*value],
            Value::Bytes(packed) => {
                let (mut numbers, mut rest) = (Vec::new(), packed.as_slice());
                while !rest.is_empty() {
                    numbers.push(varint(&mut rest));
                }
                numbers
            }
        })
        .collect()
    }
}

fn varint(rest: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, left) = rest.split_first().expect("a number that ends");
        *rest = left;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if *byte < 0x80 {
            return value;
        }
    }
}

fn fields(mut rest: &[u8]) -> Vec<(u64, Value)> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest);
        let value = match key & 7 {
            0 => Value::Number(varint(&mut rest)),
            2 => {
                let len = varint(&mut rest) as usize;
                let (content, left) = rest.split_at(len);
                rest = left;
                Value::Bytes(content.to_vec())
            }
            kind => panic!("no field of kind {kind} in a profile"),
        };
        fields.push((key >> 3, value));
    }
    fields
}
