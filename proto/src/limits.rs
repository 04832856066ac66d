//! Every number both sides must agree on. The agent stays below them; the collector refuses what is above.

/// One window, compressed. A 10 s window of 64 busy threads with trace labels is about 300 KiB; 4 MiB leaves room for
/// imports and stays below gRPC's customary message limit.
pub const PAYLOAD_COMPRESSED_BYTES_MAX: usize = 4 << 20;

/// One window, decompressed. Columns compress about 8 to 1; 32 MiB is what a hostile 4 MiB frame may cost us.
pub const PAYLOAD_BYTES_MAX: usize = 32 << 20;

/// zstd window log: no frame may ask the decoder for more memory than the largest payload.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 25;
const _: () = assert!(
    1usize << ZSTD_WINDOW_LOG_MAX == PAYLOAD_BYTES_MAX,
    "a frame's window is covered by the cap on its content"
);

/// The content of one `UploadChunk`.
pub const SYMBOL_CHUNK_BYTES_MAX: usize = 1 << 20;

/// One ELF file. Large Rust services with full debug info reach 1.5 GiB.
pub const SYMBOL_FILE_BYTES_MAX: u64 = 2 << 30;

/// Frames of one stack. The agent stops at 128 by default, and may be told to go to this.
pub const STACK_DEPTH_MAX: usize = 512;

/// Rows of one window over all series: 64 threads × 99 Hz × 10 s is 63 360 if no two samples merge.
pub const WINDOW_SAMPLES_MAX: usize = 262_144;

/// Nodes of one window's prefix tree.
pub const WINDOW_STACK_NODES_MAX: usize = 1 << 20;

/// Distinct frames of one window.
pub const WINDOW_FRAMES_MAX: usize = 1 << 19;

/// Strings of one window.
pub const WINDOW_STRINGS_MAX: usize = 200_000;

/// Mapped files of one process.
pub const WINDOW_MODULES_MAX: usize = 4_096;

/// Profile types of one window.
pub const WINDOW_SERIES_MAX: usize = 64;

/// Trace contexts of one window.
pub const WINDOW_LINKS_MAX: usize = 131_072;

/// Span summaries of one window.
pub const WINDOW_SPANS_MAX: usize = 16_384;

/// Routes and statuses of one window: the agent keeps 64 routes with three statuses each.
pub const WINDOW_REQUEST_ROWS_MAX: usize = 1_024;

/// Slow traces that one answer names.
pub const SLOW_TRACES_MAX: usize = 64;

/// Sets of per-sample labels of one window: the agent keeps 896 in all.
pub const WINDOW_LABEL_SETS_MAX: usize = 1_024;

/// Resource labels of one service instance.
pub const RESOURCE_LABELS_MAX: usize = 16;

/// Labels of one sample.
pub const SAMPLE_LABELS_MAX: usize = 8;

/// Bytes of a service name.
pub const SERVICE_BYTES_MAX: usize = 128;

/// Bytes of an instance name.
pub const INSTANCE_BYTES_MAX: usize = 256;

/// Bytes of a label name.
pub const LABEL_NAME_BYTES_MAX: usize = 64;

/// Bytes of a label value.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;

/// Bytes of one string in a window (function, file, route): longer ones are cut by the agent.
pub const STRING_BYTES_MAX: usize = 4_096;

/// Bytes of a build id: GNU build ids have 20, an `htlhash` 16; the ELF note allows any length.
pub const BUILD_ID_BYTES_MIN: usize = 8;
/// See [`BUILD_ID_BYTES_MIN`].
pub const BUILD_ID_BYTES_MAX: usize = 32;

/// How much of either end of a file without a build id names it: see [`BuildId::htlhash`](crate::ids::BuildId::htlhash).
pub const HTLHASH_END_BYTES: u64 = 4096;

/// Length of one window in milliseconds, as the agent ships it.
pub const WINDOW_MS: u32 = 10_000;

/// Windows the collector takes of agents are between one second and one hour long. Those of imported profiles may be shorter.
pub const WINDOW_MS_MIN: u32 = 1_000;
/// See [`WINDOW_MS_MIN`].
pub const WINDOW_MS_MAX: u32 = 3_600_000;

/// How late a window may arrive: an agent that could not reach a collector for a night still gets its data in.
pub const WINDOW_LATE_MS_MAX: u64 = 24 * 3_600_000;

/// How far in the future a window may start: clocks differ.
pub const WINDOW_AHEAD_MS_MAX: u64 = 10 * 60_000;
