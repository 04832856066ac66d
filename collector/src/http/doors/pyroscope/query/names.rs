//! What there is: profile types, labels and their values, and combinations of them.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use tephra_proto::label;

use super::messages::{
    self, LabelPair, LabelSets, LabelValues, Labels, Names, Nothing, ProfileStats, ProfileType, ProfileTypes, Range,
};
use super::selector::Selector;
use super::targets::{PSEUDO, Target, kept, pseudo, range, select};
use crate::base::range::TimeRange;
use crate::http::AppState;
use crate::http::error::{ApiError, ErrorKind};

/// Combinations in one answer.
const SERIES_MAX: usize = 20_000;

pub(super) async fn profile_types(state: AppState, asked: Range) -> Result<Vec<u8>, ApiError> {
    let range = range(&state, asked.start, asked.end).await?;
    let mut by_id = BTreeMap::new();
    for target in select(&state, &Selector::default(), range).await? {
        for (_, identity) in target.types {
            by_id.insert(identity.id(), identity);
        }
    }
    let profile_types = by_id.into_iter().map(|(id, identity)| ProfileType {
        id,
        name: identity.name,
        sample_type: identity.sample_type,
        sample_unit: identity.sample_unit,
        period_type: identity.period_type,
        period_unit: identity.period_unit,
    });
    Ok(ProfileTypes { profile_types: profile_types.collect() }.encode_to_vec())
}

pub(super) async fn label_names(state: AppState, asked: messages::LabelNames) -> Result<Vec<u8>, ApiError> {
    let selector = Selector::all(&asked.matchers)?;
    let range = range(&state, asked.start, asked.end).await?;
    let mut names = BTreeSet::new();
    for target in select(&state, &selector, range).await? {
        names.extend(PSEUDO.map(str::to_owned));
        names.extend(state.engine.labels(&target.service, range).await?);
    }
    Ok(Names { names: names.into_iter().collect() }.encode_to_vec())
}

pub(super) async fn label_values(state: AppState, asked: LabelValues) -> Result<Vec<u8>, ApiError> {
    let LabelValues { name, .. } = &asked;
    if name.is_empty() {
        return Err(ApiError::invalid("the name of the label is missing", "say which label's values: name"));
    }
    let selector = Selector::all(&asked.matchers)?;
    let range = range(&state, asked.start, asked.end).await?;
    let mut values = BTreeSet::new();
    for target in select(&state, &selector, range).await? {
        if PSEUDO.contains(&name.as_str()) {
            let of_types = target.types.iter();
            values.extend(of_types.filter_map(|(_, identity)| pseudo(identity, target.service.as_str(), name)));
        } else if label::check_name(name).is_ok() {
            values.extend(values_of(&state, &target, name, range).await?);
        }
    }
    values.retain(|value| selector.accepts(name, value));
    Ok(Names { names: values.into_iter().collect() }.encode_to_vec())
}

/// Values of a label of what is selected of a service.
async fn values_of(
    state: &AppState,
    target: &Target,
    name: &str,
    range: TimeRange,
) -> Result<BTreeSet<String>, ApiError> {
    let known = state.engine.label_values(&target.service, name, range).await?;
    let others: Vec<_> = target.labels.iter().filter(|(other, _)| other != name).cloned().collect();
    if others.is_empty() {
        return Ok(known.into_iter().collect());
    }
    let (sets, _) = state.engine.processes(&target.service, range, &others).await?;
    if sets.is_empty() {
        return Ok(BTreeSet::new());
    }
    let of_processes: BTreeSet<String> = sets.iter().filter_map(|set| set.get(name)).map(str::to_owned).collect();
    // Labels of single samples are known by themselves alone.
    Ok(if of_processes.is_empty() { known.into_iter().collect() } else { of_processes })
}

pub(super) async fn series(state: AppState, asked: messages::Series) -> Result<Vec<u8>, ApiError> {
    let selector = Selector::all(&asked.matchers)?;
    let range = range(&state, asked.start, asked.end).await?;
    let is_wanted = |name: &str| asked.label_names.is_empty() || asked.label_names.iter().any(|wanted| wanted == name);
    let of_processes =
        asked.label_names.is_empty() || asked.label_names.iter().any(|name| !PSEUDO.contains(&name.as_str()));
    let mut found: BTreeSet<Vec<LabelPair>> = BTreeSet::new();
    for target in select(&state, &selector, range).await? {
        let mut sets: BTreeSet<Vec<LabelPair>> = BTreeSet::from([Vec::new()]);
        if of_processes {
            let (processes, _) = state.engine.processes(&target.service, range, &target.labels).await?;
            let wanted = |set: &crate::base::labels::Labels| {
                let pairs = set.iter().filter(|(name, value)| is_wanted(name) && !value.is_empty());
                pairs.map(|(name, value)| pair(name, value)).collect()
            };
            sets = processes.iter().map(wanted).collect();
        }
        for (_, identity) in &target.types {
            let named = PSEUDO.into_iter().filter(|name| is_wanted(name));
            let named = named.filter_map(|name| Some(pair(name, &pseudo(identity, target.service.as_str(), name)?)));
            let named: Vec<LabelPair> = named.collect();
            for set in &sets {
                let mut labels = [named.as_slice(), set].concat();
                labels.sort_unstable();
                // Nobody reads a series without labels.
                if !labels.is_empty() {
                    found.insert(labels);
                }
            }
            if found.len() > SERIES_MAX {
                return Err(ApiError::new(
                    ErrorKind::TooLarge,
                    format!("more than {SERIES_MAX} series"),
                    "ask for fewer labels, or name the service",
                ));
            }
        }
    }
    let labels_set = found.into_iter().map(|labels| Labels { labels }).collect();
    Ok(LabelSets { labels_set }.encode_to_vec())
}

pub(super) async fn profile_stats(state: AppState, _: Nothing) -> Result<Vec<u8>, ApiError> {
    let services = state.engine.services_seen().await?;
    if services.is_empty() {
        return Ok(Vec::new());
    }
    let TimeRange { from_ms, until_ms } = kept(&services);
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let stats = ProfileStats {
        data_ingested: true,
        oldest_profile_time: signed(from_ms),
        newest_profile_time: signed(until_ms.saturating_sub(1)),
    };
    Ok(stats.encode_to_vec())
}

pub(super) fn pair(name: &str, value: &str) -> LabelPair {
    LabelPair { name: name.to_owned(), value: value.to_owned() }
}
