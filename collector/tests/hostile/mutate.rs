//! Damages inputs in the ways that break parsers. Seeded: a failure names its seed, and comes again.

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 for 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % (n as u64).max(1)) as usize
    }
}

/// Lengths, counts and indices that parsers get wrong, as little-endian numbers and as varints.
const NUMBERS: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    1 << 53,
    1 << 63,
    u64::MAX,
];

/// What text parsers get wrong.
const WORDS: [&str; 16] = [
    "now-",
    "18446744073709551616",
    "-1",
    "1e999",
    "NaN",
    "%00",
    "%f0%28",
    "=",
    "&",
    "label.",
    "a.",
    ";",
    "\u{202e}",
    "\0",
    "9999-99-99T99:99:99Z",
    "w",
];

/// One to four damages of `seed`; another input to take pieces from may be the same.
pub(crate) fn mutate(random: &mut Random, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        damage(random, &mut bytes, other);
    }
    bytes
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(bytes.len() + 1);
    let len = 1 + random.below(16);
    let end = (at + len).min(bytes.len());
    match random.below(9) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        4 => {
            let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
            let width = [1, 2, 4, 8][random.below(4)];
            let end = (at + width).min(bytes.len());
            bytes.splice(at..end, number[..width].iter().copied());
        }
        5 => {
            let number = varint(NUMBERS[random.below(NUMBERS.len())]);
            let end = (at + random.below(3)).min(bytes.len());
            bytes.splice(at..end, number);
        }
        6 => drop(bytes.splice(at..at, WORDS[random.below(WORDS.len())].bytes())),
        7 => {
            let from = random.below(other.len() + 1);
            let until = (from + random.below(64)).min(other.len());
            bytes.splice(at..end, other[from..until].iter().copied());
        }
        _ => {
            for byte in &mut bytes[at..end] {
                *byte = random.next() as u8;
            }
        }
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
