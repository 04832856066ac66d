//! Pages of the view whose times stand still: what a pin points to, and which data it needs.

use percent_encoding::percent_decode_str;
use tephra_proto::ids::{ServiceName, TraceId};
use tephra_proto::label::NameError;

use crate::alerts::link::{AlertLink, LinkError};
use crate::base::range::TimeRange;
use crate::base::times::{TimeError, parse_time};
use crate::store::catalog::PinRange;
use crate::urls::encode;

/// As long as browsers and proxies take.
const URL_BYTES_MAX: usize = 8 << 10;

/// What a page shows when its URL does not say.
const RANGE_MS_DEFAULT: u64 = 3_600_000;

/// A page that shows the same for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// Path and query with fixed times.
    pub url: String,
    /// What of the store must stay for it; empty for a trace.
    pub ranges: Vec<PinRange>,
    /// The trace it shows: its data has to be looked up.
    pub trace: Option<TraceId>,
}

/// Why a page cannot be pinned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrozenError {
    /// Not one of our pages.
    #[error("{0:?} is not a page of this view")]
    NotAPage(String),
    /// More bytes than a URL may have.
    #[error("the url has {0} bytes, limit {URL_BYTES_MAX}")]
    TooLong(usize),
    /// The service or trace it names is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// One of its times cannot be read.
    #[error("{name}: {error}")]
    Time {
        /// The parameter that holds it, such as `a.from`.
        name: String,
        /// What is wrong with it.
        error: TimeError,
    },
    /// An alert link in it.
    #[error(transparent)]
    Alert(#[from] LinkError),
    /// Ends before it starts.
    #[error("{0}from is not before {0}until")]
    EmptyRange(String),
}

impl FrozenError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotAPage(_) => "send path and query of a page: /s/…, /diff?…, /trace/… or /alert?…",
            Self::TooLong(_) => "remove what the view does not need",
            Self::Name(_) => "check the spelling of the name",
            Self::Time { error, .. } => error.hint(),
            Self::Alert(error) => error.hint(),
            Self::EmptyRange(_) => "swap them",
        }
    }
}

/// Fixes the times of a page and finds out what data it needs. `now_ms` is what `now` means.
///
/// # Errors
/// When it is not a page of this view, or a part of it cannot be read.
pub fn freeze(url: &str, now_ms: u64) -> Result<Frozen, FrozenError> {
    if url.len() > URL_BYTES_MAX {
        return Err(FrozenError::TooLong(url.len()));
    }
    let not_a_page = || FrozenError::NotAPage(url.chars().take(64).collect());
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    // The path goes into links as it is, so it may hold only what needs no thought.
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.~:%".contains(&b));
    if !plain || path.contains("//") || query.contains('#') {
        return Err(not_a_page());
    }
    let mut params = Params::read(query);
    let (mut ranges, mut trace) = (Vec::new(), None);
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        ["s", _, ..] => {
            let name = percent_decode_str(path.strip_prefix("/s/").unwrap_or_default()).decode_utf8_lossy();
            let shown = params.fix_range("", now_ms)?;
            ranges.push(needed(&ServiceName::parse(&name)?, shown));
        }
        ["diff"] => {
            let both = params.fix_range_if_given(now_ms)?;
            for side in ["a.", "b."] {
                let name = params.get(&format!("{side}service")).or_else(|| params.get("service")).unwrap_or_default();
                let service = ServiceName::parse(&name)?;
                let shown = match both {
                    Some(both) if !params.has(side) => both,
                    _ => params.fix_range(side, now_ms)?,
                };
                ranges.push(needed(&service, shown));
            }
        }
        ["trace", id] => trace = Some(TraceId::parse(id)?),
        ["alert"] => {
            let (link, _) = AlertLink::parse(params.pairs.iter().cloned(), now_ms)?;
            let service = &link.service;
            // Any of the baselines may be shown.
            let before = |from_ms: u64, until_ms: u64| needed(service, TimeRange { from_ms, until_ms });
            ranges.push(before(link.from_ms().saturating_sub(link.window_ms), link.at_ms));
            for back in [86_400_000, 7 * 86_400_000] {
                ranges.push(before(link.from_ms().saturating_sub(back), link.at_ms.saturating_sub(back)));
            }
            return Ok(Frozen { url: link.to_url(), ranges, trace });
        }
        _ => return Err(not_a_page()),
    }
    // What part of the timeline is shown around it.
    for name in ["tl.from", "tl.until"] {
        if let Some(ms) = params.time(name.to_owned(), now_ms)? {
            params.set(name, ms);
        }
    }
    Ok(Frozen { url: params.write(path), ranges, trace })
}

fn needed(service: &ServiceName, TimeRange { from_ms, until_ms }: TimeRange) -> PinRange {
    PinRange { service: service.as_str().to_owned(), from_ms, until_ms }
}

struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    fn read(query: &str) -> Self {
        Self { pairs: form_urlencoded::parse(query.as_bytes()).into_owned().collect() }
    }

    fn get(&self, name: &str) -> Option<String> {
        self.pairs.iter().find(|(n, value)| n == name && !value.is_empty()).map(|(_, value)| value.clone())
    }

    fn has(&self, side: &str) -> bool {
        self.get(&format!("{side}from")).is_some() || self.get(&format!("{side}until")).is_some()
    }

    fn set(&mut self, name: &str, ms: u64) {
        self.pairs.retain(|(n, _)| n != name);
        self.pairs.push((name.to_owned(), ms.to_string()));
    }

    fn time(&self, name: String, now_ms: u64) -> Result<Option<u64>, FrozenError> {
        let Some(text) = self.get(&name) else { return Ok(None) };
        parse_time(&text, now_ms).map(Some).map_err(|error| FrozenError::Time { name, error })
    }

    /// Fixes `<side>from` and `<side>until`, with the API's defaults where they are missing.
    fn fix_range(&mut self, side: &str, now_ms: u64) -> Result<TimeRange, FrozenError> {
        let until_ms = self.time(format!("{side}until"), now_ms)?.unwrap_or(now_ms);
        let from_ms = self.time(format!("{side}from"), now_ms)?.unwrap_or(until_ms.saturating_sub(RANGE_MS_DEFAULT));
        if from_ms >= until_ms {
            return Err(FrozenError::EmptyRange(side.to_owned()));
        }
        self.set(&format!("{side}from"), from_ms);
        self.set(&format!("{side}until"), until_ms);
        Ok(TimeRange { from_ms, until_ms })
    }

    fn fix_range_if_given(&mut self, now_ms: u64) -> Result<Option<TimeRange>, FrozenError> {
        if self.has("") { self.fix_range("", now_ms).map(Some) } else { Ok(None) }
    }

    fn write(&self, path: &str) -> String {
        let query: Vec<String> =
            self.pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_772_373_600_000;
    const HOUR: u64 = 3_600_000;

    fn ranges(url: &str) -> Vec<(String, u64, u64)> {
        freeze(url, NOW).unwrap().ranges.into_iter().map(|r| (r.service, r.from_ms, r.until_ms)).collect()
    }

    #[test]
    fn relative_times_stand_still() {
        let frozen = freeze("/s/checkout?v=1&type=cpu&from=now-2h&label.zone=eu+1", NOW).unwrap();
        let (from, until) = (NOW - 2 * HOUR, NOW);
        assert_eq!(frozen.url, format!("/s/checkout?v=1&type=cpu&label.zone=eu%201&from={from}&until={until}"));
        assert_eq!(freeze(&frozen.url, NOW + 86_400_000).unwrap().url, frozen.url, "once fixed, it stays");
        assert_eq!(ranges("/s/shop%2Fcheckout"), [("shop/checkout".to_owned(), NOW - HOUR, NOW)]);
        assert_eq!(ranges("/s/shop/checkout"), [("shop/checkout".to_owned(), NOW - HOUR, NOW)]);
    }

    #[test]
    fn both_sides_of_a_diff_are_kept() {
        let url = "/diff?service=checkout&a.from=now-4h&a.until=now-3h&b.service=cart";
        assert_eq!(
            ranges(url),
            [("checkout".to_owned(), NOW - 4 * HOUR, NOW - 3 * HOUR), ("cart".to_owned(), NOW - HOUR, NOW)]
        );
        let same_time = ranges("/diff?service=a&from=now-10m&a.label.version=v1&b.label.version=v2");
        assert_eq!(same_time, vec![("a".to_owned(), NOW - 600_000, NOW); 2]);
    }

    #[test]
    fn an_alert_keeps_every_baseline_it_may_show() {
        let frozen = freeze("/alert?service=checkout&w=10m", NOW).unwrap();
        assert_eq!(frozen.url, format!("/alert?service=checkout&at={NOW}&w=10m"));
        assert_eq!(frozen.ranges.len(), 3);
        assert_eq!((frozen.ranges[0].from_ms, frozen.ranges[0].until_ms), (NOW - 1_200_000, NOW));
    }

    #[test]
    fn a_trace_is_looked_up() {
        assert!(freeze("/trace/4bf92f3577b34da6a3ce929d0e0e4736", NOW).unwrap().trace.is_some());
    }

    #[test]
    fn only_pages_of_this_view_can_be_pinned() {
        let bad = [
            "",
            "https://evil.com",
            "//evil.com/s/a",
            "/s//evil.com",
            "javascript:alert(1)",
            "/api/v1/services",
            "/p/abc",
            "/s/",
            "/s",
            "/s/<img>",
            "/diff",
            "/diff?service=a%00",
            "/trace/xyz",
            "/alert",
            "/s/a?from=soon",
            "/s/a?from=now&until=now-1h",
            "/s/a#x",
            "/s/a?x#y",
            "/\\evil.com",
            "/s/a\r\nset-cookie: x",
            "s/a",
        ];
        for url in bad {
            assert!(freeze(url, NOW).is_err(), "{url:?} gave {:?}", freeze(url, NOW));
        }
        assert!(freeze(&format!("/s/a?x={}", "y".repeat(9_000)), NOW).is_err());
    }
}
