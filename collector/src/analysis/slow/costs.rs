//! What requests of both sides cost, by type, function and family.

use super::{Cost, Difference, Part, TOLD_MAX};
use crate::analysis::families::Families;
use crate::analysis::movers::movers;
use crate::profile::diff::{Basis, Comparison, Observed};
use crate::profile::meaning;
use crate::profile::model::Merged;
use crate::profile::said::plain;
use crate::profile::stats;
use crate::profile::tree::Tree;
use crate::query::RequestCosts;
use crate::symbols::Symbols;

/// Types in the order in which they are told.
const FIRST: [&str; 3] = ["cpu", "alloc_space", "alloc_objects"];

/// The costs of all types; `lists` is how many lists of tests there are in all.
pub(super) fn all(costs: &RequestCosts, symbols: &Symbols, lists: usize) -> Vec<Cost> {
    let mut all: Vec<Cost> = costs.types.iter().map(|sides| cost(sides, symbols, lists)).collect();
    let place = |cost: &Cost| FIRST.iter().position(|name| *name == cost.profile_type).unwrap_or(FIRST.len());
    all.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.profile_type.cmp(&b.profile_type)));
    all
}

fn cost([others, chosen]: &[Merged; 2], symbols: &Symbols, lists: usize) -> Cost {
    let resolved = [others, chosen].map(|side| symbols.resolve(&side.modules, &side.frames));
    let tree = Tree::pair((others, &resolved[0]), (chosen, &resolved[1]));
    let families = Families::reviewed();
    let family_of_frame = families.classify(&tree.frames);
    let comparison = Comparison::new(&tree, Basis::Request);
    // Values in the unit of the type, not in the one that rates are shown in.
    let factor = meaning::over_time(&tree.profile_type).factor;
    let functions = movers(&tree, Basis::Request, |frame| families.name(family_of_frame[frame as usize]));
    let functions = functions.into_iter().map(|mover| Part {
        name: plain(&mover.name),
        difference: Difference::new(mover.b / factor, mover.a / factor, mover.q, lists),
        full_name: mover.name,
        family: mover.family,
    });
    let mut total = comparison.nothing();
    let mut by_family = vec![comparison.nothing(); families.names().len()];
    let family_of_node = families.of_nodes(&tree, &family_of_frame);
    for (side, values) in tree.sides.iter().enumerate() {
        for cell in &values.cells {
            total.add(side, *cell);
            let family = family_of_node.get(cell.node as usize).copied().unwrap_or(0);
            if let Some(sum) = by_family.get_mut(usize::from(family)) {
                sum.add(side, *cell);
            }
        }
    }
    let per_request = |sum: &Observed, side: usize| {
        let requests = tree.sides[side].facts.seconds;
        if requests > 0.0 { stats::sum(sum.values[side].iter().copied()) / requests } else { 0.0 }
    };
    let difference = |sum: &Observed, q: f64| Difference::new(per_request(sum, 1), per_request(sum, 0), q, lists);
    // What no rule names is the rest, and no kind of work.
    let named: Vec<(usize, &Observed)> =
        by_family.iter().enumerate().skip(1).filter(|(_, sum)| sum.samples.iter().any(|n| *n > 0)).collect();
    let p: Vec<f64> = named.iter().map(|(_, sum)| comparison.p_value(sum)).collect();
    let q = stats::false_discovery_rates(&p, p.len());
    let mut of_families: Vec<Part> = named
        .iter()
        .zip(q)
        .map(|((family, sum), q)| {
            let name = families.name(*family as u16).to_owned();
            Part { full_name: name.clone(), family: name.clone(), name, difference: difference(sum, q) }
        })
        .collect();
    of_families.sort_by(|a, b| b.difference.more().abs().total_cmp(&a.difference.more().abs()));
    of_families.truncate(TOLD_MAX);
    Cost {
        profile_type: tree.profile_type.name.clone(),
        unit: tree.profile_type.unit.clone(),
        whole: difference(&total, comparison.p_value(&total)),
        functions: functions.take(TOLD_MAX).collect(),
        families: of_families,
    }
}
