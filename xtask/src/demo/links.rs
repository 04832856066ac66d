//! The pages worth opening once the story was told.

use serde_json::Value;

use crate::Result;
use crate::api::Api;
use crate::demo::story::Story;

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
    pub(crate) alert: String,
    /// The trace that `trace` shows.
    pub(crate) trace_id: String,
}

impl Links {
    /// Finds a slow trace and puts the links together.
    pub(crate) fn gather(api: &Api, story: &Story) -> Result<Self> {
        let trace_id = slow_trace(api, story)?;
        Ok(Self {
            overview: "/".to_owned(),
            service: format!("/s/checkout?from={}&until={}", story.before.0, story.after.1),
            diff: diff_query("/diff?", story, "cpu"),
            allocations: diff_query("/diff?", story, "alloc_space"),
            growth: growth_query("/growth?", story),
            trace: format!("/trace/{trace_id}"),
            alert: story.alert.clone(),
            trace_id,
        })
    }

    /// Prints them for people.
    pub(crate) fn print(&self, base: &str) {
        println!("\n  overview      {base}{}", self.overview);
        println!("  flame graph   {base}{}", self.service);
        println!("  v1 → v2       {base}{}", self.diff);
        println!("  by memory     {base}{}", self.allocations);
        println!("  what grew     {base}{}", self.growth);
        println!("  a slow trace  {base}{}", self.trace);
        println!("  the alert     {base}{}", self.alert);
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

/// The slowest order of v2 that the gateway told about.
fn slow_trace(api: &Api, story: &Story) -> Result<String> {
    slow_orders(api, story.after)?.into_iter().next().ok_or_else(|| "the gateway told about no order".into())
}

/// Trace ids of the slowest orders between two times, the slowest first.
pub(crate) fn slow_orders(api: &Api, (from, until): (u64, u64)) -> Result<Vec<String>> {
    let answer = api.json(&format!("/api/v1/requests?service=gateway&from={from}&until={until}"))?;
    let routes = answer["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let orders = routes.iter().filter(|route| route["route"].as_str().is_some_and(|name| name.contains("checkout")));
    let mut slowest: Vec<&Value> = orders.filter_map(|route| route["slowest"].as_array()).flatten().collect();
    slowest.sort_by_key(|request| std::cmp::Reverse(request["duration_us"].as_u64()));
    Ok(slowest.iter().filter_map(|request| request["trace_id"].as_str().map(str::to_owned)).collect())
}

/// How many samples of a service a trace has, over all profile types; `None` when the trace does not know the service.
pub(crate) fn samples(trace: &Value, service: &str) -> Option<u64> {
    let services = trace["services"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_service = services.iter().find(|s| s["service"] == service)?;
    let types = of_service["types"].as_array().map(Vec::as_slice).unwrap_or_default();
    Some(types.iter().filter_map(|kind| kind["samples"].as_u64()).sum())
}
