//! What strangers may invent is bounded, whoever was there before stays, and what sends nothing makes room.

use super::recent::YOUNG_IDLE_MS;
use super::*;
use crate::ingest::testing::{TestWindow, row};
use crate::profile::decode::{self, Lateness};

const NOW: u64 = 1_700_000_000_000;
const MINUTE: u64 = 60_000;

fn caps() -> Caps {
    Caps { series_max: 3, sample_labels_max: 2, services_max: 2, agents_max: 10, types_max: 2 }
}

fn cardinality() -> Cardinality {
    Cardinality::new(caps(), Conditions::default())
}

fn window(service: &str, agent: u8, zone: &str) -> Window {
    let request = TestWindow::new(service, agent, 1, NOW).label("zone", zone).cpu(&[row("main", 1)]).request();
    decode::decode(&request.header.unwrap(), &request.payload, request.payload_bytes, Lateness::Stored).unwrap()
}

fn typed(service: &str, name: &str) -> Window {
    let mut window = window(service, 1, "");
    window.series[0].profile_type.name = name.to_owned();
    window
}

#[test]
fn series_beyond_the_cap_overflow_and_those_that_were_there_stay() {
    let cardinality = cardinality();
    let file = |agent, zone: &str, at| cardinality.file(&window("shop", agent, zone), at).unwrap().series;
    for at in [NOW - SERIES_IDLE_MS, NOW] {
        assert_eq!([file(1, "a", at), file(1, "b", at), file(2, "a", at)], [Series::Own; 3]);
    }
    assert_eq!([file(2, "b", NOW), file(3, "a", NOW)], [Series::Overflow; 2]);
    assert_eq!(file(1, "b", NOW + 1), Series::Own);
    // Within the hour nobody makes room; afterwards idle series do, but not one that is still there.
    assert_eq!(file(3, "a", NOW + SERIES_IDLE_MS - 1), Series::Overflow);
    assert_eq!(file(1, "b", NOW + SERIES_IDLE_MS), Series::Own);
    assert_eq!(file(3, "a", NOW + SERIES_IDLE_MS + MINUTE), Series::Own);
    assert_eq!(file(1, "b", NOW + SERIES_IDLE_MS + MINUTE), Series::Own);
    assert_eq!(cardinality.overflows(), [Overflow { service: "shop".to_owned(), windows: 3 }]);
}

#[test]
fn what_there_is_no_room_for_comes_again_later_and_those_that_were_there_stay() {
    let cardinality = cardinality();
    let file = |window: &Window, at| cardinality.file(window, at).map_err(|full| full.to_string());
    for service in ["a", "b"] {
        file(&window(service, 1, ""), NOW).unwrap();
    }
    let message = file(&window("c", 1, ""), NOW).unwrap_err();
    assert!(message.contains("\"c\"") && message.contains("2 services"), "{message}");
    for agent in 2..=10 {
        file(&window("a", agent, ""), NOW).unwrap();
    }
    let message = file(&window("a", 11, ""), NOW).unwrap_err();
    assert!(message.contains("\"a\"") && message.contains("10 agents"), "{message}");
    for name in ["x", "y"] {
        file(&typed("b", name), NOW).unwrap();
    }
    let message = file(&typed("b", "z"), NOW).unwrap_err();
    assert!(message.contains("\"b\"") && message.contains("2 profile types"), "{message}");
    file(&typed("b", "x"), NOW + 1).unwrap();
    let later = NOW + YOUNG_IDLE_MS + MINUTE;
    assert!(file(&typed("b", "z"), later).is_ok(), "whoever came once made room");
    assert!(file(&window("c", 1, ""), later).is_ok());
}

#[test]
fn invented_types_do_not_keep_a_service_from_its_own() {
    let cardinality = cardinality();
    let flood = (0..10).filter(|i| cardinality.file(&typed("shop", &format!("t{i}")), NOW).is_ok()).count();
    assert_eq!(flood, 2);
    for name in OWN_TYPES {
        assert!(cardinality.file(&typed("shop", name), NOW).is_ok(), "{name}");
    }
}

#[test]
fn the_operator_is_told_while_it_lasts() {
    let conditions = Conditions::default();
    let cardinality = Cardinality::new(caps(), conditions.clone());
    let told = || conditions.all().into_iter().map(|told| (told.kind, told.subject)).collect::<Vec<_>>();
    for i in 0..100 {
        let _ = cardinality.file(&window(&format!("s{i}"), 1, ""), NOW);
        let _ = cardinality.file(&window("s0", 1, &i.to_string()), NOW);
    }
    let expected = [("names_full", "services"), ("series_merged", "s0")];
    assert_eq!(told(), expected.map(|(kind, subject)| (kind, subject.to_owned())));
    cardinality.settle(NOW + OVER_AFTER_MS - 1);
    assert_eq!(told().len(), 2);
    let _ = cardinality.file(&window("s99", 1, ""), NOW + MINUTE);
    cardinality.settle(NOW + OVER_AFTER_MS);
    assert_eq!(told(), [("names_full", "services".to_owned())]);
    cardinality.settle(NOW + MINUTE + OVER_AFTER_MS);
    assert!(told().is_empty());
}

#[test]
fn a_million_invented_series_cost_no_memory() {
    let cardinality = cardinality();
    let mut window = window("shop", 1, "");
    for i in 0..1_000_000u32 {
        window.header.labels = [("zone", i.to_string())].into_iter().collect();
        cardinality.file(&window, NOW + u64::from(i) / 10).unwrap();
    }
    assert!(cardinality.lock().get_mut("shop").unwrap().series.len() <= 3);
    assert_eq!(cardinality.overflows()[0].windows, 999_997);
}

#[test]
fn labels_of_samples_beyond_the_cap_are_named_and_those_that_were_there_stay() {
    let cardinality = cardinality();
    let beyond = |tenant: &str, at| {
        let mut window = window("shop", 1, "");
        window.series[0].labels = [("tenant", tenant)].into_iter().collect();
        let beyond = cardinality.file(&window, at).unwrap().beyond;
        beyond.into_iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>()
    };
    assert_eq!([beyond("a", NOW), beyond("b", NOW)], [[""; 0]; 2]);
    assert_eq!(beyond("c", NOW), ["c"]);
    assert_eq!(beyond("a", NOW), [""; 0]);
    assert_eq!(beyond("c", NOW + SERIES_IDLE_MS + MINUTE), [""; 0], "the others were idle for an hour");
}
