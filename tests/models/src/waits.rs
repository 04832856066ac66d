//! Registrations of sampled polls, with room for one: whoever wakes, clones, drops or tells, in whichever order.

use std::sync::Arc as Shared;
use std::task::{Wake, Waker};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::registrations::{Place, Registrations};

/// The task's own waker, which counts.
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Shared<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Shared<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn task() -> (Shared<Task>, Waker) {
    let task = Shared::new(Task(AtomicUsize::new(0)));
    (Shared::clone(&task), Waker::from(task))
}

/// A pool whose only entry is claimed, with the waker of its poll, and the task that it is of.
fn claimed() -> (Arc<Registrations>, Shared<Task>, u16) {
    let pool = Arc::new(Registrations::new());
    let (task, waker) = task();
    let number = pool.claim(&waker).unwrap();
    drop(waker);
    (pool, task, number)
}

/// What a waker of `place` does when it is woken by value.
fn wake(pool: &Registrations, number: u16, place: usize, now: u64) {
    pool.get(number).unwrap().wake(place, now);
    pool.release(number);
}

#[test]
fn a_wake_is_handed_on_once_and_the_last_to_let_go_frees_the_entry_and_the_tasks_waker() {
    loom::model(|| {
        let (pool, task, number) = claimed();
        let entry = pool.get(number).unwrap();
        assert!(entry.hold());
        let woken = thread::spawn({
            let pool = Arc::clone(&pool);
            move || wake(&pool, number, 0, 1_000)
        });
        let dropped = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.release(number)
        });
        pool.disown(number);
        woken.join().unwrap();
        dropped.join().unwrap();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        assert_eq!(Shared::strong_count(&task), 1, "nothing of the task is kept");
        let (other, waker) = self::task();
        assert_eq!(pool.claim(&waker), Some(number), "the entry is free");
        assert_eq!(pool.get(number).unwrap().woke(), None, "and knows nothing of before");
        pool.release(number);
        pool.disown(number);
        drop(waker);
        assert_eq!(Shared::strong_count(&other), 1);
    });
}

#[test]
fn a_wrapper_does_not_keep_the_task_alive_that_it_is_a_part_of() {
    loom::model(|| {
        let (pool, task, number) = claimed();
        assert!(pool.get(number).unwrap().hold());
        let dropped = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.release(number)
        });
        pool.release(number);
        dropped.join().unwrap();
        assert_eq!(Shared::strong_count(&task), 1, "there are no wakers");
        assert!(pool.claim(&self::task().1).is_none(), "and the wrapper has the entry");
        pool.disown(number);
        assert!(pool.claim(&self::task().1).is_some());
    });
}

#[test]
fn of_two_wakes_both_are_handed_on_and_one_was_the_first() {
    loom::model(|| {
        let (pool, task, number) = claimed();
        let entry = pool.get(number).unwrap();
        assert!(entry.hold());
        let wakers = [(0, 1_600), (1, 3_200)].map(|(place, now)| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let is_first = pool.get(number).unwrap().wake(place, now);
                pool.release(number);
                is_first
            })
        });
        let first = wakers.map(|waker| waker.join().unwrap());
        assert!(first[0] != first[1], "{first:?}");
        let noted = pool.get(number).unwrap().woke();
        assert_eq!(noted, Some(if first[0] { (1_600, 0) } else { (3_200, 1) }));
        assert_eq!((task.0.load(Ordering::Relaxed), Shared::strong_count(&task)), (2, 1));
        pool.disown(number);
    });
}

#[test]
fn a_clone_that_is_made_while_others_let_go_keeps_the_entry() {
    loom::model(|| {
        let (pool, task, number) = claimed();
        assert!(pool.get(number).unwrap().hold());
        let cloned = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                assert!(pool.get(number).unwrap().hold());
                pool.release(number);
                wake(&pool, number, 1, 1_600);
            }
        });
        pool.release(number);
        pool.disown(number);
        cloned.join().unwrap();
        assert_eq!((task.0.load(Ordering::Relaxed), Shared::strong_count(&task)), (1, 1));
    });
}

#[test]
fn an_entry_is_claimed_by_one_at_a_time() {
    loom::model(|| {
        let pool = Arc::new(Registrations::new());
        let rivals = [(); 2].map(|()| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let (task, waker) = task();
                if let Some(number) = pool.claim(&waker) {
                    pool.get(number).unwrap().wake(0, 1_600);
                    pool.release(number);
                    pool.disown(number);
                    assert_eq!(task.0.load(Ordering::Relaxed), 1, "its own task, not the other's");
                }
                drop(waker);
                assert_eq!(Shared::strong_count(&task), 1);
            })
        });
        rivals.into_iter().for_each(|rival| rival.join().unwrap());
        assert!(pool.claim(&task().1).is_some(), "it is free in the end");
    });
}

#[test]
fn the_time_of_a_wait_is_told_once_whoever_tells_it() {
    loom::model(|| {
        let (pool, _task, number) = claimed();
        let entry = pool.get(number).unwrap();
        let place = Place { stack_hash: 7, ids: [1, 2, 3], labels: 4 };
        entry.set_place(0, &place);
        entry.open(100);
        let agent = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                let mut told = 0;
                for entry in pool.taken() {
                    let Some(since) = entry.since() else { continue };
                    assert_eq!(entry.place(0), Some(place), "whoever sees that it waits sees where");
                    if entry.tell_until(since, 150) {
                        told += 150 - since;
                    }
                }
                told
            }
        });
        let own = entry.take_since().map_or(0, |since| 200 - since);
        pool.release(number);
        pool.disown(number);
        assert_eq!(agent.join().unwrap() + own, 100);
    });
}

#[test]
fn what_was_read_of_an_entry_that_is_another_tasks_now_is_not_told() {
    loom::model(|| {
        let (pool, _task, number) = claimed();
        pool.get(number).unwrap().set_place(0, &Place { stack_hash: 7, ..Place::default() });
        pool.get(number).unwrap().open(100);
        let agent = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                let entry = pool.get(number).unwrap();
                let (since, place) = (entry.since()?, entry.place(0)?);
                entry.tell_until(since, 500).then_some((since, place.stack_hash))
            }
        });
        let own = pool.get(number).unwrap().take_since();
        pool.release(number);
        pool.disown(number);
        let (_other, waker) = task();
        let again = pool.claim(&waker).unwrap();
        pool.get(again).unwrap().set_place(0, &Place { stack_hash: 8, ..Place::default() });
        pool.get(again).unwrap().open(300);
        let told = agent.join().unwrap();
        assert!([None, Some((100, 7)), Some((300, 8))].contains(&told), "{told:?}");
        assert!(own.is_some());
    });
}
