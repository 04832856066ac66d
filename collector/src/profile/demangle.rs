//! Names as compilers write them into symbol tables, as people write them: Rust's, old and new, and C++'s. Rust names come out as
//! `rustc-demangle` writes them, without the hash; C++ names as `go tool pprof` does, without parameters and template arguments.
//!
//! Strangers choose these names: each is bounded on the way in and on the way out, and a demangler that trips over one leaves it as it is.

use std::fmt::{self, Write};
use std::panic::catch_unwind;

use cpp_demangle::{DemangleOptions, ParseOptions, Symbol};

/// The longest ones that compilers write are those of deeply nested closures and templates.
const MANGLED_BYTES_MAX: usize = 16 << 10;

/// A C++ name with its template arguments, which are many.
const DEMANGLED_BYTES_MAX: usize = 64 << 10;

/// How deep C++ types may nest: with twice as much, a thread's stack of 2 MiB was too small.
const RECURSION_MAX: u32 = 96;

/// The name behind a mangled one; `None` for everything else.
pub fn demangle(name: &str) -> Option<String> {
    if !name.starts_with('_') || name.len() > MANGLED_BYTES_MAX {
        return None;
    }
    // Mach-O puts an underscore before every name.
    let bare = name.get(1..).filter(|bare| bare.starts_with('_'));
    [Some(name), bare].into_iter().flatten().find_map(|name| rust(name).or_else(|| cpp(name)))
}

fn rust(name: &str) -> Option<String> {
    if !name.starts_with("_R") && !name.starts_with("_ZN") {
        return None;
    }
    let demangled = rustc_demangle::try_demangle(name).ok()?;
    // The alternate form leaves out the hash that differs between builds.
    Some(format!("{demangled:#}"))
}

fn cpp(name: &str) -> Option<String> {
    if !name.starts_with("_Z") {
        return None;
    }
    // What follows a dot is the compiler's: `.cold`, `.isra.0`. Mangled names have none.
    let (symbol, _) = name.split_once('.').unwrap_or((name, ""));
    let demangle = || {
        let parsed = Symbol::new_with_options(symbol, &ParseOptions::default().recursion_limit(RECURSION_MAX)).ok()?;
        let options = DemangleOptions::new().no_params().no_return_type().recursion_limit(RECURSION_MAX);
        let mut out = Bounded(String::new());
        parsed.structured_demangle(&mut out, &options).ok()?;
        Some(out.0)
    };
    let demangled = catch_unwind(demangle).ok().flatten()?;
    Some(without_template_arguments(&demangled).unwrap_or(demangled))
}

/// A type can name another one twice, and that one another: names could grow without end.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > DEMANGLED_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.write_str(text)
    }
}

/// Longest first.
const OPERATORS: [&str; 10] = ["<=>", "<<=", ">>=", "->*", "<<", ">>", "<=", ">=", "->", "<"];

/// `a<b>::c<d>` as `a::c`; `None` where brackets do not pair.
fn without_template_arguments(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let (mut depth, mut parentheses) = (0usize, 0usize);
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if depth == 0
            && let Some(after) = rest.strip_prefix("operator")
            && !out.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        {
            let token =
                OPERATORS.iter().chain(&[">"]).find(|token| after.starts_with(**token)).map_or("", |token| token);
            let (operator, after) = rest.split_at("operator".len() + token.len());
            out.push_str(operator);
            rest = after;
            continue;
        }
        match c {
            '<' if parentheses == 0 => {
                if depth == 0 {
                    out.truncate(out.trim_end().len());
                }
                depth += 1;
            }
            // An arrow in an expression is no bracket.
            '>' if parentheses == 0 && !(depth > 0 && name[..name.len() - rest.len()].ends_with('-')) => {
                depth = depth.checked_sub(1)?;
            }
            '(' if depth > 0 => parentheses += 1,
            ')' if depth > 0 => parentheses = parentheses.checked_sub(1)?,
            c if depth == 0 => out.push(c),
            _ => {}
        }
        rest = &rest[c.len_utf8()..];
    }
    (depth == 0 && !out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_what_their_own_tools_say() {
        // C++ as `go tool pprof` writes it.
        for (name, expected) in [
            ("_ZN3foo3barEv", "foo::bar"),
            ("__ZN3foo3barEv", "foo::bar"),
            ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector::push_back"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("__ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("__RNvC6_123foo3bar", "123foo::bar"),
            ("_RNvCsbDqzXfLQacH_6basket5outer", "basket::outer"),
            ("_ZN3foo3barEv.cold", "foo::bar"),
            ("_ZN3foo3barEv.isra.0", "foo::bar"),
            ("_ZStlsISt11char_traitsIcEERSt13basic_ostreamIcT_ES5_PKc", "std::operator<<"),
            ("_ZN1AltERKS_", "A::operator<"),
            ("_ZN1AgtERKS_", "A::operator>"),
            ("_ZN1AptEv", "A::operator->"),
            ("_ZN1AssERKS_", "A::operator<=>"),
            ("_ZN3FooIXgtLi1ELi0EEE3barEv", "Foo::bar"),
        ] {
            assert_eq!(demangle(name).as_deref(), Some(expected), "{name}");
        }
        for name in
            ["main", "", "_", "__", "_start", "_Zzz", "_R", "__libc_start_main", "Read", "ZN3foo3barEv", "_\u{e9}"]
        {
            assert_eq!(demangle(name), None, "{name}");
        }
    }

    #[test]
    fn names_that_nest_deeply_or_grow_are_bounded() {
        let deep = |open: &str, close: &str| format!("_ZN{}1a{}E", open.repeat(4_000), close.repeat(4_000));
        for name in [
            deep("1aI", "E"),
            format!("_Z1fI{}", "N1aI".repeat(3_000)),
            format!("_Z1f{}", "P".repeat(15_000)),
            format!("_Z1f{}i", "P".repeat(15_000)),
            format!("_Z1f{}i{}", "FvP".repeat(4_000), "E".repeat(4_000)),
            format!("_ZN1a{}Ev", "IS_S_EE3bar".repeat(1_000)),
            format!("_R{}C1a", "INv".repeat(4_000)),
            // Each type names the one before it twice.
            format!("_Z1fI{}EvT_", (0..30).fold("i".to_owned(), |t, _| format!("1aI{t}S_E"))),
            "_Z".repeat(8_000),
        ] {
            if let Some(demangled) = demangle(&name) {
                assert!(demangled.len() <= 1 << 20, "{} bytes", demangled.len());
            }
        }
    }

    proptest! {
        #[test]
        fn no_name_is_too_strange(name in "_?_?(Z|R|ZN|_ZN)[0-9A-Za-z_.<>$\u{e9}]{0,80}") {
            if let Some(demangled) = demangle(&name) {
                prop_assert!(!demangled.is_empty());
            }
        }
    }
}
