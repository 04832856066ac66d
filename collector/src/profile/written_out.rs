//! A tree as a profile of named frames: what is written to formats that hold stacks, once names decide which stacks there are.

use super::model::{Frame, Merged, Node, Row};
use super::resolution::{Resolution, Symbol};
use super::tree::Tree;

/// Stands for frames that are hidden, where nothing of a stack is left.
const HIDDEN: &str = "(hidden)";

/// The first side of `tree` as a profile whose other facts are those of `merged`. Frames have names instead of addresses.
pub fn written_out(tree: &Tree, merged: &Merged) -> (Merged, Vec<Resolution>) {
    let mut resolutions: Vec<Resolution> = tree
        .frames
        .iter()
        .map(|frame| {
            Resolution::Symbols(vec![Symbol {
                function: frame.function.clone(),
                module: frame.module.clone(),
                file: frame.file.clone(),
                line: frame.line,
                inlined: false,
            }])
        })
        .collect();
    // The root is no frame: what it costs by itself belongs to frames that are hidden.
    if let Some(Resolution::Symbols(symbols)) = resolutions.first_mut()
        && let Some(root) = symbols.first_mut()
    {
        root.function = HIDDEN.into();
    }
    let frames = resolutions.iter().map(symbolic).collect();
    let nodes = tree.nodes.iter().enumerate().map(|(i, node)| Node {
        parent: if i == 0 || node.parent == 0 { Node::ROOT } else { node.parent },
        frame: node.frame,
    });
    let cells = tree.sides.first().map_or(&[][..], |side| side.cells.as_slice());
    let rows = cells.iter().map(|cell| Row {
        node: cell.node,
        replicate: cell.replicate,
        value: cell.value,
        samples: cell.samples,
    });
    let written = Merged { modules: vec![], frames, nodes: nodes.collect(), rows: rows.collect(), ..merged.clone() };
    (written, resolutions)
}

fn symbolic(resolution: &Resolution) -> Frame {
    match resolution {
        Resolution::Symbols(symbols) => symbols.first().map_or(Frame::Truncated, |symbol| Frame::Symbolic {
            function: symbol.function.clone(),
            file: symbol.file.clone(),
            line: symbol.line,
            inlined: false,
        }),
        _ => Frame::Truncated,
    }
}
