//! Profiles that come as files of any tool instead of from an agent.

mod answer;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde_json::Value;
use tephra_proto::ids::InstanceName;
use tephra_proto::limits::{RESOURCE_LABELS_MAX, WINDOW_SAMPLES_MAX};
use tephra_proto::v1;

use crate::base::clock::now_ms;
use crate::http::AppState;
use crate::http::body::{self, TIME_MAX};
use crate::http::doors::received::{Origin, is_of_a_moment};
use crate::http::error::{ApiError, ErrorKind};
use crate::http::params::Params;
use crate::ingest::Allowance;
use crate::profile::fit::fit;
use crate::profile::formats::{Asked, decode_as};
use crate::profile::import::{ImportError, Imported};
use crate::profile::pprof::PPROF_BYTES_MAX;
use crate::profile::remarks::Remarks;
use crate::profile::span::Said;
use answer::{Stored, answer};

pub(super) const PPROF: Allowance = Allowance::whole(PPROF_BYTES_MAX, TIME_MAX);

pub(super) async fn upload(
    State(state): State<AppState>,
    mut params: Params,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let now = now_ms();
    let (service, profile_type, at) = (params.service()?, params.profile_type("type")?, params.time("at", now)?);
    let (instance, labels) = instance_and_labels(params.labels()?)?;
    let origin = Origin { service, instance, labels, sender: "import".to_owned() };
    let (kinds, duration) = (params.kinds()?, params.duration("duration")?);
    let unit = params.take("unit")?.map(|unit| fit(&unit).into_owned());
    let asked = Asked { kinds, name: profile_type, unit };
    params.finish()?;
    let retention_ms = state.store.options().retention.as_millis() as u64;
    let body = body::read(body).await?;
    let read = move || {
        let Imported { mut payload, time_nanos, duration_nanos, remarks, .. } = decode_as(&body, &asked)?;
        if let Some(wanted) = &asked.name {
            keep_type(&mut payload, wanted, &remarks)?;
        }
        check_rows(&payload)?;
        let stored = Stored::of(&payload);
        let said = Said {
            at_ms: at,
            duration_ms: duration,
            own_start_ns: time_nanos,
            own_duration_ns: duration_nanos,
            is_of_a_moment: is_of_a_moment(&payload),
        };
        let (windows, span) = origin.windows(payload, said, now, retention_ms)?;
        Ok::<_, ApiError>((windows, answer(&stored, &remarks, span)))
    };
    let (ack, mut answer) = state.ingest.append_profile(read).await?;
    answer["duplicate"] = ack.duplicate.into();
    Ok(Json(answer))
}

/// `label.instance` names the process; everything else is a resource label.
fn instance_and_labels(labels: Vec<(String, String)>) -> Result<(String, Vec<v1::Label>), ApiError> {
    let (instance, labels): (Vec<_>, Vec<_>) = labels.into_iter().partition(|(name, _)| name == "instance");
    let instance = instance.into_iter().next().map(|(_, value)| value).unwrap_or_default();
    let instance = InstanceName::parse(&instance)?.as_str().to_owned();
    if labels.len() > RESOURCE_LABELS_MAX {
        let message = format!("the profile has {} labels, limit {RESOURCE_LABELS_MAX}", labels.len());
        return Err(ApiError::invalid(message, "keep those that people filter by"));
    }
    Ok((instance, labels.into_iter().map(|(name, value)| v1::Label { name, value }).collect()))
}

fn keep_type(payload: &mut v1::WindowPayload, wanted: &str, remarks: &Remarks) -> Result<(), ApiError> {
    let name = |series: &v1::Series| series.r#type.as_ref().map(|t| t.name.clone()).unwrap_or_default();
    let known: Vec<String> = payload.series.iter().map(name).collect();
    payload.series.retain(|series| name(series) == fit(wanted));
    if payload.series.is_empty() {
        let hint = format!("it has: {}", known.join(", "));
        if let Some(left) = remarks.left_out.iter().find(|left| fit(&left.name) == fit(wanted)) {
            return Err(ApiError::invalid(format!("the type {:?} {}", left.name, left.why), hint));
        }
        return Err(ApiError::invalid(format!("the profile has no type {wanted:?}"), hint));
    }
    Ok(())
}

/// A window has room for so many values of stacks, of all types together.
fn check_rows(payload: &v1::WindowPayload) -> Result<(), ApiError> {
    let rows: usize = payload.series.iter().map(|series| series.stack.len()).sum();
    if rows <= WINDOW_SAMPLES_MAX {
        return Ok(());
    }
    let message = format!("the profile has {rows} values of stacks in all its types, limit {WINDOW_SAMPLES_MAX}");
    Err(ApiError::new(ErrorKind::TooLarge, message, "store its types one by one, such as with type=alloc_space"))
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        let kind = match error {
            ImportError::TooMany { .. } | ImportError::TooLarge { .. } => ErrorKind::TooLarge,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, error.to_string(), error.hint())
    }
}
