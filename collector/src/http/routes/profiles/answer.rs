//! What an import says it did.

use serde_json::{Value, json};
use tephra_proto::v1;

use crate::profile::remarks::Remarks;
use crate::profile::span::Span;

/// What of a profile was stored.
pub(super) struct Stored {
    stacks: usize,
    /// Name, unit, value, samples.
    types: Vec<(String, String, u64, u64)>,
}

impl Stored {
    /// Of a window that is stored as it is.
    pub(super) fn of(payload: &v1::WindowPayload) -> Self {
        let mut stacks: Vec<u32> = payload.series.iter().flat_map(|series| &series.stack).copied().collect();
        stacks.sort_unstable();
        stacks.dedup();
        let sums = |series: &v1::Series| {
            let profile_type = series.r#type.clone().unwrap_or_default();
            let value = series
                .value
                .iter()
                .fold(0u64, |sum, value| sum.saturating_add(value.saturating_mul(series.scale.max(1))));
            // Without them, values are what they count.
            let samples = match series.samples.as_slice() {
                [] => series.value.iter().fold(0u64, |sum, value| sum.saturating_add(*value)),
                samples => samples.iter().map(|samples| u64::from(*samples)).sum(),
            };
            (profile_type.name, profile_type.unit, value, samples)
        };
        Self { stacks: stacks.len(), types: payload.series.iter().map(sums).collect() }
    }
}

/// As JSON. Types of one profile look at the same samples, so the largest number of them is how many there were.
pub(super) fn answer(stored: &Stored, remarks: &Remarks, span: Span) -> Value {
    let samples = stored.types.iter().map(|(_, _, _, samples)| *samples).max().unwrap_or(0);
    let types = stored.types.iter();
    let types = types
        .map(|(name, unit, value, samples)| json!({ "name": name, "unit": unit, "value": value, "samples": samples }));
    let renamed = remarks.renamed.iter().map(|(was, is)| json!({ "was": was, "is": is }));
    let left_out = remarks.left_out.iter().map(|left| json!({ "name": left.name, "why": left.why }));
    json!({
        "from": span.start_ms,
        "until": span.start_ms + span.duration_ms,
        "duration_known": !span.is_guessed,
        "stored_samples": samples,
        "stacks": stored.stacks,
        "types": types.collect::<Vec<_>>(),
        "names_made_fit": remarks.names_made_fit,
        "renamed": renamed.collect::<Vec<_>>(),
        "samples_without_stack": remarks.samples_without_stack,
        "samples_cut": remarks.samples_cut,
        "left_out": left_out.collect::<Vec<_>>(),
    })
}
