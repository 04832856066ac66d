//! What alerting systems post: Alertmanager's webhook (version 4) and Grafana's, which is the same with more fields.
//!
//! Only what is needed is read, everything else is passed over, so a newer sender keeps working. Nothing here is trusted:
//! names and values that do not fit the grammar are left out, and links are kept only if they are `http(s)`.

use std::collections::BTreeMap;

use serde::Deserialize;
use tephra_proto::ids::ServiceName;
use tephra_proto::label;

use crate::base::times::parse_time;
use crate::urls::is_web_link;

/// Alertmanager groups by default send at most a few hundred; more is a storm, and the first ones tell it.
pub const ALERTS_MAX: usize = 256;

/// Labels under which alerting rules name a service, best first.
const SERVICE_LABELS: [&str; 4] = ["service", "service_name", "service.name", "job"];

/// Characters of a title.
const TITLE_CHARS_MAX: usize = 200;

/// A webhook's body, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct Payload {
    alerts: Vec<Wire>,
    #[serde(default, rename = "commonAnnotations")]
    common_annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Wire {
    #[serde(default)]
    status: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default, rename = "startsAt")]
    starts_at: String,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
}

/// One alert that is about a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The service its labels name.
    pub service: ServiceName,
    /// When it started, unix milliseconds.
    pub at_ms: u64,
    /// One line for people.
    pub title: String,
    /// Its labels that fit the grammar.
    pub labels: BTreeMap<String, String>,
    /// Where the alerting system shows it.
    pub link: String,
    /// False once it is resolved.
    pub firing: bool,
}

/// Why an alert of a payload was left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// Nobody knows which service it is about.
    #[error("alert {alert:?} has none of the labels service, service_name, job")]
    NoService {
        /// Its label `alertname`.
        alert: String,
    },
    /// There are more alerts than are read.
    #[error("the payload has {alerts} alerts, limit {ALERTS_MAX}: the rest is left out")]
    TooMany {
        /// How many there were.
        alerts: usize,
    },
}

impl Payload {
    /// The alerts in it. `now_ms` stands in for a start that cannot be read.
    pub fn alerts(self, now_ms: u64) -> (Vec<Alert>, Vec<Skipped>) {
        let (mut alerts, mut skipped) = (Vec::new(), Vec::new());
        if self.alerts.len() > ALERTS_MAX {
            skipped.push(Skipped::TooMany { alerts: self.alerts.len() });
        }
        for wire in self.alerts.into_iter().take(ALERTS_MAX) {
            match wire.read(&self.common_annotations, now_ms) {
                Ok(alert) => alerts.push(alert),
                Err(why) => skipped.push(why),
            }
        }
        (alerts, skipped)
    }
}

impl Wire {
    fn read(self, common: &BTreeMap<String, String>, now_ms: u64) -> Result<Alert, Skipped> {
        let name = printable(self.labels.get("alertname").map_or("alert", String::as_str));
        let service = SERVICE_LABELS.iter().find_map(|label| ServiceName::parse(self.labels.get(*label)?).ok());
        let Some(service) = service else { return Err(Skipped::NoService { alert: name }) };
        let summary = ["summary", "title", "message", "description"]
            .iter()
            .find_map(|key| self.annotations.get(*key).or_else(|| common.get(*key)))
            .map(|text| printable(text))
            .filter(|text| !text.trim().is_empty());
        let title = match summary {
            Some(summary) => format!("{name}: {summary}").chars().take(TITLE_CHARS_MAX).collect(),
            None => name,
        };
        // An alert that starts in the future has a wrong clock; Grafana writes year 1 for "never".
        let at_ms = parse_time(&self.starts_at, now_ms).ok().filter(|ms| *ms > 0 && *ms <= now_ms).unwrap_or(now_ms);
        let labels: BTreeMap<_, _> = self
            .labels
            .into_iter()
            .filter(|(name, value)| label::check_name(name).is_ok() && label::check_value(value).is_ok())
            .collect();
        let link = if is_web_link(&self.generator_url) { self.generator_url } else { String::new() };
        Ok(Alert { service, at_ms, title, labels, link, firing: self.status != "resolved" })
    }
}

fn printable(text: &str) -> String {
    let one_line = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    one_line.filter(|c| label::is_printable(*c)).take(TITLE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_772_373_600_000; // 2026-03-01T14:00:00Z

    const ALERTMANAGER: &str = r#"{
      "version": "4", "groupKey": "{}:{alertname=\"HighCPU\"}", "truncatedAlerts": 0, "status": "firing",
      "receiver": "tephra", "groupLabels": {"alertname": "HighCPU"},
      "commonLabels": {"alertname": "HighCPU", "severity": "page"},
      "commonAnnotations": {"summary": "CPU of checkout is high"}, "externalURL": "http://alertmanager:9093",
      "alerts": [
        {"status": "firing",
         "labels": {"alertname": "HighCPU", "service": "checkout", "zone": "eu-1", "instance": "10.0.0.1:9100", "severity": "page", "K8s": "x"},
         "annotations": {"summary": "CPU of checkout is high", "runbook_url": "https://wiki/x"},
         "startsAt": "2026-03-01T13:58:00.123Z", "endsAt": "0001-01-01T00:00:00Z",
         "generatorURL": "http://prometheus:9090/graph?g0.expr=up", "fingerprint": "c9a3f1d2b4e5a678"},
        {"status": "resolved",
         "labels": {"alertname": "HighCPU", "job": "cart"}, "annotations": {},
         "startsAt": "2026-03-01T12:00:00Z", "endsAt": "2026-03-01T13:59:00Z",
         "generatorURL": "javascript:alert(1)", "fingerprint": "0000000000000001"},
        {"status": "firing", "labels": {"alertname": "Watchdog"}, "annotations": {},
         "startsAt": "2026-03-01T12:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "2"}
      ]}"#;

    const GRAFANA: &str = r#"{
      "receiver": "tephra", "status": "firing", "orgId": 1, "version": "1", "truncatedAlerts": 0, "state": "alerting",
      "title": "[FIRING:1] p99 latency (shop checkout)", "message": "**Firing**\n", "groupKey": "{}/{}",
      "groupLabels": {}, "commonLabels": {"service_name": "checkout"}, "commonAnnotations": {"summary": "p99 above\n1 s"},
      "externalURL": "http://grafana:3000/",
      "alerts": [{"status": "firing", "labels": {"alertname": "p99 latency", "grafana_folder": "shop", "service_name": "checkout"},
        "annotations": {}, "startsAt": "2026-03-01T14:58:00+01:00", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://grafana:3000/alerting/grafana/x/view?orgId=1", "fingerprint": "57c6d9296de2ad39",
        "silenceURL": "http://grafana:3000/alerting/silence/new", "dashboardURL": "", "panelURL": "",
        "values": {"B": 1.31, "C": 1}, "valueString": "[ var='B' value=1.31 ]"}]}"#;

    fn read(json: &str) -> (Vec<Alert>, Vec<Skipped>) {
        serde_json::from_str::<Payload>(json).unwrap().alerts(NOW)
    }

    #[test]
    fn alertmanager_payloads_are_understood() {
        let (alerts, skipped) = read(ALERTMANAGER);
        let [high, cart] = alerts.as_slice() else { panic!("{alerts:?}") };
        assert_eq!((high.service.as_str(), high.firing), ("checkout", true));
        assert_eq!(high.title, "HighCPU: CPU of checkout is high");
        assert_eq!(high.at_ms, NOW - 120_000 + 123);
        assert_eq!(high.labels.get("zone").map(String::as_str), Some("eu-1"));
        assert!(!high.labels.contains_key("K8s"), "a name outside the grammar is left out");
        assert_eq!(high.link, "http://prometheus:9090/graph?g0.expr=up");
        assert_eq!((cart.service.as_str(), cart.firing, cart.link.as_str()), ("cart", false, ""));
        assert_eq!(skipped, [Skipped::NoService { alert: "Watchdog".to_owned() }]);
    }

    #[test]
    fn grafana_payloads_are_understood() {
        let (alerts, skipped) = read(GRAFANA);
        let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
        assert_eq!(alert.service.as_str(), "checkout");
        assert_eq!(alert.title, "p99 latency: p99 above 1 s");
        assert_eq!(alert.at_ms, NOW - 120_000);
        assert!(skipped.is_empty());
    }

    #[test]
    fn hostile_payloads_are_bounded() {
        let one = r#"{"labels":{"service":"a","alertname":"<script>\u202e\u0007"},"annotations":{"summary":"LONG"},"startsAt":"x"}"#;
        let one = one.replace("LONG", &"é".repeat(5_000));
        let many = format!(r#"{{"alerts":[{}]}}"#, vec![one; 300].join(","));
        let (alerts, skipped) = read(&many);
        assert_eq!((alerts.len(), skipped.len()), (ALERTS_MAX, 1));
        let alert = &alerts[0];
        assert_eq!(alert.title.chars().count(), TITLE_CHARS_MAX);
        assert!(alert.title.chars().all(label::is_printable));
        assert_eq!(alert.at_ms, NOW);
    }
}
