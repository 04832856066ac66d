//! Pictures of pages, for chats: the alert's sentence and its chart, or the flame graph of own code.
//!
//! A picture is made of the same answers as its page, and kept as long as these stay what they are: what was deleted is not drawn from memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use percent_encoding::percent_decode_str;

use crate::alerts::link::AlertLink;
use crate::analysis::families::Families;
use crate::analysis::{self, Filters, View, ViewOptions, quantity};
use crate::base::clock::now_ms;
use crate::base::range::TimeRange;
use crate::base::times::format_utc;
use crate::cards::{Card, CardError, Chart, Flame, NODES_MAX, Picture, WIDTH, png};
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::previews::{self, Preview};
use crate::http::revision::Revision;
use crate::profile::meaning;
use crate::query::{Prepared, Selection};
use crate::work::blocking;

/// A page's own address fits several times.
const PAGE_BYTES_MAX: usize = 8 << 10;

/// Of all pictures that are kept; one has some 40 kB.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// Pages of "the last hour" are the same for so long: several chats ask within seconds.
const GRID_MS: u64 = 10_000;

/// Parameters of a page that choose what is merged; all others but filters are about looks.
const CHOOSING: [&str; 5] = ["service", "type", "from", "until", "trace"];

/// Pictures that were drawn, by what they were drawn from; the oldest first.
#[derive(Debug, Default)]
pub(in crate::http) struct Shelf(Mutex<VecDeque<(String, Bytes)>>);

impl Shelf {
    fn get(&self, of: &str) -> Option<Bytes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(key, _)| key == of).map(|(_, png)| png.clone())
    }

    fn put(&self, of: &str, png: &Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(key, _)| key != of);
        kept.push_back((of.to_owned(), png.clone()));
        while kept.iter().map(|(_, png)| png.len()).sum::<usize>() > KEPT_BYTES_MAX {
            kept.pop_front();
        }
    }
}

/// What a request for a picture brings.
struct Asked<'a> {
    state: &'a AppState,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    now_ms: u64,
}

pub(super) async fn card(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let mut page = params.require("page", "%2Fs%2Fcheckout")?;
    params.finish()?;
    if page.len() > PAGE_BYTES_MAX {
        let message = format!("the page's address has {} bytes, limit {PAGE_BYTES_MAX}", page.len());
        return Err(ApiError::invalid(message, "ask for the picture of a shorter address"));
    }
    if let Some(id) = page.strip_prefix("/p/") {
        // A pin's picture is that of what it shows.
        let pin = state.store.catalog().pin(id).await?;
        page = pin.map_or(page, |pin| pin.pin.url);
    }
    let (path, query) = page.split_once('?').unwrap_or((&page, ""));
    let asked = Asked { state: &state, uri: &uri, headers: &headers, now_ms: now_ms() / GRID_MS * GRID_MS };
    let preview = previews::of(path, query, asked.now_ms);
    if path == "/alert" {
        return asked.alert(query).await;
    }
    if let Some(name) = path.strip_prefix("/s/") {
        let name = percent_decode_str(name).decode_utf8_lossy();
        return asked.service(query, &name, preview).await;
    }
    let names_one = |(name, _): &(String, String)| matches!(name.as_str(), "service" | "a.service" | "b.service");
    if path == "/diff" && Params::parse(query)?.into_pairs().iter().any(names_one) {
        return asked.comparison(query, preview).await;
    }
    asked.words(preview).await
}

impl Asked<'_> {
    async fn alert(&self, query: &str) -> Result<Response, ApiError> {
        let (link, _) = AlertLink::parse(Params::parse(query)?.into_pairs(), self.now_ms)?;
        let answer = self.state.answers.answer(&link).await?;
        let (baseline, window) = (answer.baseline.range, answer.window);
        let around = TimeRange {
            from_ms: baseline.from_ms.min(window.from_ms),
            until_ms: baseline.until_ms.max(window.until_ms),
        };
        let selection = Selection {
            service: link.service.clone(),
            profile_type: link.profile_type.clone(),
            from_ms: around.from_ms,
            until_ms: around.until_ms,
            labels: link.labels.clone(),
            trace: None,
        };
        let prepared = self.state.engine.prepare(&selection).await?;
        let kicker =
            format!("{} · {} · {}", link.service, quantity::of_type(&link.profile_type), format_utc(link.at_ms));
        let (headline, note) = (answer.headline.clone(), answer.confidence_why.clone());
        let said = format!("{headline}\n{note}");
        let draw = async {
            let timeline = self.state.engine.timeline_prepared(&prepared, None, None).await?;
            drawn(move || {
                let points = timeline.series.first().map_or(&[][..], |series| series.points.as_slice());
                let shown = meaning::over_time(&timeline.profile_type);
                let most = points.iter().filter_map(|(_, value)| *value).fold(0.0, f64::max);
                let chart = Chart {
                    points,
                    most: quantity::amount(most * shown.factor, &shown.unit),
                    baseline: (baseline.from_ms, baseline.until_ms),
                    window: (window.from_ms, window.until_ms),
                };
                png(&Card { kicker, headline, note, picture: Picture::Chart(chart) })
            })
            .await
        };
        self.kept(&[&prepared], &said, draw).await
    }

    async fn service(&self, query: &str, name: &str, preview: Preview) -> Result<Response, ApiError> {
        let selection = chosen(query, Some(name))?.selection(self.now_ms)?;
        let prepared = self.state.engine.prepare(&selection).await?;
        let filters = filters(query)?;
        let draw = async {
            let merged = self.state.engine.merge_prepared(&prepared).await?;
            let symbols = self.state.symbols.clone();
            let service = selection.service.to_string();
            drawn(move || {
                let view = analysis::filtered_flamegraph(&service, &merged, &symbols, &filters, options());
                let side = view.side(0);
                let headline = format!(
                    "{}: {} of {}",
                    view.service,
                    quantity::amount(side.value, &side.unit),
                    quantity::of_type(&view.tree.profile_type.name)
                );
                let instances = if side.instances == 1 { "instance" } else { "instances" };
                let note = format!("{} samples of {} {instances}", side.samples, side.instances);
                let about = preview.description.trim_end_matches('.');
                let kicker = about.strip_prefix("Flame graph of the ").unwrap_or(about).to_owned();
                of_view(kicker, headline, note, &view)
            })
            .await
        };
        self.kept(&[&prepared], "", draw).await
    }

    async fn comparison(&self, query: &str, preview: Preview) -> Result<Response, ApiError> {
        let (a, b) = chosen(query, None)?.two_selections(self.now_ms)?;
        let (of_a, of_b) = (self.state.engine.prepare(&a).await?, self.state.engine.prepare(&b).await?);
        let filters = filters(query)?;
        let draw = async {
            let engine = &self.state.engine;
            let (a, b) = (engine.merge_prepared(&of_a).await?, engine.merge_prepared(&of_b).await?);
            let symbols = self.state.symbols.clone();
            let service = of_b.selection().service.to_string();
            drawn(move || {
                let view = analysis::filtered_comparison(&service, &a, &b, &symbols, &filters, options());
                let mut said = view.summary().iter().map(|sentence| sentence.text.clone());
                let headline = said.next().unwrap_or_else(|| preview.title.clone());
                of_view(preview.title, headline, said.next().unwrap_or_default(), &view)
            })
            .await
        };
        self.kept(&[&of_a, &of_b], "", draw).await
    }

    /// The picture of a page that has no graph of its own: what its head says.
    async fn words(&self, preview: Preview) -> Result<Response, ApiError> {
        let said = format!("{}\n{}", preview.title, preview.description);
        let draw = drawn(move || {
            let Preview { title, description } = preview;
            png(&Card { kicker: String::new(), headline: title, note: description, picture: Picture::None })
        });
        self.kept(&[], &said, draw).await
    }

    /// The picture that is kept of the same answers, or a new one when its turn comes.
    async fn kept(
        &self,
        prepared: &[&Prepared],
        said: &str,
        draw: impl Future<Output = Result<Bytes, ApiError>>,
    ) -> Result<Response, ApiError> {
        let revision = Revision::of(self.state, self.uri, prepared, said, self.now_ms);
        if let Some(unchanged) = revision.as_ref().and_then(|revision| revision.unchanged(self.headers)) {
            return Ok(unchanged);
        }
        let key = revision.as_ref().map(Revision::as_str);
        let png = match key.and_then(|key| self.state.cards.get(key)) {
            Some(png) => png,
            None => {
                let png = self.state.in_turn(draw).await?;
                if let Some(key) = key {
                    self.state.cards.put(key, &png);
                }
                png
            }
        };
        let answer = ([(header::CONTENT_TYPE, "image/png")], png).into_response();
        Ok(match revision {
            Some(revision) => revision.mark(answer),
            None => answer,
        })
    }
}

/// A frame that is no pixel wide is not seen.
fn options() -> ViewOptions {
    ViewOptions { max_nodes: NODES_MAX, min_share: 1.0 / f64::from(WIDTH), ..ViewOptions::default() }
}

/// What a page's address chooses.
fn chosen(query: &str, service: Option<&str>) -> Result<Params, ApiError> {
    let chooses = |name: &str| {
        let bare = name.strip_prefix("a.").or_else(|| name.strip_prefix("b.")).unwrap_or(name);
        CHOOSING.contains(&bare) || bare.starts_with("label.")
    };
    let pairs = Params::parse(query)?.into_pairs();
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs.iter().filter(|(name, _)| chooses(name) && (service.is_none() || name != "service")) {
        text.append_pair(name, value);
    }
    if let Some(service) = service {
        text.append_pair("service", service);
    }
    Params::parse(&text.finish())
}

/// The filters of a page: those in its address, of which the collector may not know all, and that runtimes and servers are hidden unless
/// it says otherwise.
fn filters(query: &str) -> Result<Filters, ApiError> {
    let pairs = Params::parse(query)?.into_pairs();
    let are_shown = pairs.iter().any(|(name, value)| name == "fw" && value == "shown");
    let frameworks = (!are_shown).then_some("hide:@frameworks");
    let typed = pairs.iter().filter(|(name, _)| name == "t").map(|(_, value)| value.as_str());
    let all: Vec<&str> = frameworks.into_iter().chain(typed).collect();
    let fallback = || Filters::parse(frameworks.as_slice());
    Filters::parse(&all).or_else(|_| fallback()).map_err(|error| ApiError::invalid(error.to_string(), error.hint()))
}

fn of_view(kicker: String, headline: String, note: String, view: &View) -> Result<Vec<u8>, CardError> {
    let own = Families::reviewed().name(0);
    let is_own = |frame: usize| {
        let family = view.annotations.family_of_frame.get(frame).copied().unwrap_or(0);
        Families::reviewed().name(family) == own
    };
    let q = view.annotations.diff.as_ref().map(|diff| diff.q.as_slice());
    let flame = Flame { tree: &view.shown, q, basis: view.basis, is_own: &is_own };
    png(&Card { kicker, headline, note, picture: Picture::Flame(flame) })
}

/// Draws away from the threads that answer.
async fn drawn(draw: impl FnOnce() -> Result<Vec<u8>, CardError> + Send + 'static) -> Result<Bytes, ApiError> {
    blocking(draw).await?.map(Bytes::from).map_err(|error| ApiError::internal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_pictures_make_room() {
        let shelf = Shelf::default();
        let png = Bytes::from(vec![0; 1 << 20]);
        for i in 0..20 {
            shelf.put(&i.to_string(), &png);
            shelf.put(&i.to_string(), &png);
        }
        let kept: Vec<bool> = (0..20).map(|i| shelf.get(&i.to_string()).is_some()).collect();
        assert_eq!(kept, [vec![false; 12], vec![true; 8]].concat());
    }

    #[test]
    fn a_page_chooses_by_what_is_merged_and_its_looks_do_not_count() {
        let mut params = chosen("v=1&fw=hidden&q=tax&from=1&label.zone=eu&service=other", Some("checkout")).unwrap();
        assert_eq!(params.take("service").unwrap().as_deref(), Some("checkout"));
        assert_eq!(params.labels().unwrap(), [("zone".to_owned(), "eu".to_owned())]);
        assert_eq!(params.take("from").unwrap().as_deref(), Some("1"));
        params.finish().unwrap();
    }

    #[test]
    fn filters_that_only_the_view_knows_leave_the_graph_whole() {
        for (query, is_empty) in
            [("", false), ("fw=shown", true), ("fw=shown&t=keep:tax", false), ("fw=shown&t=x:y", true)]
        {
            assert_eq!(filters(query).unwrap().is_empty(), is_empty, "{query}");
        }
    }
}
