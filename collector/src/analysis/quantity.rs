//! Numbers the way people say them.

/// What a profile type measures, as a noun.
pub fn of_type(name: &str) -> &str {
    match name {
        "cpu" | "cpu_time" => "CPU",
        "alloc_space" => "allocated memory",
        "alloc_objects" => "allocations",
        "inuse_space" | "space" => "live memory",
        "inuse_objects" | "objects" => "live objects",
        "wall" | "wall_time" => "wall-clock time",
        "wait" => "time waited",
        "lock" | "delay" => "lock waiting",
        "goroutine" => "goroutines",
        other => other,
    }
}

/// An amount with its unit: `1.31 cores`, `512 KiB/s`, `3.2 %` for shares.
pub fn amount(value: f64, unit: &str) -> String {
    if unit == "share" {
        return percent(value);
    }
    match unit.strip_prefix("bytes") {
        Some(rest) => bytes(value, rest),
        None => format!("{} {unit}", significant(value)),
    }
}

/// How far two values are apart: percentage points between shares, which are no share of anything.
pub fn difference(value: f64, unit: &str) -> String {
    if unit == "share" { percent(value).replace('%', "pp") } else { amount(value, unit) }
}

/// `+32 %`, `−4.1 %`, or how many times as much where percent is hard to read.
pub fn percent_change(a: f64, b: f64) -> String {
    let ratio = b / a;
    if ratio >= 10.0 {
        return format!("{} times as much", significant(ratio));
    }
    let change = (ratio - 1.0) * 100.0;
    let sign = if change < 0.0 { '−' } else { '+' };
    format!("{sign}{} %", significant_percent(change.abs()))
}

/// `77 %`, `3.2 %`, `0.04 %`.
pub fn percent(share: f64) -> String {
    format!("{} %", significant_percent(share * 100.0))
}

/// Microseconds: `430 µs`, `12 ms`, `1.3 s`.
pub fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

fn significant_percent(percent: f64) -> String {
    match percent {
        p if p >= 9.95 => format!("{p:.0}"),
        p if p >= 0.995 => format!("{p:.1}"),
        p if p >= 0.005 => format!("{p:.2}"),
        0.0 => "0".to_owned(),
        _ => "under 0.01".to_owned(),
    }
}

/// Three digits that count; thousands and more are grouped.
fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v >= 999.5 => group(value.round()),
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.0995 => format!("{value:.2}"),
        v if v >= 0.000_5 => format!("{value:.3}"),
        _ => "under 0.001".to_owned(),
    }
}

fn group(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("−{out}") } else { out }
}

fn bytes(value: f64, rest: &str) -> String {
    let mut value = value;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if value.abs() < 1023.5 {
            return format!("{} {unit}{rest}", significant(value));
        }
        value /= 1024.0;
    }
    format!("{} TiB{rest}", significant(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_three_digits() {
        for (value, unit, text) in [
            (1.314_159, "cores", "1.31 cores"),
            (0.0, "cores", "0 cores"),
            (0.01234, "cores", "0.012 cores"),
            (12.34, "cores", "12.3 cores"),
            (1_234_567.0, "count/s", "1 234 567 count/s"),
            (512.0 * 1024.0, "bytes/s", "512 KiB/s"),
            (3.5 * 1024.0 * 1024.0 * 1024.0, "bytes", "3.50 GiB"),
            (0.0321, "share", "3.2 %"),
            (0.00001, "cores", "under 0.001 cores"),
        ] {
            assert_eq!(amount(value, unit), text);
        }
    }

    #[test]
    fn changes_read_naturally() {
        assert_eq!(difference(0.04, "share"), "4.0 pp");
        assert_eq!(difference(0.5, "cores"), "0.50 cores");
        assert_eq!(percent_change(4.0, 5.28), "+32 %");
        assert_eq!(percent_change(100.0, 95.9), "−4.1 %");
        assert_eq!(percent_change(1.0, 25.0), "25.0 times as much");
        assert_eq!(percent_change(1.0, 1.0), "+0 %");
    }
}
