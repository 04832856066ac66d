//! Senders of before 1.10 of the protocol number the fields of a sample otherwise. Read by today's numbers their values are nowhere, or
//! references to attributes, or nothing that can be read: that is told by name, and never stored as silence.

use crate::profile::import::ImportError;
use crate::profile::wire::{Value, Wire};

/// A sample by today's numbers.
#[derive(Debug, Default)]
pub(super) struct Sample<'a> {
    pub(super) stack: u64,
    /// Packed lists, or what was written one by one.
    pub(super) attributes: Vec<u64>,
    pub(super) link: u64,
    pub(super) values: Vec<i64>,
    /// Eight bytes each.
    pub(super) timestamps: Vec<&'a [u8]>,
}

/// The most attributes, values and timestamps of one sample.
const ENTRIES_MAX: usize = 1 << 20;

impl<'a> Sample<'a> {
    /// Reads a sample; `attributes` is how many the message's table has.
    ///
    /// # Errors
    /// When it is written by older numbers, or cannot be read at all.
    pub(super) fn read(message: &'a [u8], attributes: usize) -> Result<Self, ImportError> {
        let mut sample = Self::default();
        for field in Wire(message) {
            match field? {
                (1, Value::Number(stack)) => sample.stack = stack,
                // Was where the list of a sample's locations had its length, …
                (2, Value::Number(_)) => return Err(ImportError::OlderOtlp),
                (2, value) => value.numbers(|index| sample.attributes.push(index))?,
                (3, Value::Number(link)) => sample.link = link,
                // … its attributes, or its values, …
                (3, _) => return Err(ImportError::OlderOtlp),
                // … and its link. A list of numbers is always packed.
                (4, Value::Number(_)) => return Err(ImportError::OlderOtlp),
                (4, value) => value.numbers(|number| sample.values.push(number as i64))?,
                (5, Value::Bytes(packed)) => sample.timestamps.extend(packed.chunks_exact(8)),
                (5, Value::Fixed(eight)) => sample.timestamps.push(eight),
                (5, _) => return Err(ImportError::OlderOtlp),
                _ => {}
            }
            if sample.attributes.len() + sample.values.len() + sample.timestamps.len() > ENTRIES_MAX {
                return Err(ImportError::TooMany { what: "values of one sample", limit: ENTRIES_MAX });
            }
        }
        let dangles = |index: &u64| {
            usize::try_from(*index).is_ok_and(|index| index >= attributes) || *index > u64::from(u32::MAX)
        };
        // A sample has a value or a time. Values of before stand where attributes are today.
        let is_silent = sample.values.is_empty() && sample.timestamps.is_empty();
        if (is_silent || sample.values.is_empty()) && sample.attributes.iter().any(dangles)
            || (is_silent && !sample.attributes.is_empty())
        {
            return Err(ImportError::OlderOtlp);
        }
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_older(message: &[u8]) -> bool {
        matches!(Sample::read(message, 3), Err(ImportError::OlderOtlp))
    }

    #[test]
    fn samples_of_today_are_read() {
        // stack 7, attributes 1 and 2, link 1, values 5 and 300, two timestamps.
        let mut message = vec![0x08, 7, 0x12, 2, 1, 2, 0x18, 1, 0x22, 3, 5, 0xac, 2, 0x2a, 16];
        message.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        let sample = Sample::read(&message, 3).unwrap();
        assert_eq!((sample.stack, sample.link), (7, 1));
        assert_eq!((&*sample.attributes, &*sample.values, sample.timestamps.len()), (&[1, 2][..], &[5, 300][..], 2));
        assert!(Sample::read(&[0x08, 1], 3).is_ok(), "neither a value nor a time: told by whoever counts");
    }

    #[test]
    fn samples_of_before_are_told_however_they_look() {
        // 1.9, without attributes: values stand in field 2.
        assert!(is_older(&[0x08, 1, 0x12, 2, 0xac, 2]));
        assert!(is_older(&[0x08, 1, 0x12, 1, 1]), "even where the value could be an attribute");
        // With attributes: a list in field 3.
        assert!(is_older(&[0x08, 1, 0x12, 1, 9, 0x1a, 1, 1]));
        // With a link: a number in field 4.
        assert!(is_older(&[0x08, 1, 0x12, 1, 9, 0x20, 1]));
        // With values and a timestamp for each.
        assert!(is_older(&[0x08, 1, 0x12, 2, 0xac, 2, 0x2a, 8, 1, 0, 0, 0, 0, 0, 0, 0]));
        // 1.7 and before: locations by start and length.
        assert!(is_older(&[0x08, 1, 0x10, 4, 0x1a, 1, 9]));
    }
}
