//! Whatever was imported is exported as a file that other tools open, and that comes back as the same profile.

mod plain;

use std::collections::BTreeMap;
use std::process::Command;

use axum::http::StatusCode;

use super::Lab;
use crate::base::clock::now_ms;
use crate::needs::need;
use crate::profile::fit::fit;
use crate::profile::testing::Random;
use crate::store::compact;
use plain::{Location, Place, Plain, Sample, unit_of};

const TYPES: [(&str, &str); 9] = [
    ("samples", "count"),
    ("cpu", "nanoseconds"),
    ("wall-time", "nanoseconds"),
    ("alloc_space", "bytes"),
    ("inuse_space", "bytes"),
    ("goroutine", "count"),
    ("contentions", "count"),
    ("delay", "nanoseconds"),
    ("Lock Count", ""),
];

const FUNCTIONS: [&str; 9] = [
    "main",
    "größe::berechnen",
    "日本語",
    "operator<<(std::ostream&, int)",
    "main.(*Server).handle",
    "java/lang/Thread.run",
    "<anonymous>",
    "f;g 7",
    "a",
];

const FILES: [&str; 4] = ["", "src/main.rs", "/usr/src/größe.c", "C:\\src\\main.cs"];

/// What a label is called in a file, and once it was stored.
const LABELS: [(&str, &str); 4] =
    [("tenant", "tenant"), ("Thread Name", "thread_name"), ("http.route", "http.route"), ("日本", "unnamed")];

/// What numbers are called in a file, their unit there, and what they are called once they were stored.
const NUMBERS: [(&str, &str, &str); 6] = [
    ("bytes", "", "bytes"),
    ("bytes", "bytes", "bytes"),
    ("request", "", "request"),
    ("Size Class", "", "size_class"),
    ("queue", "µs", "queue"),
    ("alignment", "lines", "alignment"),
];

/// A profile of one to four types, with inlined frames, labels and numbers.
fn random(seed: u64) -> Plain {
    let mut random = Random::new(seed);
    let mut below = |limit: usize| random.next() as usize % limit;
    let mut types: Vec<(String, String)> = Vec::new();
    for _ in 0..=below(4) {
        let (name, unit) = TYPES[below(TYPES.len())];
        if types.iter().all(|(known, _)| known != name) {
            types.push((name.to_owned(), unit.to_owned()));
        }
    }
    let places: Vec<Place> = (0..30)
        .map(|_| Place {
            function: FUNCTIONS[below(FUNCTIONS.len())].to_owned(),
            file: FILES[below(FILES.len())].to_owned(),
            line: below(4) as u64 * 1_000,
        })
        .collect();
    let locations: Vec<Location> =
        (0..20).map(|_| (0..=below(3)).map(|_| places[below(places.len())].clone()).collect()).collect();
    let samples = (0..60).map(|_| {
        let labels = (0..below(3)).map(|_| (LABELS[below(LABELS.len())].0.to_owned(), format!("wert {}", below(3))));
        let labels: BTreeMap<_, _> = labels.collect();
        Sample {
            stack: (0..1 + below(6)).map(|_| locations[below(locations.len())].clone()).collect(),
            values: types.iter().map(|_| below(4) as i64 * below(1_000_000) as i64).collect(),
            labels,
            numbers: (0..below(3))
                .map(|_| {
                    let (name, unit, _) = NUMBERS[below(NUMBERS.len())];
                    (name.to_owned(), ([1, 16, -5, i64::MIN, 4096][below(5)], unit.to_owned()))
                })
                .collect(),
        }
    });
    let samples = samples.collect();
    Plain { types, samples, duration_nanos: 10_000_000_000 }
}

/// As it is once it was stored: labels and numbers by the names they have then.
fn stored(mut profile: Plain) -> Plain {
    let name = |given: &str| LABELS.iter().find(|label| label.0 == given).map_or(given, |label| label.1).to_owned();
    for sample in &mut profile.samples {
        sample.labels = sample.labels.iter().map(|(key, value)| (name(key), value.clone())).collect();
        let number = |(given, (number, unit)): (&String, &(i64, String))| {
            let name = NUMBERS.iter().find(|known| known.0 == given).map_or(given.as_str(), |known| known.2);
            (name.to_owned(), (*number, unit_of(given, unit)))
        };
        sample.numbers = sample.numbers.iter().map(number).collect();
    }
    profile
}

async fn import(lab: &Lab, service: &str, file: Vec<u8>) -> serde_json::Value {
    let got = lab.post(&format!("/api/v1/profiles?service={service}&at=now-10m"), file).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    got.json()
}

async fn export(lab: &Lab, service: &str, name: &str) -> Vec<u8> {
    let query = format!("service={service}&type={}&from=now-1h", fit(name));
    let got = lab.get(&format!("/api/v1/flamegraph?{query}&format=pprof")).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    got.body.to_vec()
}

#[tokio::test]
async fn what_was_imported_is_exported_and_comes_back_the_same() {
    let lab = Lab::new().await;
    let mut exports = Vec::new();
    for seed in 1..=24 {
        let original = random(seed);
        let answer = import(&lab, &format!("s{seed}"), original.write()).await;
        assert_eq!(answer["left_out"], serde_json::json!([]), "{answer}");
        let types = answer["types"].as_array().unwrap();
        let is_stored = |name: &str| types.iter().any(|stored| stored["name"] == *fit(name));
        for (name, _) in original.types.iter().filter(|(name, _)| is_stored(name)) {
            let file = export(&lab, &format!("s{seed}"), name).await;
            let exported = Plain::read(&file);
            assert_eq!(exported.sums(&fit(name)), stored(original.clone()).sums(name), "{name} of seed {seed}");
            assert_eq!(exported.duration_nanos, original.duration_nanos);
            let again = format!("s{seed}-{}", fit(name));
            let answer = import(&lab, &again, file).await;
            assert_eq!(
                (&answer["left_out"], &answer["names_made_fit"]),
                (&serde_json::json!([]), &0.into()),
                "{answer}"
            );
            let back = Plain::read(&export(&lab, &again, name).await);
            assert_eq!(back, exported, "{name} of seed {seed}");
            exports.push((format!("s{seed}"), name.clone(), exported));
        }
    }
    let some = |is: fn(&Sample) -> bool| exports.iter().any(|(_, _, file)| file.samples.iter().any(is));
    assert!(some(|sample| sample.labels.len() == 2) && some(|sample| sample.numbers.len() == 2));
    while compact::step(&lab.store, now_ms() + 3_600_000, 0, None).await.unwrap() {}
    for (service, name, before) in exports {
        let after = Plain::read(&export(&lab, &service, &name).await);
        assert_eq!(after, before, "{name} of {service}, compacted");
    }
}

/// A file of another tool: what is asked for, the file, and what each of its types adds up to.
type Other = (&'static str, &'static str, &'static [(&'static str, i64)]);

const OTHERS: [Other; 5] = [
    ("", "main;parse 3\nmain;render 4\n", &[("samples", 7)]),
    ("&type=wall-time&unit=us", "main;parse 3\nmain;render 4\n", &[("wall_time", 7_000)]),
    (
        "",
        "shop w1  4152/4153 [001] 75695.000000:    1000000 cpu-clock:ppp:\n\t     5d0c1f outer+0x13 (/usr/bin/shop)\n\n\
         shop w1  4152/4153 [001] 75695.500000:    9 page-faults:\n\t     5d0c1f outer+0x13 (/usr/bin/shop)\n\n",
        &[("cpu", 1_000_000), ("page_faults", 9)],
    ),
    (
        "&type=cpu",
        r#"{"nodes":[{"id":1,"callFrame":{"functionName":"(root)"},"children":[2,3]},{"id":2,"callFrame":{"functionName":"run"}},
            {"id":3,"callFrame":{"functionName":"(idle)"}}],"startTime":0,"endTime":50,"samples":[2,3],"timeDeltas":[0,30]}"#,
        &[("cpu", 30_000)],
    ),
    (
        "",
        r#"{"shared":{"frames":[{"name":"a"},{"name":"b"}]},"profiles":[{"type":"sampled","name":"x","unit":"bytes","startValue":0,
            "endValue":5,"samples":[[0,1],[0]],"weights":[2,3]}]}"#,
        &[("bytes", 5)],
    ),
];

#[tokio::test]
async fn files_of_other_tools_are_exported_with_the_sums_they_came_with() {
    let lab = Lab::new().await;
    for (i, (query, file, sums)) in OTHERS.iter().enumerate() {
        let query = format!("/api/v1/profiles?service=o{i}&at=now-10m{query}");
        let got = lab.post(&query, file.as_bytes().to_vec()).await;
        assert_eq!(got.status, StatusCode::OK, "{}", got.text());
        let answer = got.json();
        assert_eq!(answer["types"].as_array().unwrap().len(), sums.len(), "{answer}");
        for (name, sum) in *sums {
            let exported = Plain::read(&export(&lab, &format!("o{i}"), name).await);
            let column = exported.types.iter().position(|(known, _)| known == name).unwrap();
            assert_eq!(exported.samples.iter().map(|sample| sample.values[column]).sum::<i64>(), *sum, "{name}");
        }
    }
    for (query, file, says) in [
        ("", "a;b 1 2\n", "folded stacks, line 1: two counts"),
        ("&unit=us", OTHERS[3].1, "CPU profiles of V8 say what their numbers are"),
        ("&type=alloc", OTHERS[3].1, "the profile has no type \\\"alloc\\\""),
    ] {
        let got = lab.post(&format!("/api/v1/profiles?service=o&at=now-10m{query}"), file.as_bytes().to_vec()).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST);
        assert!(got.text().contains(says), "{}", got.text());
    }
}

/// `TEPHRA_TEST_GO` names the Go tool, whose pprof is what the format's owner reads it with; `cargo xtask test` looks for it, or says
/// in its summary that there is none.
#[tokio::test]
async fn go_tool_pprof_opens_every_type() {
    let Some(go) = need("TEPHRA_TEST_GO", "Go tool") else { return };
    let lab = Lab::new().await;
    let stack = |names: &[&str]| -> Vec<Location> {
        let place = |name: &&str| vec![Place { function: (*name).to_owned(), file: "a.c".to_owned(), line: 7 }];
        names.iter().map(place).collect()
    };
    for (i, (name, unit)) in TYPES.iter().enumerate() {
        let sample = Sample { stack: stack(&["main", "work"]), values: vec![5], ..Sample::default() };
        let types = vec![((*name).to_owned(), (*unit).to_owned())];
        import(&lab, &format!("s{i}"), Plain { types, samples: vec![sample], duration_nanos: 10_000_000_000 }.write())
            .await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("e.pb.gz");
        std::fs::write(&file, export(&lab, &format!("s{i}"), name).await).unwrap();
        let output = Command::new(&go).args(["tool", "pprof", "-top"]).arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let work = text.lines().find(|line| line.ends_with(" work")).unwrap_or_else(|| panic!("{text}"));
        assert!(work.trim_start().starts_with('5'), "{text}");
    }
}
