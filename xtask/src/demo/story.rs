//! What happens in the demo: v1 under load, a deploy, v2 under the same load, an alert.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::Api;
use crate::binaries::Binaries;
use crate::demo::clock::{now_ms, rfc3339};
use crate::process::Running;
use crate::tools::step;
use crate::{Result, stop};

/// Requests per second between bursts: about half of one core.
const RATE: u64 = 250;

/// A busy machine serves less in the same time, and what a release does wrong is told from noise by how much of it there was: there it
/// runs for up to so many times as long.
const PATIENCE: u32 = 4;

/// How long a release that has not shown enough runs on before it is looked at again.
const MORE: Duration = Duration::from_secs(10);

/// From a window's last second to its place in an answer: the agent seals, ships, the collector makes it durable.
const SETTLE: Duration = Duration::from_secs(4);

/// Everything that runs, and the folder it writes to. All of it is gone when dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    // Dropped in this order: the load first, so that nobody asks a shop that is gone, and the collector after those
    // who still have a window to deliver.
    load: Option<Running>,
    shop: Vec<Running>,
    collector: Option<Running>,
    pub(crate) api: Api,
    binaries: Binaries,
    scratch: TempDir,
    gateway_port: u16,
    checkout_port: u16,
}

impl Stage {
    /// Starts a collector on an empty folder.
    pub(crate) fn open(binaries: Binaries, port: u16) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("tephra-demo-").tempdir()?;
        let [gateway_port, checkout_port] = free_ports()?;
        let mut stage = Self {
            load: None,
            shop: Vec::new(),
            collector: None,
            api: Api::new(port),
            binaries,
            scratch,
            gateway_port,
            checkout_port,
        };
        step(&format!("starting the collector on port {port}"), || stage.start_collector(port))?;
        Ok(stage)
    }

    fn start_collector(&mut self, port: u16) -> Result {
        let mut command = Command::new(self.binaries.collector());
        let data = self.scratch.path().join("data");
        command.arg("serve").arg("--data").arg(data).arg("--listen").arg(format!("127.0.0.1:{port}"));
        let mut collector = Running::start("collector", &mut command, self.scratch.path())?;
        let probe = self.api.clone();
        await_true(&mut collector, || probe.fetch("/readyz").is_ok_and(|(status, _)| status == 200))?;
        self.collector = Some(collector);
        Ok(())
    }

    /// Replaces the running shop, if any, with one of its releases, and puts it under load. Requests on `seed`.
    fn deploy(&mut self, version: &str, seed: u32) -> Result {
        self.load.take();
        self.shop.clear();
        let (gateway_port, checkout_port) = (self.gateway_port, self.checkout_port);
        let checkout = self.shop_command(version, "shop-checkout", checkout_port);
        self.start_shop(&format!("checkout-{version}"), checkout, checkout_port)?;
        let mut gateway = self.shop_command(version, "shop-gateway", gateway_port);
        gateway.env("SHOP_CHECKOUT", format!("http://127.0.0.1:{checkout_port}"));
        self.start_shop(&format!("gateway-{version}"), gateway, gateway_port)?;
        let mut load = Command::new(self.binaries.shop(version, "shop-load"));
        load.arg("--target").arg(format!("http://127.0.0.1:{gateway_port}"));
        load.args(["--rate", &RATE.to_string(), "--seed"]).arg(seed.to_string());
        load.arg("--tally").arg(self.tally());
        self.load = Some(Running::start(&format!("load-{version}"), &mut load, self.scratch.path())?);
        Ok(())
    }

    /// Sends the people away once they have their answers, and returns what they know of their requests.
    fn end_load(&mut self) -> Result<Value> {
        self.load.take().map_or(Ok(()), Running::stop)?;
        let file = self.tally();
        let tally = std::fs::read(&file).map_err(|why| format!("cannot read {}: {why}", file.display()))?;
        Ok(serde_json::from_slice(&tally)?)
    }

    fn tally(&self) -> PathBuf {
        self.scratch.path().join("tally.json")
    }

    fn shop_command(&self, version: &str, program: &str, port: u16) -> Command {
        let mut command = Command::new(self.binaries.shop(version, program));
        command.env("TEPHRA_ENDPOINT", &self.api.base).env("SHOP_LISTEN", format!("127.0.0.1:{port}"));
        // Four times as often as a service that runs for days would: the leak has a minute to stand out.
        command.env("SHOP_HEAP_MEAN_BYTES", "131072");
        command
    }

    fn start_shop(&mut self, name: &str, mut command: Command, port: u16) -> Result {
        let mut running = Running::start(name, &mut command, self.scratch.path())?;
        await_true(&mut running, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        self.shop.push(running);
        Ok(())
    }

    /// Fails if anything that should run does not.
    pub(crate) fn check(&mut self) -> Result {
        self.load.iter_mut().chain(&mut self.shop).chain(&mut self.collector).try_for_each(Running::check)
    }

    /// Lets time pass while everything runs.
    fn wait(&mut self, lasts: Duration) -> Result {
        let end = Instant::now() + lasts;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            stop::sleep(left.min(Duration::from_secs(1)))?;
            self.check()?;
        }
        Ok(())
    }

    /// Stops everything and says whether all of it left by itself.
    pub(crate) fn close(mut self) -> Result {
        let all = self.load.take().into_iter().chain(self.shop.drain(..)).chain(self.collector.take());
        let stopped: Vec<Result> = all.map(Running::stop).collect();
        stopped.into_iter().collect::<Result>()?;
        Ok(self.scratch.close()?)
    }

    /// Copies the logs to where they survive, and says where.
    pub(crate) fn keep_logs(&self) {
        let kept = crate::tools::target_dir().join("demo-logs");
        let _ = std::fs::create_dir_all(&kept);
        for entry in std::fs::read_dir(self.scratch.path()).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|kind| kind == "log") {
                let _ = std::fs::copy(entry.path(), kept.join(entry.file_name()));
            }
        }
        eprintln!("logs are kept in {}", kept.display());
    }

    /// Where exports may be put.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.scratch.path().to_owned()
    }
}

/// What happened when, in unix milliseconds, and where the alert leads.
#[derive(Debug)]
pub(crate) struct Story {
    /// When v1 was under load.
    pub(crate) before: (u64, u64),
    /// What v1's people know of their requests, to the last one: by route, as `shop-load` writes it.
    pub(crate) sent_before: Value,
    /// When v2 was.
    pub(crate) after: (u64, u64),
    /// The page that the alert leads to, as a path.
    pub(crate) alert: String,
}

impl Story {
    /// Plays it, each release for `phase`.
    pub(crate) fn play(stage: &mut Stage, phase: Duration) -> Result<Self> {
        let seconds = phase.as_secs();
        let before =
            step(&format!("shop v1 under load for {seconds} s"), || release(stage, "v1", 7, phase, requests_lacking))?;
        let sent_before = stage.end_load()?;
        let deploy = json!({
            "kind": "deploy", "service": "checkout", "title": "checkout v2", "labels": {"version": "v2"},
            "at": now_ms(),
        });
        stage.api.post("/api/v1/events", &deploy)?;
        // A leak is told by how long it went on: it may take longer than what else is wrong with v2.
        let lacking = |api: &Api, range, phase| Ok(requests_lacking(api, range, phase)?.or(leak_hidden(api, range)?));
        let after =
            step(&format!("deploying v2, under load for {seconds} s"), || release(stage, "v2", 8, phase, lacking))?;
        let alert = step("an alert fires", || {
            let answer = stage.api.post("/api/v1/alerts", &alertmanager_payload())?;
            let link = answer.pointer("/alerts/0/link").and_then(Value::as_str);
            link.map(str::to_owned).ok_or_else(|| format!("the alert's answer has no link: {answer}").into())
        })?;
        Ok(Self { before, sent_before, after, alert })
    }
}

/// Runs a release for `phase`, and on until nothing is `lacking`, as far as patience goes. Answers the time it was under load.
fn release(
    stage: &mut Stage,
    version: &str,
    seed: u32,
    phase: Duration,
    lacking: impl Fn(&Api, (u64, u64), Duration) -> Result<Option<String>>,
) -> Result<(u64, u64)> {
    stage.deploy(version, seed)?;
    let start = Instant::now();
    let from = now_ms();
    stage.wait(phase)?;
    loop {
        let range = (from, now_ms());
        stage.wait(SETTLE)?;
        match lacking(&stage.api, range, phase)? {
            Some(why) if start.elapsed() < phase * PATIENCE => eprintln!("  it runs on: {why}"),
            _ => return Ok(range),
        }
        stage.wait(MORE)?;
    }
}

/// What of the planned requests the gateway has not told of.
fn requests_lacking(api: &Api, (from, until): (u64, u64), phase: Duration) -> Result<Option<String>> {
    let answer = api.json(&format!("/api/v1/requests?service=gateway&from={from}&until={until}"))?;
    let routes = answer["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let served = routes.iter().filter_map(|route| route["count"].as_f64()).sum::<f64>() as u64;
    let planned = RATE * phase.as_secs();
    Ok((served < planned).then(|| format!("{served} of {planned} requests were served, this machine is busy")))
}

/// Why v2's leak cannot be told from noise yet.
fn leak_hidden(api: &Api, (from, until): (u64, u64)) -> Result<Option<String>> {
    let growth = api.json(&format!("/api/v1/growth?service=gateway&from={from}&until={until}"))?;
    let has_grown = growth["growers"].as_array().is_some_and(|growers| !growers.is_empty());
    Ok((!has_grown).then(|| "what grows in the gateway does not stand out yet".to_owned()))
}

/// As Alertmanager's webhook (version 4) sends it.
fn alertmanager_payload() -> Value {
    let labels = json!({"alertname": "CheckoutSlow", "service": "checkout", "severity": "page"});
    let annotations = json!({"summary": "the slowest 1 % of /checkout take longer than 100 ms"});
    json!({
        "version": "4", "groupKey": "{}:{alertname=\"CheckoutSlow\"}", "truncatedAlerts": 0, "status": "firing",
        "receiver": "tephra", "groupLabels": {"alertname": "CheckoutSlow"}, "commonLabels": labels,
        "commonAnnotations": annotations, "externalURL": "http://alertmanager.example:9093",
        "alerts": [{
            "status": "firing", "labels": labels, "annotations": annotations,
            "startsAt": rfc3339(now_ms()), "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example:9090/graph", "fingerprint": "9a3cb2f1d4e5a6b7",
        }],
    })
}

/// Asks until it is true, as long as the process lives.
fn await_true(running: &mut Running, mut ready: impl FnMut() -> bool) -> Result {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ready() {
        running.check()?;
        if Instant::now() > deadline {
            return Err("not ready within 30 s".into());
        }
        stop::sleep(Duration::from_millis(50))?;
    }
    Ok(())
}

/// Ports nobody listens on: held at the same time, so that they differ.
fn free_ports() -> Result<[u16; 2]> {
    let held = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let [a, b] = &held;
    Ok([a.local_addr()?.port(), b.local_addr()?.port()])
}
