//! Judges the demo without a person: every claim it makes is asked of the collector and looked at in a browser.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::api::Api;
use crate::demo::clock::now_ms;
use crate::demo::links::{Links, SERVICES, SlowOrder, SlowOrders, diff_query, growth_query};
use crate::demo::story::{Stage, Story};
use crate::demo::{counts, pages, tail};
use crate::tools::{find, run_quietly};
use crate::{Result, stop};

/// What v2 does wrong.
const PLANTED_CPU: &str = "TaxOffice>::rate_for";
const PLANTED_ALLOC: &str = "receipt::render";
/// What both releases do wrong.
const PLANTED_LEAK: &str = "sessions::";

/// How much of what is shown must have a name. The services' own code always; where the C library is stripped and its debug
/// symbols are not installed, its local functions have none, such as the two frames at the root of every thread.
const OWN_NAMED_MIN: f64 = 0.99;
const NAMED_MIN: f64 = 0.99;
const NAMED_MIN_STRIPPED: f64 = 0.9;

/// How many of the slow traces that a service names must have both halves; and how long after the load that may take. An agent learns of what is
/// slow elsewhere with the answer to its next window, and tells of it with the one after.
const WHOLE_MIN: f64 = 0.95;
const WHOLE_WITHIN_MS: u64 = 45_000;

/// What was found about the claims so far. A claim that could not be checked is not one that holds.
#[derive(Debug, Default)]
struct Tally {
    held: usize,
    failed: usize,
    /// What was not checked, and why.
    skipped: Vec<(&'static str, String)>,
}

impl Tally {
    fn claim(&mut self, what: &str, outcome: Result<String>) {
        match outcome {
            Ok(seen) => {
                self.held += 1;
                println!("  ok    {what}: {seen}");
            }
            Err(why) => {
                self.failed += 1;
                println!("  FAIL  {what}: {why}");
            }
        }
    }

    fn skip(&mut self, what: &'static str, why: &str) {
        println!("  skip  {what}: {why}");
        self.skipped.push((what, why.to_owned()));
    }

    fn conclude(&self) -> Result {
        let Self { held, failed, skipped } = self;
        println!("\n{held} claims hold, {failed} do not, {} were not checked", skipped.len());
        for (what, why) in skipped {
            println!("  not checked: {what} ({why})");
        }
        if *failed == 0 { Ok(()) } else { Err(format!("{failed} claims of the demo do not hold").into()) }
    }
}

/// Fails unless every claim that can be checked here holds; says about each whether it does. `browser` is one, or why there is none.
pub(crate) fn judge(
    stage: &Stage,
    story: &Story,
    links: &Links,
    browser: &std::result::Result<PathBuf, String>,
) -> Result {
    println!();
    let mut tally = Tally::default();
    tally.claim("the CPU diff starts with the slow function", first_mover(stage, story, "cpu", PLANTED_CPU));
    let wasteful = first_mover(stage, story, "alloc_space", PLANTED_ALLOC);
    tally.claim("the allocation diff starts with the wasteful one", wasteful);
    tally.claim("what grew starts with the leak", first_grower(stage, story));
    tally.claim("the alert names the slow function", alert_headline(stage, story));
    tally.claim("slow traces show both services", trace_services(&stage.api, story, links));
    tally.claim("the slowest 1 % of orders are explained by function and tenant", tail::explained(&stage.api, story));
    tally.claim("every request is counted", counts::are_complete(&stage.api, story));
    tally.claim("routes tell work apart", by_route(stage, story));
    tally.claim("functions have names", symbol_share(stage, story));
    tally.claim("every sample is accounted for", accounting(stage));
    tally.claim("exports are readable", exports(stage, story));
    let go = "go tool pprof reads the pprof";
    match find(&["go"]) {
        Some(program) => tally.claim(go, go_pprof(&program, stage, story)),
        None => tally.skip(go, "there is no Go here"),
    }
    for (page, path, expected) in pages::expectations(links) {
        match browser {
            Ok(browser) => tally.claim(page, pages::look(browser, &stage.api.base, path, expected)),
            Err(why) => tally.skip(page, why),
        }
    }
    tally.conclude()
}

fn first_mover(stage: &Stage, story: &Story, profile_type: &str, planted: &str) -> Result<String> {
    let diff = stage.api.json(&diff_query("/api/v1/diff?", story, profile_type))?;
    let movers = diff["movers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> = movers.iter().take(5).filter_map(|mover| mover["name"].as_str()).collect();
    let Some(first) = movers.first() else { return Err(format!("no movers, but {}", diff["summary"]).into()) };
    if !names.first().is_some_and(|name| name.contains(planted)) {
        return Err(format!("expected {planted}, got {names:?}").into());
    }
    Ok(format!("{} {}, q {}", first["state"].as_str().unwrap_or("?"), first["delta"], first["q"]))
}

fn first_grower(stage: &Stage, story: &Story) -> Result<String> {
    let growth = stage.api.json(&growth_query("/api/v1/growth?", story))?;
    let Some(first) = growth["growers"].get(0) else {
        return Err(format!("nothing, but {}", growth["sentences"]).into());
    };
    let name = first["name"].as_str().unwrap_or_default();
    if !name.contains(PLANTED_LEAK) {
        return Err(format!("expected {PLANTED_LEAK}, got {name:?}: {}", growth["sentences"]).into());
    }
    Ok(format!("{name} by {}, {}", first["delta"], first["trend"].as_str().unwrap_or("?")))
}

fn alert_headline(stage: &Stage, story: &Story) -> Result<String> {
    let alert = stage.api.json(&story.alert.replacen("/alert?", "/alert.json?", 1))?;
    let headline = alert["headline"].as_str().unwrap_or_default();
    let short = PLANTED_CPU.rsplit("::").next().unwrap_or(PLANTED_CPU);
    if headline.contains(short) { Ok(headline.to_owned()) } else { Err(format!("headline is {headline:?}").into()) }
}

/// Slow traces have both halves; the one that is linked too, and its service was caught at work. The gateway works for a few milliseconds on
/// an order, so it is caught in one of three: over the slowest ones together, samples of both are there.
fn trace_services(api: &Api, story: &Story, links: &Links) -> Result<String> {
    let shown = links.slow.shown();
    if !shown.is_whole() {
        return Err(
            format!("of {} slow orders, none has both halves: {:?}", links.slow.all.len(), links.slow.all).into()
        );
    }
    let slow = completed(api, story)?;
    let (all, whole) = (&slow.all, slow.whole());
    if !is_whole_enough(&slow) {
        let halves: Vec<&SlowOrder> = all.iter().filter(|order| !order.is_whole()).collect();
        return Err(format!(
            "of {} slow orders {whole} have both halves, goal {WHOLE_MIN}; not these: {halves:?}",
            all.len()
        )
        .into());
    }
    let caught = |service: usize| move |order: &&SlowOrder| order.samples[service].unwrap_or(0) > 0;
    if !caught(1)(&shown) {
        return Err(format!("no samples of {} in {shown:?}, nor in any that has both halves", SERVICES[1]).into());
    }
    let sampled = [0, 1].map(|service| all.iter().filter(caught(service)).count());
    if sampled.contains(&0) {
        return Err(format!("of {} slow orders, none has samples of one service: {all:?}", all.len()).into());
    }
    Ok(format!(
        "the one shown took {} ms and has {:?} samples of {SERVICES:?}; of {} slow ones {whole} have both halves, gateway was caught \
         at work in {}, checkout in {}",
        shown.duration_us / 1_000,
        shown.samples.map(Option::unwrap_or_default),
        all.len(),
        sampled[0],
        sampled[1]
    ))
}

/// The slow orders once agents had the time to complete them.
fn completed(api: &Api, story: &Story) -> Result<SlowOrders> {
    loop {
        let slow = SlowOrders::find(api, story)?;
        if is_whole_enough(&slow) || now_ms() > story.after.1 + WHOLE_WITHIN_MS {
            return Ok(slow);
        }
        stop::sleep(Duration::from_secs(2))?;
    }
}

fn is_whole_enough(slow: &SlowOrders) -> bool {
    slow.whole() as f64 >= WHOLE_MIN * slow.all.len() as f64
}

/// Most CPU of the service is somebody's request, and the routes add up to what is labelled.
fn by_route(stage: &Stage, story: &Story) -> Result<String> {
    let (from, until) = story.after;
    let query = format!("service=checkout&from={from}&until={until}");
    let values = stage.api.json(&format!("/api/v1/labels/route/values?{query}"))?;
    let routes: Vec<&str> = values["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let total = |route: &str| -> Result<f64> {
        let flame = stage.api.json(&format!("/api/v1/flamegraph?{query}&type=cpu&format=json{route}"))?;
        flame.pointer("/a/total").and_then(Value::as_f64).ok_or_else(|| format!("no total in {flame}").into())
    };
    let all = total("")?;
    let mut shares = Vec::new();
    for route in &routes {
        shares.push(total(&format!("&label.route={}", route.replace(' ', "%20")))? / all);
    }
    let labelled: f64 = shares.iter().sum();
    if routes.len() < 2 || !(0.5..=1.0 + 1e-9).contains(&labelled) {
        return Err(format!("{routes:?} have {shares:?} of the CPU time").into());
    }
    Ok(format!("{labelled:.0$} of the CPU time is of {routes:?}", 2))
}

fn symbol_share(stage: &Stage, story: &Story) -> Result<String> {
    let mut seen = Vec::new();
    for service in SERVICES {
        let flame = stage.api.json(&flame_query(story, service, "json"))?;
        let share = flame["symbols"]["share"].as_f64().unwrap_or(0.0);
        let missing = flame["symbols"]["missing"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_own = |module: &&Value| module["module"].as_str().is_some_and(|name| name.starts_with("shop-"));
        let own = 1.0 - missing.iter().filter(is_own).filter_map(|module| module["share"].as_f64()).sum::<f64>();
        let no_lines = flame["symbols"]["no_lines"].as_array().map(Vec::as_slice).unwrap_or_default();
        // With its debug symbols installed, the C library has lines too.
        let stripped =
            no_lines.iter().any(|module| module["module"].as_str().is_some_and(|m| m.starts_with("libc.so")));
        let goal = if stripped { NAMED_MIN_STRIPPED } else { NAMED_MIN };
        if share < goal || own < OWN_NAMED_MIN {
            return Err(format!("{service}: {share} of it, goal {goal}; {missing:?}").into());
        }
        let of_libraries = if stripped { " (the C library is stripped here)" } else { "" };
        seen.push(format!("{service} {:.1} %{of_libraries}, its own code {:.1} %", share * 100.0, own * 100.0));
    }
    Ok(seen.join(", "))
}

fn accounting(stage: &Stage) -> Result<String> {
    let status = stage.api.json("/api/v1/status")?;
    let agents = status["agents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (mut sampled, mut dropped) = (0, 0);
    for agent in agents {
        let drops: u64 = agent["dropped"].as_object().map_or(0, |all| all.values().filter_map(Value::as_u64).sum());
        let (took, stored) = (agent["sampled"].as_u64().unwrap_or(0), agent["stored"].as_u64().unwrap_or(0));
        if took != stored + drops {
            return Err(format!("{}: sampled {took}, stored {stored}, dropped {drops}", agent["service"]).into());
        }
        sampled += took;
        dropped += drops;
    }
    if sampled == 0 {
        Err(format!("no agent sampled anything: {status}").into())
    } else {
        Ok(format!("{sampled} sampled, {dropped} dropped"))
    }
}

fn exports(stage: &Stage, story: &Story) -> Result<String> {
    let signs: [(&str, &[u8]); 4] =
        [("folded", b"rate_for"), ("svg", b"<svg"), ("speedscope", b"speedscope"), ("pprof", b"\x1f\x8b")];
    let mut seen = Vec::new();
    for (format, sign) in signs {
        let body = stage.api.bytes(&flame_query(story, "checkout", format))?;
        if !body.windows(sign.len()).any(|part| part == sign) {
            return Err(format!("{format} does not look like it ({} bytes)", body.len()).into());
        }
        seen.push(format!("{format} {} kB", body.len() / 1_000));
    }
    let markdown = stage.api.bytes(&(diff_query("/api/v1/diff?", story, "cpu") + "&format=markdown"))?;
    if !String::from_utf8_lossy(&markdown).contains("rate_for") {
        return Err("the diff as markdown does not name the slow function".into());
    }
    Ok(seen.join(", "))
}

fn go_pprof(go: &Path, stage: &Stage, story: &Story) -> Result<String> {
    let file = stage.scratch().join("checkout.pb.gz");
    std::fs::write(&file, stage.api.bytes(&flame_query(story, "checkout", "pprof"))?)?;
    let mut command = Command::new(go);
    // Without a network, and without writing to anybody's home.
    command.args(["tool", "pprof", "-symbolize=none", "-top", "-nodecount=15"]).arg(&file);
    command.env("PPROF_TMPDIR", stage.scratch()).env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod");
    let top = run_quietly(&mut command)?;
    if top.contains("rate_for") { Ok("names the slow function".to_owned()) } else { Err(top.into()) }
}

fn flame_query(story: &Story, service: &str, format: &str) -> String {
    let (from, until) = (story.before.0, story.after.1);
    format!("/api/v1/flamegraph?service={service}&type=cpu&from={from}&until={until}&format={format}")
}
