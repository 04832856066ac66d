//! What a page is about, told by its address alone: its title and description, for chats, tabs and search results. No store is asked.

use super::params::Params;
use crate::analysis::quantity;
use crate::base::times::{format_duration, format_utc, parse_duration, parse_time};

/// What the server itself writes into a page's head, for previews in chats and for browsers without script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preview {
    /// The document's title.
    pub title: String,
    /// One or two sentences.
    pub description: String,
}

/// Of a name in a title.
const NAME_CHARS_MAX: usize = 80;

/// Labels that are told.
const LABELS_MAX: usize = 4;

/// The preview of the page at `path` with these parameters. What cannot be read is left out: the page itself says what is wrong.
pub fn of(path: &str, query: &str, now_ms: u64) -> Preview {
    let pairs = Params::parse(query).map(Params::into_pairs).unwrap_or_default();
    let asked = Asked { pairs: &pairs, now_ms };
    let (first, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let rest = percent_encoding::percent_decode_str(rest).decode_utf8_lossy();
    match first {
        "s" => asked.service(&rest),
        "diff" => asked.comparison(),
        "growth" => asked.growth(),
        "trace" => Preview {
            title: format!("Trace {}", shorten(&rest, 8)),
            description: "What each of its requests burned, in every service it went through.".to_owned(),
        },
        "p" => Preview {
            title: "Pinned view".to_owned(),
            description: "A view whose data is kept with it, whatever the retention.".to_owned(),
        },
        "status" => Preview {
            title: "Status".to_owned(),
            description: "What this collector receives, stores and holds back, and from whom.".to_owned(),
        },
        _ => Preview {
            title: "Services".to_owned(),
            description: "The CPU of every service, what changed, and since when.".to_owned(),
        },
    }
}

struct Asked<'a> {
    pairs: &'a [(String, String)],
    now_ms: u64,
}

impl Asked<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let value = self.pairs.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    fn service(&self, service: &str) -> Preview {
        let (service, what) = (shorten(service, NAME_CHARS_MAX), self.what("cpu"));
        let labels = self.labels("").map_or(String::new(), |labels| format!(" with {labels}"));
        Preview {
            title: format!("{service}: {what}"),
            description: format!("Flame graph of the {what} of {service}{labels}, {}.", self.times("")),
        }
    }

    fn comparison(&self) -> Preview {
        let Some(service) = self.get("service").or(self.get("b.service")) else {
            return Preview {
                title: "Compare".to_owned(),
                description: "Two times, versions, zones or tenants of a service, function by function.".to_owned(),
            };
        };
        let (service, what) = (shorten(service, NAME_CHARS_MAX), self.what("cpu"));
        let [a, b] = [("a.", "A"), ("b.", "B")].map(|(prefix, name)| match self.labels(prefix) {
            Some(labels) => labels,
            None if self.get(&format!("{prefix}from")).is_some() => self.times(prefix),
            None => name.to_owned(),
        });
        Preview {
            title: format!("{service}: {a} against {b}"),
            description: format!("What changed in the {what} of {service}, and which functions did it."),
        }
    }

    fn growth(&self) -> Preview {
        let service = self.get("service").map_or("a service".to_owned(), |name| shorten(name, NAME_CHARS_MAX));
        Preview {
            title: format!("{service}: what grew"),
            description: format!("Which functions hold more of the {}, {}.", self.what("inuse_space"), self.times("")),
        }
    }

    fn what(&self, default: &str) -> String {
        shorten(quantity::of_type(self.get("type").unwrap_or(default)), NAME_CHARS_MAX)
    }

    fn labels(&self, prefix: &str) -> Option<String> {
        let prefix = format!("{prefix}label.");
        let label = |(name, value): &(String, String)| {
            let name = name.strip_prefix(&prefix)?;
            Some(format!("{}={}", shorten(name, NAME_CHARS_MAX), shorten(value, NAME_CHARS_MAX)))
        };
        let labels: Vec<String> = self.pairs.iter().filter_map(label).take(LABELS_MAX).collect();
        (!labels.is_empty()).then(|| labels.join(", "))
    }

    /// Moments in words; a range that ends now by its length, since the moment of a preview is not the reader's.
    fn times(&self, prefix: &str) -> String {
        let (from, until) = (self.get(&format!("{prefix}from")), self.get(&format!("{prefix}until")));
        let length = from.map_or(Some("1h"), |from| from.strip_prefix("now-"));
        if let (Some(length), None | Some("now")) = (length, until)
            && let Ok(ms) = parse_duration(length)
        {
            return format!("the last {}", format_duration(ms));
        }
        let moment = |text: &str| parse_time(text, self.now_ms).ok().map(format_utc);
        match (from.and_then(moment), until.and_then(moment)) {
            (Some(from), Some(until)) => format!("{from} to {until}"),
            (Some(from), None) => format!("since {from}"),
            (None, Some(until)) => format!("until {until}"),
            (None, None) => "at some time".to_owned(),
        }
    }
}

fn shorten(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_772_373_600_000; // 2026-03-01T14:00:00Z

    #[test]
    fn every_page_says_what_it_is_about() {
        for (path, query, title, description) in [
            ("/", "", "Services", "The CPU of every service"),
            ("/s/shop%2Fcheckout", "", "shop/checkout: CPU", "of shop/checkout, the last 1h."),
            (
                "/s/checkout",
                "type=inuse_space&label.zone=eu&from=now-6h&until=now",
                "checkout: live memory",
                "live memory of checkout with zone=eu, the last 6h.",
            ),
            ("/s/checkout", "from=1772370000000&until=1772373600000", "checkout: CPU", "13:00"),
            ("/diff", "", "Compare", "function by function"),
            (
                "/diff",
                "service=checkout&a.label.tenant=acme&b.label.tenant=umbrella",
                "checkout: tenant=acme against tenant=umbrella",
                "CPU of checkout",
            ),
            ("/diff", "service=checkout&a.from=1772370000000&a.until=1772371000000", "checkout: ", "What changed"),
            ("/growth", "service=checkout", "checkout: what grew", "live memory, the last 1h."),
            ("/trace/4bf92f3577b34da6a3ce929d0e0e4736", "", "Trace 4bf92f35", "every service"),
            ("/p/abc", "", "Pinned view", "kept"),
            ("/status", "", "Status", "receives"),
        ] {
            let preview = of(path, query, NOW);
            assert!(preview.title.starts_with(title), "{path}?{query}: {preview:?}");
            assert!(preview.description.contains(description), "{path}?{query}: {preview:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_what_is_long_is_cut() {
        let long = "x".repeat(5_000);
        for query in ["%FF=1", "from=soon&until=later", &format!("service={long}&label.zone={long}&type={long}")] {
            for path in ["/", "/s/a", "/diff", "/growth", &format!("/s/{long}")] {
                let preview = of(path, query, NOW);
                assert!(preview.title.len() + preview.description.len() < 2_000, "{path}?{query}");
            }
        }
    }
}
