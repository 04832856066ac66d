//! What a call asks for, in the engine's terms: of which services, which types, over which range and with which labels. Expressions and
//! negations become the known values that they accept.

use tephra_proto::ids::{ServiceName, TraceId};
use tephra_proto::label;
use tephra_proto::limits::WINDOW_MS_MAX;

use super::selector::Selector;
use crate::base::range::TimeRange;
use crate::http::AppState;
use crate::http::doors::pyroscope::types::Identity;
use crate::http::error::ApiError;
use crate::profile::model::ProfileType;
use crate::query::Selection;
use crate::store::catalog::{LABEL_VALUES_MAX, ServiceRow};

/// The label that says which service.
pub(super) const SERVICE: &str = "service_name";

/// The label that has all of a profile type's identity.
pub(super) const PROFILE_TYPE: &str = "__profile_type__";

/// Labels that every profile has, and that say what it is.
pub(super) const PSEUDO: [&str; 7] =
    ["__name__", "__period_type__", "__period_unit__", PROFILE_TYPE, "__type__", "__unit__", SERVICE];

/// Services that one profile or one set of lines is summed over.
const SUMMED_MAX: usize = 64;

/// What is added up begins at multiples of this at the latest: before what it is made of.
const COARSEST_MS: u64 = 86_400_000;

/// The same of what is answered by seconds.
const FINEST_MS: u64 = 10_000;

/// The longest range of one question, as in the API.
const RANGE_MS_MAX: u64 = 400 * 86_400_000;

/// A service that a selector selects, and what of it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Which.
    pub(super) service: ServiceName,
    /// Its types that are selected, with their identities.
    pub(super) types: Vec<(ProfileType, Identity)>,
    /// Which of its processes and samples, as [`Selection::labels`] has it.
    pub(super) labels: Vec<(String, String)>,
}

/// The range of a call; none is everything that is kept.
///
/// # Errors
/// When it ends before it starts, is no time, or too long.
pub(super) async fn range(state: &AppState, start: i64, end: i64) -> Result<TimeRange, ApiError> {
    let (Ok(from_ms), Ok(until_ms)) = (u64::try_from(start), u64::try_from(end)) else {
        return Err(bad_range(start, end, "is before 1970"));
    };
    let kept = kept(&state.engine.services_seen().await?);
    let until_ms = if until_ms == 0 { (kept.until_ms + u64::from(WINDOW_MS_MAX)).max(from_ms) } else { until_ms };
    if from_ms > until_ms {
        return Err(bad_range(start, end, "ends before it starts"));
    }
    // A range includes its end here, and the last millisecond of it is all of a range that is none.
    let until_ms = until_ms.max(from_ms + 1);
    // Nothing is older.
    let from_ms = from_ms.max(kept.from_ms - kept.from_ms % COARSEST_MS).min(until_ms - 1);
    if until_ms > TimeRange::ALL.until_ms {
        return Err(bad_range(start, end, "is no time"));
    }
    if until_ms - from_ms > RANGE_MS_MAX {
        return Err(bad_range(start, end, "is longer than 400 days"));
    }
    Ok(TimeRange { from_ms, until_ms })
}

/// From the start of the first window of any service to that of the last.
pub(super) fn kept(services: &[ServiceRow]) -> TimeRange {
    let until_ms = services.iter().map(|service| service.last_seen_ms).max().unwrap_or(0) + 1;
    let from_ms = services.iter().map(|service| service.first_seen_ms).min().unwrap_or(0);
    TimeRange { from_ms: from_ms.max(until_ms.saturating_sub(RANGE_MS_MAX)), until_ms }
}

fn bad_range(start: i64, end: i64, why: &str) -> ApiError {
    ApiError::invalid(
        format!("the range from {start} until {end} {why}"),
        "start and end are unix milliseconds; without both, all that is kept is meant",
    )
}

/// The services that a selector selects, by name, with what was received of them in the range.
///
/// # Errors
/// When the store fails, or a label has more values than are listed.
pub(super) async fn select(state: &AppState, selector: &Selector, range: TimeRange) -> Result<Vec<Target>, ApiError> {
    let mut targets = Vec::new();
    for service in state.engine.services_seen().await? {
        let first_ms = service.first_seen_ms - service.first_seen_ms % FINEST_MS;
        let last_ms = service.last_seen_ms + u64::from(WINDOW_MS_MAX);
        let was_there = last_ms >= range.from_ms && first_ms < range.until_ms;
        if !was_there || !selector.accepts(SERVICE, &service.name) {
            continue;
        }
        let Ok(name) = ServiceName::parse(&service.name) else { continue };
        // What is let go of in between is not there.
        let Ok(types) = state.engine.types(&name).await else { continue };
        let with_identity = types.into_iter().map(|t| {
            let identity = Identity::of(&t.name, &t.unit);
            (t, identity)
        });
        let types: Vec<_> = with_identity.filter(|(_, identity)| accepts_type(selector, identity)).collect();
        if types.is_empty() {
            continue;
        }
        if let Some(labels) = labels(state, selector, &name, range).await? {
            targets.push(Target { service: name, types, labels });
        }
    }
    Ok(targets)
}

/// Of the labels that say what a profile is, the value.
pub(super) fn pseudo(identity: &Identity, service: &str, name: &str) -> Option<String> {
    Some(match name {
        SERVICE => service.to_owned(),
        PROFILE_TYPE => identity.id(),
        "__name__" => identity.name.clone(),
        "__type__" => identity.sample_type.clone(),
        "__unit__" => identity.sample_unit.clone(),
        "__period_type__" => identity.period_type.clone(),
        "__period_unit__" => identity.period_unit.clone(),
        _ => return None,
    })
}

fn accepts_type(selector: &Selector, identity: &Identity) -> bool {
    let of_type = PSEUDO.into_iter().filter(|name| *name != SERVICE);
    of_type.into_iter().all(|name| {
        let value = pseudo(identity, "", name).unwrap_or_default();
        selector.accepts(name, &value)
    })
}

/// What must hold of a service's labels, as values of which any will do; `None` where there are none such.
async fn labels(
    state: &AppState,
    selector: &Selector,
    service: &ServiceName,
    range: TimeRange,
) -> Result<Option<Vec<(String, String)>>, ApiError> {
    let mut wanted = Vec::new();
    for name in selector.names().into_iter().filter(|name| !PSEUDO.contains(name)) {
        let mut values = match label::check_name(name) {
            Ok(()) => state.engine.label_values(service, name, range).await?,
            Err(_) => Vec::new(),
        };
        if values.len() >= LABEL_VALUES_MAX as usize {
            // There may be others, that only their names find.
            let only = selector.of(name).find_map(|matcher| matcher.only());
            let Some(value) = only.filter(|value| !value.is_empty()) else {
                return Err(ApiError::invalid(
                    format!("label {name} of {service} has {LABEL_VALUES_MAX} values or more, as many as are listed"),
                    "select its values with = instead of !=, =~ or !~",
                ));
            };
            values = vec![value.to_owned()];
        }
        // What has no such label.
        values.push(String::new());
        let all = values.len();
        values.retain(|value| selector.accepts(name, value));
        if values.is_empty() {
            return Ok(None);
        }
        if values.len() < all {
            wanted.extend(values.into_iter().map(|value| (name.to_owned(), value)));
        }
    }
    Ok(Some(wanted))
}

/// Which samples of which services a profile is made of.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The type, as the call names it.
    pub(super) identity: Identity,
    /// When.
    pub(super) range: TimeRange,
    /// One for each service, and each trace where these are selected.
    pub(super) selections: Vec<Selection>,
}

/// Reads what calls for profiles have in common.
///
/// # Errors
/// When the type is no identity, the selector or the range is refused, or there are too many services.
pub(super) async fn asked(
    state: &AppState,
    profile_type: &str,
    selector: &Selector,
    (start, end): (i64, i64),
    traces: &[String],
) -> Result<Asked, ApiError> {
    let identity = Identity::parse(profile_type).ok_or_else(|| {
        let shown: String = profile_type.chars().take(64).collect();
        ApiError::invalid(
            format!("profile type {shown:?} is not name:sample_type:sample_unit:period_type:period_unit"),
            "such as process_cpu:cpu:nanoseconds:cpu:nanoseconds; ProfileTypes lists them",
        )
    })?;
    let traces: Vec<TraceId> = traces.iter().map(|id| TraceId::parse(id)).collect::<Result<_, _>>()?;
    let range = range(state, start, end).await?;
    let mut selections = Vec::new();
    for Target { service, types, labels } in select(state, selector, range).await? {
        let ours = identity.ours();
        // What is called the same and measured otherwise cannot be added.
        let measures = |(t, of): &&(ProfileType, Identity)| t.name == ours && of.sample_unit == identity.sample_unit;
        let Some((found, _)) = types.iter().find(measures) else { continue };
        let whole = Selection {
            service,
            profile_type: found.name.clone(),
            from_ms: range.from_ms,
            until_ms: range.until_ms,
            labels,
            trace: None,
        };
        match traces.as_slice() {
            [] => selections.push(whole),
            some => selections.extend(some.iter().map(|trace| Selection { trace: Some(*trace), ..whole.clone() })),
        }
        if selections.len() > SUMMED_MAX {
            return Err(ApiError::invalid(
                format!("the selector selects {} services and traces or more, limit {SUMMED_MAX}", selections.len()),
                "name fewer of them, with service_name",
            ));
        }
    }
    Ok(Asked { identity, range, selections })
}
