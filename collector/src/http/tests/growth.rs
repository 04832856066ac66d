//! Gauges through the API, and what grew.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Lab, turn_ms};
use crate::ingest::testing::{TestRow, TestWindow, row};
use crate::query::QueryLimits;

/// Half a megabyte: one sampled block of small size.
const BLOCK: u64 = 512 << 10;

fn blocks(stack: &str, count: u64) -> Vec<TestRow> {
    (0..count).map(|_| row(stack, BLOCK)).collect()
}

/// Ten minutes of two instances: one function leaks a block per window and instance, one holds a cache, one comes and goes.
fn leaking(service: &str) -> Vec<TestWindow> {
    let instance = |agent: u8| {
        (0..60u64).map(move |i| {
            let live = [
                blocks("main;serve;sessions::new_session", 5 + i),
                blocks("main;serve;catalog::load", 60),
                blocks("main;serve;report::render", i * 7 % 5),
            ];
            TestWindow::new(service, agent, i + 1, turn_ms() + i * 10_000)
                .cpu(&[row("main;serve", 1_000_000)])
                .inuse(&live.concat())
        })
    };
    [1, 2].into_iter().flat_map(instance).collect()
}

fn range() -> String {
    format!("from={}&until={}", turn_ms(), turn_ms() + 600_000)
}

#[tokio::test]
async fn a_gauge_is_its_mean_over_time_and_its_sum_over_instances_everywhere() {
    let lab = Lab::new().await;
    // A holds 100 for 20 s and nothing for 20 s more, which it says; B holds 300 for the first 10 s, then it is gone.
    // Steps of 20 s start where the clock shows a multiple of them.
    let start = turn_ms() - turn_ms() % 20_000;
    let held = |agent: u8, i: u64, rows: &[TestRow]| TestWindow::new("a", agent, i + 1, start + i * 10_000).inuse(rows);
    lab.push([
        held(1, 0, &[row("main;keep", 100)]),
        held(2, 0, &[row("main;keep", 200), row("main;keep;more", 100)]),
        held(1, 1, &[row("main;keep", 100)]),
        held(1, 2, &[]),
        held(1, 3, &[]),
    ])
    .await;
    let range = format!("service=a&type=inuse_space&from={start}&until={}", start + 40_000);
    let flame = lab.json(&format!("/api/v1/flamegraph?{range}")).await;
    // (400 + 100 + 0 + 0) / 4, and not 500.
    assert_eq!((&flame["a"]["total"], &flame["a"]["value"]), (&json!(125), &json!(125.0)), "{}", flame["a"]);
    assert_eq!((&flame["a"]["unit"], &flame["type"]["kind"]), (&json!("bytes"), &json!("gauge")));
    let timeline = lab.json(&format!("/api/v1/timeline?{range}&step=10")).await;
    let values: Vec<&Value> = (0..4).map(|i| &timeline["series"][0]["points"][i][1]).collect();
    assert_eq!(values, [&json!(400.0), &json!(100.0), &json!(0.0), &json!(0.0)], "{timeline}");
    let coarse = lab.json(&format!("/api/v1/timeline?{range}&step=20")).await;
    assert_eq!(coarse["series"][0]["points"][0][1], 250.0, "{coarse}");
    let folded = lab.get(&format!("/api/v1/flamegraph?{range}&format=folded")).await.text();
    assert_eq!(folded, "main;keep 100\nmain;keep;more 25\n");
    let of_b = lab.json(&format!("/api/v1/flamegraph?{range}&label.instance=host-2")).await;
    assert_eq!(of_b["a"]["total"], 300, "an instance by itself, for as long as it was there: {}", of_b["a"]);
    let none = format!("service=a&type=inuse_space&from={}&until={}", start + 20_000, start + 40_000);
    let none = lab.json(&format!("/api/v1/timeline?{none}&step=10")).await;
    assert_eq!(none["series"][0]["points"][0][1], 0.0, "nothing held is zero and not a gap: {none}");
}

#[tokio::test]
async fn what_grew_is_named_with_its_rate_and_its_course() {
    let lab = Lab::new().await;
    lab.push(leaking("shop")).await;
    let growth = lab.json(&format!("/api/v1/growth?service=shop&{}", range())).await;
    let grower = &growth["growers"][0];
    assert_eq!(grower["name"], "sessions::new_session", "{growth}");
    assert_eq!((&grower["state"], &grower["trend"]), (&json!("grew"), &json!("steady")), "{grower}");
    assert_eq!(
        growth["growers"].as_array().unwrap().len(),
        1,
        "a cache that stands and what comes and goes did not grow"
    );
    // Two blocks every ten seconds.
    let per_hour = (2 * BLOCK * 360) as f64;
    assert!((grower["per_hour"].as_f64().unwrap() / per_hour - 1.0).abs() < 0.02, "{grower}");
    let points = grower["points"].as_array().unwrap();
    assert_eq!((points.len(), &points[0][0]), (60, &json!(turn_ms())));
    assert!((points[59][1].as_f64().unwrap() / (2 * 64 * BLOCK) as f64 - 1.0).abs() < 0.02, "{}", points[59]);
    assert_eq!((&growth["unit"], &growth["significant"]), (&json!("bytes"), &json!(true)));
    let headline = growth["sentences"][0]["text"].as_str().unwrap();
    assert!(headline.starts_with("shop's live memory grew by 5"), "{headline}");
    assert!(headline.contains("MiB an hour"), "{headline}");
    let steady = growth["sentences"][1]["text"].as_str().unwrap();
    assert!(steady.contains("sessions::new_session") && steady.contains("may be a leak"), "{steady}");
    let link = growth["diff"].as_str().unwrap();
    let diff = lab.json(&link.replacen("/diff?", "/api/v1/diff?", 1)).await;
    assert_eq!(diff["movers"][0]["name"], "sessions::new_session", "the link leads to the same comparison");
    let of_one = lab.json(&format!("/api/v1/growth?service=shop&{}&label.instance=host-2", range())).await;
    assert!((of_one["delta"].as_f64().unwrap() * 2.0 / growth["delta"].as_f64().unwrap() - 1.0).abs() < 0.05);
}

#[tokio::test]
async fn growth_is_told_for_the_time_in_which_windows_arrived() {
    let lab = Lab::new().await;
    lab.push(leaking("shop")).await;
    let told = lab.json(&format!("/api/v1/growth?service=shop&{}", range())).await;
    // Minutes of an hour, and of a day: there all of them lie in one slice of it, towards its end.
    for (before_s, after_s, share) in [(1_800, 2_400, "14 %"), (11_400, 75_000, "0.69 %")] {
        let longer = format!("from={}&until={}", turn_ms() - before_s * 1_000, turn_ms() + after_s * 1_000);
        let growth = lab.json(&format!("/api/v1/growth?service=shop&{longer}")).await;
        let grower = &growth["growers"][0];
        assert_eq!((&grower["name"], &grower["state"]), (&json!("sessions::new_session"), &json!("grew")), "{growth}");
        assert_eq!(grower["trend"], "steady", "{grower}");
        assert_eq!(growth["growers"].as_array().unwrap().len(), 1, "nothing is new or gone: {growth}");
        let rate = |growth: &Value| growth["per_hour"].as_f64().unwrap();
        assert!((rate(&growth) / rate(&told) - 1.0).abs() < 0.1, "{} and {}", rate(&growth), rate(&told));
        let told = format!("There is data for {share} of this time only");
        assert!(growth["sentences"].to_string().contains(&told), "{told}: {}", growth["sentences"]);
    }
    let texts = told["sentences"].to_string();
    assert!(!texts.contains("There is data"), "nothing to explain: {texts}");
}

/// What could not be read is not what never arrived.
#[tokio::test]
async fn growth_of_a_range_that_cannot_be_read_whole_is_refused() {
    let lab = Lab::with_limits(QueryLimits { windows_max: 40, ..QueryLimits::default() }).await;
    lab.push(leaking("shop")).await;
    let refused = lab.get(&format!("/api/v1/growth?service=shop&{}", range())).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", refused.text());
}

#[tokio::test]
async fn what_stands_still_did_not_grow() {
    let lab = Lab::new().await;
    let start = turn_ms();
    let windows = (0..60u64).map(|i| {
        let live = blocks("main;serve;catalog::load", 60 + i * 5 % 7);
        TestWindow::new("calm", 1, i + 1, start + i * 10_000).inuse(&live)
    });
    lab.push(windows).await;
    let growth = lab.json(&format!("/api/v1/growth?service=calm&{}", range())).await;
    assert_eq!((&growth["growers"], &growth["significant"]), (&json!([]), &json!(false)), "{growth}");
    assert!(growth["sentences"][0]["text"].as_str().unwrap().contains("did not grow beyond noise"), "{growth}");
}

#[tokio::test]
async fn what_cannot_grow_and_what_is_not_there_is_said_in_words() {
    let lab = Lab::new().await;
    lab.push(leaking("shop")).await;
    let cpu = lab.get(&format!("/api/v1/growth?service=shop&type=cpu&{}", range())).await;
    assert_eq!(cpu.status, StatusCode::BAD_REQUEST, "{}", cpu.text());
    assert!(cpu.json()["message"].as_str().unwrap().contains("cpu"), "{}", cpu.text());
    assert!(cpu.json()["hint"].as_str().unwrap().contains("inuse_space"), "{}", cpu.text());
    let unknown = lab.get("/api/v1/growth?service=shop&type=inuse_objects").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{}", unknown.text());
    let empty = lab.json("/api/v1/growth?service=shop&from=2001-01-01T00:00:00Z&until=2001-01-02T00:00:00Z").await;
    assert!(empty["empty"].as_str().unwrap().len() > 20, "{empty}");
    let page = lab.get("/growth?service=shop").await;
    assert_ne!(page.status, StatusCode::NOT_FOUND, "the view has a page of that name");
}

#[tokio::test]
async fn growth_is_told_per_process_and_since_the_last_restart() {
    let lab = Lab::new().await;
    let life = |agent: u8, from: u64, until: u64, per_window: u64| {
        (from..until).map(move |i| {
            let live = blocks("main;serve;sessions::new_session", 5 + (i - from) * per_window);
            TestWindow::new("shop", agent, i + 1, turn_ms() + i * 10_000).inuse(&live)
        })
    };
    lab.push(life(1, 0, 30, 1).chain(life(2, 30, 60, 4))).await;
    let growth = lab.json(&format!("/api/v1/growth?service=shop&{}", range())).await;
    let lives = growth["lives"].as_array().unwrap();
    assert_eq!(lives.len(), 2, "{}", growth["lives"]);
    assert_eq!(growth["restarts"], json!([[turn_ms() + 300_000, 1]]));
    // 4 blocks a window are 1 440 an hour.
    let since = growth["since_restart"]["per_hour"].as_f64().unwrap() / BLOCK as f64;
    assert!((since - 1_440.0).abs() < 20.0, "{since}");
    let first = lives[0]["slope"]["per_hour"].as_f64().unwrap() / BLOCK as f64;
    assert!((first - 360.0).abs() < 20.0, "{first}");
    let said = growth["sentences"][1]["text"].as_str().unwrap();
    assert!(said.starts_with("A process began at") && said.contains("an hour (95 %:"), "{said}");
}
