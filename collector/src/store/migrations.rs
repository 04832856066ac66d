//! The catalog's schema, as the list of steps that lead to it.
//!
//! A released step never changes; a new one is appended. The subset of SQL is what SQLite and PostgreSQL both take: BIGINT and
//! TEXT columns, `$1` parameters, `ON CONFLICT`. Binary values are kept as hexadecimal text.

/// Step `i` leads from version `i` to `i + 1`. Statements of one step run in one transaction.
pub(super) const MIGRATIONS: &[&[&str]] = &[
    FIRST,
    COMPACTED,
    SHARED,
    DELETIONS,
    SAMPLE_LABELS,
    SYMBOL_USES,
    SYMBOL_RICHNESS,
    COUNTERS,
    SYMBOL_FAILURES,
    DAMAGE,
    TRACE_SHARES,
    ARRIVALS,
];

const FIRST: &[&str] = &[
    // Segments: immutable objects. `state` is live, or dropped: unlisted, its object is removed a little later, so that a
    // query which has already listed it can finish.
    "CREATE TABLE segments (
        id TEXT PRIMARY KEY,
        level BIGINT NOT NULL,
        state TEXT NOT NULL,
        min_ms BIGINT NOT NULL,
        max_ms BIGINT NOT NULL,
        bytes BIGINT NOT NULL,
        crc BIGINT NOT NULL,
        windows BIGINT NOT NULL,
        samples BIGINT NOT NULL,
        traces BIGINT NOT NULL,
        created_ms BIGINT NOT NULL,
        dropped_ms BIGINT NOT NULL
    )",
    "CREATE INDEX segments_by_time ON segments (state, max_ms)",
    // Window starts of one service in one segment: what a query looks up.
    "CREATE TABLE segment_services (
        service TEXT NOT NULL,
        segment TEXT NOT NULL,
        min_ms BIGINT NOT NULL,
        max_ms BIGINT NOT NULL,
        windows BIGINT NOT NULL,
        PRIMARY KEY (service, segment)
    )",
    "CREATE INDEX segment_services_by_time ON segment_services (service, max_ms)",
    "CREATE INDEX segment_services_by_segment ON segment_services (segment)",
    // One row per agent instance: which sequence numbers are stored (the highest, and a bitmap of those just below it),
    // and the accounting of what it sampled.
    "CREATE TABLE agents (
        agent_id TEXT NOT NULL,
        boot_id BIGINT NOT NULL,
        max_sequence BIGINT NOT NULL,
        stored_below TEXT NOT NULL,
        service TEXT NOT NULL,
        instance TEXT NOT NULL,
        version TEXT NOT NULL,
        last_seen_ms BIGINT NOT NULL,
        sampled BIGINT NOT NULL,
        stored BIGINT NOT NULL,
        drops TEXT NOT NULL,
        cpu_ns BIGINT NOT NULL,
        process_cpu_ns BIGINT NOT NULL,
        PRIMARY KEY (agent_id, boot_id)
    )",
    "CREATE INDEX agents_by_time ON agents (last_seen_ms)",
    "CREATE TABLE services (
        name TEXT PRIMARY KEY,
        first_seen_ms BIGINT NOT NULL,
        last_seen_ms BIGINT NOT NULL
    )",
    "CREATE TABLE profile_types (
        service TEXT NOT NULL,
        name TEXT NOT NULL,
        unit TEXT NOT NULL,
        kind TEXT NOT NULL,
        period BIGINT NOT NULL,
        first_seen_ms BIGINT NOT NULL,
        last_seen_ms BIGINT NOT NULL,
        PRIMARY KEY (service, name)
    )",
    "CREATE TABLE labels (
        service TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        first_seen_ms BIGINT NOT NULL,
        last_seen_ms BIGINT NOT NULL,
        PRIMARY KEY (service, name, value)
    )",
    "CREATE TABLE events (
        id TEXT PRIMARY KEY,
        at_ms BIGINT NOT NULL,
        kind TEXT NOT NULL,
        service TEXT NOT NULL,
        title TEXT NOT NULL,
        labels TEXT NOT NULL,
        link TEXT NOT NULL
    )",
    "CREATE INDEX events_by_service ON events (service, at_ms)",
    "CREATE INDEX events_by_time ON events (at_ms)",
    "CREATE TABLE pins (
        id TEXT PRIMARY KEY,
        url TEXT NOT NULL,
        note TEXT NOT NULL,
        answer TEXT NOT NULL,
        created_ms BIGINT NOT NULL,
        expires_ms BIGINT NOT NULL
    )",
    // What a pin keeps from being dropped.
    "CREATE TABLE pin_ranges (
        pin TEXT NOT NULL,
        service TEXT NOT NULL,
        from_ms BIGINT NOT NULL,
        until_ms BIGINT NOT NULL
    )",
    "CREATE INDEX pin_ranges_by_pin ON pin_ranges (pin)",
    "CREATE INDEX pin_ranges_by_service ON pin_ranges (service, from_ms)",
];

const COMPACTED: &[&str] = &[
    // Compacted segments. `rolled`: its content is also in a segment of the next level, so a query reads it there or here.
    // `revision` counts changes of what of it counts: whoever replaces a segment says which one was read.
    "ALTER TABLE segments ADD COLUMN rolled BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE segments ADD COLUMN revision BIGINT NOT NULL DEFAULT 0",
    "CREATE INDEX segments_by_level ON segments (state, level, rolled)",
    // A compacted segment is several objects, a Parquet table each. `data_bytes`: where the pages end and the Parquet footer
    // begins, whose CRC-32 is `crc`.
    "CREATE TABLE segment_tables (
        segment TEXT NOT NULL,
        name TEXT NOT NULL,
        object TEXT NOT NULL,
        bytes BIGINT NOT NULL,
        data_bytes BIGINT NOT NULL,
        crc BIGINT NOT NULL,
        PRIMARY KEY (segment, name)
    )",
    // Windows of a level that start before this may have been let go of.
    "CREATE TABLE horizons (
        level BIGINT PRIMARY KEY,
        from_ms BIGINT NOT NULL
    )",
    // Where a pin keeps a level's windows although they are behind its horizon.
    "CREATE TABLE pin_levels (
        pin TEXT NOT NULL,
        level BIGINT NOT NULL,
        service TEXT NOT NULL,
        from_ms BIGINT NOT NULL,
        until_ms BIGINT NOT NULL
    )",
    "CREATE INDEX pin_levels_by_service ON pin_levels (service, level)",
    "CREATE INDEX pin_levels_by_pin ON pin_levels (pin)",
    // Traces that somebody had deleted: never answered again, and left out when their segments are written anew.
    "CREATE TABLE deleted_traces (
        trace_id TEXT PRIMARY KEY,
        at_ms BIGINT NOT NULL
    )",
];

const SHARED: &[&str] = &[
    // Who does a background job. The token grows with every owner.
    "CREATE TABLE leases (
        name TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        token BIGINT NOT NULL,
        until_ms BIGINT NOT NULL
    )",
    // Builds whose symbols collectors share: ready, or failed for a reason.
    "CREATE TABLE symbols (
        build_id TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        object TEXT NOT NULL,
        bytes BIGINT NOT NULL,
        has_lines BIGINT NOT NULL,
        reason TEXT NOT NULL,
        changed_ms BIGINT NOT NULL
    )",
    "CREATE INDEX symbols_by_change ON symbols (changed_ms)",
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
];

/// Pins of before keep all levels from the start: nothing was let go of by level yet.
const DELETIONS: &[&str] = &[
    // Something in it was deleted: it is to be written anew without.
    "ALTER TABLE segments ADD COLUMN dirty BIGINT NOT NULL DEFAULT 0",
    "INSERT INTO pin_levels (pin, level, service, from_ms, until_ms)
     SELECT r.pin, l.level, r.service, r.from_ms - r.from_ms % 3600000, r.until_ms - r.until_ms % 3600000 + 3600000
     FROM pin_ranges r
     CROSS JOIN (SELECT 1 AS level UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4) l",
];

const SAMPLE_LABELS: &[&str] = &[
    // Single samples have it, not whole windows: a window is not chosen by it.
    "ALTER TABLE labels ADD COLUMN of_samples BIGINT NOT NULL DEFAULT 0",
];

const SYMBOL_USES: &[&str] = &[
    // When a window last came from a build that has symbols.
    "CREATE TABLE symbol_uses (
        build_id TEXT PRIMARY KEY,
        used_ms BIGINT NOT NULL
    )",
];

const SYMBOL_RICHNESS: &[&str] = &[
    // How much a build's table tells: 0 names, 1 inlines, 2 lines in the upper 32 bits, how many functions in the lower. Of before,
    // only lines are known.
    "ALTER TABLE symbols ADD COLUMN richness BIGINT NOT NULL DEFAULT 0",
    "UPDATE symbols SET richness = 8589934592 WHERE has_lines = 1",
];

const COUNTERS: &[&str] = &[
    // Numbers that only grow; segments carry them.
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
    "INSERT INTO counters (name, value) VALUES ('commits', 0), ('deletions', 0)",
];

const SYMBOL_FAILURES: &[&str] = &[
    // Whether a build's file is of no use or could not be read, how often in a row, and when it is asked for again. Of before nobody knows:
    // those are asked for at once.
    "ALTER TABLE symbols ADD COLUMN of_file BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE symbols ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE symbols ADD COLUMN again_ms BIGINT NOT NULL DEFAULT 0",
];

const DAMAGE: &[&str] = &[
    // Single windows that are damaged, in segments that are otherwise good. They stay on record when compaction has left them out.
    "CREATE TABLE damaged_windows (
        segment TEXT NOT NULL,
        at_byte BIGINT NOT NULL,
        service TEXT NOT NULL,
        start_ms BIGINT NOT NULL,
        PRIMARY KEY (segment, at_byte)
    )",
    "CREATE INDEX damaged_windows_by_service ON damaged_windows (service, start_ms)",
];

const TRACE_SHARES: &[&str] = &[
    // Requests of the last minutes, by window and service.
    "CREATE TABLE request_counts (
        window_ms BIGINT NOT NULL,
        service TEXT NOT NULL,
        requests BIGINT NOT NULL,
        PRIMARY KEY (window_ms, service)
    )",
    // Which share of all traces agents were told to tell of, 1 / 2^halvings, and from which window on.
    "CREATE TABLE trace_shares (from_ms BIGINT PRIMARY KEY, halvings BIGINT NOT NULL)",
];

const ARRIVALS: &[&str] = &[
    // What came in the last ten minutes from senders that number nothing, by its content.
    "CREATE TABLE arrivals (key TEXT PRIMARY KEY, service TEXT NOT NULL, at_ms BIGINT NOT NULL)",
    "CREATE INDEX arrivals_by_time ON arrivals (at_ms)",
];
