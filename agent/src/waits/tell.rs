//! How an interval becomes samples: what passed until it was woken was an await, what passed from then on was in a queue for a worker.

use super::counters::{COUNTERS, count};
use super::density::HALVINGS_MAX;
use super::registrations::{Entry, PLACES, Place, UNPLACED};
use super::state::{REGISTRATIONS, run};
use crate::sample::{RawSample, SampleKind, WaitState};
use crate::sampler;

/// Tells the waiting of an entry from `since_ns` to `now_ns`, which the caller took off it. On any thread.
pub(super) fn by_host(entry: &Entry, since_ns: u64, now_ns: u64) {
    let (halvings, of_run) = entry.weight();
    if of_run == run() {
        let parts = parts(entry.woke(), since_ns, now_ns);
        samples_at(&known_places(entry), halvings, &parts, sampler::record_wait);
    }
}

/// Tells the waiting of all tasks that wait now, up to now. For the agent thread, at the end of a window: so what hangs shows while it hangs.
pub(crate) fn open_waits(each: &mut dyn FnMut(&RawSample<'_>)) {
    let now_ns = sampler::monotonic_ns();
    for entry in REGISTRATIONS.taken() {
        let Some(since_ns) = entry.since().filter(|since| *since < now_ns) else { continue };
        let ((halvings, of_run), woke) = (entry.weight(), entry.woke());
        let places = known_places(entry);
        if of_run == run() && entry.tell_until(since_ns, now_ns) {
            samples_at(&places, halvings, &parts(woke, since_ns, now_ns), &mut *each);
        }
    }
}

/// The stacks that tasks wait at now, by their hashes.
pub(crate) fn open_stacks(each: &mut dyn FnMut(u64)) {
    let open = REGISTRATIONS.taken().filter(|entry| entry.since().is_some());
    open.flat_map(known_places).flatten().for_each(|place| each(place.stack_hash));
}

/// How many tasks wait now.
pub(crate) fn open_count() -> u64 {
    REGISTRATIONS.taken().filter(|entry| entry.since().is_some()).count() as u64
}

/// A state, for how many nanoseconds, and at which place. Until it is woken nobody knows which leaf it will be.
type Part = (WaitState, u64, Option<usize>);

fn parts(woke: Option<(u64, usize)>, since_ns: u64, now_ns: u64) -> [Part; 2] {
    let (woke_ns, place) =
        woke.map_or((now_ns, None), |(at, place)| (at.clamp(since_ns, now_ns.max(since_ns)), Some(place)));
    let awaited = woke_ns.saturating_sub(since_ns);
    [(WaitState::Await, awaited, place), (WaitState::Queue, now_ns.saturating_sub(woke_ns), place)]
}

type Places = [Option<Place>; PLACES];

fn known_places(entry: &Entry) -> Places {
    std::array::from_fn(|number| entry.place(number))
}

fn samples_at(places: &Places, halvings: u32, parts: &[Part; 2], mut each: impl FnMut(&RawSample<'_>)) {
    let mut is_lost = false;
    for (state, ns, place) in parts.iter().filter(|(_, ns, _)| *ns > 0) {
        let place = match place {
            Some(UNPLACED) => None,
            Some(number) => places.get(*number).copied().flatten(),
            None => places.iter().copied().flatten().next(),
        };
        let Some(place) = place else {
            is_lost = true;
            continue;
        };
        let (context, labels) = place.works_for();
        each(&RawSample {
            kind: SampleKind::Wait { state: *state, ns: ns.saturating_mul(1 << halvings.min(HALVINGS_MAX)) },
            time_ms: sampler::unix_time_ms(),
            tid: 0,
            context,
            labels,
            stack: &[],
            stack_hash: place.stack_hash,
            truncated: false,
        });
    }
    if is_lost {
        count(&COUNTERS.unplaced);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use WaitState::{Await, Queue};

    #[test]
    fn an_interval_is_an_await_until_it_is_woken_and_in_a_queue_from_then_on() {
        assert_eq!(parts(Some((700, 2)), 100, 1_000), [(Await, 600, Some(2)), (Queue, 300, Some(2))]);
        assert_eq!(parts(None, 100, 1_000), [(Await, 900, None), (Queue, 0, None)]);
        assert_eq!(parts(Some((50, 0)), 100, 1_000), [(Await, 0, Some(0)), (Queue, 900, Some(0))], "it yielded");
        assert_eq!(parts(Some((2_000, 0)), 100, 1_000), [(Await, 900, Some(0)), (Queue, 0, Some(0))]);
        assert_eq!(
            parts(Some((50, 0)), 100, 90),
            [(Await, 0, Some(0)), (Queue, 0, Some(0))],
            "clocks of two processors"
        );
    }
}
