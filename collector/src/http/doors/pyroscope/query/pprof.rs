//! Profiles as pprof has them: the message itself, as Pyroscope answers it.

use std::sync::Arc;

use super::messages::SelectProfile;
use super::profiles::{Narrowed, for_each, max_nodes};
use super::selector::Selector;
use super::targets::{Asked, asked};
use super::tree::OTHER;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::profile::model::{Merged, Node, Row};
use crate::profile::pprof::encode_values;
use crate::profile::prune::{PruneOptions, prune};
use crate::profile::resolution::Resolution;
use crate::profile::tree::flag;
use crate::profile::written_out::written_out;
use crate::work::blocking;

pub(super) async fn select(state: AppState, call: SelectProfile) -> Result<Vec<u8>, ApiError> {
    let nodes = max_nodes(call.max_nodes)?;
    let limit = call.max_nodes.filter(|nodes| *nodes > 0).map(|_| nodes);
    let narrowed = Narrowed::new(&[], call.stack_trace_selector.as_ref(), &call.profile_id_selector)?;
    let selector = Selector::all(std::slice::from_ref(&call.label_selector))?;
    let times = (call.start, call.end);
    let asked = asked(&state, &call.profile_type, &selector, times, &call.trace_id_selector).await?;
    profile(&state, &asked, narrowed, limit).await
}

/// A profile of what is selected, serialized; empty where there is nothing. Of one service frames have addresses and build ids, unless
/// stacks are left out.
///
/// # Errors
/// As [`for_each`].
pub(super) async fn profile(
    state: &AppState,
    asked: &Asked,
    narrowed: Narrowed,
    max_nodes: Option<usize>,
) -> Result<Vec<u8>, ApiError> {
    let as_it_is = asked.selections.len() == 1 && max_nodes.is_none() && !narrowed.cuts_stacks();
    let of = state.clone();
    let add = move |parts: &mut Vec<(Merged, Vec<Resolution>)>, narrowed: &Narrowed, merged: Arc<Merged>| {
        if merged.rows.is_empty() {
            return;
        }
        if as_it_is {
            let resolutions = of.symbols.resolve(&merged.modules, &merged.frames);
            parts.push((Merged::clone(&merged), resolutions));
            return;
        }
        let mut tree = narrowed.tree(&of, &merged);
        if let Some(max_nodes) = max_nodes {
            tree = prune(&tree, PruneOptions { max_nodes, min_share: 0.0 }).0;
            for frame in tree.frames.iter_mut().filter(|frame| frame.flags & flag::SMALL != 0) {
                frame.function = OTHER.into();
            }
        }
        parts.push(written_out(&tree, &merged));
    };
    let parts = for_each(state, asked, &narrowed, Vec::new(), add).await?;
    let identity = asked.identity.clone();
    Ok(blocking(move || {
        let Some((mut whole, resolutions)) = join(parts) else { return Vec::new() };
        // Its readers know it by the name that they asked for.
        (whole.profile_type.name, whole.profile_type.unit) = (identity.sample_type, identity.sample_unit);
        encode_values((&whole, &resolutions))
    })
    .await?)
}

/// All of them side by side: stacks that are in several are there as often.
fn join(parts: Vec<(Merged, Vec<Resolution>)>) -> Option<(Merged, Vec<Resolution>)> {
    parts.into_iter().reduce(|(mut all, mut resolutions), (part, of_part)| {
        let (frames, nodes) = (all.frames.len() as u32, all.nodes.len() as u32);
        resolutions.extend(of_part);
        all.modules.extend(part.modules);
        all.frames.extend(part.frames);
        all.nodes.extend(part.nodes.into_iter().map(|node| Node {
            parent: if node.parent == Node::ROOT { Node::ROOT } else { node.parent + nodes },
            frame: node.frame + frames,
        }));
        all.rows.extend(part.rows.into_iter().map(|row| Row { node: row.node + nodes, ..row }));
        all.received_from_ms = all.received_from_ms.min(part.received_from_ms);
        all.covered_seconds = all.covered_seconds.max(part.covered_seconds);
        (all, resolutions)
    })
}
