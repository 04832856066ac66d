//! The pages worth opening once the story was told.

use serde_json::Value;

use crate::Result;
use crate::api::Api;
use crate::demo::story::Story;
use crate::demo::tail;

/// Paths of pages, below the collector's address.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) overview: String,
    pub(crate) service: String,
    pub(crate) diff: String,
    /// The same comparison by what was allocated.
    pub(crate) allocations: String,
    pub(crate) growth: String,
    pub(crate) trace: String,
    /// Why the slowest orders are slow.
    pub(crate) why: String,
    pub(crate) alert: String,
    /// The slow orders, of which `trace` shows one.
    pub(crate) slow: SlowOrders,
}

/// The slowest orders of v2, and what each service has of them.
#[derive(Debug)]
pub(crate) struct SlowOrders {
    /// The slowest first.
    pub(crate) all: Vec<SlowOrder>,
    /// Which of them is worth showing.
    pub(crate) shown: usize,
}

/// One order that took long.
#[derive(Debug)]
pub(crate) struct SlowOrder {
    pub(crate) trace_id: String,
    pub(crate) duration_us: u64,
    /// Samples of each of [`SERVICES`]; `None` where the service tells nothing of this trace.
    pub(crate) samples: [Option<u64>; 2],
}

impl SlowOrder {
    /// True when both services tell of it. Each chooses by itself which requests it tells of; what else is wanted it learns with the answer to a
    /// window, and tells with a later one.
    pub(crate) fn is_whole(&self) -> bool {
        self.samples.iter().all(Option::is_some)
    }
}

/// The services that an order crosses, in that order.
pub(crate) const SERVICES: [&str; 2] = ["gateway", "checkout"];

/// Agents tell of the slowest requests of each window, so the slowest are asked for window by window.
const WINDOW_MS: usize = 10_000;

impl Links {
    /// Finds a slow trace and puts the links together.
    pub(crate) fn gather(api: &Api, story: &Story) -> Result<Self> {
        let slow = SlowOrders::find(api, story)?;
        Ok(Self {
            overview: "/".to_owned(),
            service: format!("/s/checkout?from={}&until={}", story.before.0, story.after.1),
            diff: diff_query("/diff?", story, "cpu"),
            allocations: diff_query("/diff?", story, "alloc_space"),
            growth: growth_query("/growth?", story),
            trace: format!("/trace/{}", slow.shown().trace_id),
            why: tail::page(story),
            alert: story.alert.clone(),
            slow,
        })
    }

    /// Prints them for people, in the order in which they tell the story.
    pub(crate) fn print(&self, base: &str) {
        println!("\nStart here: an alert fired, and this link says why.\n");
        println!("  the alert     {base}{}", self.alert);
        println!("\nThen see for yourself what it says:\n");
        println!("  v1 → v2       {base}{}", self.diff);
        println!("  a slow trace  {base}{}", self.trace);
        println!("  the slow 1 %  {base}{}", self.why);
        println!("  flame graph   {base}{}", self.service);
        println!("  by memory     {base}{}", self.allocations);
        println!("  what grew     {base}{}", self.growth);
        println!("  overview      {base}{}", self.overview);
    }
}

/// What grew in the gateway's memory while v2 ran.
pub(crate) fn growth_query(page: &str, story: &Story) -> String {
    let (from, until) = story.after;
    format!("{page}service=gateway&from={from}&until={until}")
}

/// v1 against v2, by version.
pub(crate) fn diff_query(page: &str, story: &Story, profile_type: &str) -> String {
    let (from, until) = (story.before.0, story.after.1);
    format!(
        "{page}service=checkout&type={profile_type}&from={from}&until={until}&a.label.version=v1&b.label.version=v2"
    )
}

impl SlowOrders {
    /// The slowest orders of v2, and the slowest of them that both services tell of and whose work was sampled.
    pub(crate) fn find(api: &Api, story: &Story) -> Result<Self> {
        let mut all = Vec::new();
        let (from, until) = story.after;
        for from in (from..until).step_by(WINDOW_MS) {
            all.extend(slow_orders(api, (from, until.min(from + WINDOW_MS as u64)))?);
        }
        // A window that lies on a border is asked for twice.
        all.sort_by(|a, b| b.duration_us.cmp(&a.duration_us).then_with(|| a.trace_id.cmp(&b.trace_id)));
        all.dedup_by(|a, b| a.trace_id == b.trace_id);
        let of_checkout = |order: &SlowOrder| order.samples[1].unwrap_or(0) > 0;
        let shown = (all.iter().position(|order| order.is_whole() && of_checkout(order)))
            .or_else(|| all.iter().position(SlowOrder::is_whole))
            .unwrap_or(0);
        if all.is_empty() { Err("the gateway told about no order".into()) } else { Ok(Self { all, shown }) }
    }

    /// Of how many both services tell.
    pub(crate) fn whole(&self) -> usize {
        self.all.iter().filter(|order| order.is_whole()).count()
    }

    /// The one worth showing.
    pub(crate) fn shown(&self) -> &SlowOrder {
        &self.all[self.shown]
    }
}

/// The slowest orders between two times.
fn slow_orders(api: &Api, (from, until): (u64, u64)) -> Result<Vec<SlowOrder>> {
    let answer = api.json(&format!("/api/v1/requests?service=gateway&from={from}&until={until}"))?;
    let routes = answer["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let orders = routes.iter().filter(|route| route["route"].as_str().is_some_and(|name| name.contains("checkout")));
    let slowest = orders.filter_map(|route| route["slowest"].as_array()).flatten();
    slowest
        .filter_map(|request| Some((request["trace_id"].as_str()?.to_owned(), request["duration_us"].as_u64()?)))
        .map(|(trace_id, duration_us)| {
            let trace = api.json(&format!("/api/v1/traces/{trace_id}"))?;
            Ok(SlowOrder { samples: SERVICES.map(|service| samples(&trace, service)), trace_id, duration_us })
        })
        .collect()
}

/// How many samples of a service a trace has, over all profile types; `None` when the trace does not know the service.
fn samples(trace: &Value, service: &str) -> Option<u64> {
    let services = trace["services"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_service = services.iter().find(|s| s["service"] == service)?;
    let types = of_service["types"].as_array().map(Vec::as_slice).unwrap_or_default();
    Some(types.iter().filter_map(|kind| kind["samples"].as_u64()).sum())
}
