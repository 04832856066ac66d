//! Which labels requests of one side have more often than those of the other.

use std::collections::{BTreeMap, BTreeSet};

use super::{LabelShare, SIGNIFICANT, TOLD_MAX};
use crate::base::labels::{INSTANCE, Label, ROUTE};
use crate::profile::stats;
use crate::query::{EntrySpan, RequestCosts, RequestSides};

/// Values of one label that are looked at, the most frequent ones: of more, each would have to stand out from all.
const VALUES_MAX: usize = 200;

/// Requests by side: the others, the chosen.
type BySide = [u64; 2];

/// Shares of all values of labels; `lists` is how many lists of tests there are in all.
pub(super) fn all(requests: &RequestSides, costs: &RequestCosts, lists: usize) -> Vec<LabelShare> {
    // How many requests have the value; and how many have any value of the label that is known.
    let mut having: BTreeMap<Label, BySide> = BTreeMap::new();
    let mut known: BTreeMap<std::sync::Arc<str>, BySide> = BTreeMap::new();
    for (side, chosen) in requests.sides.iter().enumerate() {
        for (at, entry) in chosen.iter().enumerate() {
            let Some(entry) = requests.all.get(*entry) else { continue };
            let of_samples = costs.labels[side].get(at).and_then(Option::as_ref);
            let labels = labels_of(entry, of_samples);
            let names: BTreeSet<_> = labels.iter().map(|(name, _)| name.clone()).collect();
            names.into_iter().for_each(|name| known.entry(name).or_default()[side] += 1);
            labels.into_iter().for_each(|label| having.entry(label).or_default()[side] += 1);
        }
    }
    let mut values: BTreeMap<&str, Vec<(&Label, BySide)>> = BTreeMap::new();
    for (label, have) in &having {
        values.entry(&label.0).or_default().push((label, *have));
    }
    let mut shares: Vec<(&Label, BySide, BySide)> = Vec::new();
    for (name, mut values) in values {
        values.sort_by_key(|(label, have)| (std::cmp::Reverse(have[0] + have[1]), *label));
        let of = known.get(name).copied().unwrap_or_default();
        // What all requests have tells none apart.
        let tells = |have: &BySide| *have != of;
        let told = values.into_iter().take(VALUES_MAX).filter(|(_, have)| tells(have));
        shares.extend(told.map(|(label, have)| (label, have, of)));
    }
    let p: Vec<f64> = shares.iter().map(|(_, have, of)| stats::fisher_two_sided(*have, *of)).collect();
    let q = stats::false_discovery_rates(&p, p.len());
    let share = |have: u64, of: u64| have as f64 / of.max(1) as f64;
    let mut shares: Vec<LabelShare> = shares
        .into_iter()
        .zip(q)
        .map(|(((name, value), have, of), q)| {
            let q = (q * lists as f64).min(1.0);
            LabelShare {
                name: name.to_string(),
                value: value.to_string(),
                chosen_share: share(have[1], of[1]),
                others_share: share(have[0], of[0]),
                chosen_requests: have[1],
                others_requests: have[0],
                q,
                significant: q <= SIGNIFICANT,
            }
        })
        .collect();
    let apart = |label: &LabelShare| (label.significant, (label.chosen_share - label.others_share).abs());
    shares.sort_by(|a, b| {
        let ((x, more), (y, less)) = (apart(a), apart(b));
        y.cmp(&x).then(less.total_cmp(&more)).then_with(|| (&a.name, &a.value).cmp(&(&b.name, &b.value)))
    });
    shares.truncate(TOLD_MAX);
    shares
}

/// Those of its process, and of the samples that were taken in it. The route is what all of them share.
fn labels_of(entry: &EntrySpan, of_samples: Option<&BTreeSet<Label>>) -> BTreeSet<Label> {
    let process = entry.labels.pairs().iter().cloned();
    let instance = (INSTANCE.into(), entry.instance.clone());
    let of_samples = of_samples.into_iter().flatten().cloned();
    process.chain([instance]).chain(of_samples).filter(|(name, _)| **name != *ROUTE).collect()
}
