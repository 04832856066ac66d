//! Query parameters, taken one by one and by name: what nobody took is refused, so a misspelt filter can never widen an
//! answer silently.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use tephra_proto::ids::{ServiceName, TraceId};
use tephra_proto::{label, limits};

use super::error::ApiError;
use crate::analysis::Filters;
use crate::base::range::TimeRange;
use crate::base::times;
use crate::profile::diff::Basis;
use crate::profile::fit::fit;
use crate::profile::meaning::Kinds;
use crate::profile::model::Kind;
use crate::query::Selection;

/// 16 KiB of query: twice what browsers and proxies agree on.
const QUERY_BYTES_MAX: usize = 16 << 10;

/// A diff with every label on both sides needs 60.
const PARAMETERS_MAX: usize = 128;

/// What to look at when nobody said: the last hour.
const DEFAULT_RANGE_MS: u64 = 3_600_000;

/// The longest range of one query: longer than any retention that was ever meant.
const RANGE_MS_MAX: u64 = 400 * 86_400_000;

/// The parameters of one request.
#[derive(Debug, Clone, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
    /// Names that were asked for, for the hint.
    known: BTreeSet<String>,
}

impl Params {
    /// Reads a query string.
    ///
    /// # Errors
    /// When it is too long, has too many parameters, or is not UTF-8 once decoded.
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        if query.len() > QUERY_BYTES_MAX {
            let message = format!("the query has {} bytes, limit {QUERY_BYTES_MAX}", query.len());
            return Err(ApiError::invalid(message, "ask for fewer labels"));
        }
        // What is read below puts a mark in place of what is not UTF-8, and so would ask for another name.
        if let Some(part) = query.split(['&', '=']).find(|part| percent_decode_str(part).decode_utf8().is_err()) {
            let message = format!("{:?} is not UTF-8 once decoded", shorten(part));
            return Err(ApiError::invalid(message, "percent-encode the value"));
        }
        let mut decoded = form_urlencoded::parse(query.as_bytes()).into_owned();
        let pairs: Vec<_> = decoded.by_ref().take(PARAMETERS_MAX).collect();
        if decoded.next().is_some() {
            let message = format!("the query has more than {PARAMETERS_MAX} parameters");
            return Err(ApiError::invalid(message, "ask for fewer labels"));
        }
        Ok(Self { pairs, known: BTreeSet::new() })
    }

    /// Takes a parameter; `None` when it is missing or empty.
    ///
    /// # Errors
    /// When it is given twice.
    pub fn take(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        self.known.insert(name.to_owned());
        let mut found = None;
        let mut twice = false;
        self.pairs.retain_mut(|(n, value)| {
            if n != name {
                return true;
            }
            twice |= found.replace(std::mem::take(value)).is_some();
            false
        });
        if twice {
            return Err(ApiError::invalid(format!("{name:?} is given twice"), "keep one of them"));
        }
        Ok(found.filter(|value| !value.is_empty()))
    }

    /// Takes every value of a parameter, in the order they came; empty ones are none.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        self.known.insert(name.to_owned());
        let values = self.pairs.extract_if(.., |(given, _)| given == name).map(|(_, value)| value);
        values.filter(|value| !value.is_empty()).collect()
    }

    /// Takes `basis`: in what two sides are compared.
    ///
    /// # Errors
    /// When it is another word.
    pub fn basis(&mut self) -> Result<Basis, ApiError> {
        const BASES: [(&str, Basis); 4] =
            [("cores", Basis::Cores), ("share", Basis::Share), ("instance", Basis::Instance), ("total", Basis::Total)];
        self.choice("basis", &BASES)
    }

    /// Takes every `filter`: what is kept, dropped, hidden, or turned over, in that order.
    ///
    /// # Errors
    /// When one of them is refused.
    pub fn filters(&mut self) -> Result<Filters, ApiError> {
        Filters::parse(&self.all("filter")).map_err(|error| ApiError::invalid(error.to_string(), error.hint()))
    }

    /// Takes a parameter that must be there.
    ///
    /// # Errors
    /// When it is missing, empty or given twice.
    pub fn require(&mut self, name: &str, example: &str) -> Result<String, ApiError> {
        self.take(name)?
            .ok_or_else(|| ApiError::invalid(format!("parameter {name:?} is missing"), format!("add {name}={example}")))
    }

    /// Says what a parameter is where it is not given.
    pub fn default(&mut self, name: &str, value: &str) {
        if !self.pairs.iter().any(|(given, _)| given == name) {
            self.pairs.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Takes a number between two limits.
    ///
    /// # Errors
    /// When it is not a number or outside.
    pub fn number<T>(&mut self, name: &str, min: T, max: T) -> Result<Option<T>, ApiError>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.take(name)? else { return Ok(None) };
        match text.parse::<T>() {
            Ok(number) if number >= min && number <= max => Ok(Some(number)),
            _ => Err(ApiError::invalid(
                format!("{name} is {:?}, limits {min} to {max}", shorten(&text)),
                format!("write a number from {min} to {max}"),
            )),
        }
    }

    /// Takes one of a closed set of words, or the first of them when it is missing.
    ///
    /// # Errors
    /// When it is another word.
    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<T, ApiError> {
        let given = self.take(name)?;
        let found = match &given {
            None => choices.first(),
            Some(word) => choices.iter().find(|(choice, _)| choice == word),
        };
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            let given = given.unwrap_or_default();
            ApiError::invalid(
                format!("{name} {:?} is not known", shorten(&given)),
                format!("one of: {}", words.join(", ")),
            )
        })
    }

    /// Takes a time.
    ///
    /// # Errors
    /// When it is not one.
    pub fn time(&mut self, name: &str, now_ms: u64) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        match times::parse_time(&text, now_ms) {
            Ok(ms) => Ok(Some(ms)),
            Err(error) => Err(ApiError::invalid(format!("{name}: {error}"), error.hint())),
        }
    }

    /// Takes a duration, in milliseconds.
    ///
    /// # Errors
    /// When it is not one.
    pub fn duration(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        match times::parse_duration(&text) {
            Ok(ms) => Ok(Some(ms)),
            Err(error) => Err(ApiError::invalid(format!("{name}: {error}"), error.hint())),
        }
    }

    /// Takes `from` and `until`.
    ///
    /// # Errors
    /// When they are no times, the wrong way round, or too far apart.
    pub fn range(&mut self, now_ms: u64) -> Result<TimeRange, ApiError> {
        let (from, until) = (self.time("from", now_ms)?, self.time("until", now_ms)?);
        complete_range("", from, until, now_ms)
    }

    /// Takes `seconds`, in place of one of `from` and `until`, or of both: so long before the end, or after the start.
    ///
    /// # Errors
    /// When it is no such number, or both others are given.
    pub fn seconds(&mut self, now_ms: u64) -> Result<(), ApiError> {
        let Some(seconds) = self.number("seconds", 1, RANGE_MS_MAX / 1_000)? else { return Ok(()) };
        let (from, until) = (self.time("from", now_ms)?, self.time("until", now_ms)?);
        let (from_ms, until_ms) = match (from, until) {
            (Some(_), Some(_)) => {
                let message = "from, until and seconds are given";
                return Err(ApiError::invalid(message, "leave one of them out"));
            }
            (Some(from_ms), None) => (from_ms, from_ms.saturating_add(seconds * 1_000)),
            (None, until) => {
                let until_ms = until.unwrap_or(now_ms);
                (until_ms.saturating_sub(seconds * 1_000), until_ms)
            }
        };
        self.default("from", &from_ms.to_string());
        self.default("until", &until_ms.to_string());
        Ok(())
    }

    /// Leaves out what `keep` does not want: what somebody else's address says besides.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.pairs.retain(|(name, _)| keep(name));
    }

    /// Takes `timeout`: how long the answer may take, at most `max`, which is the default.
    ///
    /// # Errors
    /// When it is not a duration, or longer than the collector allows.
    pub fn timeout(&mut self, max: Duration) -> Result<Duration, ApiError> {
        let Some(text) = self.take("timeout")? else { return Ok(max) };
        let ms = times::parse_duration(&text)
            .map_err(|error| ApiError::invalid(format!("timeout: {error}"), "write a duration, such as 5s or 500ms"))?;
        let asked = Duration::from_millis(ms);
        if asked > max {
            let message = format!("timeout is {:?}, limit {} s", shorten(&text), max.as_secs_f64());
            return Err(ApiError::invalid(message, "`tephra serve --query-timeout` sets the limit"));
        }
        Ok(asked)
    }

    /// Takes the service.
    ///
    /// # Errors
    /// When it is missing or not a name.
    pub fn service(&mut self) -> Result<ServiceName, ApiError> {
        let service = self.require("service", "checkout")?;
        Ok(ServiceName::parse(&service)?)
    }

    /// Takes every `label.<name>=<value>`. A name that is given several times means any of its values.
    ///
    /// # Errors
    /// When a name or value is outside the grammar.
    pub fn labels(&mut self) -> Result<Vec<(String, String)>, ApiError> {
        self.prefixed_labels("")
    }

    /// Takes every `kind.<type>=counter|gauge`: how types add up, where whoever sends them knows it better than their names say.
    ///
    /// # Errors
    /// When it is another word, or a type is given twice.
    pub fn kinds(&mut self) -> Result<Kinds, ApiError> {
        const PREFIX: &str = "kind.";
        self.known.insert(format!("{PREFIX}<type>"));
        let names: Vec<String> =
            self.pairs.iter().map(|(name, _)| name).filter(|name| name.starts_with(PREFIX)).cloned().collect();
        let mut kinds = Kinds::new();
        for name in names {
            if let Some(profile_type) = name.strip_prefix(PREFIX)
                && !kinds.contains_key(profile_type)
            {
                let kind = self.choice(&name, &[("gauge", Kind::Gauge), ("counter", Kind::Counter)])?;
                kinds.insert(profile_type.to_owned(), kind);
            }
        }
        Ok(kinds)
    }

    /// Takes a whole selection.
    ///
    /// # Errors
    /// When any part of it is refused.
    pub fn selection(&mut self, now_ms: u64) -> Result<Selection, ApiError> {
        let service = self.service()?;
        let profile_type = self.profile_type("type")?.unwrap_or_else(|| "cpu".to_owned());
        let trace = self.trace("trace")?;
        let TimeRange { from_ms, until_ms } = self.range(now_ms)?;
        Ok(Selection { service, profile_type, from_ms, until_ms, labels: self.labels()?, trace })
    }

    /// Takes the two sides of a diff: `a.` and `b.` prefix any part of a selection, parts without prefix are for both.
    ///
    /// # Errors
    /// When any part of either is refused.
    pub fn two_selections(&mut self, now_ms: u64) -> Result<(Selection, Selection), ApiError> {
        let service = self.take("service")?;
        let profile_type = self.profile_type("type")?;
        let (from, until) = (self.time("from", now_ms)?, self.time("until", now_ms)?);
        let labels = self.labels()?;
        let trace = self.trace("trace")?;
        let mut side = |prefix: &str| -> Result<Selection, ApiError> {
            let named = |name: &str| format!("{prefix}{name}");
            let Some(service) = self.take(&named("service"))?.or_else(|| service.clone()) else {
                return Err(ApiError::invalid(
                    format!("side {prefix} has no service"),
                    format!("add service=checkout, or {prefix}service=checkout"),
                ));
            };
            let profile_type = self.profile_type(&named("type"))?.or_else(|| profile_type.clone());
            let own_until = self.time(&named("until"), now_ms)?;
            let own_from = self.time(&named("from"), now_ms)?;
            let own = self.prefixed_labels(prefix)?;
            let of_both = labels.iter().filter(|(name, _)| !own.iter().any(|(other, _)| other == name));
            let labels = own.iter().chain(of_both).cloned().collect();
            let range = complete_range(prefix, own_from.or(from), own_until.or(until), now_ms)?;
            Ok(Selection {
                service: ServiceName::parse(&service)?,
                profile_type: profile_type.unwrap_or_else(|| "cpu".to_owned()),
                from_ms: range.from_ms,
                until_ms: range.until_ms,
                labels,
                trace: self.trace(&named("trace"))?.or(trace),
            })
        };
        let (a, b) = (side("a.")?, side("b.")?);
        if a.profile_type != b.profile_type {
            let message = format!("side a is {:?}, side b is {:?}", a.profile_type, b.profile_type);
            return Err(ApiError::invalid(message, "compare the same type on both sides"));
        }
        Ok((a, b))
    }

    /// Takes a profile type's name, as another tool may write it: `wall-time` is `wall_time` here.
    ///
    /// # Errors
    /// When it is too long or has other characters than a type may have.
    pub fn profile_type(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let Some(value) = self.take(name)? else { return Ok(None) };
        let fits = value.len() <= limits::LABEL_NAME_BYTES_MAX
            && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b'/'));
        if !fits {
            let message = format!("{name} {:?} is not a profile type", shorten(&value));
            return Err(ApiError::invalid(
                message,
                "such as cpu, alloc_space, inuse_space; /api/v1/profile-types lists them",
            ));
        }
        Ok(Some(fit(&value).into_owned()))
    }

    /// Ends the reading: whatever was not taken is refused by name.
    ///
    /// # Errors
    /// When a parameter is left that nobody knows.
    pub fn finish(self) -> Result<(), ApiError> {
        let Some((name, _)) = self.pairs.first() else { return Ok(()) };
        let known: Vec<_> = self.known.into_iter().collect();
        let hint = if known.is_empty() {
            "this path takes no parameters".to_owned()
        } else {
            format!("known here: {}", known.join(", "))
        };
        Err(ApiError::invalid(format!("parameter {:?} is not known", shorten(name)), hint))
    }

    /// Everything, decoded, for a grammar of its own.
    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.pairs
    }

    fn trace(&mut self, name: &str) -> Result<Option<TraceId>, ApiError> {
        self.take(name)?.map(|hex| TraceId::parse(&hex).map_err(ApiError::from)).transpose()
    }

    fn prefixed_labels(&mut self, prefix: &str) -> Result<Vec<(String, String)>, ApiError> {
        let prefix = format!("{prefix}label.");
        self.known.insert(format!("{prefix}<name>"));
        let (mine, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pairs).into_iter().partition(|(name, _)| name.starts_with(&prefix));
        self.pairs = rest;
        let mut labels: Vec<(String, String)> = Vec::with_capacity(mine.len());
        for (name, value) in mine {
            let name = name.strip_prefix(&prefix).unwrap_or_default().to_owned();
            label::check_name(&name)?;
            label::check_value(&value)?;
            let label = (name, value);
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        Ok(labels)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

fn complete_range(side: &str, from: Option<u64>, until: Option<u64>, now_ms: u64) -> Result<TimeRange, ApiError> {
    let until_ms = until.unwrap_or(now_ms);
    let from_ms = from.unwrap_or_else(|| until_ms.saturating_sub(DEFAULT_RANGE_MS));
    if from_ms >= until_ms {
        let message = format!("{side}from ({from_ms}) is not before {side}until ({until_ms})");
        return Err(ApiError::invalid(message, "both are unix milliseconds here; swap them"));
    }
    if until_ms - from_ms > RANGE_MS_MAX {
        let days = (until_ms - from_ms) / 86_400_000;
        return Err(ApiError::invalid(format!("the range has {days} days, limit 400"), "ask for a shorter range"));
    }
    Ok(TimeRange { from_ms, until_ms })
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_772_373_600_000;

    fn selection(query: &str) -> Result<Selection, ApiError> {
        let mut params = Params::parse(query)?;
        let selection = params.selection(NOW)?;
        params.finish()?;
        Ok(selection)
    }

    #[test]
    fn a_selection_has_defaults() {
        let wanted = selection("service=checkout").unwrap();
        assert_eq!(wanted.profile_type, "cpu");
        assert_eq!(wanted.range(), TimeRange { from_ms: NOW - 3_600_000, until_ms: NOW });
        assert_eq!((wanted.labels, wanted.trace), (vec![], None));
    }

    #[test]
    fn a_missing_from_is_an_hour_before_until() {
        let wanted = selection("service=checkout&until=now-1d").unwrap();
        assert_eq!(wanted.range(), TimeRange { from_ms: NOW - 86_400_000 - 3_600_000, until_ms: NOW - 86_400_000 });
    }

    #[test]
    fn labels_are_decoded() {
        let wanted =
            selection("service=a%2Fb&label.zone=eu+1&label.version=v1%2B2&trace=4bf92f3577b34da6a3ce929d0e0e4736");
        let wanted = wanted.unwrap();
        assert_eq!(wanted.service.as_str(), "a/b");
        assert_eq!(wanted.labels, [("zone".to_owned(), "eu 1".to_owned()), ("version".to_owned(), "v1+2".to_owned())]);
        assert!(wanted.trace.is_some());
    }

    #[test]
    fn several_values_of_a_label_mean_any_of_them() {
        let wanted = selection("service=a&label.zone=x&label.zone=y&label.zone=x").unwrap();
        assert_eq!(wanted.labels, [("zone".into(), "x".into()), ("zone".into(), "y".into())]);
    }

    #[test]
    fn a_refusal_names_the_value_and_says_what_to_do() {
        let cases = [
            ("", "\"service\" is missing", "service=checkout"),
            ("service=", "\"service\" is missing", "service=checkout"),
            ("service=a%20b", "' '", "spelling"),
            ("service=%3Cimg%3E", "'<'", "spelling"),
            ("service=%FF", "UTF-8", "percent-encode"),
            ("service=a&service=b", "\"service\" is given twice", "keep one"),
            ("service=a&sevrice=b", "\"sevrice\" is not known", "from, label.<name>, service, trace, type, until"),
            ("service=a&from=yesterday", "from: \"yesterday\"", "RFC 3339"),
            ("service=a&from=now&until=now-1h", "is not before", "swap"),
            ("service=a&from=0", "days, limit 400", "shorter"),
            ("service=a&type=../x%20y", "is not a profile type", "alloc_space"),
            ("service=a&label.Zone=x", "'Z'", "spelling"),
            ("service=a&label.zone=x%0Ay", "printable", "spelling"),
            ("service=a&label.=x", "label name is empty", "spelling"),
            ("service=a&trace=123", "32 hexadecimal digits", "spelling"),
        ];
        for (query, message, hint) in cases {
            let error = selection(query).expect_err(query);
            assert!(error.to_string().contains(message), "{query}: {error}");
            assert!(error.hint().contains(hint), "{query}: {}", error.hint());
        }
    }

    #[test]
    fn floods_are_refused_before_they_are_read() {
        assert!(Params::parse(&"a=b&".repeat(129)).is_err());
        assert!(Params::parse(&"x".repeat(QUERY_BYTES_MAX + 1)).is_err());
        assert!(Params::parse(&"&".repeat(1000)).is_ok());
    }

    #[test]
    fn sides_of_a_diff_take_what_they_do_not_say_from_both() {
        let query = "service=checkout&type=alloc_space&label.zone=eu&label.version=v0&from=now-2h&until=now-1h\
                     &a.label.version=v1&b.label.version=v2&b.from=now-1h&b.until=now";
        let mut params = Params::parse(query).unwrap();
        let (a, b) = params.two_selections(NOW).unwrap();
        params.finish().unwrap();
        assert_eq!((a.service.as_str(), b.service.as_str()), ("checkout", "checkout"));
        assert_eq!(a.labels, [("version".into(), "v1".into()), ("zone".into(), "eu".into())]);
        assert_eq!(b.labels, [("version".into(), "v2".into()), ("zone".into(), "eu".into())]);
        assert_eq!(a.range(), TimeRange { from_ms: NOW - 7_200_000, until_ms: NOW - 3_600_000 });
        assert_eq!(b.range(), TimeRange { from_ms: NOW - 3_600_000, until_ms: NOW });
    }

    #[test]
    fn sides_of_different_types_cannot_be_compared() {
        let mut params = Params::parse("service=a&a.type=cpu&b.type=alloc_space").unwrap();
        let error = params.two_selections(NOW).unwrap_err();
        assert!(error.to_string().contains("alloc_space"), "{error}");
        let mut params = Params::parse("a.service=a").unwrap();
        assert!(params.two_selections(NOW).unwrap_err().to_string().contains("side b."));
    }

    #[test]
    fn a_timeout_is_a_duration_below_the_limit() {
        let max = Duration::from_secs(30);
        let timeout = |query: &str| Params::parse(query).unwrap().timeout(max);
        assert_eq!(timeout("").unwrap(), max);
        assert_eq!(timeout("timeout=500ms").unwrap(), Duration::from_millis(500));
        let error = timeout("timeout=1h").unwrap_err();
        assert!(
            error.to_string().contains("\"1h\", limit 30 s") && error.hint().contains("--query-timeout"),
            "{error}"
        );
        assert!(timeout("timeout=soon").unwrap_err().hint().contains("5s"));
        assert!(timeout("timeout=0s").is_err());
    }

    #[test]
    fn numbers_and_words_are_closed_sets() {
        let mut params = Params::parse("n=5&m=50&w=b&x=zzz&f=NaN").unwrap();
        assert_eq!(params.number("n", 1, 10).unwrap(), Some(5));
        assert!(params.number("m", 1, 10).unwrap_err().to_string().contains("limits 1 to 10"));
        assert_eq!(params.choice("w", &[("a", 1), ("b", 2)]).unwrap(), 2);
        assert_eq!(params.choice("none", &[("a", 1), ("b", 2)]).unwrap(), 1);
        assert_eq!(params.choice("x", &[("a", 1), ("b", 2)]).unwrap_err().hint(), "one of: a, b");
        assert!(params.number("f", 0.0, 1.0).is_err());
    }
}
