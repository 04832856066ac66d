//! A still picture of a tree, for documents. It holds no script: names come from strangers, and the web view is the place
//! to look around in.

use inferno::flamegraph::{self, Options};

use super::diff::{Basis, Scale};
use super::fold;
use super::tree::Tree;

/// Why no picture could be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be drawn: {0}")]
pub struct SvgError(#[from] std::io::Error);

/// Draws a tree. With two sides, widths are side B's and colours say what changed in `basis`: give a pruned tree, as frames
/// narrower than a tenth of a pixel are left out anyway.
///
/// # Errors
/// When the picture cannot be drawn, which a tree does not cause.
pub fn svg(tree: &Tree, basis: Basis, title: &str) -> Result<Vec<u8>, SvgError> {
    let mut options = Options::default();
    options.title = super::names::printable(title);
    options.count_name.clone_from(&tree.profile_type.unit);
    options.no_javascript = true;
    options.deterministic = true;
    let scale = |side| Scale::of(tree, side, basis).factor;
    // Side A as it would be if it were as long as side B.
    let to_b = if tree.is_diff() && scale(1) > 0.0 { scale(0) / scale(1) } else { 1.0 };
    let comparable = |side, value: u64| {
        if side == 0 && tree.is_diff() { (value as f64 * to_b).round() as u64 } else { value }
    };
    let folded = fold::lines(tree, comparable);
    let drawn = tree.sides.last().is_some_and(|side| side.facts.total > 0);
    if !drawn {
        return Ok(nothing());
    }
    let mut out = Vec::new();
    flamegraph::from_lines(&mut options, folded.lines(), &mut out)?;
    Ok(out)
}

fn nothing() -> Vec<u8> {
    let svg = r#"<svg xmlns="http://www.w3.org/2000/svg" width="600" height="60"><text x="20" y="35" font-family="sans-serif" font-size="14">No samples to draw.</text></svg>"#;
    svg.as_bytes().to_vec()
}
