//! Profiles of others as windows: whose they are by the labels that came with them, and when they were taken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tephra_proto::ids::{InstanceName, ServiceName};
use tephra_proto::label::is_printable;
use tephra_proto::limits::{INSTANCE_BYTES_MAX, LABEL_VALUE_BYTES_MAX, RESOURCE_LABELS_MAX, SERVICE_BYTES_MAX};
use tephra_proto::v1;

use crate::http::error::ApiError;
use crate::http::no_span::no_span;
use crate::profile::fit::fit;
use crate::profile::pieces::Pieces;
use crate::profile::span::{Said, Span};

/// Windows on their way to the store.
pub(in crate::http) type Windows = Vec<(v1::PushHeader, v1::WindowPayload)>;

/// Whose a profile is.
#[derive(Debug, Clone)]
pub(in crate::http) struct Origin {
    /// The service.
    pub(in crate::http) service: ServiceName,
    /// Which of its processes; may be empty.
    pub(in crate::http) instance: String,
    /// The rest of what is said of it.
    pub(in crate::http) labels: Vec<v1::Label>,
    /// By what it was sent, as agents say their version.
    pub(in crate::http) sender: String,
}

/// Labels that name a service, likeliest first.
const SERVICES: [&str; 4] = ["service.name", "service_name", "app_name", "app"];

/// Labels that name a process, likeliest first.
const INSTANCES: [&str; 12] = [
    "service.instance.id",
    "service_instance_id",
    "instance",
    "pod",
    "k8s.pod.name",
    "k8s_pod_name",
    "pod_name",
    "hostname",
    "host.name",
    "host",
    "container.id",
    "__session_id__",
];

/// Of these the label has nothing more to say than the name of the process.
const INSTANCES_ONLY: [&str; 3] = ["service.instance.id", "service_instance_id", "instance"];

/// A version by which deploys are told apart, where no label is called so.
const VERSIONS: [&str; 3] = ["service.version", "service_version", "service_git_ref"];

/// What people filter by: kept first where there is more than there may be.
const KEPT_FIRST: [&str; 9] =
    ["version", "env", "environment", "deployment", "namespace", "region", "zone", "cluster", "pod"];

impl Origin {
    /// By labels as other tools write them. Names are made fit; those that begin with `__` are their senders' own business.
    ///
    /// # Errors
    /// When no label names the service, or its name cannot be one.
    pub(in crate::http) fn of<'a>(
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        otherwise: Option<&str>,
        sender: &str,
    ) -> Result<Self, ApiError> {
        let mut given: BTreeMap<&str, &str> = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let service = SERVICES.iter().find_map(|name| given.remove(name)).or(otherwise).ok_or_else(|| {
            ApiError::invalid("no label says which service this is", "send service_name with the labels")
        })?;
        let service = ServiceName::parse(&fit_service(service))?;
        let instance = INSTANCES.iter().find_map(|name| given.get(name).map(|value| (*name, *value)));
        let (by, instance) = instance.unwrap_or_default();
        if INSTANCES_ONLY.contains(&by) {
            given.remove(by);
        }
        if !given.contains_key("version")
            && let Some(version) = VERSIONS.iter().find_map(|name| given.remove(name))
        {
            given.insert("version", version);
        }
        let mut kept: BTreeMap<String, String> = BTreeMap::new();
        let place = |name: &str| KEPT_FIRST.iter().position(|first| *first == name).unwrap_or(KEPT_FIRST.len());
        let mut ordered: Vec<(&str, &str)> = given.into_iter().filter(|(name, _)| !name.starts_with("__")).collect();
        ordered.sort_by_key(|(name, _)| place(name));
        for (name, value) in ordered {
            let value = printable(value, LABEL_VALUE_BYTES_MAX);
            if kept.len() < RESOURCE_LABELS_MAX && !value.is_empty() {
                kept.entry(fit(name).into_owned()).or_insert(value);
            }
        }
        Ok(Self {
            service,
            instance: InstanceName::parse(&printable(instance, INSTANCE_BYTES_MAX))?.as_str().to_owned(),
            labels: kept.into_iter().map(|(name, value)| v1::Label { name, value }).collect(),
            sender: printable(sender, 64),
        })
    }

    /// The windows of a profile of it.
    ///
    /// # Errors
    /// When the profile has no place in time, or is too large for one.
    pub(in crate::http) fn windows(
        &self,
        payload: v1::WindowPayload,
        said: Said,
        now_ms: u64,
        retention_ms: u64,
    ) -> Result<(impl Iterator<Item = (v1::PushHeader, v1::WindowPayload)> + use<>, Span), ApiError> {
        let span = said.span(now_ms, retention_ms).map_err(|why| no_span(why, retention_ms))?;
        let header = v1::PushHeader {
            service: self.service.to_string(),
            instance: self.instance.clone(),
            labels: self.labels.clone(),
            agent_version: self.sender.clone(),
            ..v1::PushHeader::default()
        };
        let pieces = Pieces::of(payload, span.start_ms, span.duration_ms)?;
        let windows = pieces.map(move |piece| {
            let (window_start_unix_ms, window_duration_ms) = (piece.start_ms, piece.duration_ms);
            (v1::PushHeader { window_start_unix_ms, window_duration_ms, ..header.clone() }, piece.payload)
        });
        Ok((windows, span))
    }
}

/// Profiles of one request that cannot be stored: they cost the others nothing.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Refused(Arc<Mutex<Tally>>);

#[derive(Debug, Default)]
struct Tally {
    of: usize,
    refused: usize,
    first: Option<ApiError>,
}

impl Refused {
    /// Takes note of how one of them was read; of one that is refused nothing is left.
    pub(in crate::http) fn or_windows(&self, read: Result<Windows, ApiError>) -> Windows {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.of += 1;
        read.unwrap_or_else(|error| {
            tally.refused += 1;
            tally.first.get_or_insert(error);
            Windows::new()
        })
    }

    /// How many were refused, and what their sender is to be told.
    pub(in crate::http) fn told(&self) -> Option<(usize, ApiError)> {
        let tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = tally.first.clone()?;
        Some((tally.refused, first.among(tally.refused, tally.of)))
    }
}

/// A service's name with what may not stand in one replaced: other tools allow blanks and more.
fn fit_service(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':') { c } else { '_' };
    let chars = name.trim().chars().map(plain).skip_while(|c| !c.is_ascii_alphanumeric());
    chars.take(SERVICE_BYTES_MAX).collect()
}

fn printable(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].chars().filter(|c| is_printable(*c)).collect()
}

/// Whether all types of a payload say what there was at a moment.
pub(in crate::http) fn is_of_a_moment(payload: &v1::WindowPayload) -> bool {
    payload.series.iter().all(|series| series.r#type.as_ref().is_some_and(|t| t.kind() == v1::Kind::Gauge))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(labels: &[(&str, &str)]) -> Origin {
        Origin::of(labels.iter().copied(), None, "test").unwrap()
    }

    fn labels(origin: &Origin) -> Vec<String> {
        origin.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect()
    }

    #[test]
    fn service_instance_and_version_are_found_under_their_many_names() {
        let pyroscope = origin(&[
            ("service_name", "shop/checkout"),
            ("__session_id__", "abc"),
            ("pyroscope_spy", "gospy"),
            ("Zone", "eu-1"),
            ("service_version", "v2"),
        ]);
        assert_eq!((pyroscope.service.as_str(), pyroscope.instance.as_str()), ("shop/checkout", "abc"));
        assert_eq!(labels(&pyroscope), ["pyroscope_spy=gospy", "version=v2", "zone=eu-1"]);
        let otlp = origin(&[("service.name", "a b"), ("service.instance.id", "i-1"), ("k8s.pod.name", "p")]);
        assert_eq!((otlp.service.as_str(), otlp.instance.as_str()), ("a_b", "i-1"));
        assert_eq!(labels(&otlp), ["k8s.pod.name=p"]);
        assert_eq!(origin(&[("app", "x"), ("pod", "p-1")]).instance, "p-1");
    }

    #[test]
    fn a_profile_of_nobody_is_refused_with_what_to_send() {
        let error = Origin::of([("zone", "x")], None, "test").unwrap_err();
        assert!(error.hint().contains("service_name"), "{error}");
        assert!(Origin::of([("service_name", "…")], None, "test").is_err());
        assert_eq!(Origin::of([("zone", "x")], Some("java"), "test").unwrap().service.as_str(), "java");
    }

    #[test]
    fn of_more_labels_than_fit_those_stay_that_people_filter_by() {
        let many: Vec<String> = (0..40).map(|i| format!("attribute_{i:02}")).collect();
        let given = many.iter().map(|name| (name.as_str(), "x")).chain([("service_name", "s"), ("zone", "z")]);
        let kept = labels(&Origin::of(given, None, "test").unwrap());
        assert_eq!(kept.len(), RESOURCE_LABELS_MAX);
        assert!(kept.contains(&"zone=z".to_owned()), "{kept:?}");
        let strange = origin(&[("service_name", "s"), ("a", "x\u{202e}\n"), ("b", &"é".repeat(400))]);
        assert_eq!(strange.labels[0].value, "x");
        assert!(strange.labels[1].value.len() <= LABEL_VALUE_BYTES_MAX);
    }
}
