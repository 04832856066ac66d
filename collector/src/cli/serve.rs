//! `tephra serve`: one collector on one port, with a folder of its own, or one of several that share a database and a bucket.
#![expect(clippy::disallowed_methods, reason = "the file of rules is named on the command line")]

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ipnet::IpNet;
use tracing::warn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::fail;
use super::store::StoreArgs;
use crate::access::proxies::{self, Proxies};
use crate::access::role::Role;
use crate::access::token::Token;
use crate::access::{AccessOptions, NameGrant};
use crate::analysis::costs::Costs;
use crate::base::tenant::TenantName;
use crate::base::times::{format_duration, parse_duration};
use crate::conditions::Severity;
use crate::http::{AppState, ScrapeConfig};
use crate::ingest::{Caps, IngestLimits};
use crate::query::QueryLimits;
use crate::serve::log::{self, Flood};
use crate::serve::{Collector, ConnectionLimits, Limits, ServeOptions, TlsFiles, serve};
use crate::store::place::Place;
use crate::store::{Keep, Options, Unknown};
use crate::symbols::SymbolLimits;
use crate::symbols::memory::MEMORY_BYTES_MIN;

/// Below an hour a query over the default range would miss data that just arrived.
const RETENTION_MS_MIN: u64 = 3_600_000;

/// An ack that comes quickly costs an fsync or three.
const FLUSH_FOLDER: Duration = Duration::from_millis(250);

/// Each request to a bucket costs money, and agents do not mind waiting.
const FLUSH_BUCKET: Duration = Duration::from_secs(5);

/// Agents give a request up after 10 s.
const FLUSH_MS_MAX: u64 = 8_000;

/// Nobody waits longer, and retention leaves objects to queries for this long.
const QUERY_MS_MAX: u64 = 600_000;

/// Whoever restarts a collector waits no longer for it.
const SHUTDOWN_MS_MAX: u64 = 600_000;

/// Below this the largest window that agents may send does not fit.
const INGEST_BYTES_MIN: usize = 32 << 20;

/// More than all rules that there may be.
const RULES_BYTES_MAX: u64 = 1 << 20;

/// What `tephra serve` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// Address for agents, API and web view
    #[arg(long, env = "TEPHRA_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:4040", value_parser = address)]
    listen: SocketAddr,
    /// Certificate in PEM, followed by those that lead to an authority: then the port speaks TLS; read again when it changes
    #[arg(long, env = "TEPHRA_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM
    #[arg(long, env = "TEPHRA_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Authorities in PEM, one of which must have signed the certificate of each client
    #[arg(long, env = "TEPHRA_TLS_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Let clients in that show no certificate: probes, and people with a browser
    #[arg(long, env = "TEPHRA_TLS_CLIENT_OPTIONAL", requires = "tls_client_ca")]
    tls_client_optional: bool,
    /// How long profiles and symbols are kept, such as 36h or 90d: in windows of an hour, and finer ones as the next options say
    #[arg(long, env = "TEPHRA_RETENTION", value_name = "DURATION", default_value = "90d", value_parser = retention)]
    retention: Duration,
    /// How long they are kept in windows of ten minutes
    #[arg(long, env = "TEPHRA_RETENTION_10M", value_name = "DURATION", default_value = "30d", value_parser = retention)]
    retention_10m: Duration,
    /// How long they are kept in windows of a minute, by instance
    #[arg(long, env = "TEPHRA_RETENTION_1M", value_name = "DURATION", default_value = "14d", value_parser = retention)]
    retention_1m: Duration,
    /// How long they are kept in windows of ten seconds, by instance
    #[arg(long, env = "TEPHRA_RETENTION_10S", value_name = "DURATION", default_value = "7d", value_parser = retention)]
    retention_10s: Duration,
    /// How long traces and spans are kept
    #[arg(long, env = "TEPHRA_RETENTION_TRACES", value_name = "DURATION", default_value = "3d", value_parser = retention)]
    retention_traces: Duration,
    /// How long windows are collected before they are written together and acked [default: 250ms; with --bucket 5s]
    #[arg(long, env = "TEPHRA_FLUSH", value_name = "DURATION", value_parser = flush)]
    flush: Option<Duration>,
    /// Memory for windows between arrival and ack, such as 256MiB; one service may hold at most as much of it as is still free
    #[arg(long, env = "TEPHRA_INGEST_MEMORY", value_name = "SIZE", default_value = "256MiB", value_parser = ingest_memory)]
    ingest_memory: usize,
    /// Memory for the processes that read uploaded symbol files, together, such as 1GiB; less where the machine has little
    #[arg(long, env = "TEPHRA_SYMBOL_MEMORY", value_name = "SIZE", default_value = "1GiB", value_parser = symbol_memory)]
    symbol_memory: u64,
    /// Instances and label sets of one service kept apart within an hour; windows of further ones count as instance __other__
    #[arg(long, env = "TEPHRA_SERIES_MAX", value_name = "N", default_value_t = Caps::default().series_max)]
    series_max: usize,
    /// How long one query may take; what it has done by then is answered as a part
    #[arg(long, env = "TEPHRA_QUERY_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = query_timeout)]
    query_timeout: Duration,
    /// Start although segments are here that the catalog does not know: they are kept aside for a week, as files, and not served
    #[arg(long, conflicts_with = "bucket")]
    set_unknown_aside: bool,
    /// Connections at the same time; fewer where the limit of open files does not allow them
    #[arg(long, env = "TEPHRA_CONNECTIONS", value_name = "N", default_value_t = ConnectionLimits::default().all, value_parser = connections)]
    connections: usize,
    /// Connections from one address at the same time [default: half of all]; behind a proxy or a gateway all have the same
    #[arg(long, env = "TEPHRA_CONNECTIONS_PER_ADDRESS", value_name = "N", value_parser = connections)]
    connections_per_address: Option<usize>,
    /// How long requests are still answered after SIGTERM, while /readyz says 503, so that load balancers notice; at most 10m
    #[arg(long, env = "TEPHRA_SHUTDOWN_DELAY", value_name = "DURATION", default_value = "0s", value_parser = shutdown_delay)]
    shutdown_delay: Duration,
    /// Permissions that new files and folders lack, in octal: 077 keeps them to this user, 027 lets the group read
    #[arg(long, env = "TEPHRA_UMASK", value_name = "OCTAL", default_value = "077", value_parser = umask)]
    umask: u32,
    /// Public host name by which agents, scripts and people reach this collector; may be repeated
    #[arg(long, env = "TEPHRA_HOST", value_name = "NAME", value_delimiter = ',')]
    host: Vec<String>,
    /// Let in only who has a token (`tephra token create`), with a role that may do what is asked for
    #[arg(long, env = "TEPHRA_AUTH")]
    auth: bool,
    /// File with a token that may do everything, for a first start (`tephra token draw`); read again when it changes. Implies --auth
    #[arg(long, env = "TEPHRA_BOOTSTRAP_TOKEN_FILE", value_name = "FILE")]
    bootstrap_token_file: Option<PathBuf>,
    /// What a name in clients' certificates grants, such as dns:agents.example=push, or cn:acme-ops=admin@acme in the tenant acme; may be
    /// repeated. Implies --auth
    #[arg(long, env = "TEPHRA_CERT_ROLE", value_name = "NAME=ROLE[@TENANT]", value_delimiter = ',', requires = "tls_client_ca", value_parser = cert_role)]
    cert_role: Vec<NameGrant>,
    /// Network of proxies that are believed about where a request comes from and who sends it (X-Forwarded-*), such as 10.1.0.0/16; may be
    /// repeated. Implies --auth
    #[arg(long, env = "TEPHRA_TRUST_PROXY", value_name = "CIDR", value_delimiter = ',', value_parser = proxies::network)]
    trust_proxy: Vec<IpNet>,
    /// What people may do whom such a proxy says to be in a group, such as sre=admin; may be repeated
    #[arg(long, env = "TEPHRA_GROUP_ROLE", value_name = "GROUP=ROLE", value_delimiter = ',', requires = "trust_proxy", value_parser = group_role)]
    group_role: Vec<(String, Role)>,
    /// Listen on an address of others without TLS and tokens: something in front of it does both
    #[arg(long, env = "TEPHRA_INSECURE")]
    insecure: bool,
    /// File that says what to scrape, in the shape of Prometheus' configuration: `/debug/pprof/*` of Go programs; read at the start
    #[arg(long, env = "TEPHRA_SCRAPE", value_name = "FILE")]
    scrape: Option<PathBuf>,
    /// File of rules for /metrics/profiles: what functions of services cost, as counters; read at the start
    #[arg(long, env = "TEPHRA_PROFILE_RULES", value_name = "FILE")]
    profile_rules: Option<PathBuf>,
    /// How the log is written: for people, or an object a line
    #[arg(long, env = "TEPHRA_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = log::Format::Text)]
    log_format: log::Format,
}

/// The same as a file, where a secret comes as a variable. No option: command lines are seen by everybody.
const BOOTSTRAP_TOKEN: &str = "TEPHRA_BOOTSTRAP_TOKEN";

/// Runs until it is told to stop.
pub(super) fn run(args: Args) -> ExitCode {
    let flood = log_to_stderr(args.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start threads: {error}")),
    };
    let Args {
        store,
        listen,
        tls_cert,
        tls_key,
        tls_client_ca,
        tls_client_optional,
        retention,
        retention_10m,
        retention_1m,
        retention_10s,
        retention_traces,
        flush,
        ingest_memory,
        symbol_memory,
        series_max,
        query_timeout,
        set_unknown_aside,
        connections,
        connections_per_address,
        shutdown_delay,
        umask,
        host,
        auth,
        bootstrap_token_file,
        cert_role,
        trust_proxy,
        group_role,
        insecure,
        scrape,
        profile_rules,
        log_format: _,
    } = args;
    let proxies = Proxies { networks: trust_proxy, group_roles: group_role };
    let access = match access(auth, bootstrap_token_file, cert_role, proxies) {
        Ok(access) => access,
        Err(error) => return fail(2, &error),
    };
    let place = match store.place() {
        Ok(place) => place,
        Err(error) => return fail(2, &error),
    };
    let scrape = match scrape.as_deref().map(ScrapeConfig::read).transpose() {
        Ok(scrape) => scrape,
        Err(error) => return fail(2, &format!("--scrape: {error}")),
    };
    let rules = match profile_rules.as_deref().map(cost_rules).transpose() {
        Ok(rules) => rules,
        Err(error) => return fail(2, &format!("--profile-rules {error}")),
    };
    let exposure = Exposure { has_tls: tls_cert.is_some() && tls_key.is_some(), asks: access.is_on(), insecure };
    if let Err(error) = exposure.may_listen(listen) {
        return fail(2, &error);
    }
    if !listen.ip().is_loopback() && insecure {
        match access.is_on() {
            true => warn!(%listen, "--insecure: what is sent to this address, tokens too, can be read on the way"),
            false => {
                warn!(%listen, "--insecure: whoever reaches this address past the proxy is taken for one of its users")
            }
        }
    }
    let kept = format_duration(retention.as_millis() as u64);
    let limits = Limits {
        ingest: IngestLimits { memory: ingest_memory, caps: Caps { series_max, ..Caps::default() } },
        query: QueryLimits { timeout: query_timeout, ..QueryLimits::default() },
        symbols: SymbolLimits { memory: symbol_memory },
        connections: ConnectionLimits { all: connections, per_address: connections_per_address },
    };
    let (data_in, batch_time) = match &place {
        Place::Folder(data) => (data.display().to_string(), FLUSH_FOLDER),
        Place::Shared { bucket, .. } => (bucket.to_string(), FLUSH_BUCKET),
    };
    let keep =
        Keep { windows: retention_10s, minutes: retention_1m, ten_minutes: retention_10m, traces: retention_traces };
    let unknown = if set_unknown_aside { Unknown::SetAside } else { Unknown::Refuse };
    let store = Options { retention, keep, batch_time: flush.unwrap_or(batch_time), unknown, ..Options::default() };
    let files = tls_cert.zip(tls_key);
    let tls =
        files.map(|(cert, key)| TlsFiles { cert, key, client_ca: tls_client_ca, client_optional: tls_client_optional });
    let scheme = if tls.is_some() { "https" } else { "http" };
    let options = ServeOptions { place, listen, tls, store, limits, shutdown_delay, umask, access };
    let state = |collector: &Collector| {
        let Collector { store, query, ingest, symbols, access, .. } = collector.clone();
        let state = AppState::new(store, query, symbols, ingest, host, access);
        if let Some(Err(error)) = scrape.map(|scrape| scrape.start(&state)) {
            // What is served must not end because what is fetched cannot be.
            let message =
                format!("--scrape: {error}; nothing is scraped until it is put right and the collector restarted");
            state.store.conditions().begin("scrape_discovery", "", Severity::Degraded, message);
        }
        if let Some(rules) = rules {
            state.count_costs(rules);
        }
        state
    };
    let ready = |bound: SocketAddr| {
        let url = url(scheme, bound);
        // Whoever started it may have stopped reading.
        let mut out = std::io::stdout();
        let _ = writeln!(
            out,
            "tephra is ready: {url}  (agents send to the same address; data in {data_in}, kept for {kept})"
        );
        let _ = out.flush();
    };
    let served = runtime.block_on(async {
        flood.tell_every_minute();
        serve(options, state, ready).await
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

/// What stands between this collector and whoever reaches it.
#[derive(Debug, Clone, Copy)]
struct Exposure {
    has_tls: bool,
    asks: bool,
    insecure: bool,
}

impl Exposure {
    /// It is open to others only if it is locked, or somebody said that another one is in front of it. Who connects from loopback proves
    /// nothing: a proxy on this machine does that for everybody.
    fn may_listen(self, listen: SocketAddr) -> Result<(), String> {
        if listen.ip().is_loopback() || self.insecure || (self.has_tls && self.asks) {
            return Ok(());
        }
        let missing = match (self.has_tls, self.asks) {
            (false, false) => "without TLS and without asking who they are",
            (false, true) => "without TLS, so that tokens can be read on the way",
            (true, _) => "without asking who they are",
        };
        Err(format!(
            "{listen} is an address that others reach, {missing}. One of three: --listen 127.0.0.1:{} for this machine alone; \
             --tls-cert FILE --tls-key FILE --auth, with tokens by `tephra token create`; or --insecure, where a proxy in front of it does both",
            listen.port()
        ))
    }
}

/// What functions are to be counted by themselves.
fn cost_rules(file: &Path) -> Result<Costs, String> {
    let failed = |why: String| format!("{}: {why}", file.display());
    let bytes = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
    if bytes > RULES_BYTES_MAX {
        return Err(failed(format!("it has {bytes} bytes, limit {RULES_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    Costs::parse(&text).map_err(|error| failed(error.to_string()))
}

/// Who is asked who they are.
fn access(
    required: bool,
    bootstrap_file: Option<PathBuf>,
    certificates: Vec<NameGrant>,
    proxies: Proxies,
) -> Result<AccessOptions, String> {
    let given = std::env::var(BOOTSTRAP_TOKEN).ok().filter(|text| !text.trim().is_empty());
    let read = |text: String| {
        Token::parse(text.trim()).ok_or(format!("{BOOTSTRAP_TOKEN} holds no token: `tephra token draw` makes one"))
    };
    Ok(AccessOptions { required, bootstrap: given.map(read).transpose()?, bootstrap_file, certificates, proxies })
}

/// Warnings and news, or what `TEPHRA_LOG` says, in the grammar of `RUST_LOG`.
fn log_to_stderr(format: log::Format) -> Flood {
    let filter = EnvFilter::try_from_env("TEPHRA_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let (flood, lines) = (Flood::default(), log::lines(format, std::io::stderr));
    tracing_subscriber::registry().with(filter).with(flood.clone()).with(lines).init();
    flood
}

/// The address a person can open.
fn url(scheme: &str, bound: SocketAddr) -> String {
    match bound.ip() {
        ip if ip.is_unspecified() => format!("{scheme}://localhost:{}", bound.port()),
        IpAddr::V4(ip) => format!("{scheme}://{ip}:{}", bound.port()),
        IpAddr::V6(ip) => format!("{scheme}://[{ip}]:{}", bound.port()),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let everywhere = text.strip_prefix(':').map(|port| format!("0.0.0.0:{port}"));
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let text = everywhere.or(local).unwrap_or_else(|| text.to_owned());
    text.parse().map_err(|_| {
        "write an address and a port, such as 127.0.0.1:4040, or 0.0.0.0:4040 for every network".to_owned()
    })
}

fn cert_role(text: &str) -> Result<NameGrant, String> {
    let (name, role) = text.rsplit_once('=').ok_or("write NAME=ROLE, such as dns:agents.example=push")?;
    let has_kind =
        ["dns:", "uri:", "cn:"].iter().any(|kind| name.strip_prefix(kind).is_some_and(|rest| !rest.is_empty()));
    if !has_kind {
        return Err(format!("{name:?} does not say what kind of name it is: begin with dns:, uri: or cn:"));
    }
    let (role, tenant) = match role.split_once('@') {
        None => (role, TenantName::default()),
        Some((role, tenant)) => (role, TenantName::parse(tenant).map_err(|error| error.to_string())?),
    };
    let role = Role::parse(role).ok_or_else(|| format!("{role:?} is no role: one of push, read, write, admin"))?;
    Ok(NameGrant { name: name.to_owned(), role, tenant })
}

fn group_role(text: &str) -> Result<(String, Role), String> {
    let (group, role) = text.rsplit_once('=').ok_or("write GROUP=ROLE, such as sre=admin")?;
    if group.trim() != group || group.is_empty() {
        return Err(format!("{group:?} is no name of a group"));
    }
    let role = Role::parse(role).ok_or_else(|| format!("{role:?} is no role: one of push, read, write, admin"))?;
    Ok((group.to_owned(), role))
}

fn retention(text: &str) -> Result<Duration, String> {
    let ms = parse_duration(text).map_err(|error| format!("{error}; {}", error.hint()))?;
    if ms < RETENTION_MS_MIN {
        return Err(format!("{} is too short: at least 1h", format_duration(ms)));
    }
    Ok(Duration::from_millis(ms))
}

fn query_timeout(text: &str) -> Result<Duration, String> {
    let ms = parse_duration(text).map_err(|error| format!("{error}; write one such as 30s"))?;
    if !(1_000..=QUERY_MS_MAX).contains(&ms) {
        return Err(format!("{text} is outside of 1s to 10m"));
    }
    Ok(Duration::from_millis(ms))
}

fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1_000_000).contains(number));
    number.ok_or_else(|| "write a number from 1 to 1000000, such as 4096".to_owned())
}

fn shutdown_delay(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") {
        return Ok(Duration::ZERO);
    }
    let ms = parse_duration(text).map_err(|error| format!("{error}; write one such as 10s, or 0s"))?;
    if ms > SHUTDOWN_MS_MAX {
        return Err(format!("{text} is too long: at most 10m"));
    }
    Ok(Duration::from_millis(ms))
}

/// Whoever runs the collector must read what it writes.
fn umask(text: &str) -> Result<u32, String> {
    let mask = u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777);
    let mask = mask.ok_or("write octal digits, such as 077 or 027")?;
    if mask & 0o700 != 0 {
        return Err(format!("{text} takes its own files from the collector: begin with 0, such as 077"));
    }
    Ok(mask)
}

fn ingest_memory(text: &str) -> Result<usize, String> {
    let bytes = usize::try_from(size(text, "256MiB")?).unwrap_or(usize::MAX);
    if bytes < INGEST_BYTES_MIN {
        return Err(format!("{text} is too little for a large window: at least 32MiB"));
    }
    Ok(bytes)
}

fn symbol_memory(text: &str) -> Result<u64, String> {
    let bytes = size(text, "1GiB")?;
    if bytes < MEMORY_BYTES_MIN {
        return Err(format!("{text} is too little for a small service's symbols: at least 64MiB"));
    }
    Ok(bytes)
}

pub(super) fn size(text: &str, example: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let split = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let bytes = split.and_then(|(number, unit)| number.trim().parse::<u64>().ok()?.checked_mul(unit));
    bytes.ok_or_else(|| format!("write a whole number with KiB, MiB or GiB, such as {example}"))
}

fn flush(text: &str) -> Result<Duration, String> {
    let ms = parse_duration(text).map_err(|error| format!("{error}; {}", error.hint()))?;
    if ms > FLUSH_MS_MAX {
        return Err(format!(
            "{} is too long, agents would give up: at most {}",
            format_duration(ms),
            format_duration(FLUSH_MS_MAX)
        ));
    }
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_people_write() {
        for (text, expected) in [
            ("127.0.0.1:4040", "127.0.0.1:4040"),
            (":80", "0.0.0.0:80"),
            ("localhost:1", "127.0.0.1:1"),
            ("[::1]:5", "[::1]:5"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected);
        }
        for bad in ["", "4040", "127.0.0.1", "example.com:4040", "127.0.0.1:99999", "http://127.0.0.1:4040"] {
            assert!(address(bad).unwrap_err().contains("such as 127.0.0.1:4040"), "{bad}");
        }
    }

    #[test]
    fn a_certificate_s_name_has_a_kind_and_a_role() {
        let grant = |name: &str, role, tenant: &str| {
            Ok(NameGrant { name: name.to_owned(), role, tenant: TenantName::parse(tenant).unwrap() })
        };
        assert_eq!(cert_role("dns:agents.example=push"), grant("dns:agents.example", Role::Push, "default"));
        let spiffe = "uri:spiffe://me@example/agent?x=y";
        assert_eq!(cert_role(&format!("{spiffe}=read")), grant(spiffe, Role::Read, "default"));
        assert_eq!(cert_role(&format!("{spiffe}=read@acme")), grant(spiffe, Role::Read, "acme"));
        for (wrong, why) in [
            ("ops", "NAME=ROLE"),
            ("ops=admin", "dns:, uri: or cn:"),
            ("cn:=admin", "cn:"),
            ("cn:x=root", "push, read"),
            ("cn:x=root@acme", "push, read"),
            ("cn:x=read@", "a-z, 0-9"),
            ("cn:x=read@../acme", "a-z, 0-9"),
        ] {
            assert!(cert_role(wrong).unwrap_err().contains(why), "{wrong}");
        }
    }

    #[test]
    fn a_group_has_a_role() {
        assert_eq!(group_role("sre=admin"), Ok(("sre".to_owned(), Role::Admin)));
        assert_eq!(group_role("cn=sre/x=read"), Ok(("cn=sre/x".to_owned(), Role::Read)));
        for (wrong, why) in
            [("sre", "GROUP=ROLE"), ("=admin", "no name"), (" =admin", "no name"), ("x=root", "push, read")]
        {
            assert!(group_role(wrong).unwrap_err().contains(why), "{wrong}");
        }
    }

    #[test]
    fn an_address_of_others_is_listened_on_only_behind_a_lock() {
        let addresses = ["0.0.0.0:4040", "[::]:4040", "10.1.2.3:4040"];
        let locked = Exposure { has_tls: true, asks: true, insecure: false };
        let behind_a_proxy = Exposure { has_tls: false, asks: false, insecure: true };
        let unlocked = [(false, false), (true, false), (false, true)];
        for address in addresses.map(|address| address.parse().unwrap()) {
            assert_eq!((locked.may_listen(address), behind_a_proxy.may_listen(address)), (Ok(()), Ok(())));
            for (has_tls, asks) in unlocked {
                let why = Exposure { has_tls, asks, insecure: false }.may_listen(address).unwrap_err();
                for way in ["--listen 127.0.0.1:4040", "--tls-cert FILE --tls-key FILE --auth", "--insecure"] {
                    assert!(why.contains(way), "{why}");
                }
            }
        }
        for address in ["127.0.0.1:4040", "127.9.9.9:1", "[::1]:4040"].map(|address| address.parse().unwrap()) {
            for (has_tls, asks) in unlocked {
                assert_eq!(Exposure { has_tls, asks, insecure: false }.may_listen(address), Ok(()), "{address}");
            }
        }
    }

    #[test]
    fn the_printed_url_can_be_opened() {
        for (bound, expected) in
            [("0.0.0.0:4040", "http://localhost:4040"), ("[::]:1", "http://localhost:1"), ("[::1]:1", "http://[::1]:1")]
        {
            assert_eq!(url("http", bound.parse().unwrap()), expected);
        }
    }

    #[test]
    fn ingest_memory_has_a_unit_and_a_minimum() {
        assert_eq!(ingest_memory("256MiB"), Ok(256 << 20));
        assert_eq!(ingest_memory("1 GiB"), Ok(1 << 30));
        for bad in ["", "256", "MiB", "-1MiB", "99999999999999999999GiB", "1.5GiB"] {
            assert!(ingest_memory(bad).unwrap_err().contains("such as 256MiB"), "{bad}");
        }
        assert!(ingest_memory("31MiB").unwrap_err().contains("at least 32MiB"));
        assert_eq!(symbol_memory("1GiB"), Ok(1 << 30));
        assert!(symbol_memory("63MiB").unwrap_err().contains("at least 64MiB"));
        assert!(symbol_memory("1").unwrap_err().contains("such as 1GiB"));
    }

    #[test]
    fn a_query_timeout_is_between_a_second_and_ten_minutes() {
        assert_eq!(query_timeout("45s"), Ok(Duration::from_secs(45)));
        for bad in ["999ms", "11m"] {
            assert!(query_timeout(bad).unwrap_err().contains("1s to 10m"), "{bad}");
        }
        assert!(query_timeout("soon").unwrap_err().contains("such as 30s"));
    }

    #[test]
    fn a_mask_of_permissions_is_octal_and_never_the_owner_s() {
        assert_eq!((umask("077"), umask("27"), umask("0022")), (Ok(0o077), Ok(0o27), Ok(0o22)));
        for bad in ["", "x", "078", "1777", "-1"] {
            assert!(umask(bad).unwrap_err().contains("such as 077"), "{bad}");
        }
        assert!(umask("777").unwrap_err().contains("its own files"));
    }

    #[test]
    fn the_shutdown_delay_has_an_end() {
        assert_eq!((shutdown_delay("0s"), shutdown_delay("15s")), (Ok(Duration::ZERO), Ok(Duration::from_secs(15))));
        assert!(shutdown_delay("11m").unwrap_err().contains("at most 10m"));
    }

    #[test]
    fn a_retention_is_long_enough_to_be_of_use() {
        assert_eq!(retention("14d"), Ok(Duration::from_secs(14 * 86_400)));
        assert!(retention("5m").unwrap_err().contains("at least 1h"));
        assert!(retention("soon").unwrap_err().contains("14d") || retention("soon").unwrap_err().contains("1d"));
    }
}
