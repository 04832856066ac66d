//! What comes of age goes; what only a clock or an option says is old waits for somebody.

use std::sync::Arc;

use super::decide::{Seen, Verdict, decide};
use super::*;
use crate::base::clock::now_ms;
use crate::ingest::Ingest;
use crate::ingest::testing::{TestWindow, recent_ms, row};
use crate::store::catalog::{NewPin, PinRange};
use crate::store::retain::guarded_round;
use crate::store::testing::{TestPlace, options};

const DAY_MS: u64 = 24 * HOUR_MS;
/// Some midnight.
const START: u64 = 20_000 * DAY_MS;
/// Of the segment of each day.
const BYTES: u64 = 100;

fn keeping(days: u64) -> Options {
    Options { retention: Duration::from_millis(days * DAY_MS), ..options() }
}

/// Ninety days of a store that ended at `until_ms`, a segment a day.
fn ninety_days(until_ms: u64) -> Vec<Aging> {
    (0..90).map(|day| Aging { level: 4, rolled: false, max_ms: until_ms - day * DAY_MS, bytes: BYTES }).collect()
}

fn steady(options: &Options, at_ms: u64) -> Progress {
    Progress { clock_ms: at_ms, cutoffs: Cutoffs::at(options, at_ms) }
}

/// A store of ninety days until [`START`], looked at by a clock that says `now_ms`.
fn seen(options: &Options, now_ms: u64) -> Seen<'_> {
    Seen {
        options,
        progress: steady(options, START),
        now_ms,
        elapsed_ms: 0,
        newest_window_ms: START,
        aging: ninety_days(START),
        live_bytes: 90 * BYTES,
        gone_bytes: 0,
    }
}

fn why(verdict: &Verdict) -> Option<Why> {
    verdict.waits.map(|waits| waits.why)
}

#[test]
fn what_comes_of_age_while_the_collector_runs_goes_without_question_whatever_its_share() {
    for days in [1, 7, 90] {
        let options = keeping(days);
        let mut progress = steady(&options, START);
        for minute in 1..3 * 24 * 60 {
            let now_ms = START + minute * 60_000;
            let seen = Seen { progress, elapsed_ms: 60_000, ..seen(&options, now_ms) };
            let verdict = decide(&seen);
            assert_eq!((why(&verdict), verdict.bytes), (None, 0));
            progress = verdict.progress;
            assert_eq!(progress, steady(&options, now_ms));
        }
    }
}

#[test]
fn a_jump_takes_a_tenth_at_once_and_more_waits() {
    let options = keeping(90);
    for days in 1..200 {
        let now_ms = START + days * DAY_MS;
        let verdict = decide(&seen(&options, now_ms));
        if days <= 9 {
            assert_eq!((why(&verdict), verdict.progress.cutoffs), (None, Cutoffs::at(&options, now_ms)), "{days} days");
        } else {
            assert_eq!((why(&verdict), verdict.bytes), (Some(Why::Clock), 0), "{days} days");
            assert_eq!(verdict.progress, steady(&options, START), "nothing goes, and no clock is believed");
        }
    }
}

#[test]
fn many_small_jumps_take_no_more_than_one_large() {
    let options = keeping(90);
    let first = decide(&seen(&options, START + 5 * DAY_MS));
    assert_eq!((why(&first), first.bytes), (None, 5 * BYTES));
    let again = Seen { progress: first.progress, gone_bytes: first.bytes, ..seen(&options, START + 10 * DAY_MS) };
    assert_eq!(why(&decide(&again)), Some(Why::Clock));
    let later = Seen { gone_bytes: 0, ..again };
    assert_eq!(why(&decide(&later)), None, "another hour");
}

#[test]
fn an_hour_is_over_once_collectors_ran_for_so_long() {
    let hour = Hour { ran_ms: 0, gone_bytes: 5 };
    let half = hour.after(HOUR_MS / 2);
    assert_eq!(half, Hour { ran_ms: HOUR_MS / 2, gone_bytes: 5 });
    assert_eq!(half.after(HOUR_MS / 2 - 1).gone_bytes, 5);
    assert_eq!(half.after(HOUR_MS / 2), Hour::default());
}

#[test]
fn what_an_earlier_release_kept_is_read() {
    let progress = steady(&keeping(90), START);
    let earlier = serde_json::to_string(&progress).unwrap();
    let kept: Kept = serde_json::from_str(&earlier).unwrap();
    assert_eq!(kept, Kept { progress, hour: Hour::default() });
    let again = serde_json::to_string(&Kept { hour: Hour { ran_ms: 1, gone_bytes: 2 }, ..kept }).unwrap();
    assert_eq!(
        serde_json::from_str::<Progress>(&again).unwrap(),
        progress,
        "and the earlier release reads what is kept now"
    );
}

#[test]
fn while_it_waits_time_goes_on_at_twice_its_pace_at_most() {
    let options = keeping(90);
    let far = START + 100 * DAY_MS;
    let verdict = decide(&Seen { elapsed_ms: HOUR_MS, ..seen(&options, far) });
    assert_eq!(verdict.progress, steady(&options, START + 2 * HOUR_MS));
}

#[test]
fn a_shortened_retention_waits_also_when_the_clock_is_right() {
    let (long, short) = (keeping(90), keeping(30));
    let mut seen = Seen { progress: steady(&long, START), ..seen(&short, START + 60_000) };
    let verdict = decide(&seen);
    assert_eq!((why(&verdict), verdict.bytes), (Some(Why::Shortened), 0));
    assert_eq!(verdict.progress.cutoffs.all, Cutoffs::at(&long, START).all);
    let message = verdict.waits.unwrap().message(&seen);
    assert!(message.contains("67 %") && message.contains("tephra retention confirm"), "{message}");
    // By a little is no matter.
    let a_little = keeping(85);
    seen.options = &a_little;
    assert_eq!(why(&decide(&seen)), None);
}

#[test]
fn a_longer_retention_and_a_clock_that_goes_back_destroy_nothing() {
    let (long, short) = (keeping(90), keeping(30));
    let verdict = decide(&Seen { progress: steady(&short, START), ..seen(&long, START) });
    assert_eq!((why(&verdict), verdict.bytes), (None, 0));
    let verdict = decide(&seen(&long, START - 1_000 * DAY_MS));
    assert_eq!((why(&verdict), verdict.progress), (None, steady(&long, START)));
}

#[test]
fn a_pause_that_agents_agree_with_is_made_up_for_hour_by_hour_oldest_first() {
    let options = keeping(90);
    let now_ms = START + 40 * DAY_MS;
    let mut live = ninety_days(START);
    let mut progress = steady(&options, START);
    let mut hours = 0;
    while hours < 100 {
        let live_bytes = live.len() as u64 * BYTES;
        let seen =
            Seen { progress, newest_window_ms: now_ms, aging: live.clone(), live_bytes, ..seen(&options, now_ms) };
        let verdict = decide(&seen);
        let before = live.len();
        live.retain(|segment| !verdict.progress.cutoffs.takes(segment));
        let went = (before - live.len()) as u64 * BYTES;
        assert_eq!(went, verdict.bytes);
        assert!(went * 10 <= live_bytes, "{went} of {live_bytes} in an hour");
        assert!(went > 0, "it goes on");
        progress = verdict.progress;
        hours += 1;
        // Within the same hour nothing more goes.
        let same = decide(&Seen { progress, gone_bytes: verdict.bytes + BYTES, aging: live.clone(), ..seen });
        assert_eq!(same.bytes * u64::from(same.waits.is_some()), 0);
        if why(&verdict).is_none() {
            break;
        }
        assert_eq!(why(&verdict), Some(Why::Pause));
    }
    assert_eq!(live, ninety_days(START)[..50], "what is not of age is kept");
    assert!(hours > 7, "{hours} hours");
}

#[test]
fn a_store_of_few_large_segments_is_made_up_for_too() {
    let options = keeping(90);
    let now_ms = START + 100 * DAY_MS;
    let aging: Vec<_> = ninety_days(START).into_iter().step_by(30).collect();
    let seen = Seen { newest_window_ms: now_ms, live_bytes: 3 * BYTES, aging, ..seen(&options, now_ms) };
    let verdict = decide(&seen);
    assert_eq!((why(&verdict), verdict.bytes), (Some(Why::Pause), BYTES));
}

#[test]
fn finer_windows_and_traces_are_part_of_what_would_go() {
    let options = keeping(90);
    let of = |level, rolled| -> Vec<Aging> {
        ninety_days(START).into_iter().take(6).map(|segment| Aging { level, rolled, ..segment }).collect()
    };
    for (level, rolled, why_not) in
        [(1, true, Some(Why::Clock)), (1, false, None), (TRACES, false, Some(Why::Clock)), (4, true, None)]
    {
        let aging = of(level, rolled);
        let seen = Seen { live_bytes: 6 * BYTES, aging, ..seen(&options, START + 20 * DAY_MS) };
        assert_eq!(why(&decide(&seen)), why_not, "level {level}, rolled {rolled}");
    }
}

async fn total(store: &Arc<Store>) -> u64 {
    let selection = crate::query::Selection::everything("shop", "cpu");
    let engine = crate::query::QueryEngine::new(store.clone(), crate::query::QueryLimits::default());
    engine.merge(&selection).await.unwrap().total()
}

/// Twenty windows of as many hours, of which each jump of the clock makes one more old.
#[tokio::test]
async fn a_restart_gives_no_other_tenth_of_the_hour() {
    let place = TestPlace::new().await;
    let a_day = || Options { retention: Duration::from_millis(DAY_MS), batch_time: Duration::ZERO, ..options() };
    let start = now_ms();
    let mut store = place.open_with(a_day()).await;
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    for hour in 0..20 {
        let window = TestWindow::new("shop", 1, 1 + hour, start - hour * HOUR_MS - HOUR_MS / 2);
        ingest.push(window.cpu(&[row("main", 1)]).request()).await.unwrap();
    }
    drop(ingest);
    guarded_round(&store, &mut Pace::default(), start).await.unwrap();
    assert_eq!(guarded_round(&store, &mut Pace::default(), start + 5 * HOUR_MS).await.unwrap().expired, 1);
    for _ in 0..2 {
        store.catalog().close().await;
        drop(store);
        store = place.open_with(a_day()).await;
        assert_eq!(guarded_round(&store, &mut Pace::default(), start + 6 * HOUR_MS).await.unwrap().expired, 0);
        assert_eq!(store.conditions().all()[0].kind, "retention_waits");
    }
    assert_eq!(total(&store).await, 19);
}

/// Also after a restart; and also pins, sequence numbers and names, which weigh nothing.
#[tokio::test]
async fn a_clock_a_hundred_days_ahead_takes_nothing_until_somebody_confirms_it() {
    let place = TestPlace::new().await;
    let (t, far) = (recent_ms(), now_ms() + 100 * DAY_MS);
    let mut store = place.open().await;
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let window = TestWindow::new("shop", 1, 1, t).cpu(&[row("main", 7)]);
    ingest.push(window.clone().request()).await.unwrap();
    drop(ingest);
    let ranges = vec![PinRange { service: "other".to_owned(), from_ms: t, until_ms: t + 1 }];
    let pin = NewPin { url: "/".into(), note: "".into(), answer: "".into(), expires_ms: t + 3 * DAY_MS, ranges };
    let pin = store.catalog().insert_pin(pin, t).await.unwrap();
    guarded_round(&store, &mut Pace::default(), now_ms()).await.unwrap();
    for _ in 0..2 {
        store.catalog().close().await;
        drop(store);
        store = place.open().await;
        let mut pace = Pace::default();
        for _ in 0..3 {
            let round = guarded_round(&store, &mut pace, far).await.unwrap();
            assert_eq!((round.expired, round.removed), (0, 0));
        }
        let told = store.conditions().all();
        assert_eq!(told.iter().map(|condition| condition.kind).collect::<Vec<_>>(), ["retention_waits"]);
        assert!(told[0].message.contains("100 % of what is stored") && told[0].message.contains("100 days ahead"));
    }
    assert_eq!(total(&store).await, 7);
    assert!(store.catalog().pin(&pin.id).await.unwrap().is_some());
    assert!(store.retention_clock(far).await.unwrap() < now_ms() + HOUR_MS);
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    assert!(ingest.push(window.request()).await.unwrap().duplicate, "sequence numbers are kept too");

    assert_eq!(store.confirm_retention(far).await.unwrap().segments, 1);
    let round = guarded_round(&store, &mut Pace::default(), far).await.unwrap();
    assert_eq!(round.expired, 1);
    assert_eq!(store.catalog().pin(&pin.id).await.unwrap(), None);
    assert_eq!(store.conditions().all(), []);
}

#[tokio::test]
async fn what_somebody_confirms_during_a_round_is_not_undone_by_it() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    store.confirm_retention(now_ms()).await.unwrap();
    let (soon, far) = (now_ms() + 60_000, now_ms() + 100 * DAY_MS);
    let found = store.retention_found(soon).await.unwrap();
    store.confirm_retention(far).await.unwrap();
    let confirmed = store.retention_found(far).await.unwrap().kept;
    assert_eq!(store.advance_from(found, 60_000, soon).await.unwrap(), None, "it is decided anew");
    assert_eq!(store.retention_found(far).await.unwrap().kept, confirmed);
    assert_eq!(store.advance_retention(&mut Pace::default(), far).await.unwrap().cutoffs, confirmed.progress.cutoffs);
}
