//! Other people's clients, unmodified, against the real binary: each runs a program whose three functions share the CPU 60/30/10, and the
//! collector is asked whether it knows so. The programs are in `tests/interop`; what they are made of comes from their registries.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::Api;
use crate::binaries::{self, Binaries};
use crate::process::Running;
use crate::tools::{root, run_quietly, step, target_dir};
use crate::{Result, stop};

/// How much CPU each program uses, seconds: at 100 Hz that is more than [`SAMPLES_MIN`].
const SECONDS: u32 = 36;

/// Below this a share says little.
const SAMPLES_MIN: u64 = 3_000;

/// What each function's share may be off by, in points.
const POINTS: f64 = 3.0;

/// What the functions are called everywhere, and their shares.
const SHARES: [(&str, f64); 3] = [("sixty", 60.0), ("thirty", 30.0), ("ten", 10.0)];

/// Whose profiles Grafana's client asks for; and who sent them.
const ASKED_SERVICE: &str = "interop.go";
const ASKED: &str = "pyroscope-go as interop.go";

/// One client: how it is made, and what it is to be found as.
struct Client {
    name: &'static str,
    /// Makes its program, and answers how it is run.
    prepare: fn(&Path) -> Result<Command>,
    /// Its services, each with the type to ask for.
    services: &'static [(&'static str, &'static str)],
}

const CLIENTS: [Client; 4] = [
    Client { name: "pyroscope-go", prepare: |to| go("go-push", to), services: &[("interop.go", "cpu")] },
    Client { name: "pyroscope-io (Python)", prepare: python, services: &[("interop.python", "cpu")] },
    Client { name: "@pyroscope/nodejs", prepare: node, services: &[("interop.node", "cpu")] },
    Client {
        name: "OpenTelemetry (Go's pdata)",
        prepare: |to| go("otlp", to),
        services: &[("interop.otlp-grpc", "cpu"), ("interop.otlp-http", "cpu"), ("interop.otlp-json", "cpu")],
    },
];

/// Runs all that this machine can, and fails at the end, naming what failed. `built`: the folder of binaries that need not be built.
pub(crate) fn run(built: Option<&str>) -> Result {
    let binaries = match built {
        Some(folder) => Binaries { folder: PathBuf::from(folder) },
        None => binaries::release()?,
    };
    let folder = target_dir().join("interop");
    std::fs::create_dir_all(&folder)?;
    let (mut ready, mut skipped) = (Vec::new(), Vec::new());
    for client in &CLIENTS {
        match step(client.name, || (client.prepare)(&folder)) {
            Ok(command) => ready.push((client, command)),
            Err(why) => skipped.push(format!("{}: {why}", client.name)),
        }
    }
    let told = step("what they send is what they did", || against_a_collector(&binaries, &folder, ready))?;
    let mut failed = 0;
    for (what, found) in told {
        match found {
            Ok(shares) => println!("  ok    {what}: {shares}"),
            Err(why) => {
                failed += 1;
                println!("  FAIL  {what}: {why}");
            }
        }
    }
    for why in &skipped {
        println!("  skip  {why}");
    }
    if failed > 0 { Err(format!("{failed} clients are not understood").into()) } else { Ok(()) }
}

type Told = Vec<(String, Result<String>)>;

fn against_a_collector(binaries: &Binaries, folder: &Path, clients: Vec<(&Client, Command)>) -> Result<Told> {
    let data = folder.join("data");
    let _ = std::fs::remove_dir_all(&data);
    // Of those that are free now: tests run beside it.
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let mut collector = Running::start(
        "collector",
        Command::new(binaries.collector())
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(&data),
        folder,
    )?;
    let api = Api::new(port);
    let deadline = Instant::now() + Duration::from_secs(30);
    while api.fetch("/readyz").map_or(true, |(status, _)| status != 200) {
        collector.check()?;
        if Instant::now() > deadline {
            return Err("the collector is not ready within 30 s".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut told = Told::new();
    for (client, mut command) in clients {
        if stop::asked() {
            return Err("stopped".into());
        }
        println!("· {}", client.name);
        let ran = run_quietly(command.arg(&api.base).arg(SECONDS.to_string()));
        for (service, profile_type) in client.services {
            let found = match &ran {
                Ok(_) => shares(&api, service, profile_type),
                Err(why) => Err(why.to_string().into()),
            };
            told.push((format!("{} as {service}", client.name), found));
        }
    }
    if told.iter().any(|(what, _)| what == ASKED) {
        println!("· Grafana's client");
        told.push((format!("Grafana's Go client asks for {ASKED_SERVICE}"), asked(&api, folder)));
        println!("· go tool pprof");
        told.push((format!("go tool pprof of {ASKED_SERVICE}"), viewed(&api)));
    }
    collector.stop()?;
    Ok(told)
}

/// What Grafana's client makes of a service by each of its three protocols: the sums of our own flame graph, whatever it asks for.
fn asked(api: &Api, folder: &Path) -> Result<String> {
    let ours = String::from_utf8(api.bytes(&format!("/api/v1/flamegraph?service={ASKED_SERVICE}&format=folded"))?)?;
    let ours: u64 = ours.lines().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum();
    let mut client = go("go-query", folder)?;
    client.args(["-url", &api.base, "-last", "1h", "-selector", &format!("{{service_name=\"{ASKED_SERVICE}\"}}")]);
    let output = client.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let answers: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout)?;
    let mut told = Vec::new();
    for (protocol, answer) in &answers {
        for sum in ["total", "series_sum", "profile_total", "diff_total"] {
            // Sums of series are floating-point numbers there, and far below what these hold exactly.
            if answer[sum].as_f64() != Some(ours as f64) {
                return Err(format!("{sum} by {protocol} is {}, not {ours}", answer[sum]).into());
            }
        }
        let functions = answer["functions"].as_object().ok_or("no functions")?;
        let sums = SHARES.map(|(function, _)| {
            let of = functions.iter().filter(|(name, _)| name.ends_with(&format!(".{function}")));
            of.filter_map(|(_, value)| value.as_u64()).sum()
        });
        told.push(format!("{protocol} {}", judged(sums)?));
    }
    if told.len() != 3 {
        return Err(format!("{} protocols instead of three", told.len()).into());
    }
    Ok(told.join(", "))
}

/// What Go's own viewer says of a service.
fn viewed(api: &Api) -> Result<String> {
    let url = format!("{}/debug/pprof/profile?service={ASKED_SERVICE}&label.zone=eu-1", api.base);
    let mut viewer = Command::new("go");
    viewer.args(["tool", "pprof", "-symbolize=none", "-top", "-unit=ms", "-nodecount=1000", "-nodefraction=0"]);
    viewer.args(["-edgefraction=0", "-seconds=600"]).arg(url);
    let told = viewer.env("PPROF_TMPDIR", std::env::temp_dir()).output()?;
    if !told.status.success() {
        return Err(String::from_utf8_lossy(&told.stderr).into_owned().into());
    }
    let table = String::from_utf8(told.stdout)?;
    let mut sums = [0u64; SHARES.len()];
    for line in table.lines() {
        // flat, flat%, sum%, cum, cum%, name
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (Some(cum), Some(name)) = (columns.get(3).and_then(|cum| cum.strip_suffix("ms")), columns.get(5)) else {
            continue;
        };
        if let Some(of) = SHARES.iter().position(|(function, _)| name.ends_with(&format!(".{function}")))
            && let Some(sum) = sums.get_mut(of)
        {
            *sum += (cum.parse::<f64>()? * 1e6) as u64;
        }
    }
    judged(sums)
}

/// The functions' shares of their sum, where they are what they should be.
fn shares(api: &Api, service: &str, profile_type: &str) -> Result<String> {
    let query = format!("service={service}&type={profile_type}&from=now-10m&until=now%2B1m&label.zone=eu-1");
    let folded = String::from_utf8(api.bytes(&format!("/api/v1/flamegraph?{query}&format=folded"))?)?;
    let mut sums = [0u64; SHARES.len()];
    for line in folded.lines() {
        let (stack, value) = line.rsplit_once(' ').ok_or("a line without a value")?;
        let is_in =
            |name: &str| stack.split(';').any(|frame| frame.split(['.', ':', ' ', '(']).any(|part| part == name));
        if let Some(of) = SHARES.iter().position(|(name, _)| is_in(name))
            && let Some(sum) = sums.get_mut(of)
        {
            *sum += value.parse::<u64>()?;
        }
    }
    judged(sums)
}

/// Whether sums of CPU time, in nanoseconds, are shared as they should be.
fn judged(sums: [u64; SHARES.len()]) -> Result<String> {
    let (all, samples) = (sums.iter().sum::<u64>(), sums.iter().sum::<u64>() / 10_000_000);
    if samples < SAMPLES_MIN {
        return Err(format!("only {samples} samples of 10 ms, of {SAMPLES_MIN} at least").into());
    }
    let found: Vec<f64> = sums.iter().map(|sum| *sum as f64 * 100.0 / all as f64).collect();
    let shown = found.iter().map(|share| format!("{share:.1}")).collect::<Vec<_>>().join(" / ");
    let is_off = found.iter().zip(SHARES).any(|(found, (_, share))| (found - share).abs() > POINTS);
    let told = format!("{shown} of {samples} samples");
    if is_off { Err(format!("{told}, which are not 60 / 30 / 10").into()) } else { Ok(told) }
}

fn source(of: &str) -> PathBuf {
    root().join("tests/interop").join(of)
}

/// A program in Go, with what it needs from Go's proxy.
fn go(of: &str, to: &Path) -> Result<Command> {
    let program = to.join(of);
    let built = run_quietly(Command::new("go").current_dir(source(of)).args(["build", "-o"]).arg(&program).arg("."));
    built.map_err(|e| format!("Go and its proxy are needed (Debian: apt-get install golang-go): {e}"))?;
    Ok(Command::new(program))
}

fn python(to: &Path) -> Result<Command> {
    let (environment, of) = (to.join("python"), source("python"));
    let python = environment.join("bin/python");
    if run_quietly(Command::new(&python).args(["-c", "import pyroscope"])).is_err() {
        run_quietly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment)).map_err(|e| {
            format!("python3 with its venv module is needed (Debian: apt-get install python3-venv): {e}")
        })?;
        let requirements = of.join("requirements.txt");
        run_quietly(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements))
            .map_err(|e| format!("pyroscope-io could not be installed from PyPI: {e}"))?;
    }
    let mut command = Command::new(python);
    command.arg(of.join("client.py"));
    Ok(command)
}

fn node(to: &Path) -> Result<Command> {
    let (folder, of) = (to.join("node"), source("node"));
    std::fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json", "client.js"] {
        std::fs::copy(of.join(file), folder.join(file))?;
    }
    run_quietly(Command::new("npm").current_dir(&folder).args(["ci", "--silent", "--no-audit", "--no-fund"]))
        .map_err(|e| format!("@pyroscope/nodejs could not be installed from npm: {e}"))?;
    let mut command = Command::new("node");
    // Inlined functions have no frames of their own there.
    command.arg("--max-inlined-bytecode-size=0").arg(folder.join("client.js"));
    Ok(command)
}
