//! Function names as people say them: `<shop::tax::TaxRules as shop::tax::TaxOffice>::rate_for` is `TaxRules::rate_for`.
//!
//! The last two parts that mean something: no hashes, type arguments, closures or trait of an implementation. For sentences and tables
//! only: the whole name is what is stored, asked for and compared. The web view has the same rule (`web/view/profile/names.ts`), and
//! `web/view-tests/names.json` is for both.

/// Types within types, at most: a hostile name nests thousands.
const NESTED_MAX: usize = 24;

/// The name as it is said. Never empty for a name that is not.
pub fn plain(name: &str) -> String {
    let bare = without_hash(name);
    if !bare.contains("::") {
        return plain_of_others(bare).to_owned();
    }
    let parts = parts_of(bare, 0);
    match parts.as_slice() {
        [] => bare.to_owned(),
        [.., owner, last] => format!("{owner}::{last}"),
        [only] => only.clone(),
    }
}

fn without_hash(name: &str) -> &str {
    let is_hash = |hash: &str| hash.len() == 16 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    name.rsplit_once("::h").filter(|(_, hash)| is_hash(hash)).map_or(name, |(head, _)| head)
}

/// The meaningful parts of a path; none if its brackets do not match.
fn parts_of(path: &str, nested: usize) -> Vec<String> {
    if nested > NESTED_MAX {
        return Vec::new();
    }
    let segments = split_outside(path, "::").unwrap_or_default();
    let part = |(i, segment): (usize, &str)| match segment.starts_with('<') {
        true => owner_of(segment, i == 0, nested),
        false => without_arguments(segment).to_owned(),
    };
    segments.into_iter().enumerate().map(part).filter(|part| !part.is_empty()).collect()
}

/// `<A as B>` and `<impl B for A>` are `A`, or `B` where `A` is only a type parameter. A turbofish is nothing.
fn owner_of(segment: &str, first: bool, nested: usize) -> String {
    let (inner, rest) = segment.rsplit_once('>').unwrap_or((segment, ""));
    let inner = inner.get(1..).unwrap_or_default();
    let rest = without_arguments(rest);
    let implemented = inner.strip_prefix("impl ");
    if !first && implemented.is_none() {
        return rest.to_owned();
    }
    let of = |types: Option<&&str>| types.map_or(String::new(), |name| type_name(name, nested));
    let (left, right) = match implemented {
        Some(implemented) => {
            let types = split_outside(implemented, " for ").unwrap_or_default();
            (of(types.last()), of(types.iter().rev().nth(1)))
        }
        None => {
            let types = split_outside(inner, " as ").unwrap_or_default();
            (of(types.first()), of(types.get(1)))
        }
    };
    [left, right].into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| rest.to_owned())
}

/// `&mut alloc::vec::Vec<T>` is `Vec`; a type parameter, a tuple or a function pointer has no name.
fn type_name(of: &str, nested: usize) -> String {
    let mut bare = of.trim();
    while let Some(rest) = ["&", "*", "mut ", "const ", "dyn "].iter().find_map(|word| bare.strip_prefix(word)) {
        bare = rest;
    }
    if let Some(lifetime) = bare.strip_prefix('\'')
        && let Some((name, rest)) = lifetime.split_once(' ')
        && !name.is_empty()
        && name.bytes().all(is_word)
    {
        return type_name(rest, nested);
    }
    if bare.starts_with('[') && bare.ends_with(']') {
        return bare.to_owned();
    }
    if is_function_pointer(bare) {
        return String::new();
    }
    let named = split_outside(bare, " + ").and_then(|parts| parts.first().copied()).unwrap_or_default();
    let name = parts_of(named, nested + 1).pop().unwrap_or_default();
    let is_parameter = match name.as_bytes() {
        [] | b"_" => true,
        [first] => first.is_ascii_uppercase(),
        [first, second] => first.is_ascii_uppercase() && (second.is_ascii_uppercase() || second.is_ascii_digit()),
        _ => false,
    };
    if is_parameter || name.contains(|c: char| c == '(' || c.is_whitespace()) { String::new() } else { name }
}

fn is_function_pointer(mut of: &str) -> bool {
    loop {
        if of.starts_with("fn(") {
            return true;
        }
        let Some(rest) = of.strip_prefix("unsafe ").or_else(|| {
            let abi = of.strip_prefix("extern ")?;
            abi.split_once(' ').map(|(_, rest)| rest)
        }) else {
            return false;
        };
        of = rest;
    }
}

/// `RawVec<T,A>` → `RawVec`, `f(int)` → `f`, `call_once{{vtable.shim}}` → `call_once`, `{{closure}}` → nothing.
fn without_arguments(segment: &str) -> &str {
    if segment.strip_prefix("operator").is_some_and(|rest| rest.bytes().next().is_some_and(|b| !is_word(b))) {
        return segment;
    }
    segment.find(['<', '(', '{']).and_then(|at| segment.get(..at)).unwrap_or(segment).trim_end()
}

/// Splits where `separator` stands outside all brackets; `None` if these do not match.
fn split_outside<'a>(text: &'a str, separator: &str) -> Option<Vec<&'a str>> {
    let mut out = Vec::new();
    let (mut depth, mut start, mut at) = (0usize, 0, 0);
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'<' | b'(' | b'[' | b'{' => depth += 1,
            b'>' if at > 0 && bytes.get(at - 1) == Some(&b'-') => {}
            b')' | b']' | b'}' | b'>' => depth = depth.checked_sub(1)?,
            _ if depth == 0 && text.get(at..).is_some_and(|rest| rest.starts_with(separator)) => {
                out.push(text.get(start..at)?);
                at += separator.len();
                start = at;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    if depth != 0 {
        return None;
    }
    out.push(text.get(start..)?);
    Some(out)
}

/// Go's packages lose their path, Java's classes their package, C's functions their arguments.
fn plain_of_others(name: &str) -> &str {
    of_go(name).or_else(|| of_java(name)).or_else(|| of_c(name)).unwrap_or(name)
}

fn of_go(name: &str) -> Option<&str> {
    let (host, path) = name.split_once('/')?;
    let is_host = !host.is_empty() && host.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'~' | b'-'));
    let has_dot = path.char_indices().any(|(at, c)| c == '.' && at + 1 < path.len());
    if !is_host || !has_dot || path.contains(char::is_whitespace) {
        return None;
    }
    let plain = name.split('[').next().unwrap_or(name);
    name.get(plain.rfind('/').map_or(0, |at| at + 1)..)
}

fn of_java(name: &str) -> Option<&str> {
    let (class, method) = name.rsplit_once('.')?;
    let (package, class) = class.rsplit_once('.')?;
    let is_name = |part: &str| !part.is_empty() && part.bytes().all(|b| is_word(b) || b == b'$');
    let fits = package.split('.').all(is_name)
        && is_name(class)
        && class.starts_with(|c: char| c.is_ascii_uppercase())
        && !method.is_empty()
        && method.bytes().all(|b| is_word(b) || matches!(b, b'$' | b'<' | b'>'));
    if fits { name.get(package.len() + 1..) } else { None }
}

fn of_c(name: &str) -> Option<&str> {
    let (function, arguments) = name.split_once('(')?;
    let arguments = arguments.strip_suffix(" const").unwrap_or(arguments);
    let fits = arguments.ends_with(')')
        && function.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '~'))
        && function.bytes().all(|b| is_word(b) || b == b'~');
    fits.then_some(function)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the web view's tests read too.
    const CASES: &str = include_str!("../../../web/view-tests/names.json");

    #[test]
    fn names_are_said_as_the_view_says_them() {
        let cases: Vec<(String, String)> = serde_json::from_str(CASES).unwrap();
        assert!(cases.len() > 30);
        for (name, expected) in cases {
            assert_eq!(plain(&name), expected, "{name}");
        }
    }

    #[test]
    fn a_name_of_nothing_but_brackets_is_no_trouble() {
        for name in
            ["<".repeat(4096), "<a::".repeat(1000) + &">".repeat(1000), "(".to_owned() + &"[]".repeat(2000) + ")::"]
        {
            assert!(!plain(&name).is_empty());
        }
    }

    proptest! {
        #[test]
        fn nothing_is_said_empty(name in "[aZ_<>(){}&:' ,+-]{1,40}|\\PC{1,40}") {
            prop_assert!(!plain(&name).is_empty(), "{name:?}");
        }
    }
}
