//! A comparison as Markdown, for pull requests and chat.

use std::fmt::Write;

use super::report::{Mover, Sentence, SideInfo};
use super::said::plain;

/// The comparison in words, then a table of what moved.
pub fn comparison(service: &str, a: &SideInfo, b: &SideInfo, summary: &[Sentence], movers: &[Mover]) -> String {
    let mut out = format!("### {}\n\n", text(service));
    for sentence in summary {
        writeln!(out, "- {}", text(&sentence.text)).expect("strings take what they are given");
    }
    let unit = text(&b.unit);
    write!(out, "\n| function | A ({unit}) | B ({unit}) | change | of all change | q |\n|---|--:|--:|--:|--:|--:|\n")
        .expect("strings take what they are given");
    let mut row = |name: String, a: f64, b: f64, share: String, q: String| {
        let change = if a > 0.0 { format!("{:+.1} %", (b / a - 1.0) * 100.0) } else { "new".to_owned() };
        let change = if b == a { "0 %".to_owned() } else { change };
        writeln!(out, "| {name} | {} | {} | {change} | {share} | {q} |", number(a), number(b))
            .expect("strings take what they are given");
    };
    row("**total**".to_owned(), a.value, b.value, String::new(), String::new());
    for mover in movers {
        let share = format!("{:.0} %", mover.share_of_change * 100.0);
        let q = if mover.q < 0.0001 { "< 0.0001".to_owned() } else { format!("{:.4}", mover.q) };
        row(code(&plain(&mover.name)), mover.a, mover.b, share, q);
    }
    out
}

fn number(value: f64) -> String {
    if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.4}") }
}

/// A name as code in a table cell: Markdown has no escape for a backtick in code, so it becomes an apostrophe.
fn code(name: &str) -> String {
    let name = name.replace(['\n', '\r'], " ").replace('`', "'").replace('|', "\\|");
    format!("`{name}`")
}

/// Plain words: nothing in them is markup.
pub fn text(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
