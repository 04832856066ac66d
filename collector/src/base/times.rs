//! How people write times and durations, in URLs, in options and in sentences: RFC 3339, unix seconds, unix milliseconds, `now`, `now-1h30m`.
//!
//! Old links must open for ever, so the grammar may grow and never shrink. Everything becomes unix milliseconds.

use std::time::Duration;

use chrono::DateTime;

/// 31 December 9999, the last day RFC 3339 can write.
const MS_MAX: u64 = 253_402_300_799_999;

/// Numbers below this are seconds (until the year 5138), others milliseconds (from March 1973).
const SECONDS_BELOW: f64 = 1e11;

/// Ten years: longer than any retention, far from any overflow.
const DURATION_MS_MAX: u64 = 10 * 366 * 86_400_000;

/// Why a time was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Neither of the forms.
    #[error("{0:?} is not a time")]
    NotATime(String),
    /// Right form, but outside of what can be meant.
    #[error("time {0:?} is outside the years 1970 to 9999")]
    OutOfRange(String),
    /// Not a duration.
    #[error("{0:?} is not a duration")]
    NotADuration(String),
    /// A duration beyond the limit.
    #[error("duration {0:?} is longer than 10 years")]
    TooLong(String),
}

impl TimeError {
    /// What may stand there instead.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotATime(_) | Self::OutOfRange(_) => {
                "write RFC 3339 (2026-03-01T14:00:00Z), unix seconds or milliseconds, now, or now-15m (s, m, h, d, w)"
            }
            Self::NotADuration(_) | Self::TooLong(_) => "write a number and a unit: 30s, 10m, 1h30m, 1d, 1w",
        }
    }
}

/// Reads a time, in unix milliseconds. `now_ms` is what `now` means.
pub fn parse_time(text: &str, now_ms: u64) -> Result<u64, TimeError> {
    let quoted = || text.chars().take(64).collect::<String>();
    if let Some(offset) = text.strip_prefix("now") {
        return match offset.split_at_checked(1) {
            None => Ok(now_ms),
            Some(("-", rest)) => Ok(now_ms.saturating_sub(parse_duration(rest)?)),
            // A form-decoded query turns `+` into a space.
            Some(("+" | " ", rest)) => Ok(now_ms.saturating_add(parse_duration(rest)?).min(MS_MAX)),
            Some(_) => Err(TimeError::NotATime(quoted())),
        };
    }
    let ms = if is_number(text) {
        let number: f64 = text.parse().map_err(|_| TimeError::NotATime(quoted()))?;
        (if number < SECONDS_BELOW { number * 1e3 } else { number }).round() as i64
    } else {
        parse_rfc3339(text).ok_or_else(|| TimeError::NotATime(quoted()))?
    };
    u64::try_from(ms).ok().filter(|ms| *ms <= MS_MAX).ok_or_else(|| TimeError::OutOfRange(quoted()))
}

/// Reads a duration such as `10m` or `1h30m`, in milliseconds. A bare number is seconds.
pub fn parse_duration(text: &str) -> Result<u64, TimeError> {
    let quoted = || text.chars().take(64).collect::<String>();
    let too_long = || TimeError::TooLong(quoted());
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        if number.is_empty() {
            return Err(TimeError::NotADuration(quoted()));
        }
        let number: u64 = number.parse().map_err(|_| too_long())?;
        let unit_len = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(unit_len);
        let scale = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "" if digits == text.len() => 1_000,
            _ => return Err(TimeError::NotADuration(quoted())),
        };
        total = number.checked_mul(scale).and_then(|ms| total.checked_add(ms)).ok_or_else(too_long)?;
        if total > DURATION_MS_MAX {
            return Err(too_long());
        }
        rest = after;
    }
    if total == 0 {
        return Err(TimeError::NotADuration(quoted()));
    }
    Ok(total)
}

/// Writes a duration the way people do: the largest unit that divides it.
pub fn format_duration(ms: u64) -> String {
    let units = [("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    match units.into_iter().find(|(_, scale)| ms >= *scale && ms.is_multiple_of(*scale)) {
        Some((unit, scale)) => format!("{}{unit}", ms / scale),
        None => format!("{ms}ms"),
    }
}

/// Writes a time as `2026-03-01 14:05 UTC`, for sentences.
pub fn format_utc(ms: u64) -> String {
    let time = DateTime::UNIX_EPOCH + Duration::from_millis(ms.min(MS_MAX));
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.len() <= 18 && part.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && digits(fraction)
}

/// `2026-03-01T14:00:00.5+01:00`, as milliseconds since 1970; `None` when it is anything else. A leap second reads as the first of the
/// next minute.
fn parse_rfc3339(text: &str) -> Option<i64> {
    if !text.is_ascii() {
        return None;
    }
    // Form-decoding turns the `+` of an offset into a space; the one between date and clock may be meant.
    let offset = text.rfind(' ').filter(|at| *at > "2026-03-01".len());
    let plus = offset.map(|at| format!("{}+{}", &text[..at], &text[at + 1..]));
    let time = DateTime::parse_from_rfc3339(plus.as_deref().unwrap_or(text)).ok()?;
    Some(time.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_772_373_600_000; // 2026-03-01T14:00:00Z

    #[test]
    fn every_form_of_a_time_reads_the_same() {
        let cases = [
            ("1772373600", NOW),
            ("1772373600000", NOW),
            ("1772373600.5", NOW + 500),
            ("2026-03-01T14:00:00Z", NOW),
            ("2026-03-01T14:00:00.25Z", NOW + 250),
            ("2026-03-01T14:00:00.123456789Z", NOW + 123),
            ("2026-03-01 14:00:00z", NOW),
            ("2026-03-01T15:30:00+01:30", NOW),
            ("2026-03-01T15:00:00 01:00", NOW),
            ("2026-02-28T23:00:00-15:00", NOW),
            ("2026-03-01 14:00:00.000 00:00", NOW),
            ("2026-03-01T13:59:60Z", NOW),
            ("now", NOW),
            ("now-15m", NOW - 900_000),
            ("now-1h30m", NOW - 5_400_000),
            ("now-15", NOW - 15_000),
            ("now-1w", NOW - 604_800_000),
            ("now+10s", NOW + 10_000),
            ("now 10s", NOW + 10_000),
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("0", 0),
        ];
        for (text, ms) in cases {
            assert_eq!(parse_time(text, NOW), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let bad = [
            "",
            "yesterday",
            "now-",
            "now15m",
            "now-15x",
            "now-m",
            "-5",
            "1e9",
            "NaN",
            "inf",
            "0x10",
            "+5",
            "2026-03-01",
            "2026-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T14:00Z",
            "2026-03-01T14:00:00",
            "2026-03-01T14:00:00.Z",
            "2026-03-01T14:00:00+1:00",
            "2026-03-01T14:00:00+0100",
            "2026-03-01T14:00:00 Z",
            "2026-03-01T14:00:00+24:00",
            "2026-03-01T14:00:00Zx",
            "1969-12-31T23:59:59Z",
            "99999999999999999",
            "９９",
            "1772373600é",
            "9999999999999999999999",
        ];
        for text in bad {
            assert!(parse_time(text, NOW).is_err(), "{text:?} gave {:?}", parse_time(text, NOW));
        }
    }

    #[test]
    fn durations_are_sums_of_units() {
        for (text, ms) in
            [("10m", 600_000), ("90", 90_000), ("1h30m", 5_400_000), ("2w", 1_209_600_000), ("250ms", 250)]
        {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
        }
        for bad in ["", "m", "0s", "0", "-1m", "1.5h", "1m ", "10q", "99999999999999999999s", "9999w"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_are_written_with_the_largest_unit_that_fits() {
        for (ms, text) in
            [(600_000, "10m"), (5_400_000, "90m"), (86_400_000, "1d"), (604_800_000, "1w"), (1_500, "1500ms")]
        {
            assert_eq!(format_duration(ms), text);
            assert_eq!(parse_duration(text), Ok(ms));
        }
    }

    #[test]
    fn times_in_sentences_are_utc() {
        for (ms, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (NOW, "2026-03-01 14:00 UTC"),
            (951_868_799_999, "2000-02-29 23:59 UTC"),
            (MS_MAX, "9999-12-31 23:59 UTC"),
            (u64::MAX, "9999-12-31 23:59 UTC"),
        ] {
            assert_eq!(format_utc(ms), text);
        }
    }
}
