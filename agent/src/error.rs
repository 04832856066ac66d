//! Why an agent does not start. Once it runs, it troubles the service with no error.

use tephra_proto::label::NameError;
use tephra_proto::limits::{RESOURCE_LABELS_MAX, STACK_DEPTH_MAX, WINDOW_MS_MAX, WINDOW_MS_MIN};

use crate::settings::{
    CPU_HZ_MAX, HEAP_MEAN_BYTES_MAX, HEAP_MEAN_BYTES_MIN, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, WAITS_PER_SECOND_MAX,
};

/// Why the agent did not start. The service can go on without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The service, instance or label name is not one.
    #[error("{0}")]
    Name(#[from] NameError),
    /// More labels than a collector takes.
    #[error("{count} labels, limit {RESOURCE_LABELS_MAX}: keep those that tell deployments apart")]
    TooManyLabels {
        /// How many there were.
        count: usize,
    },
    /// No samples, or too many.
    #[error("CPU sampling rate is {hz} Hz, must be 1 to {CPU_HZ_MAX}: 99 suits production")]
    CpuRate {
        /// What was asked for.
        hz: u32,
    },
    /// Too many heap samples, or hardly any.
    #[error(
        "mean distance of heap samples is {bytes} bytes, must be {HEAP_MEAN_BYTES_MIN} to {HEAP_MEAN_BYTES_MAX}, or 0 \
         to sample no allocations: 524288 suits production"
    )]
    HeapMean {
        /// What was asked for.
        bytes: u64,
    },
    /// No frames, or too many.
    #[error("stack depth is {frames} frames, must be 1 to {STACK_DEPTH_MAX}: 128 suits most services")]
    StackDepth {
        /// What was asked for.
        frames: usize,
    },
    /// More samples of waits than there is room for.
    #[error("{waits} samples of waits per second, must be 0 (none) to {WAITS_PER_SECOND_MAX}: 200 suits production")]
    WaitRate {
        /// What was asked for.
        waits: u32,
    },
    /// Windows that a collector would refuse.
    #[error("window is {millis} ms, must be {WINDOW_MS_MIN} to {WINDOW_MS_MAX}: 10 s suits production")]
    Window {
        /// What was asked for.
        millis: u128,
    },
    /// Too little to work with, or more than a guest may ask for.
    #[error(
        "memory limit is {bytes} bytes, must be {MEMORY_BYTES_MIN} to {MEMORY_BYTES_MAX}: 16 MiB suits most services"
    )]
    MemoryLimit {
        /// What was asked for.
        bytes: usize,
    },
    /// The address of the collector is not one.
    #[error("endpoint {endpoint:?} is not a collector's address: write it like http://127.0.0.1:4040")]
    Endpoint {
        /// What was given; without a password, if it holds one.
        endpoint: String,
    },
    /// The address holds a user's name, a password, a query or a fragment: nothing of that would be sent, and an address is shown in logs.
    #[error(
        "endpoint {endpoint:?} was given with a user, password, query or fragment (not shown), which this agent does not send: write \
         only http://host:port or https://host:port, and give a token by itself"
    )]
    EndpointSecret {
        /// What was given, without them.
        endpoint: String,
    },
    /// This build speaks no TLS.
    #[error(
        "endpoint {endpoint:?} needs TLS, which this build of the agent leaves out: choose one of tephra-agent's features tls-ring, \
         tls-aws-lc and tls-no-provider, or use http:// to a collector or proxy nearby"
    )]
    TlsUnsupported {
        /// What was given; without a password, if it holds one.
        endpoint: String,
    },
    /// The files or settings of TLS cannot be used.
    #[error("TLS to the collector: {problem}")]
    Tls {
        /// What is wrong, with the file's name.
        problem: String,
    },
    /// The token is none. The message says nothing of what it holds.
    #[error("the collector's token {origin}: {problem}")]
    Token {
        /// Where it came from.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Whoever listens on the way would have the token.
    #[error(
        "a token is set, which endpoint {endpoint:?} would carry unencrypted: use https://, or a collector or proxy on this machine"
    )]
    TokenInClear {
        /// What was given.
        endpoint: String,
    },
    /// There is one agent per process. One that was dropped a moment ago is waited for, up to two seconds.
    #[error("an agent is already running in this process: keep the first one, or drop it before starting another")]
    AlreadyRunning,
    /// The operating system does not let threads be sampled.
    #[error("cannot sample this process: {reason}")]
    Sampler {
        /// What stands in the way.
        reason: String,
    },
    /// The operating system gave the agent no thread.
    #[error("cannot start the agent's threads: {0}")]
    Thread(#[source] std::io::Error),
}
