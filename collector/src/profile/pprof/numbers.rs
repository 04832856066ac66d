//! Numeric labels of pprof samples, such as the size of an allocation, as text and back.
//!
//! A number stands before its unit, with the no-break space between them that typography asks for: `16 bytes`. That space is what tells
//! it from a text that merely looks alike, so that an export writes it as the number it was.

use tephra_proto::label::is_printable;
use tephra_proto::limits::LABEL_VALUE_BYTES_MAX;

/// Between a number and its unit: U+00A0.
const SPACE: char = '\u{a0}';

/// Bytes of the longest number, its sign and the space.
const NUMBER_BYTES_MAX: usize = 24;

/// The unit that `go tool pprof` takes a label's numbers to have where the profile names none.
fn assumed_unit(name: &str) -> &str {
    if matches!(name, "alignment" | "request") { "bytes" } else { name }
}

/// The value of a label with the name and unit that the profile gives it; the unit may be empty.
pub(super) fn write(name: &str, number: i64, unit: &str) -> String {
    let unit = if unit.is_empty() { assumed_unit(name) } else { unit };
    let cut = unit.get(..unit.floor_char_boundary(LABEL_VALUE_BYTES_MAX - NUMBER_BYTES_MAX)).unwrap_or_default();
    let unit: String = cut.chars().filter(|c| is_printable(*c)).collect();
    format!("{number}{SPACE}{unit}")
}

/// The number and the unit that a stored label stands for; `None`: it is text.
pub(super) fn read(value: &str) -> Option<(i64, &str)> {
    let (digits, unit) = value.split_once(SPACE)?;
    let number: i64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some((number, unit))
}

/// The unit to be written beside a number: none where readers take it to be that one anyway. A zero without one is no label.
pub(super) fn named_unit<'a>(name: &str, number: i64, unit: &'a str) -> &'a str {
    if number != 0 && unit == assumed_unit(name) { "" } else { unit }
}

/// A text that would be taken for a number: with a common space, it is not.
pub(super) fn as_text(value: String) -> String {
    if read(&value).is_some() { value.replacen(SPACE, " ", 1) } else { value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tephra_proto::label::check_value;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back_and_texts_are_none(number in any::<i64>(), unit in "[a-z %µ\u{a0}]{1,20}", text in ".{0,30}") {
            let value = write("size", number, &unit);
            prop_assert_eq!(read(&value), Some((number, unit.as_str())));
            for text in [as_text(value), as_text(text)] {
                prop_assert_eq!(read(&text), None);
            }
        }
    }

    #[test]
    fn a_unit_that_is_not_named_is_what_pprof_takes_it_for() {
        for (name, unit, shown) in [
            ("bytes", "", "bytes"),
            ("request", "", "bytes"),
            ("alignment", "", "bytes"),
            ("request", "requests", "requests"),
            ("depth", "", "depth"),
        ] {
            let value = write(name, 7, unit);
            assert_eq!(read(&value), Some((7, shown)), "{name}");
            assert_eq!(named_unit(name, 7, shown), unit, "{name}");
        }
        assert_eq!(named_unit("bytes", 0, "bytes"), "bytes");
    }

    #[test]
    fn values_can_be_stored_whatever_their_unit_is() {
        for unit in ["a\u{202e}b\n", &"é".repeat(300)] {
            assert!(check_value(&write("size", i64::MIN, unit)).is_ok(), "{unit:?}");
        }
    }

    #[test]
    fn what_merely_looks_alike_is_text() {
        for text in ["16", "16 bytes", "007\u{a0}bond", "+1\u{a0}s", "\u{a0}", "99999999999999999999\u{a0}s"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
