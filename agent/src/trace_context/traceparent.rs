//! The W3C `traceparent` header: `00-<32 hex trace id>-<16 hex span id>-<2 hex flags>`.

use super::TraceContext;

impl TraceContext {
    /// Reads a `traceparent` header. `None` when it is malformed, names no trace, or has the forbidden version `ff`; W3C
    /// asks to start a new trace then. Fields that a future version appends are ignored.
    pub fn parse_traceparent(header: &str) -> Option<Self> {
        let bytes = header.trim_matches([' ', '\t']).as_bytes();
        let (version, rest) = field(bytes)?;
        let [version] = read_hex(version)?;
        let (trace_id, rest) = field(rest.strip_prefix(b"-")?)?;
        let (span_id, rest) = field(rest.strip_prefix(b"-")?)?;
        let (flags, rest) = field(rest.strip_prefix(b"-")?)?;
        let [flags] = read_hex(flags)?;
        let context = Self { trace_id: read_hex(trace_id)?, span_id: read_hex(span_id)?, flags };
        let well_formed = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|&byte| byte == b'-'),
        };
        (well_formed && context.trace_id != [0; 16] && context.span_id != [0; 8]).then_some(context)
    }

    /// The `traceparent` header for a call made on behalf of this context.
    pub fn traceparent(&self) -> String {
        let mut header = String::with_capacity(55);
        header.push_str("00-");
        push_hex(&mut header, &self.trace_id);
        header.push('-');
        push_hex(&mut header, &self.span_id);
        header.push('-');
        push_hex(&mut header, &[self.flags]);
        header
    }
}

/// The digits of a field, and what follows.
fn field<const N: usize>(bytes: &[u8]) -> Option<(&[[u8; 2]; N], &[u8])> {
    let (digits, rest) = bytes.split_at_checked(2 * N)?;
    Some((digits.as_chunks().0.try_into().ok()?, rest))
}

/// Lower-case digits only, as W3C demands.
fn read_hex<const N: usize>(digits: &[[u8; 2]; N]) -> Option<[u8; N]> {
    let mut wrong = 0;
    let mut digit = |byte: u8| {
        let value = DIGITS.get(usize::from(byte)).copied().unwrap_or(NO_DIGIT);
        wrong |= value;
        value
    };
    let id = digits.map(|[high, low]| digit(high) << 4 | digit(low) & 15);
    (wrong < 16).then_some(id)
}

const NO_DIGIT: u8 = 0x80;

/// What a digit stands for.
#[allow(clippy::indexing_slicing, reason = "computed when this is compiled, where a panic is an error")]
static DIGITS: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let digits = b"0123456789abcdef";
    let mut value = 0;
    while value < digits.len() {
        values[digits[value] as usize] = value as u8;
        value += 1;
    }
    values
};

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_survives_a_round_trip() {
        let context = TraceContext::parse_traceparent(GOOD).unwrap();
        assert_eq!(context.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(context.span_id[7], 0xb7);
        assert_eq!(context.flags, 1);
        assert_eq!(context.traceparent(), GOOD);
    }

    #[test]
    fn what_w3c_allows_is_accepted() {
        for good in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\t",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like",
        ] {
            assert!(TraceContext::parse_traceparent(good).is_some(), "{good:?}");
        }
    }

    #[test]
    fn what_w3c_forbids_is_refused() {
        for bad in [
            "",
            "00",
            "é",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00--bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse_traceparent(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_child_keeps_the_trace_and_names_a_new_span() {
        let parent = TraceContext::root();
        let child = parent.child();
        assert_eq!((child.trace_id, child.flags), (parent.trace_id, parent.flags));
        assert_ne!(child.span_id, parent.span_id);
        assert_ne!(TraceContext::root().trace_id, parent.trace_id);
    }
}
