//! A still picture of a tree, for documents: root on top, one row per depth, no script. Names come from strangers, and the
//! web view is the place to look around in.

use std::fmt::{self, Write};

use super::diff::{Basis, Scale};
use super::tree::{FrameInfo, Tree, flag};

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 10.0;
const ROW: f64 = 17.0;
const TOP: f64 = 40.0;

/// Narrower frames are not drawn: nobody can see them.
const WIDTH_MIN: f64 = 0.3;

/// Rows below this depth are not drawn: the picture would be taller than any page.
const ROWS_MAX: u32 = 500;

/// Of a 12 px monospace font.
const CHARACTER: f64 = 7.3;

/// Decrease to increase, neutral in the middle: told apart under every common colour blindness.
const CHANGE: [&str; 9] =
    ["#2b7bba", "#5e9ccd", "#92bfe0", "#c6dff0", "#e8e8e8", "#f9d9c1", "#f2b58a", "#e48a4a", "#d1650f"];

/// For single profiles, by module and crate.
const CALM: [&str; 10] =
    ["#f4c7a1", "#f2b8a2", "#eed49f", "#e3dc9e", "#cfe0a8", "#b5dfc0", "#add8da", "#b3cbe8", "#c9c3ea", "#e4bfdc"];

/// Draws a tree under a title. On a comparison, widths are side B's and colours say what changed in `basis`; a node whose
/// entry in `q` (1/10000) is not significant is neutral.
///
/// # Errors
/// When a number refuses to be written, which strings do not cause.
pub fn svg(tree: &Tree, basis: Basis, q: Option<&[u16]>, title: &str) -> Result<String, fmt::Error> {
    let shown = tree.sides.len() - 1;
    let totals: Vec<Vec<u64>> = (0..tree.sides.len()).map(|side| tree.totals(side)).collect();
    let all = totals[shown][0];
    if all == 0 {
        return Ok(document(60.0, title, "<text x=\"10\" y=\"50\">No samples to draw.</text>\n"));
    }
    let factors: Vec<f64> = (0..tree.sides.len()).map(|side| Scale::of(tree, side, basis).factor).collect();
    let per_unit = (WIDTH - 2.0 * MARGIN) / all as f64;
    let mut body = String::new();
    let mut deepest = 0;
    // Where the next child of each open node starts.
    let mut next_x: Vec<f64> = vec![MARGIN];
    for (i, node) in tree.nodes.iter().enumerate() {
        next_x.truncate(node.depth as usize + 1);
        let (x, width) = (next_x[node.depth as usize], totals[shown][i] as f64 * per_unit);
        next_x[node.depth as usize] += width;
        next_x.push(x);
        if width < WIDTH_MIN || node.depth > ROWS_MAX {
            continue;
        }
        deepest = deepest.max(node.depth);
        let frame = tree.frame(i);
        let value = |side: usize| totals[side][i] as f64 * factors[side];
        let fill = match tree.is_diff() {
            true if q.is_none_or(|q| q.get(i).is_some_and(|&q| q <= 500)) => change_colour(value(0), value(1)),
            true => CHANGE[4],
            false => calm_colour(frame),
        };
        let share = totals[shown][i] as f64 / all as f64 * 100.0;
        let mut tip = format!("{} ({share:.2} %)", frame.function);
        if tree.is_diff() {
            let unit = Scale::of(tree, 1, basis).unit;
            write!(tip, ": {:.4} {unit}, {:.4} before", value(1), value(0))?;
        }
        let y = TOP + f64::from(node.depth) * ROW;
        writeln!(
            body,
            "<g><title>{}</title><rect x=\"{x:.2}\" y=\"{y}\" width=\"{:.2}\" height=\"{}\" rx=\"1\" fill=\"{fill}\"/>{}</g>",
            escape(&tip),
            (width - 0.2).max(0.1),
            ROW - 1.0,
            label(&frame.function, x, y, width),
        )?;
    }
    Ok(document(TOP + f64::from(deepest + 1) * ROW + MARGIN, title, &body))
}

fn document(height: f64, title: &str, body: &str) -> String {
    let title = escape(&super::names::printable(title));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"ui-monospace, monospace\" font-size=\"12\" fill=\"#101010\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"15\">{title}</text>\n{body}</svg>\n"
    )
}

/// As much of a name as fits, if that is enough to recognise it.
fn label(name: &str, x: f64, y: f64, width: f64) -> String {
    let room = ((width - 6.0) / CHARACTER).max(0.0) as usize;
    let length = name.chars().count();
    let text: String = match (length <= room, room >= 4) {
        (true, _) => name.to_owned(),
        (false, true) => name.chars().take(room - 1).chain(['…']).collect(),
        (false, false) => return String::new(),
    };
    format!("<text x=\"{:.2}\" y=\"{}\">{}</text>", x + 3.0, y + 12.0, escape(&text))
}

/// Half a doubling per step.
fn change_colour(a: f64, b: f64) -> &'static str {
    let doublings = match (a > 0.0, b > 0.0) {
        (true, true) => (b / a).log2(),
        (false, true) => 2.0,
        (true, false) => -2.0,
        (false, false) => 0.0,
    };
    CHANGE[((doublings * 2.0).round().clamp(-4.0, 4.0) + 4.0) as usize]
}

fn calm_colour(frame: &FrameInfo) -> &'static str {
    if frame.flags & (flag::ROOT | flag::SMALL | flag::TRUNCATED | flag::UNRESOLVED) != 0 {
        return "#d9d9d9";
    }
    let crate_name = frame.function.trim_start_matches(['<', '&']).split("::").next().unwrap_or_default();
    let hash = |text: &str| text.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    CALM[(hash(crate_name).wrapping_add(hash(&frame.module)) % CALM.len() as u32) as usize]
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
