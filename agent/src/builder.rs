//! What a service says of itself and how it wants to be profiled, checked when the agent starts.

use std::time::Duration;

use tephra_proto::address::{has_secrets, printable};
use tephra_proto::ids::{InstanceName, ServiceName};
use tephra_proto::label;
use tephra_proto::limits::{RESOURCE_LABELS_MAX, STACK_DEPTH_MAX, WINDOW_MS, WINDOW_MS_MAX, WINDOW_MS_MIN};
use tonic::transport::Uri;

use crate::agent::Agent;
use crate::error::StartError;
use crate::settings::{
    CPU_HZ_MAX, HEAP_MEAN_BYTES_MAX, HEAP_MEAN_BYTES_MIN, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, Settings,
};

/// Settings of an [`Agent`]; the defaults suit production.
#[derive(Clone)]
#[must_use = "nothing runs before `start`"]
pub struct Builder {
    service: String,
    instance: Option<String>,
    endpoint: String,
    labels: Vec<(String, String)>,
    cpu_hz: u32,
    heap_mean_bytes: u64,
    stack_depth: usize,
    memory_bytes: usize,
    window: Duration,
}

/// Never what an endpoint may hold besides the address.
impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { service, instance, endpoint, labels, cpu_hz, heap_mean_bytes, stack_depth, memory_bytes, window } =
            self;
        f.debug_struct("Builder")
            .field("service", service)
            .field("instance", instance)
            .field("endpoint", &printable(endpoint))
            .field("labels", labels)
            .field("cpu_hz", cpu_hz)
            .field("heap_mean_bytes", heap_mean_bytes)
            .field("stack_depth", stack_depth)
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
            endpoint: "http://127.0.0.1:4040".to_owned(),
            labels: Vec::new(),
            cpu_hz: 99,
            heap_mean_bytes: 512 << 10,
            stack_depth: 128,
            memory_bytes: 16 << 20,
            window: Duration::from_millis(WINDOW_MS.into()),
        }
    }

    /// The collector's address, and nothing else: no password, no query. Default: `http://127.0.0.1:4040`.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
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
        Agent::run(self.check()?)
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
        Ok(Settings {
            service: ServiceName::parse(&self.service)?,
            instance: InstanceName::parse(&self.instance.unwrap_or_else(default_instance))?,
            endpoint: parse_endpoint(&self.endpoint)?,
            labels: self.labels,
            cpu_hz: self.cpu_hz,
            heap_mean_bytes: self.heap_mean_bytes,
            stack_depth: self.stack_depth,
            window_bytes: self.memory_bytes / 8 * 3,
            queue_bytes: self.memory_bytes / 16 * 3,
            tables_bytes: self.memory_bytes / 8,
            window_ms,
        })
    }
}

fn parse_endpoint(endpoint: &str) -> Result<Uri, StartError> {
    let shown = || printable(endpoint).into_owned();
    if has_secrets(endpoint) {
        return Err(StartError::EndpointSecret { endpoint: shown() });
    }
    let Ok(uri) = endpoint.parse::<Uri>() else { return Err(StartError::Endpoint { endpoint: shown() }) };
    match uri.scheme_str() {
        Some("http") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("https") => Err(StartError::TlsUnsupported { endpoint: shown() }),
        _ => Err(StartError::Endpoint { endpoint: shown() }),
    }
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
            (|b| b.stack_depth(513), "stack depth is 513 frames"),
            (|b| b.memory_limit(0), "memory limit is 0 bytes"),
            (|b| b.memory_limit(usize::MAX), "memory limit is 18446744073709551615 bytes"),
            (|b| b.window(Duration::from_millis(999)), "window is 999 ms, must be 1000 to 3600000"),
            (|b| b.window(Duration::MAX), "window is 18446744073709551615999 ms"),
            (|b| b.label("Version", "1"), "label name \"Version\" has 'V' at byte 0"),
            (|b| b.label("version", "a\nb"), "label value"),
            (|b| (0..17).fold(b, |b, i| b.label(format!("l{i}"), "x")), "17 labels, limit 16"),
            (|b| b.instance("a\u{0}"), "instance name"),
            (|b| b.endpoint("https://collector:4040"), "needs TLS"),
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
    fn a_second_value_replaces_the_first() {
        let settings = check(|b| b.label("version", "v1").label("zone", "a").label("version", "v2")).unwrap();
        assert_eq!(settings.labels, [("zone".to_owned(), "a".to_owned()), ("version".to_owned(), "v2".to_owned())]);
    }
}
