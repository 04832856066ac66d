//! How much of a profile has names, and what to do about the rest.

use rustc_hash::FxHashMap;
use tephra_proto::ids::BuildId;

use crate::profile::model::{Frame, Node};
use crate::profile::report::{Coverage, MissingSymbols, NoLines};
use crate::profile::resolution::Resolution;
use crate::profile::tree::Resolved;

use super::failure::Failure;
use super::folder::{Folder, State};
use super::has_no_file;
use super::table::Detail;

/// Builds listed at most: the largest ones.
const LISTED_MAX: usize = 20;

/// Measures how much of the profiles' value has names. A frame counts with the value that passes through it.
pub(super) fn coverage(folder: &Folder, profiles: &[Resolved<'_>]) -> Coverage {
    let mut modules: FxHashMap<BuildId, &str> = FxHashMap::default();
    let mut unnamed: FxHashMap<BuildId, f64> = FxHashMap::default();
    let mut named: FxHashMap<BuildId, f64> = FxHashMap::default();
    let (mut all, mut lacking) = (0.0, 0.0);
    for (merged, resolutions) in profiles {
        modules.extend(merged.modules.iter().map(|module| (module.build_id, &*module.name)));
        for (frame, value) in value_by_frame(merged) {
            all += value;
            let Some(Frame::Native { build_id, .. }) = merged.frames.get(frame) else { continue };
            let resolved = matches!(resolutions.get(frame), Some(Resolution::Symbols(_)));
            *(if resolved { &mut named } else { &mut unnamed }).entry(*build_id).or_default() += value;
            lacking += if resolved { 0.0 } else { value };
        }
    }
    let share = |value: f64| if all > 0.0 { value / all } else { 0.0 };
    let name = |id: &BuildId| modules.get(id).copied().unwrap_or_default().to_owned();
    let mut missing: Vec<MissingSymbols> = unnamed
        .iter()
        .map(|(id, value)| MissingSymbols {
            build_id: id.to_string(),
            module: name(id),
            share: share(*value),
            hint: hint(folder.state(id), &name(id), id),
        })
        .collect();
    missing.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.build_id.cmp(&b.build_id)));
    missing.truncate(LISTED_MAX);
    let without_lines = |id: &&BuildId| matches!(folder.state(id), Some(State::Ready { richness, .. }) if richness.detail < Detail::Lines);
    let mut no_lines: Vec<(&BuildId, &f64)> = named.iter().filter(|(id, _)| without_lines(id)).collect();
    no_lines.sort_by(|a, b| b.1.total_cmp(a.1).then(a.0.cmp(b.0)));
    let no_lines = no_lines.into_iter().take(LISTED_MAX);
    let no_lines = no_lines.map(|(id, _)| NoLines { build_id: id.to_string(), module: name(id) }).collect();
    Coverage { share: if all > 0.0 { 1.0 - share(lacking) } else { 1.0 }, missing, no_lines }
}

/// The value that passes through each frame, as (frame, value), possibly several times per frame.
fn value_by_frame(merged: &crate::profile::model::Merged) -> impl Iterator<Item = (usize, f64)> {
    let mut values = vec![0.0; merged.nodes.len()];
    for row in &merged.rows {
        values[row.node as usize] += row.value as f64;
    }
    for i in (0..values.len()).rev() {
        let parent = merged.nodes[i].parent;
        if parent != Node::ROOT {
            values[parent as usize] += values[i];
        }
    }
    merged.nodes.iter().map(|node| node.frame as usize).zip(values)
}

fn hint(state: Option<State>, module: &str, id: &BuildId) -> String {
    let module = if module.is_empty() { "a module" } else { module };
    if has_no_file(module) {
        return format!("{module} belongs to the kernel and has no file to upload.");
    }
    match state {
        None => format!(
            "{module} (build {id}) has sent no symbols: its agent offers them within a minute unless the file is stripped; `tephra symbols upload` sends one by hand."
        ),
        Some(State::Busy) => format!("{module} (build {id}) is being symbolized: reload in a moment."),
        Some(State::Failed(failure)) => {
            let Failure { reason, of_file, .. } = failure;
            let after = if of_file { "another file of it is taken" } else { "it is tried again by itself" };
            format!("{module} (build {id}) cannot be symbolized: {reason}; {after}.")
        }
        Some(State::Ready { .. }) => format!(
            "{module} (build {id}) has symbols, but none at these addresses: its local functions were stripped. Install its debug symbols where the service runs (Debian: libc6-dbg for the C library); agents look for them in /usr/lib/debug/.build-id."
        ),
    }
}
