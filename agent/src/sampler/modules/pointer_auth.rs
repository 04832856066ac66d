//! Unwind tables of code that signs its return addresses, in the form that the unwinder understands.
//!
//! AArch64 code built with branch protection signs the return address before it saves it, and its tables say from where on, by
//! an instruction of AArch64's own. The unwinder refuses a whole function for that one instruction. What the instruction
//! says is not needed: signatures are taken off every return address. So it is replaced by one that does nothing.

use std::ops::Range;

/// `DW_CFA_AARCH64_negate_ra_state`, and the later one that also names the address: neither has operands.
const SIGNING: [u8; 2] = [0x2d, 0x2c];
const NOP: u8 = 0;

/// A copy of an `.eh_frame` section without the instructions; `None` when there are none.
pub(crate) fn left_out(frames: &[u8]) -> Option<Vec<u8>> {
    let mut places = Vec::new();
    // Entries stand behind the common information that they refer to, nearly always the latest.
    let mut common = None;
    for entry in (Entries { frames, at: 0 }) {
        let program = match entry.common {
            None => {
                common = Common::read(frames, &entry);
                common.as_ref().map(|common| common.program.clone())
            }
            Some(at) => {
                if common.as_ref().is_none_or(|known| known.at != at) {
                    common = Entry::read(frames, at).and_then(|entry| Common::read(frames, &entry));
                }
                common.as_ref().and_then(|common| common.program_of(frames, &entry))
            }
        };
        if let Some(program) = program {
            find_in(frames, program, &mut places);
        }
    }
    (!places.is_empty()).then(|| {
        let mut frames = frames.to_vec();
        for place in places {
            if let Some(byte) = frames.get_mut(place) {
                *byte = NOP;
            }
        }
        frames
    })
}

/// One entry of the section: what follows its length and the reference.
struct Entry {
    at: usize,
    content: Range<usize>,
    /// Where the common information stands that it refers to; `None`: it is common information itself.
    common: Option<usize>,
}

impl Entry {
    fn read(frames: &[u8], at: usize) -> Option<Self> {
        let length = u32_at(frames, at)?;
        let reference_at = at.checked_add(4)?;
        let end = reference_at.checked_add(length as usize)?;
        // 0 ends the section; 0xffffffff announces a 64-bit length, which no linker writes here.
        if length == 0 || length == u32::MAX || end > frames.len() {
            return None;
        }
        let reference = u32_at(frames, reference_at)? as usize;
        let common = if reference == 0 { None } else { Some(reference_at.checked_sub(reference)?) };
        Some(Self { at, content: at.checked_add(8)?..end, common })
    }
}

struct Entries<'a> {
    frames: &'a [u8],
    at: usize,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let entry = Entry::read(self.frames, self.at)?;
        self.at = entry.content.end;
        Some(entry)
    }
}

/// What entries share.
struct Common {
    at: usize,
    /// Size of the addresses that entries begin with.
    address_bytes: usize,
    /// Entries have a length of more data before their instructions.
    augmented: bool,
    program: Range<usize>,
}

impl Common {
    fn read(frames: &[u8], entry: &Entry) -> Option<Self> {
        let mut reader = Reader { frames, range: entry.content.clone() };
        let version = reader.byte()?;
        let mut augmentation = Vec::new();
        loop {
            match reader.byte()? {
                0 => break,
                letter => augmentation.push(letter),
            }
        }
        reader.number()?; // Code alignment.
        reader.number()?; // Data alignment.
        // The register of the return address.
        match version {
            1 => reader.byte().map(u64::from)?,
            _ => reader.number()?,
        };
        let mut address_bytes = 8;
        let augmented = augmentation.first() == Some(&b'z');
        if augmented {
            let length = usize::try_from(reader.number()?).ok()?;
            let mut data = Reader { frames, range: reader.skip(length)? };
            for letter in augmentation.iter().skip(1) {
                match letter {
                    b'R' => address_bytes = encoded_bytes(data.byte()?)?,
                    b'L' => drop(data.byte()),
                    b'P' => {
                        let bytes = encoded_bytes(data.byte()?)?;
                        data.skip(bytes)?;
                    }
                    // Return addresses are signed with the other key; or this is the frame of a signal.
                    b'B' | b'S' | b'G' => {}
                    _ => return None,
                }
            }
        }
        Some(Self { at: entry.at, address_bytes, augmented, program: reader.range })
    }

    /// Where the instructions of an entry stand.
    fn program_of(&self, frames: &[u8], entry: &Entry) -> Option<Range<usize>> {
        let mut reader = Reader { frames, range: entry.content.clone() };
        reader.skip(2 * self.address_bytes)?;
        if self.augmented {
            let length = usize::try_from(reader.number()?).ok()?;
            reader.skip(length)?;
        }
        Some(reader.range)
    }
}

/// Size of a pointer in one of the encodings `DW_EH_PE_*`; `None` for those that vary.
fn encoded_bytes(encoding: u8) -> Option<usize> {
    match encoding & 0x0f {
        0x00 | 0x04 | 0x0c => Some(8),
        0x03 | 0x0b => Some(4),
        0x02 | 0x0a => Some(2),
        _ => None,
    }
}

/// Notes where instructions about signing stand in a program. One that cannot be read to its end is left as it is.
fn find_in(frames: &[u8], program: Range<usize>, places: &mut Vec<usize>) {
    let before = places.len();
    let mut reader = Reader { frames, range: program };
    while !reader.range.is_empty() {
        let at = reader.range.start;
        match reader.instruction() {
            Some(opcode) if SIGNING.contains(&opcode) => places.push(at),
            Some(_) => {}
            None => return places.truncate(before),
        }
    }
}

struct Reader<'a> {
    frames: &'a [u8],
    range: Range<usize>,
}

impl Reader<'_> {
    fn skip(&mut self, bytes: usize) -> Option<Range<usize>> {
        let end = self.range.start.checked_add(bytes).filter(|end| *end <= self.range.end)?;
        let skipped = self.range.start..end;
        self.range.start = end;
        Some(skipped)
    }

    fn byte(&mut self) -> Option<u8> {
        let at = self.skip(1)?.start;
        self.frames.get(at).copied()
    }

    /// A LEB128 number; signed ones are as long as unsigned ones, and no caller needs their value.
    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0u64, 0u32);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
    }

    /// Reads one instruction with its operands, as DWARF 5 numbers them in 7.24, and GNU's own.
    fn instruction(&mut self) -> Option<u8> {
        let opcode = self.byte()?;
        let (bytes, numbers, has_block) = match opcode {
            0x00 | 0x0a | 0x0b | 0x2c | 0x2d | 0x40..=0x7f | 0xc0..=0xff => (0, 0, false),
            0x02 => (1, 0, false),
            0x03 => (2, 0, false),
            0x04 => (4, 0, false),
            0x06 | 0x07 | 0x08 | 0x0d | 0x0e | 0x13 | 0x2e | 0x80..=0xbf => (0, 1, false),
            0x05 | 0x09 | 0x0c | 0x11 | 0x12 | 0x14 | 0x15 | 0x2f => (0, 2, false),
            0x0f => (0, 0, true),
            0x10 | 0x16 => (0, 1, true),
            _ => return None,
        };
        self.skip(bytes)?;
        for _ in 0..numbers {
            self.number()?;
        }
        if has_block {
            let length = usize::try_from(self.number()?).ok()?;
            self.skip(length)?;
        }
        Some(opcode)
    }
}

fn u32_at(frames: &[u8], at: usize) -> Option<u32> {
    frames.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(content: &[u8]) -> Vec<u8> {
        let mut entry = content.to_vec();
        entry.resize(content.len().next_multiple_of(4), NOP);
        [&(entry.len() as u32).to_ne_bytes()[..], &entry].concat()
    }

    fn common(program: &[u8]) -> Vec<u8> {
        // Version 1, addresses relative in four bytes, alignments 4 and -8, return address in register 30.
        entry(&[&[0, 0, 0, 0, 1, b'z', b'R', 0, 4, 0x78, 30, 1, 0x1b][..], program].concat())
    }

    fn function(back_to_common: usize, program: &[u8]) -> Vec<u8> {
        let reference = (back_to_common as u32).to_ne_bytes();
        entry(&[&reference[..], &[0x11; 8], &[0], program].concat())
    }

    #[test]
    fn instructions_go_and_operands_stay() {
        let common = common(&[0x0c, 31, 0]);
        // Advance by 45, CFA offset 45, an expression of the bytes 45 45, and twice the real thing.
        let program = [0x02, 0x2d, SIGNING[0], 0x0e, 0x2d, 0x10, 30, 2, 0x2d, 0x2d, 0x41, SIGNING[1]];
        let frames = [&common[..], &function(common.len() + 4, &program), &[0; 4]].concat();
        let left = left_out(&frames).unwrap();
        let changed: Vec<_> = (0..frames.len()).filter(|&at| frames[at] != left[at]).collect();
        let start = common.len() + 4 + 4 + 8 + 1;
        assert_eq!(changed, [start + 2, start + 11]);
        assert!(changed.iter().all(|&at| left[at] == NOP));
        assert_eq!(left_out(&left), None, "nothing is left to do");
    }

    #[test]
    fn tables_without_signing_are_not_copied() {
        let common = common(&[0x0c, 31, 0]);
        let frames = [&common[..], &function(common.len() + 4, &[0x41, 0x0e, 0x2d, 0x9d, 4]), &[0; 4]].concat();
        assert_eq!(left_out(&frames), None);
        assert_eq!(left_out(&[]), None);
    }

    #[test]
    fn a_program_that_cannot_be_read_is_left_alone() {
        let common = common(&[0x0c, 31, 0]);
        let strange = function(common.len() + 4, &[SIGNING[0], 0x3f, SIGNING[0]]);
        let known = function(common.len() + strange.len() + 4, &[SIGNING[0]]);
        let frames = [&common[..], &strange, &known, &[0; 4]].concat();
        let left = left_out(&frames).unwrap();
        let changed: Vec<_> = (0..frames.len()).filter(|&at| frames[at] != left[at]).collect();
        assert_eq!(changed, [common.len() + strange.len() + 4 + 4 + 8 + 1]);
    }

    #[test]
    fn torn_tables_end_quietly() {
        let common = common(&[0x0c, 31, 0]);
        let frames = [&common[..], &function(common.len() + 4, &[SIGNING[0], 0x0f, 3, 1, 2, 3])].concat();
        for cut in 0..frames.len() {
            left_out(&frames[..cut]);
        }
        for at in 0..frames.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = frames.clone();
                damaged[at] = value;
                left_out(&damaged);
            }
        }
    }
}
