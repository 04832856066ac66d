//! The grammar of alert links: `/alert?service=checkout&at=now&w=10m&vs=1d&type=cpu&label.zone=eu-1`.
//!
//! Links live in alert rules, chats and post-mortems, so this grammar is fixed for ever: it may gain parameters, and every
//! link that was ever valid must keep its meaning. Names it does not know are passed over, not refused: a link that was
//! decorated on its way still opens.

use tephra_proto::ids::ServiceName;
use tephra_proto::label::{self, NameError};
use tephra_proto::limits::{LABEL_NAME_BYTES_MAX, RESOURCE_LABELS_MAX};

use crate::base::range::TimeRange;
use crate::base::times::{TimeError, format_duration, parse_duration, parse_time};
use crate::urls::encode;

/// How much is looked at when the link does not say.
pub const WINDOW_MS_DEFAULT: u64 = 600_000;

/// One window of the agents: less cannot be told apart.
const WINDOW_MS_MIN: u64 = 10_000;

/// A week: a link is about an incident, and its baseline is as long again.
const WINDOW_MS_MAX: u64 = 7 * 86_400_000;

/// Labels of a link: all that an agent can send, with two values each.
const LABELS_MAX: usize = 2 * RESOURCE_LABELS_MAX;

/// An alert link, understood.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AlertLink {
    /// The service whose profiles are compared.
    pub service: ServiceName,
    /// End of the window, unix milliseconds.
    pub at_ms: u64,
    /// Its length in milliseconds.
    pub window_ms: u64,
    /// What to compare with; `None`: to be chosen.
    pub vs: Option<Vs>,
    /// Name of the profile type, such as `cpu`.
    pub profile_type: String,
    /// Resource labels that both sides must have, sorted.
    pub labels: Vec<(String, String)>,
}

/// What to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vs {
    /// The time before the last deploy.
    Deploy,
    /// The same time yesterday.
    Day,
    /// The same time a week ago.
    Week,
    /// The window just before.
    Previous,
}

impl Vs {
    /// In the order in which a baseline is chosen.
    pub const ALL: [Self; 4] = [Self::Deploy, Self::Day, Self::Week, Self::Previous];

    /// As links write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Day => "1d",
            Self::Week => "1w",
            Self::Previous => "prev",
        }
    }
}

/// Why a link was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It names no service.
    #[error("the link names no service")]
    NoService,
    /// A name or value is outside the grammar.
    #[error(transparent)]
    Name(#[from] NameError),
    /// `at` or `w` cannot be read.
    #[error("{name}: {error}")]
    Time {
        /// `at` or `w`.
        name: &'static str,
        /// What is wrong with it.
        error: TimeError,
    },
    /// `w` is too short or too long.
    #[error("w is {w}, limits 10s to 1w")]
    Window {
        /// The length, as people write it.
        w: String,
    },
    /// `vs` is none of the words.
    #[error("vs is {0:?}")]
    Vs(String),
    /// `type` is no profile type.
    #[error("type {0:?} is not a profile type")]
    Type(String),
    /// More labels than make sense.
    #[error("the link has {0} labels, limit {LABELS_MAX}")]
    TooManyLabels(usize),
}

impl LinkError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoService => "add service=<name>; in an alert rule: service={{ $labels.service | urlquery }}",
            Self::Name(_) => "check the spelling of the name",
            Self::Time { error, .. } => error.hint(),
            Self::Window { .. } => "write a length such as w=10m",
            Self::Vs(_) => "one of: prev, 1d, 1w, deploy; or leave it out to have one chosen",
            Self::Type(_) => "such as cpu, alloc_space, inuse_space",
            Self::TooManyLabels(_) => "keep the labels that agents send",
        }
    }
}

impl AlertLink {
    /// Reads the decoded parameters of a link. `now_ms` is what `now` means. Of a parameter that is given twice the last
    /// counts; several values of one label mean any of them. Also answers the names it passed over.
    ///
    /// # Errors
    /// When the service is missing, or a value cannot be read.
    pub fn parse(
        pairs: impl IntoIterator<Item = (String, String)>,
        now_ms: u64,
    ) -> Result<(Self, Vec<String>), LinkError> {
        let (mut service, mut at_ms, mut window_ms, mut vs) = (None, now_ms, WINDOW_MS_DEFAULT, None);
        let mut profile_type = "cpu".to_owned();
        let mut labels: Vec<(String, String)> = Vec::new();
        let mut passed_over = Vec::new();
        for (name, value) in pairs {
            // What a template left empty is as if it were not there.
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                "service" => service = Some(ServiceName::parse(&value)?),
                "at" => at_ms = parse_time(&value, now_ms).map_err(|error| LinkError::Time { name: "at", error })?,
                "w" => window_ms = parse_window(&value)?,
                "vs" => vs = parse_vs(&value)?,
                "type" => profile_type = parse_type(value)?,
                _ => match name.strip_prefix("label.") {
                    Some(label_name) => {
                        label::check_name(label_name)?;
                        label::check_value(&value)?;
                        labels.push((label_name.to_owned(), value));
                    }
                    None => passed_over.push(name.chars().take(64).collect()),
                },
            }
        }
        labels.sort();
        labels.dedup();
        if labels.len() > LABELS_MAX {
            return Err(LinkError::TooManyLabels(labels.len()));
        }
        let service = service.ok_or(LinkError::NoService)?;
        Ok((Self { service, at_ms, window_ms, vs, profile_type, labels }, passed_over))
    }

    /// The plainest link about a service at a time.
    pub fn at(service: ServiceName, at_ms: u64) -> Self {
        Self {
            service,
            at_ms,
            window_ms: WINDOW_MS_DEFAULT,
            vs: None,
            profile_type: "cpu".to_owned(),
            labels: Vec::new(),
        }
    }

    /// Start of the window, unix milliseconds.
    pub fn from_ms(&self) -> u64 {
        self.at_ms.saturating_sub(self.window_ms)
    }

    /// What is looked at.
    pub fn window(&self) -> TimeRange {
        TimeRange { from_ms: self.from_ms(), until_ms: self.at_ms }
    }

    /// The link itself, relative to the collector, with its time fixed: the same text for the same question.
    pub fn to_url(&self) -> String {
        self.write("/alert")
    }

    /// The same question for machines.
    pub fn to_json_url(&self) -> String {
        self.write("/alert.json")
    }

    fn write(&self, path: &str) -> String {
        let mut url = format!("{path}?service={}&at={}", encode(self.service.as_str()), self.at_ms);
        url += &format!("&w={}", format_duration(self.window_ms));
        if let Some(vs) = self.vs {
            url += &format!("&vs={}", vs.as_str());
        }
        if self.profile_type != "cpu" {
            url += &format!("&type={}", encode(&self.profile_type));
        }
        for (name, value) in &self.labels {
            url += &format!("&label.{name}={}", encode(value));
        }
        url
    }
}

fn parse_window(value: &str) -> Result<u64, LinkError> {
    let ms = parse_duration(value).map_err(|error| LinkError::Time { name: "w", error })?;
    if (WINDOW_MS_MIN..=WINDOW_MS_MAX).contains(&ms) {
        Ok(ms)
    } else {
        Err(LinkError::Window { w: format_duration(ms) })
    }
}

fn parse_vs(value: &str) -> Result<Option<Vs>, LinkError> {
    if value == "auto" {
        return Ok(None);
    }
    match Vs::ALL.into_iter().find(|vs| vs.as_str() == value) {
        Some(vs) => Ok(Some(vs)),
        None => Err(LinkError::Vs(value.chars().take(64).collect())),
    }
}

fn parse_type(value: String) -> Result<String, LinkError> {
    let fits = value.len() <= LABEL_NAME_BYTES_MAX
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b'/'));
    if fits { Ok(value) } else { Err(LinkError::Type(value.chars().take(64).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_772_373_600_000; // 2026-03-01T14:00:00Z

    fn parse(query: &str) -> Result<(AlertLink, Vec<String>), LinkError> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned())
        });
        AlertLink::parse(pairs, NOW)
    }

    /// Links as they were handed out, and what each must mean for ever. Lines are only ever added here.
    const GOLDEN: [(&str, &str); 13] = [
        ("service=checkout", "/alert?service=checkout&at=1772373600000&w=10m"),
        ("service=checkout&at=now", "/alert?service=checkout&at=1772373600000&w=10m"),
        ("service=checkout&at=now-1h&w=5m", "/alert?service=checkout&at=1772370000000&w=5m"),
        ("service=checkout&at=1772373000&w=90s&vs=prev", "/alert?service=checkout&at=1772373000000&w=90s&vs=prev"),
        ("service=checkout&at=1772373000123&vs=1d", "/alert?service=checkout&at=1772373000123&w=10m&vs=1d"),
        ("service=checkout&at=2026-03-01T13:50:00Z&vs=1w", "/alert?service=checkout&at=1772373000000&w=10m&vs=1w"),
        ("vs=deploy&at=2026-03-01T14:50:00%2B01:00&service=a", "/alert?service=a&at=1772373000000&w=10m&vs=deploy"),
        ("service=a&type=alloc_space&w=1h", "/alert?service=a&at=1772373600000&w=1h&type=alloc_space"),
        (
            "service=shop%2Fcheckout:v2&label.zone=eu%201&label.version=v%26x",
            "/alert?service=shop/checkout:v2&at=1772373600000&w=10m&label.version=v%26x&label.zone=eu%201",
        ),
        ("service=a&at=&w=&vs=&type=&label.zone=", "/alert?service=a&at=1772373600000&w=10m"),
        ("service=a&vs=auto&v=1&utm_source=chat", "/alert?service=a&at=1772373600000&w=10m"),
        (
            "service=a&label.zone=b&label.zone=a&label.zone=a",
            "/alert?service=a&at=1772373600000&w=10m&label.zone=a&label.zone=b",
        ),
        ("service=a&w=600", "/alert?service=a&at=1772373600000&w=10m"),
    ];

    #[test]
    fn old_links_keep_their_meaning() {
        for (query, meaning) in GOLDEN {
            let (link, _) = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
            assert_eq!(link.to_url(), meaning, "{query}");
            let (again, _) = parse(meaning.split_once('?').unwrap().1).unwrap();
            assert_eq!(again, link, "a link that was written by us reads back the same");
        }
    }

    #[test]
    fn unknown_names_are_passed_over_and_told() {
        assert_eq!(parse("service=a&utm_source=chat&v=1").unwrap().1, ["utm_source", "v"]);
    }

    #[test]
    fn a_refusal_names_the_value() {
        let cases = [
            ("", "names no service"),
            ("at=now", "names no service"),
            ("service=%3Cimg%3E", "'<'"),
            ("service=a&at=soon", "at: \"soon\" is not a time"),
            ("service=a&w=ten", "w: \"ten\" is not a duration"),
            ("service=a&w=5s", "w is 5s, limits 10s to 1w"),
            ("service=a&w=8d", "w is 8d, limits 10s to 1w"),
            ("service=a&vs=2d", "vs is \"2d\""),
            ("service=a&type=a%20b", "\"a b\" is not a profile type"),
            ("service=a&label.Zone=x", "'Z'"),
            ("service=a&label.zone=%00", "printable"),
        ];
        for (query, message) in cases {
            let error = parse(query).expect_err(query);
            assert!(error.to_string().contains(message), "{query}: {error}");
            assert!(!error.hint().is_empty());
        }
        let many: String = (0..33).map(|i| format!("&label.l{i}=x")).collect();
        assert_eq!(parse(&format!("service=a{many}")), Err(LinkError::TooManyLabels(33)));
    }
}
