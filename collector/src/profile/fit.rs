//! Names of other tools, made fit for queries and URLs. One rule for labels, types and units of imported profiles.
//!
//! Capitals become small, `µ` becomes `u`, and whatever else is no letter a–z, digit, `_` or `.` becomes `_`. What stands before the
//! first letter or digit is taken off, and `n` is put before a digit; a name of which nothing is left is `unnamed`; the first 64
//! bytes count. So `Wall-Time` is `wall_time`, `__session__` is `session__` and `99th` is `n99th`. What was fit stays as it was.

use std::borrow::Cow;

use tephra_proto::label::check_name;
use tephra_proto::limits::LABEL_NAME_BYTES_MAX;

/// `name` as it can be stored and asked for.
pub fn fit(name: &str) -> Cow<'_, str> {
    if check_name(name).is_ok() {
        return Cow::Borrowed(name);
    }
    let plain = |c: char| match c {
        // Both of Unicode's: a unit of `µs` is no second.
        '\u{b5}' | '\u{3bc}' => 'u',
        '.' => '.',
        _ if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
        _ => '_',
    };
    let chars = name.chars().map(plain).skip_while(|c| !c.is_ascii_alphanumeric());
    let mut fitted: String = chars.take(LABEL_NAME_BYTES_MAX).collect();
    if fitted.starts_with(|c: char| c.is_ascii_digit()) {
        fitted.insert(0, 'n');
    }
    if fitted.is_empty() {
        fitted.push_str("unnamed");
    }
    fitted.truncate(LABEL_NAME_BYTES_MAX);
    Cow::Owned(fitted)
}

/// The same, told apart from the names that are `taken`: with `_2`, `_3`, … at its end.
pub fn fit_apart(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let fitted = fit(name).into_owned();
    let numbered = (2u64..).map(|number| {
        let end = format!("_{number}");
        let head = fitted.get(..LABEL_NAME_BYTES_MAX - end.len()).unwrap_or(&fitted);
        format!("{head}{end}")
    });
    let mut candidates = std::iter::once(fitted.clone()).chain(numbered);
    candidates.find(|candidate| !taken(candidate)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strange_names_are_made_fit() {
        for (name, expected) in [
            ("cpu", "cpu"),
            ("wall-time", "wall_time"),
            ("Thread Name", "thread_name"),
            ("http.route", "http.route"),
            ("endpoint/path", "endpoint_path"),
            ("__session__", "session__"),
            ("99th", "n99th"),
            ("größe", "gr__e"),
            ("日本", "unnamed"),
            ("", "unnamed"),
            ("a\0b\n", "a_b_"),
            ("µs", "us"),
            ("μs", "us"),
        ] {
            assert_eq!(fit(name), expected, "{name:?}");
        }
        assert_eq!(fit(&"A".repeat(500)), "a".repeat(LABEL_NAME_BYTES_MAX));
    }

    #[test]
    fn names_that_are_made_the_same_are_told_apart() {
        let mut taken = Vec::new();
        let long = "x".repeat(70);
        for (name, expected) in [
            ("wall-time", "wall_time"),
            ("wall time", "wall_time_2"),
            ("wall_time", "wall_time_3"),
            (&long, &"x".repeat(64)),
            (&long, &format!("{}_2", "x".repeat(62))),
        ] {
            let fitted = fit_apart(name, |name| taken.iter().any(|known| known == name));
            assert_eq!(fitted, expected, "{name:?}");
            taken.push(fitted);
        }
    }

    proptest! {
        #[test]
        fn every_name_becomes_one_that_is_taken_and_stays_it(name in ".{0,90}") {
            let fitted = fit(&name).into_owned();
            prop_assert!(check_name(&fitted).is_ok(), "{name:?} became {fitted:?}");
            prop_assert_eq!(fit(&fitted), fitted.as_str());
        }
    }
}
