//! Folded stacks: one line per stack, `outer;inner value`, and a second value for a diff. Every flame graph tool reads it.
//!
//! The format has no escapes, so what would break a line is replaced: `;` by `:`, a number at the end of a stack is tied to
//! its name, and what is not printable was replaced when the tree was built.

use std::fmt::Write;

use super::tree::Tree;

/// All stacks of a tree that have a value of their own, sorted.
pub fn folded(tree: &Tree) -> String {
    lines(tree, |_, _, value| value)
}

/// The same with each value put through `scale(node, side, value)`.
pub(super) fn lines(tree: &Tree, scale: impl Fn(usize, usize, u64) -> u64) -> String {
    let names: Vec<String> = tree.frames.iter().map(|frame| escape(&frame.function)).collect();
    let mut out = String::new();
    let mut stack = String::new();
    // Where each open frame's name ends in `stack`.
    let mut ends: Vec<usize> = Vec::new();
    for (i, node) in tree.nodes.iter().enumerate() {
        ends.truncate((node.depth as usize).saturating_sub(1));
        stack.truncate(ends.last().copied().unwrap_or(0));
        if i > 0 {
            if !stack.is_empty() {
                stack.push(';');
            }
            stack.push_str(&names[node.frame as usize]);
            ends.push(stack.len());
        }
        if tree.sides.iter().all(|side| side.own[i] == 0) {
            continue;
        }
        out.push_str(if i == 0 { "all" } else { &stack });
        for (side, values) in tree.sides.iter().enumerate() {
            write!(out, " {}", scale(i, side, values.own[i])).expect("strings take what they are given");
        }
        out.push('\n');
    }
    out
}

/// A name that stays one frame of one line.
fn escape(name: &str) -> String {
    let mut name = name.trim().replace(';', ":");
    if name.is_empty() {
        return "(empty)".to_owned();
    }
    if name.starts_with('#') {
        name.insert(0, '_');
    }
    // Readers take numbers from the end of a line for as long as they find some.
    while let Some((head, tail)) = name.rsplit_once(char::is_whitespace) {
        if !tail.is_empty() && !tail.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+')) {
            break;
        }
        name = format!("{head}_{tail}");
    }
    name
}
