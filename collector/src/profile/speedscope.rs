//! speedscope's JSON: <https://www.speedscope.app>.

use serde_json::{Value, json};

use super::tree::Tree;

/// The tree's side `side` as a speedscope file, called `name`.
pub fn speedscope(tree: &Tree, side: usize, name: &str) -> Vec<u8> {
    let frame = |frame: &super::tree::FrameInfo| {
        let mut out = json!({ "name": &*frame.function });
        if !frame.file.is_empty() {
            out["file"] = Value::from(&*frame.file);
        }
        if frame.line > 0 {
            out["line"] = Value::from(frame.line);
        }
        out
    };
    let frames: Vec<Value> = tree.frames.iter().map(frame).collect();
    let own = &tree.sides[side].own;
    let nodes: Vec<usize> = (0..tree.nodes.len()).filter(|&i| own[i] > 0).collect();
    let samples: Vec<Vec<u32>> = nodes.iter().map(|&i| tree.path(i)).collect();
    let weights: Vec<u64> = nodes.iter().map(|&i| own[i]).collect();
    let unit = match tree.profile_type.unit.as_str() {
        unit @ ("nanoseconds" | "bytes") => unit,
        _ => "none",
    };
    let file = json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "tephra",
        "name": name,
        "activeProfileIndex": 0,
        "shared": { "frames": frames },
        "profiles": [{
            "type": "sampled",
            "name": name,
            "unit": unit,
            "startValue": 0,
            "endValue": tree.sides[side].facts.total,
            "samples": samples,
            "weights": weights,
        }],
    });
    serde_json::to_vec(&file).expect("plain data serializes")
}
