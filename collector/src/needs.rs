//! What some tests need and not every machine has: named by variables of the environment. A test that goes without says so where nobody
//! can miss it; and where it was promised, going without is a failure.

use std::ffi::OsString;
use std::io::Write;

/// Variables that must be set, separated by commas. `cargo xtask test` names those that it sets.
const REQUIRED: &str = "TEPHRA_TEST_REQUIRED";

/// What the variable names; `None`, and a line that begins with `skipped:`, where it is not set.
///
/// # Panics
/// When it is not set and must be.
pub(crate) fn need(variable: &str, what: &str) -> Option<OsString> {
    let found = std::env::var_os(variable);
    if found.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let required = std::env::var(REQUIRED).unwrap_or_default();
        assert!(!is_required(&required, variable), "{test} must not be skipped, and {variable} names no {what}");
        // Not `eprintln!`: what a test prints that way is shown only where it fails.
        let _ = writeln!(std::io::stderr(), "skipped: {test}: {variable} names no {what}");
    }
    found
}

fn is_required(required: &str, variable: &str) -> bool {
    required.split(',').any(|name| name.trim() == variable)
}

#[test]
fn only_what_is_named_is_required() {
    assert!(is_required("A,B", "B") && is_required(" A ", "A"));
    assert!(!is_required("", "A") && !is_required("AB", "A") && !is_required("A", ""));
}
