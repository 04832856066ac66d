//! What a service says of itself and how it wants to be profiled, checked when the agent starts.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
#[cfg(feature = "tls-no-provider")]
use std::sync::Arc;
use std::time::Duration;

use tephra_proto::address::{has_secrets, printable};
use tephra_proto::ids::{InstanceName, ServiceName};
use tephra_proto::label;
use tephra_proto::limits::{RESOURCE_LABELS_MAX, STACK_DEPTH_MAX, WINDOW_MS, WINDOW_MS_MAX, WINDOW_MS_MIN};
use tonic::transport::Uri;

use crate::agent::Agent;
use crate::error::StartError;
use crate::export::{Credentials, Destination, TokenError};
#[cfg(feature = "tls-no-provider")]
use crate::export::{Tls, TlsProblem, TlsSettings};
use crate::settings::{
    CPU_HZ_MAX, HEAP_MEAN_BYTES_MAX, HEAP_MEAN_BYTES_MIN, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, Settings,
    WAITS_PER_SECOND_MAX,
};

/// Whether this build can speak TLS.
const SPEAKS_TLS: bool = cfg!(feature = "tls-no-provider");

/// Where a collector is if nobody says where.
const ENDPOINT: &str = "http://127.0.0.1:4040";

/// Settings of an [`Agent`]; the defaults suit production.
///
/// What the program leaves out may come from the environment: `TEPHRA_ENDPOINT`, `TEPHRA_TOKEN` or `TEPHRA_TOKEN_FILE`, and `TEPHRA_CA_FILE`.
#[derive(Clone)]
#[must_use = "nothing runs before `start`"]
pub struct Builder {
    service: String,
    instance: Option<String>,
    endpoint: Option<String>,
    token: Option<Token>,
    #[cfg(feature = "tls-no-provider")]
    tls: TlsSettings,
    labels: Vec<(String, String)>,
    cpu_hz: u32,
    heap_mean_bytes: u64,
    stack_depth: usize,
    waits_per_second: u32,
    memory_bytes: usize,
    window: Duration,
}

/// A token, and who gave it, for errors.
#[derive(Clone)]
enum Token {
    Text(String, &'static str),
    File(PathBuf),
}

/// Never what an endpoint may hold besides the address, and never a token.
impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            service,
            instance,
            endpoint,
            labels,
            cpu_hz,
            heap_mean_bytes,
            stack_depth,
            waits_per_second,
            memory_bytes,
            window,
            ..
        } = self;
        let mut shown = f.debug_struct("Builder");
        #[cfg(feature = "tls-no-provider")]
        shown.field("tls", &self.tls);
        shown
            .field("service", service)
            .field("instance", instance)
            .field("endpoint", &printable(endpoint.as_deref().unwrap_or(ENDPOINT)))
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("labels", labels)
            .field("cpu_hz", cpu_hz)
            .field("heap_mean_bytes", heap_mean_bytes)
            .field("stack_depth", stack_depth)
            .field("waits_per_second", waits_per_second)
            .field("memory_bytes", memory_bytes)
            .field("window", window)
            .finish()
    }
}

impl Agent {
    /// Settings for profiling this process as one instance of `service`.
    pub fn builder(service: impl Into<String>) -> Builder {
        Builder::new(service.into())
    }
}

impl Builder {
    fn new(service: String) -> Self {
        Self {
            service,
            instance: None,
            endpoint: None,
            token: None,
            #[cfg(feature = "tls-no-provider")]
            tls: TlsSettings::default(),
            labels: Vec::new(),
            cpu_hz: 99,
            heap_mean_bytes: 512 << 10,
            stack_depth: 128,
            waits_per_second: 200,
            memory_bytes: 16 << 20,
            window: Duration::from_millis(WINDOW_MS.into()),
        }
    }

    /// The collector's address, and nothing else: no password, no query. `https://` needs one of the features `tls-ring`, `tls-aws-lc` and
    /// `tls-no-provider`. Default: `TEPHRA_ENDPOINT`, or else `http://127.0.0.1:4040`.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// What the collector knows this agent by: sent with every call, and never shown. Only over `https://`, or to this machine. Default:
    /// `TEPHRA_TOKEN`, or else what is in the file that `TEPHRA_TOKEN_FILE` names.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Token::Text(token.into(), "set by `token`"));
        self
    }

    /// The same from a file, which is read again for every call, so that it may be renewed.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = Some(Token::File(path.into()));
        self
    }

    /// Authorities in PEM, one of which must have signed the collector's certificate. Read again before each connection, if it has changed.
    /// Default: `TEPHRA_CA_FILE`, or else the authorities that are installed on this system.
    #[cfg(feature = "tls-no-provider")]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.ca_file = Some(path.into());
        self
    }

    /// Certificate and key in PEM, for collectors that know agents by them. Read again before each connection, if they have changed.
    #[cfg(feature = "tls-no-provider")]
    pub fn client_identity(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.identity = Some((cert.into(), key.into()));
        self
    }

    /// The cryptography that TLS is made of, instead of that of a feature. The process's own provider is neither used nor changed.
    #[cfg(feature = "tls-no-provider")]
    pub fn crypto_provider(mut self, provider: Arc<rustls::crypto::CryptoProvider>) -> Self {
        self.tls.provider = Some(provider);
        self
    }

    /// All of TLS as the program wants it, but for ALPN, which is the agent's. Authorities, identity and provider are those of `config` then.
    #[cfg(feature = "tls-no-provider")]
    pub fn tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls.config = Some(config);
        self
    }

    /// A label of everything this process reports, such as `version` or `zone`. At most 16, of low cardinality; a second
    /// value for one name replaces the first.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.labels.retain(|(known, _)| *known != name);
        self.labels.push((name, value));
        self
    }

    /// How people tell this process from others of the service. Default: host name and process id.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// CPU samples per second of CPU time a thread uses, 1 to 1000. Default: 99.
    pub fn cpu_hz(mut self, hz: u32) -> Self {
        self.cpu_hz = hz;
        self
    }

    /// Mean bytes allocated between two heap samples, 64 KiB to 1 GiB; 0: no heap profile. Needs [`ProfAlloc`](crate::ProfAlloc) as the
    /// global allocator. Default: 512 KiB.
    ///
    /// A process that allocates gigabytes a second would have thousands of samples a second. From some 200 per second of its CPU
    /// time on (more where `bytes` is less than the default), the sizes of which there are most are sampled more rarely, each
    /// sample standing for more: their sums stay right, only less exact. What is rare beside them, such as a leak, is sampled as
    /// before.
    /// [`Stats::alloc_left_out`](crate::Stats::alloc_left_out) counts what was spared.
    pub fn heap_mean_bytes(mut self, bytes: u64) -> Self {
        self.heap_mean_bytes = bytes;
        self
    }

    /// Frames kept of a stack, 1 to 512. Deeper stacks keep their leaf side and are marked. Default: 128.
    pub fn stack_depth(mut self, frames: usize) -> Self {
        self.stack_depth = frames;
        self
    }

    /// About how many waits of requests to sample in a second, 0 (none) to 100 000: where tasks stand still, and for how long. All polls of a few requests
    /// are sampled, chosen by their traces' ids, and of the fewer the more requests there are; each stands for those like it. Needs futures that are
    /// polled by [`tower_layer`](crate::tower_layer()), [`in_context`](crate::in_context) or [`spawn`](crate::spawn). Default: 200.
    pub fn waits_per_second(mut self, waits: u32) -> Self {
        self.waits_per_second = waits;
        self
    }

    /// What the agent may hold, 4 to 64 MiB. Three eighths are for the window that is being filled, half as much again is kept
    /// free to encode it, three sixteenths are for windows that wait for the collector, an eighth is for unwind tables of shared
    /// libraries; samples, requests and live blocks on their way share the rest. When half of the window's part is used, samples lose their span; at three quarters their trace and
    /// string labels; when it is full, stacks that are new. [`Stats`](crate::Stats) counts all of it. Default: 16 MiB.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Length of a window, 1 s to 1 h. Default: 10 s.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Starts to profile this process. With `TEPHRA=off` in the environment, returns an agent that does nothing.
    ///
    /// # Errors
    /// When a setting is out of range, an agent is already running, or the operating system refuses. Nothing is left
    /// running then.
    pub fn start(self) -> Result<Agent, StartError> {
        if std::env::var_os("TEPHRA").is_some_and(|value| value.eq_ignore_ascii_case("off")) {
            return Ok(Agent::inert());
        }
        Agent::run(self.or_from(|name| std::env::var_os(name)).check()?)
    }

    /// Takes what was not set from the environment. An empty variable is none.
    fn or_from(mut self, environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        // What is no text is none of these, and is refused by what checks them.
        let text = |name: &str| set(name).map(|value| value.to_string_lossy().into_owned());
        self.endpoint = self.endpoint.or_else(|| text("TEPHRA_ENDPOINT"));
        self.token = self.token.or_else(|| Some(Token::Text(text("TEPHRA_TOKEN")?, "in TEPHRA_TOKEN")));
        self.token = self.token.or_else(|| Some(Token::File(set("TEPHRA_TOKEN_FILE")?.into())));
        #[cfg(feature = "tls-no-provider")]
        {
            self.tls.ca_file = self.tls.ca_file.or_else(|| Some(set("TEPHRA_CA_FILE")?.into()));
        }
        self
    }

    fn check(self) -> Result<Settings, StartError> {
        if !(1..=CPU_HZ_MAX).contains(&self.cpu_hz) {
            return Err(StartError::CpuRate { hz: self.cpu_hz });
        }
        if self.heap_mean_bytes != 0 && !(HEAP_MEAN_BYTES_MIN..=HEAP_MEAN_BYTES_MAX).contains(&self.heap_mean_bytes) {
            return Err(StartError::HeapMean { bytes: self.heap_mean_bytes });
        }
        if !(1..=STACK_DEPTH_MAX).contains(&self.stack_depth) {
            return Err(StartError::StackDepth { frames: self.stack_depth });
        }
        if self.waits_per_second > WAITS_PER_SECOND_MAX {
            return Err(StartError::WaitRate { waits: self.waits_per_second });
        }
        if !(MEMORY_BYTES_MIN..=MEMORY_BYTES_MAX).contains(&self.memory_bytes) {
            return Err(StartError::MemoryLimit { bytes: self.memory_bytes });
        }
        let millis = self.window.as_millis();
        let window_ms = u32::try_from(millis).ok().filter(|ms| (WINDOW_MS_MIN..=WINDOW_MS_MAX).contains(ms));
        let window_ms = window_ms.ok_or(StartError::Window { millis })?;
        if self.labels.len() > RESOURCE_LABELS_MAX {
            return Err(StartError::TooManyLabels { count: self.labels.len() });
        }
        for (name, value) in &self.labels {
            label::check_name(name)?;
            label::check_value(value)?;
        }
        let endpoint = self.endpoint.as_deref().unwrap_or(ENDPOINT);
        let destination = Destination {
            endpoint: parse_endpoint(endpoint, SPEAKS_TLS)?,
            credentials: credentials(self.token)?,
            #[cfg(feature = "tls-no-provider")]
            tls: None,
        };
        if destination.credentials.is_secret() && is_in_clear(&destination.endpoint) {
            return Err(StartError::TokenInClear { endpoint: printable(endpoint).into_owned() });
        }
        #[cfg(feature = "tls-no-provider")]
        let destination = Destination { tls: tls(&destination.endpoint, self.tls)?, ..destination };
        Ok(Settings {
            service: ServiceName::parse(&self.service)?,
            instance: InstanceName::parse(&self.instance.unwrap_or_else(default_instance))?,
            destination,
            labels: self.labels,
            cpu_hz: self.cpu_hz,
            heap_mean_bytes: self.heap_mean_bytes,
            stack_depth: self.stack_depth,
            waits_per_second: self.waits_per_second,
            window_bytes: self.memory_bytes / 8 * 3,
            queue_bytes: self.memory_bytes / 16 * 3,
            tables_bytes: self.memory_bytes / 8,
            window_ms,
        })
    }
}

fn parse_endpoint(endpoint: &str, speaks_tls: bool) -> Result<Uri, StartError> {
    let shown = || printable(endpoint).into_owned();
    if has_secrets(endpoint) {
        return Err(StartError::EndpointSecret { endpoint: shown() });
    }
    let Ok(uri) = endpoint.parse::<Uri>() else { return Err(StartError::Endpoint { endpoint: shown() }) };
    match uri.scheme_str() {
        Some("https") if !speaks_tls => Err(StartError::TlsUnsupported { endpoint: shown() }),
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        _ => Err(StartError::Endpoint { endpoint: shown() }),
    }
}

fn credentials(token: Option<Token>) -> Result<Credentials, StartError> {
    let refused = |origin: String| move |error: TokenError| StartError::Token { origin, problem: error.to_string() };
    match token {
        None => Ok(Credentials::default()),
        Some(Token::Text(token, origin)) => Credentials::of_token(&token).map_err(refused(origin.to_owned())),
        Some(Token::File(path)) => {
            Credentials::of_file(&path).map_err(refused(format!("in the file {}", path.display())))
        }
    }
}

/// Whether what is sent there can be read by others than this machine's.
fn is_in_clear(endpoint: &Uri) -> bool {
    let host = bare_host(endpoint);
    let is_here =
        host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    endpoint.scheme_str() != Some("https") && !is_here
}

/// Without the brackets of an IPv6 address.
fn bare_host(endpoint: &Uri) -> &str {
    endpoint.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

#[cfg(feature = "tls-no-provider")]
fn tls(endpoint: &Uri, settings: TlsSettings) -> Result<Option<Tls>, StartError> {
    if endpoint.scheme_str() != Some("https") {
        return Ok(None);
    }
    let server = rustls::pki_types::ServerName::try_from(bare_host(endpoint).to_owned());
    let server =
        server.map_err(|_| StartError::Endpoint { endpoint: printable(&endpoint.to_string()).into_owned() })?;
    let tls =
        Tls::new(server, settings).map_err(|problem: TlsProblem| StartError::Tls { problem: problem.to_string() })?;
    Ok(Some(tls))
}

fn default_instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|c| label::is_printable(*c)).take(64).collect();
    format!("{}/{}", if host.is_empty() { "localhost" } else { &host }, std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(Builder) -> Builder) -> Result<Settings, StartError> {
        change(Builder::new("checkout".to_owned())).check()
    }

    #[test]
    fn the_defaults_are_valid() {
        let settings = check(|builder| builder).unwrap();
        assert_eq!((settings.cpu_hz, settings.heap_mean_bytes, settings.window_ms), (99, 524_288, 10_000));
        assert!(settings.instance.as_str().ends_with(&std::process::id().to_string()));
    }

    #[test]
    fn every_setting_out_of_range_is_named_with_its_limit() {
        type Change = fn(Builder) -> Builder;
        let cases: [(Change, &str); 17] = [
            (|b| b.cpu_hz(0), "CPU sampling rate is 0 Hz, must be 1 to 1000"),
            (|b| b.cpu_hz(1_001), "CPU sampling rate is 1001 Hz"),
            (|b| b.heap_mean_bytes(1), "mean distance of heap samples is 1 bytes"),
            (|b| b.heap_mean_bytes(u64::MAX), "mean distance of heap samples is 18446744073709551615 bytes"),
            (|b| b.stack_depth(0), "stack depth is 0 frames, must be 1 to 512"),
            (|b| b.waits_per_second(100_001), "100001 samples of waits per second, must be 0 (none) to 100000"),
            (|b| b.stack_depth(513), "stack depth is 513 frames"),
            (|b| b.memory_limit(0), "memory limit is 0 bytes"),
            (|b| b.memory_limit(usize::MAX), "memory limit is 18446744073709551615 bytes"),
            (|b| b.window(Duration::from_millis(999)), "window is 999 ms, must be 1000 to 3600000"),
            (|b| b.window(Duration::MAX), "window is 18446744073709551615999 ms"),
            (|b| b.label("Version", "1"), "label name \"Version\" has 'V' at byte 0"),
            (|b| b.label("version", "a\nb"), "label value"),
            (|b| (0..17).fold(b, |b, i| b.label(format!("l{i}"), "x")), "17 labels, limit 16"),
            (|b| b.instance("a\u{0}"), "instance name"),
            (|b| b.endpoint("not an address"), "endpoint \"not an address\" is not a collector's address"),
            (|b| b.endpoint("collector:4040"), "is not a collector's address"),
        ];
        for (change, expected) in cases {
            let error = check(change).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} should contain {expected:?}");
        }
        for service in ["", "two words", "\u{202e}"] {
            assert!(matches!(Builder::new(service.to_owned()).check(), Err(StartError::Name(_))), "{service:?}");
        }
        for endpoint in ["", "http://", "ftp://x", "http:///path", "/var/run/tephra.sock"] {
            assert!(matches!(check(|b| b.endpoint(endpoint)), Err(StartError::Endpoint { .. })), "{endpoint:?}");
        }
    }

    #[test]
    fn an_endpoint_with_a_password_is_refused_and_the_password_is_nowhere() {
        for endpoint in [
            "http://alice:hunter2@collector:4040",
            "http://hunter2@collector:4040/",
            "https://alice:hunter2@collector",
            "http://alice:hun/hunter2@collector",
            "http://collector:4040/?token=hunter2",
            "http://collector:4040/#hunter2",
            "alice:hunter2@collector",
            "not an address: alice:hunter2@collector",
        ] {
            let builder = Builder::new("checkout".to_owned()).endpoint(endpoint);
            let shown = format!("{builder:?}");
            let error = builder.check().unwrap_err();
            let shown = [shown, error.to_string(), format!("{error:?}")].concat();
            assert!(!shown.contains("hunter2") && !shown.contains("alice"), "{shown}");
            assert!(matches!(error, StartError::EndpointSecret { .. }), "{error:?}");
            assert!(error.to_string().contains("write only http://host:port"), "{error}");
        }
        assert!(check(|b| b.endpoint("http://collector:4040/")).is_ok());
    }

    #[test]
    fn without_tls_an_https_address_is_refused_by_the_names_of_the_features() {
        let error = parse_endpoint("https://collector:4040", false).unwrap_err().to_string();
        for part in ["https://collector:4040", "tls-ring", "tls-aws-lc", "tls-no-provider"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(parse_endpoint("https://collector:4040", true).is_ok());
        assert!(matches!(parse_endpoint("https://", true), Err(StartError::Endpoint { .. })));
    }

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine_and_is_nowhere_shown() {
        for endpoint in ["http://127.0.0.1:4040", "http://127.8.0.1:1", "http://[::1]:4040", "http://LOCALHOST:4040"] {
            let settings = check(|b| b.endpoint(endpoint).token("hunter2")).unwrap();
            assert!(settings.destination.credentials.is_secret());
            assert!(!format!("{settings:?}").contains("hunter2"));
        }
        for endpoint in
            ["http://collector:4040", "http://10.0.0.1:4040", "http://localhost.example:4040", "http://[::2]:1"]
        {
            let builder = Builder::new("checkout".to_owned()).endpoint(endpoint).token("hunter2");
            let shown = format!("{builder:?}");
            let error = builder.check().unwrap_err();
            let shown = format!("{shown} {error} {error:?}");
            assert!(
                matches!(error, StartError::TokenInClear { .. }) && error.to_string().contains(endpoint),
                "{error}"
            );
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        assert!(!is_in_clear(&"https://collector".parse().unwrap()));
        for token in ["", "hunter2 hunter2", "hunter2\n"] {
            let error = check(|b| b.token(token)).unwrap_err();
            assert!(error.to_string().contains("set by `token`"), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn the_environment_fills_in_what_the_program_leaves_out() {
        let from = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        let builder = || Builder::new("checkout".to_owned());
        let pairs = &[("TEPHRA_ENDPOINT", "http://localhost:1"), ("TEPHRA_TOKEN", "hunter2")];
        let settings = builder().or_from(from(pairs)).check().unwrap();
        assert_eq!(settings.destination.endpoint, "http://localhost:1");
        assert!(settings.destination.credentials.is_secret());
        let settings = builder().endpoint("http://[::1]:2").or_from(from(pairs)).check().unwrap();
        assert_eq!(settings.destination.endpoint, "http://[::1]:2", "the program goes first");
        let settings = builder().or_from(from(&[("TEPHRA_ENDPOINT", ""), ("TEPHRA_TOKEN", "")])).check().unwrap();
        assert_eq!(settings.destination.endpoint, "http://127.0.0.1:4040/");
        assert!(!settings.destination.credentials.is_secret());
        let error = builder().or_from(from(&[("TEPHRA_TOKEN_FILE", "/no/such/file")])).check().unwrap_err().to_string();
        assert!(error.contains("/no/such/file"), "{error}");
        let error = builder().or_from(from(&[("TEPHRA_TOKEN", "a b")])).check().unwrap_err().to_string();
        assert!(error.contains("in TEPHRA_TOKEN: "), "{error}");
    }

    #[cfg(feature = "tls-no-provider")]
    #[test]
    fn files_of_tls_that_cannot_be_used_are_named_at_the_start() {
        let https = |change: fn(Builder) -> Builder| check(|b| change(b.endpoint("https://collector:4040")));
        let error = https(|b| b.ca_file("/no/such/ca.pem")).unwrap_err().to_string();
        assert!(error.contains("/no/such/ca.pem"), "{error}");
        let error = https(|b| b.ca_file("/proc/self/cmdline")).unwrap_err().to_string();
        assert!(error.contains("/proc/self/cmdline: holds no certificate"), "{error}");
        // Without TLS nobody needs them.
        assert!(check(|b| b.ca_file("/no/such/ca.pem")).is_ok());
    }

    #[test]
    fn a_second_value_replaces_the_first() {
        let settings = check(|b| b.label("version", "v1").label("zone", "a").label("version", "v2")).unwrap();
        assert_eq!(settings.labels, [("zone".to_owned(), "a".to_owned()), ("version".to_owned(), "v2".to_owned())]);
    }
}
