//! A still picture of a tree, for documents, drawn by inferno. It holds no script: names come from strangers, and the web
//! view is the place to look around in.

use inferno::flamegraph::{self, Direction, Options};

use super::diff::{Basis, Scale};
use super::fold;
use super::tree::Tree;

/// Why no picture could be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be drawn: {0}")]
pub struct SvgError(#[from] std::io::Error);

/// A node's change is a change from this false-discovery rate down, in 1/10000.
const SIGNIFICANT: u16 = 500;

/// Draws a tree under a title. On a comparison, widths are side B's and colours say what changed in `basis`; a node whose
/// entry in `q` (1/10000) is not significant is neutral.
///
/// # Errors
/// When the picture cannot be drawn, which a tree does not cause.
pub fn svg(tree: &Tree, basis: Basis, q: Option<&[u16]>, title: &str) -> Result<String, SvgError> {
    if tree.sides.last().is_none_or(|side| side.facts.total == 0) {
        return Ok(NOTHING.to_owned());
    }
    let mut options = Options::default();
    options.title = super::names::printable(title);
    options.count_name.clone_from(&tree.profile_type.unit);
    options.direction = Direction::Inverted;
    options.no_javascript = true;
    options.deterministic = true;
    // Side A as it would be if it were as long as side B.
    let factor = |side| Scale::of(tree, side, basis).factor;
    let to_b = if tree.is_diff() && factor(1) > 0.0 { factor(0) / factor(1) } else { 1.0 };
    let is_noise = |node: usize| q.is_some_and(|q| q.get(node).is_none_or(|q| *q > SIGNIFICANT));
    let comparable = |node: usize, side: usize, value: u64| match tree.sides.get(1) {
        Some(b) if side == 0 && is_noise(node) => b.own[node],
        Some(_) if side == 0 => (value as f64 * to_b).round() as u64,
        _ => value,
    };
    let folded = fold::lines(tree, comparable);
    let mut picture = Vec::new();
    flamegraph::from_lines(&mut options, folded.lines(), &mut picture)?;
    Ok(without_script(&String::from_utf8_lossy(&picture)))
}

/// Asked for no script, inferno still writes the constants of one and a call to it. Names are escaped, so the first
/// `<script` is its own.
fn without_script(picture: &str) -> String {
    let quiet = picture.replacen(r#" onload="init(evt)""#, "", 1);
    let script = quiet.split_once("<script").and_then(|(head, rest)| Some((head, rest.split_once("</script>")?.1)));
    match script {
        Some((head, tail)) => format!("{head}{tail}"),
        None => quiet,
    }
}

const NOTHING: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" width="600" height="60"><text x="20" y="35" font-family="sans-serif" font-size="14">No samples to draw.</text></svg>
"#;
