//! Names the functions that changed: each unit of change belongs to exactly one of them.
//!
//! The rule, in three steps:
//! 1. **Owner.** A sample's work belongs to the deepest *application* frame of its stack: the standard library, libc, the
//!    runtime and dependencies work on behalf of their caller. (`memcpy` did not regress; who copies more did.) Closures
//!    belong to the function they are written in, where that is on the stack, and addresses without a name to their
//!    named caller. A stack without application frames belongs to its leaf.
//! 2. **Claim.** A function whose owned work changed by at least [`CLAIM_SHARE`] of all movement claims that change.
//! 3. **Gather.** What is too small to be claimed flows towards the root, and the first application frame in which that
//!    much has gathered claims it: this is what no single callee explains. What reaches the root unclaimed is noise or
//!    thinly spread.
//!
//! A claim is shown when its test holds among as many tests as there are functions, so noise names nobody.

use rustc_hash::FxHashMap;

use crate::profile::diff::{Basis, Comparison, Observed, Scale};
use crate::profile::report::Mover;
use crate::profile::stats;
use crate::profile::tree::{Tree, flag};

use super::origin::{self, Origin};

/// Part of all movement that makes a change worth a line.
const CLAIM_SHARE: f64 = 0.02;

/// False-discovery rate at which a change counts as one.
pub const SIGNIFICANT: f64 = 0.05;

const MOVERS_MAX: usize = 20;

const NOBODY: u32 = u32::MAX;

/// Functions that changed from side A to side B, largest change first. `family_of` names a frame's family.
pub fn movers<'a>(tree: &Tree, basis: Basis, family_of: impl Fn(u32) -> &'a str) -> Vec<Mover> {
    let scales = [0, 1].map(|side| Scale::of(tree, side, basis).factor);
    let owner = owners(tree);
    let claimed_by = claims(tree, &owner, scales);
    let comparison = Comparison::new(tree, basis);
    let observed = observe(tree, &claimed_by, &comparison);
    let functions = distinct(&owner);

    let mut candidates: Vec<(u32, Observed)> = observed.into_iter().filter(|(frame, _)| *frame != NOBODY).collect();
    candidates.sort_unstable_by_key(|(frame, _)| *frame);
    let p: Vec<f64> = candidates.iter().map(|(_, observed)| comparison.p_value(observed)).collect();
    let q = stats::false_discovery_rates(&p, functions.max(p.len()));
    let own = own_by_frame(tree);

    let mut movers: Vec<Mover> = Vec::new();
    let (mut risen, mut fallen) = (0.0, 0.0);
    for ((frame, observed), q) in candidates.iter().zip(q) {
        let [a, b] = [0, 1].map(|side| stats::sum(observed.values[side].iter().copied()) * scales[side]);
        let delta = b - a;
        *(if delta > 0.0 { &mut risen } else { &mut fallen }) += delta.abs();
        let info = &tree.frames[*frame as usize];
        let [own_a, own_b] = own.get(frame).copied().unwrap_or_default();
        movers.push(Mover {
            name: info.function.to_string(),
            module: info.module.to_string(),
            file: info.file.to_string(),
            line: info.line,
            frame: *frame,
            family: family_of(*frame).to_owned(),
            a,
            b,
            delta,
            self_a: own_a as f64 * scales[0],
            self_b: own_b as f64 * scales[1],
            q,
            state: "unchanged",
            share_of_change: 0.0,
        });
    }
    let present = presence(tree);
    for mover in &mut movers {
        let all = if mover.delta > 0.0 { risen } else { fallen };
        mover.share_of_change = if all > 0.0 { (mover.delta.abs() / all).min(1.0) } else { 0.0 };
        mover.state = match present[mover.frame as usize] {
            _ if mover.q > SIGNIFICANT => "unchanged",
            [false, true] => "new",
            [true, false] => "gone",
            _ if mover.delta > 0.0 => "grew",
            _ => "shrank",
        };
    }
    // Another build has other addresses: an address on one side only says nothing about the code.
    let comparable =
        |frame: u32| tree.frames[frame as usize].flags & flag::UNRESOLVED == 0 || present[frame as usize] == [true; 2];
    movers.retain(|mover| mover.q <= SIGNIFICANT && mover.delta != 0.0 && comparable(mover.frame));
    movers.sort_by(|x, y| y.delta.abs().total_cmp(&x.delta.abs()).then_with(|| x.name.cmp(&y.name)));
    movers.truncate(MOVERS_MAX);
    movers
}

/// For each node the frame that its own work belongs to.
fn owners(tree: &Tree) -> Vec<u32> {
    let origins: Vec<Origin> = tree.frames.iter().map(origin::of).collect();
    let enclosing: Vec<&str> = tree.frames.iter().map(|frame| origin::enclosing_function(&frame.function)).collect();
    // The deepest application frame so far; NOBODY above the first.
    let mut application = vec![NOBODY; tree.nodes.len()];
    let mut owner = vec![0; tree.nodes.len()];
    for (i, node) in tree.nodes.iter().enumerate() {
        let above = if i == 0 { NOBODY } else { application[node.parent as usize] };
        application[i] = match origins[node.frame as usize] {
            Origin::Application => {
                let same_function = above != NOBODY
                    && above != node.frame
                    && enclosing[above as usize] == enclosing[node.frame as usize]
                    && tree.frames[above as usize].module == tree.frames[node.frame as usize].module;
                if same_function { above } else { node.frame }
            }
            Origin::Library => above,
        };
        owner[i] = if application[i] == NOBODY { node.frame } else { application[i] };
    }
    owner
}

/// For each node the frame that claims its work, or NOBODY.
fn claims(tree: &Tree, owner: &[u32], scales: [f64; 2]) -> Vec<u32> {
    let change = |i: usize| tree.sides[1].own[i] as f64 * scales[1] - tree.sides[0].own[i] as f64 * scales[0];
    let mut by_owner = vec![0.0f64; tree.frames.len()];
    for (i, &frame) in owner.iter().enumerate() {
        by_owner[frame as usize] += change(i);
    }
    let movement: f64 = by_owner.iter().map(|change| change.abs()).sum();
    let enough = (movement * CLAIM_SHARE).max(f64::MIN_POSITIVE);
    let claims_own = |frame: u32| by_owner[frame as usize].abs() >= enough;

    let mut gathered = vec![0.0f64; tree.nodes.len()];
    let mut gathers = vec![false; tree.nodes.len()];
    for i in (1..tree.nodes.len()).rev() {
        if !claims_own(owner[i]) {
            gathered[i] += change(i);
        }
        // An owner's frame, not something that works for one; for closures the function around them claims.
        if owner[i] == tree.nodes[i].frame && gathered[i].abs() >= enough {
            gathers[i] = true;
        } else {
            let up = gathered[i];
            gathered[tree.nodes[i].parent as usize] += up;
        }
    }
    let mut gatherer = vec![NOBODY; tree.nodes.len()];
    let mut claimed_by = vec![NOBODY; tree.nodes.len()];
    for i in 1..tree.nodes.len() {
        gatherer[i] = if gathers[i] { tree.nodes[i].frame } else { gatherer[tree.nodes[i].parent as usize] };
        claimed_by[i] = if claims_own(owner[i]) { owner[i] } else { gatherer[i] };
    }
    claimed_by
}

fn observe(tree: &Tree, claimed_by: &[u32], comparison: &Comparison) -> FxHashMap<u32, Observed> {
    let mut observed: FxHashMap<u32, Observed> = FxHashMap::default();
    for (side, values) in tree.sides.iter().enumerate() {
        for &cell in &values.cells {
            let frame = claimed_by[cell.node as usize];
            observed.entry(frame).or_insert_with(|| comparison.nothing()).add(side, cell);
        }
    }
    observed
}

fn distinct(owner: &[u32]) -> usize {
    owner.iter().collect::<rustc_hash::FxHashSet<_>>().len()
}

/// For each frame its own values on side A and on side B.
fn own_by_frame(tree: &Tree) -> FxHashMap<u32, [u64; 2]> {
    let mut own: FxHashMap<u32, [u64; 2]> = FxHashMap::default();
    for (i, node) in tree.nodes.iter().enumerate() {
        let entry = own.entry(node.frame).or_default();
        for (own, side) in entry.iter_mut().zip(&tree.sides) {
            *own = own.saturating_add(side.own[i]);
        }
    }
    own
}

/// For each frame whether it appears on side A and on side B.
pub(super) fn presence(tree: &Tree) -> Vec<[bool; 2]> {
    let mut present = vec![[false; 2]; tree.frames.len()];
    for side in [0, 1] {
        for (node, total) in tree.nodes.iter().zip(tree.totals(side)) {
            present[node.frame as usize][side] |= total > 0;
        }
    }
    present
}
