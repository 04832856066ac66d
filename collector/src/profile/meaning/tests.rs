//! The reviewed cases, by who writes them.

use super::*;

/// Name and unit of a column; what it must be: unit it is kept in, gauge or not, samples behind it in a row of `VALUES`.
type Case<'a> = (&'a str, &'a str, &'a str, Kind, u64);

use Kind::{Counter, Gauge};

/// Checks a profile whose only sample has these values.
fn check(who: &str, distance: Option<(&str, &str, u64)>, values: &[u64], cases: &[Case<'_>]) {
    let columns: Vec<Column<'_>> = cases.iter().map(|case| Column { name: case.0, unit: case.1 }).collect();
    let distance = distance.map(|(name, unit, value)| Distance { name: name.to_owned(), unit: unit.to_owned(), value });
    let meanings = read(&columns, distance, &Kinds::new());
    assert_eq!(meanings.len(), cases.len());
    for ((meaning, (name, _, unit, kind, samples)), value) in meanings.iter().zip(cases).zip(values) {
        let found = meaning.samples(value * meaning.factor, |column| values[column]);
        assert_eq!((meaning.unit.as_str(), meaning.kind, found), (*unit, *kind, *samples), "{who}: {name}");
    }
}

const NS: &str = "nanoseconds";
const HALF_MIB: u64 = 524_288;

#[test]
fn cpu_time_says_how_many_samples_are_behind_it_by_its_count_or_its_distance() {
    let cpu = |samples| [("cpu", NS, NS, Counter, samples)];
    check("a distance", Some(("cpu", NS, 10_000_000)), &[50_000_000_000], &cpu(5_000));
    check("none", None, &[50_000_000_000], &cpu(1));
    check("a distance of nothing", Some(("cpu", NS, 0)), &[50_000_000_000], &cpu(1));
    check("of something else", Some(("space", "bytes", 10)), &[50_000_000_000], &cpu(1));
    check("less than one", Some(("cpu", NS, 10_000_000)), &[1], &cpu(1));
    check("another unit", Some(("cpu", "ms", 10)), &[50_000_000_000], &cpu(5_000));
    check("both in another unit", Some(("cpu", "us", 10_000)), &[50], &[("cpu", "s", NS, Counter, 5_000)]);
    check("a name that is nowhere", Some(("timer", NS, 10_000_000)), &[50_000_000_000], &cpu(5_000));
    let counted = [("samples", "count", "count", Counter, 7), ("cpu", NS, NS, Counter, 7)];
    check("Go", Some(("cpu", NS, 10_000_000)), &[7, 50_000_000_000], &counted);
    check("samples alone", None, &[4_000], &[("samples", "count", "count", Counter, 4_000)]);
    check("Parca", Some(("cpu", NS, 52_631_578)), &[190], &[("samples", "count", "count", Counter, 190)]);
}

#[test]
fn heaps_are_estimates_of_the_blocks_that_were_seen() {
    // A hundred blocks of a byte stand for next to nothing that was seen; each large one was.
    let heap = |samples| {
        [
            ("alloc_objects", "count", "count", Counter, samples),
            ("alloc_space", "bytes", "bytes", Counter, samples),
            ("inuse_objects", "count", "count", Gauge, 3),
            ("inuse_space", "bytes", "bytes", Gauge, 3),
        ]
    };
    let period = Some(("space", "bytes", HALF_MIB));
    check("Go, small", period, &[524_289, 524_289 * 8, 3, 3 << 30], &heap(8));
    check("Go, large", period, &[4, 4 << 30, 3, 3 << 30], &heap(4));
    check("Go, all", Some(("space", "bytes", 1)), &[5_000, 100_000, 3, 3 << 30], &heap(5_000));
    check("nobody says how", None, &[5_000, 100_000, 3, 3 << 30], &heap(5_000));
    let live = |samples| [("objects", "count", "count", Gauge, samples), ("space", "bytes", "bytes", Gauge, samples)];
    check("Node, gperftools", period, &[27_309, 2_621_664], &live(5));
    check("jemalloc", Some(("space", "bytes", HALF_MIB)), &[5 << 19], &[("inuse_space", "bytes", "bytes", Gauge, 5)]);
    check(
        "jemalloc, no distance",
        Some(("space", "bytes", 0)),
        &[5 << 19],
        &[("inuse_space", "bytes", "bytes", Gauge, 1)],
    );
}

#[test]
fn go_counts_what_there_is() {
    for name in ["goroutine", "threadcreate", "open_connections"] {
        check("Go", Some((name, "count", 1)), &[10], &[(name, "count", "count", Gauge, 10)]);
    }
    let contention = [("contentions", "count", "count", Counter, 500), ("delay", NS, NS, Counter, 500)];
    check("Go", Some(("contentions", "count", 1)), &[500, 5_000_000_000], &contention);
}

#[test]
fn java_and_dotnet_count_each_measure_by_its_own() {
    let tlab = [
        ("alloc_in_new_tlab_objects", "count", "count", Counter, 3),
        ("alloc_in_new_tlab_bytes", "bytes", "bytes", Counter, 3),
    ];
    check("JFR", Some(("space", "bytes", 0)), &[3, 6_000_000], &tlab);
    check("JFR", Some(("objects", "count", HALF_MIB)), &[2], &[("live", "count", "count", Gauge, 2)]);
    let dotnet = [
        ("cpu", NS, NS, Counter, 1),
        ("exception", "count", "count", Counter, 4),
        ("alloc_samples", "count", "count", Counter, 6),
        ("alloc_size", "bytes", "bytes", Counter, 6),
        ("lock_count", "count", "count", Counter, 9),
        ("lock_time", NS, NS, Counter, 9),
        ("inuse_objects", "count", "count", Gauge, 5),
        ("inuse_space", "bytes", "bytes", Gauge, 5),
    ];
    check("dotnet", Some(("", NS, 1)), &[5_653_000_000, 4, 6, 6_000, 9, 90_000, 5, 5_000], &dotnet);
    check("dotnet", Some(("cpu", NS, 1_000_000_000)), &[71], &[("lock_count", "count", "count", Counter, 71)]);
}

#[test]
fn datadogs_profilers_count_by_many_names() {
    let python = [
        ("cpu_time", NS, NS, Counter, 2),
        ("cpu_samples", "count", "count", Counter, 2),
        ("wall_time", NS, NS, Counter, 3),
        ("wall_samples", "count", "count", Counter, 3),
        ("lock_acquire", "count", "count", Counter, 4),
        ("lock_acquire_wait", NS, NS, Counter, 4),
        ("lock_release", "count", "count", Counter, 5),
        ("lock_release_hold", NS, NS, Counter, 5),
        ("alloc_samples", "count", "count", Counter, 6),
        ("alloc_space", "bytes", "bytes", Counter, 6),
        ("heap_space", "bytes", "bytes", Gauge, 8),
        ("heap_live_samples", "count", "count", Gauge, 8),
        ("exception_samples", "count", "count", Counter, 9),
        ("socket_read_time", NS, NS, Counter, 10),
        ("socket_read_time_samples", "count", "count", Counter, 10),
    ];
    check("Python, PHP", None, &[20, 2, 30, 3, 4, 40, 5, 50, 6, 60, 80, 8, 9, 100, 10], &python);
    let ruby = [
        ("alloc_samples", "count", "count", Counter, 2),
        ("alloc_samples_unscaled", "count", "count", Counter, 2),
        ("heap_live_samples", "count", "count", Gauge, 3),
        ("heap_live_size", "bytes", "bytes", Gauge, 3),
    ];
    check("Ruby", None, &[200, 2, 3, 300], &ruby);
    let php =
        [("sample", "count", "count", Counter, 3), ("wall_time", NS, NS, Counter, 3), ("cpu_time", NS, NS, Counter, 3)];
    check("PHP", Some(("wall_time", NS, 10_000_000)), &[3, 30_000_000, 10_000_000], &php);
}

#[test]
fn units_become_nanoseconds_and_bytes_and_others_stay() {
    for (unit, kept, factor) in [
        ("ns", NS, 1),
        ("us", NS, 1_000),
        ("microseconds", NS, 1_000),
        ("ms", NS, 1_000_000),
        ("seconds", NS, 1_000_000_000),
        ("kb", "bytes", 1_024),
        ("mib", "bytes", 1 << 20),
        ("cycles", "cycles", 1),
        ("count", "count", 1),
        ("", "", 1),
    ] {
        let meanings = read(&[Column { name: "x", unit }], None, &Kinds::new());
        assert_eq!(meanings.iter().map(|m| (m.unit.as_str(), m.factor)).next(), Some((kept, factor)), "{unit}");
    }
}

#[test]
fn who_says_how_a_type_adds_up_is_believed() {
    let columns = [Column { name: "space", unit: "bytes" }, Column { name: "queued", unit: "count" }];
    let said = [("space".to_owned(), Counter), ("queued".to_owned(), Gauge)].into();
    assert_eq!(read(&columns, None, &said).iter().map(|m| m.kind).collect::<Vec<_>>(), [Counter, Gauge]);
}

#[test]
fn only_busy_processors_are_cores() {
    let shown = |name: &str, unit: &str, kind| {
        over_time(&ProfileType { name: name.to_owned(), unit: unit.to_owned(), kind, period: 0 }).unit
    };
    assert_eq!([shown("cpu", NS, Counter), shown("cpu_time", NS, Counter)], ["cores", "cores"]);
    assert_eq!([shown("delay", NS, Counter), shown("wall", NS, Counter)], ["s/s", "s/s"]);
    assert_eq!([shown("alloc_space", "bytes", Counter), shown("samples", "count", Counter)], ["bytes/s", "count/s"]);
    assert_eq!([shown("inuse_space", "bytes", Gauge), shown("goroutine", "count", Gauge)], ["bytes", "count"]);
    assert_eq!(shown("oldest", NS, Gauge), "seconds");
}
