//! Wakers keep their contract in every order of events, and nothing of them is left over.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::registrations::{PLACES, REGISTRATIONS_MAX};
use super::state::REGISTRATIONS;
use super::{Density, Waits, counters, open_count, stop};
use crate::trace_context::TraceContext;

/// Which share is sampled is the process's, and so are registrations.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All requests are sampled until it is dropped.
struct Sampled(#[allow(dead_code, reason = "held")] MutexGuard<'static, ()>);

fn sampled() -> Sampled {
    let turn = alone();
    assert_alive(0);
    Density::new(100_000).apply();
    Sampled(turn)
}

impl Drop for Sampled {
    fn drop(&mut self) {
        stop();
    }
}

/// Asserts that so many registrations are alive, once polls of tests beside this one are over.
#[track_caller]
fn assert_alive(expected: usize) {
    let alive = || REGISTRATIONS.taken().count();
    let deadline = Instant::now() + Duration::from_secs(20);
    while alive() != expected && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(alive(), expected, "registrations that are alive");
}

/// A task that counts its wakes.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn task() -> (Arc<Task>, Waker) {
    let task = Arc::new(Task::default());
    (Arc::clone(&task), Waker::from(task))
}

impl Task {
    fn wakes(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A leaf that keeps what a test does with the waker it is given.
struct Leaf<F>(F);

impl<F: FnMut(&Waker) -> Poll<()> + Unpin> Future for Leaf<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        (self.0)(cx.waker())
    }
}

/// A wrapper around a leaf, as those that label futures are.
struct Wrapper<F> {
    waits: Waits,
    leaf: F,
}

impl<F: Future + Unpin> Future for Wrapper<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { waits, leaf } = &mut *self;
        waits.poll(Pin::new(leaf), cx)
    }
}

fn wrapper<F: FnMut(&Waker) -> Poll<()> + Unpin>(leaf: F) -> Wrapper<Leaf<F>> {
    Wrapper { waits: Waits::of(Some(&TraceContext::root())), leaf: Leaf(leaf) }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// What can happen to a waker.
#[derive(Debug, Clone, Copy)]
enum Event {
    Clone,
    Wake,
    WakeByRef,
    Drop,
    PollAgain,
    Cancel,
}

const EVENTS: [Event; 6] = [Event::Clone, Event::Wake, Event::WakeByRef, Event::Drop, Event::PollAgain, Event::Cancel];

/// Five events in each order there is, ours beside what a task's own waker would have done.
#[test]
fn in_every_order_of_events_each_wake_comes_once_at_once_and_nothing_is_left() {
    let _sampled = sampled();
    for order in 0..EVENTS.len().pow(5) {
        let events: Vec<Event> = (0..5).map(|at| EVENTS[order / EVENTS.len().pow(at) % EVENTS.len()]).collect();
        let (task, own) = task();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let mut future = Some(wrapper({
            let kept = Arc::clone(&kept);
            move |waker: &Waker| {
                kept.lock().unwrap().push(waker.clone());
                Poll::Pending
            }
        }));
        assert!(poll(future.as_mut().unwrap(), &own).is_pending());
        let mut wakes = 0;
        for event in &events {
            let mut wakers = kept.lock().unwrap();
            match event {
                Event::Clone => {
                    if let Some(waker) = wakers.last().cloned() {
                        assert!(waker.will_wake(wakers.last().unwrap()), "a clone is the same waker");
                        wakers.push(waker);
                    }
                }
                Event::Wake => {
                    if let Some(waker) = wakers.pop() {
                        waker.wake();
                        wakes += 1;
                    }
                }
                Event::WakeByRef => {
                    if let Some(waker) = wakers.first() {
                        waker.wake_by_ref();
                        wakes += 1;
                    }
                }
                Event::Drop => drop(wakers.pop()),
                Event::PollAgain => {
                    drop(wakers);
                    if let Some(future) = &mut future {
                        assert!(poll(future, &own).is_pending());
                    }
                }
                Event::Cancel => future = None,
            }
            assert_eq!(task.wakes(), wakes, "{events:?}");
        }
        drop(future);
        // Whoever wakes late wakes all the same.
        let late = std::mem::take(&mut *kept.lock().unwrap());
        wakes += late.len();
        late.into_iter().for_each(Waker::wake);
        assert_eq!(task.wakes(), wakes, "{events:?}");
        drop((own, kept));
        assert_alive(0);
        assert_eq!(Arc::strong_count(&task), 1, "{events:?} left something");
    }
}

#[test]
fn a_poll_that_is_not_sampled_gets_the_tasks_own_waker() {
    let turn = alone();
    let (_task, own) = task();
    let mut seen = Vec::new();
    let mut off = wrapper(|waker: &Waker| {
        seen.push((waker.data(), std::ptr::from_ref(waker.vtable())));
        Poll::Pending
    });
    assert!(poll(&mut off, &own).is_pending());
    drop(off);
    assert_eq!(seen, [(own.data(), std::ptr::from_ref(own.vtable()))], "no agent runs");
    drop(turn);
    let _sampled = sampled();
    let mut stranger = Wrapper {
        waits: Waits::of(None),
        leaf: Leaf(|waker: &Waker| if waker.will_wake(&own) { Poll::Ready(()) } else { Poll::Pending }),
    };
    assert!(poll(&mut stranger, &own).is_ready(), "a future without a trace is not chosen");
}

#[test]
fn when_the_agent_stops_what_waits_is_woken_and_the_next_poll_has_its_own_waker() {
    let sampled = sampled();
    let (task, own) = task();
    let kept = Mutex::new(None);
    let mut future = wrapper(|waker: &Waker| {
        *kept.lock().unwrap() = Some(waker.clone());
        Poll::Pending
    });
    assert!(poll(&mut future, &own).is_pending());
    assert!(!kept.lock().unwrap().as_ref().unwrap().will_wake(&own), "it was sampled");
    stop();
    kept.lock().unwrap().take().unwrap().wake();
    assert_eq!(task.wakes(), 1);
    assert!(poll(&mut future, &own).is_pending());
    assert!(kept.lock().unwrap().as_ref().unwrap().will_wake(&own));
    assert_alive(0);
    drop(sampled);
}

#[test]
fn a_wrapper_inside_a_sampled_poll_passes_its_waker_on_and_one_behind_another_waker_samples() {
    let _sampled = sampled();
    let (_task, own) = task();
    let mut inner = wrapper(|waker: &Waker| {
        assert_alive(1);
        drop(waker.clone());
        Poll::Pending
    });
    let mut outer = wrapper(|waker: &Waker| poll(&mut inner, waker));
    assert!(poll(&mut outer, &own).is_pending());
    drop(outer);
    drop(inner);
    assert_alive(0);
    let (_other, set) = task();
    let mut inner = wrapper(|_: &Waker| {
        assert_alive(2);
        Poll::Pending
    });
    let mut outer = wrapper(|_: &Waker| poll(&mut inner, &set));
    assert!(poll(&mut outer, &own).is_pending());
    drop(outer);
    drop(inner);
    assert_alive(0);
}

#[test]
fn a_million_wakes_are_handed_on_and_counted() {
    let _sampled = sampled();
    let (task, own) = task();
    let kept = Mutex::new(None);
    let mut future = wrapper(|waker: &Waker| {
        *kept.lock().unwrap() = Some(waker.clone());
        Poll::Pending
    });
    assert!(poll(&mut future, &own).is_pending());
    let before = counters().wakes_repeated;
    let waker = kept.lock().unwrap().take().unwrap();
    (0..1_000_000).for_each(|_| waker.wake_by_ref());
    assert_eq!((task.wakes(), counters().wakes_repeated - before), (1_000_000, 999_999));
    drop((waker, future));
    assert_alive(0);
}

#[test]
fn clones_without_end_share_a_registration_and_polls_without_end_fill_the_pool_and_no_more() {
    let _sampled = sampled();
    let (task, own) = task();
    let mut kept = Vec::new();
    let mut future = wrapper(|waker: &Waker| {
        kept.extend((0..10_000).map(|_| waker.clone()));
        Poll::Pending
    });
    let before = counters();
    assert!(poll(&mut future, &own).is_pending());
    assert_alive(1);
    assert_eq!(counters().clones_full - before.clones_full, 10_000 - PLACES as u64);
    drop(future);
    let last = kept.pop().unwrap();
    drop(kept);
    assert_alive(1);
    last.wake();
    assert_alive(0);
    assert_eq!(task.wakes(), 1);
    // Whoever keeps the wakers of each poll has all registrations in the end, and then wakers of the task itself.
    let mut kept = Vec::new();
    for _ in 0..REGISTRATIONS_MAX + 100 {
        assert!(
            poll(
                &mut wrapper(|waker: &Waker| {
                    kept.push(waker.clone());
                    Poll::Pending
                }),
                &own
            )
            .is_pending()
        );
    }
    assert_alive(REGISTRATIONS_MAX);
    assert!(counters().registrations_full - before.registrations_full >= 100);
    assert!(kept.iter().rev().take(100).all(|waker| waker.will_wake(&own)));
    kept.into_iter().for_each(Waker::wake);
    assert_alive(0);
    assert_eq!(task.wakes(), REGISTRATIONS_MAX + 101);
}

#[test]
fn a_clone_by_another_thread_takes_no_stack_and_wakes() {
    let _sampled = sampled();
    let (task, own) = task();
    let kept = Mutex::new(None);
    let before = counters().clones_foreign;
    let mut future = wrapper(|waker: &Waker| {
        std::thread::scope(|scope| {
            scope.spawn(|| *kept.lock().unwrap() = Some(waker.clone()));
        });
        Poll::Pending
    });
    assert!(poll(&mut future, &own).is_pending());
    assert_alive(1);
    assert_eq!(counters().clones_foreign - before, 1);
    kept.lock().unwrap().take().unwrap().wake();
    drop(future);
    assert_alive(0);
    assert_eq!(task.wakes(), 1);
}

#[test]
fn a_future_that_moves_between_threads_is_woken_on_all_of_them() {
    let _sampled = sampled();
    let (task, own) = task();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let mut future = wrapper({
        let kept = Arc::clone(&kept);
        move |waker: &Waker| {
            kept.lock().unwrap().push(waker.clone());
            Poll::Pending
        }
    });
    for round in 1..=50 {
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(poll(&mut future, &own).is_pending()));
        });
        let waker = kept.lock().unwrap().pop().unwrap();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        assert_eq!(task.wakes(), round);
    }
    drop(future);
    assert_alive(0);
}

#[test]
fn a_panic_in_a_poll_leaves_nothing() {
    let _sampled = sampled();
    let (task, own) = task();
    for _ in 0..20 {
        let mut future = wrapper(|waker: &Waker| {
            let _kept = waker.clone();
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut future, &own)));
        assert!(caught.is_err());
    }
    drop(own);
    assert_alive(0);
    assert_eq!(Arc::strong_count(&task), 1);
}

#[test]
fn a_task_that_is_ready_leaves_nothing_whatever_keeps_its_wakers() {
    let _sampled = sampled();
    let (task, own) = task();
    let mut kept = Vec::new();
    let mut future = pin!(wrapper(|waker: &Waker| {
        kept.push(waker.clone());
        Poll::Ready(())
    }));
    assert!(future.as_mut().poll(&mut Context::from_waker(&own)).is_ready());
    assert_alive(1);
    assert_eq!(open_count(), 0, "kept, and nobody waits");
    kept.into_iter().for_each(Waker::wake);
    assert_alive(0);
    assert_eq!(task.wakes(), 1);
}

/// Some executors end a task once nobody has a waker of it any more.
#[test]
fn a_wrapper_keeps_no_waker_of_its_own_task() {
    let _sampled = sampled();
    let (task, own) = task();
    let kept = Mutex::new(None);
    let mut future = wrapper(|waker: &Waker| {
        *kept.lock().unwrap() = Some(waker.clone());
        Poll::Pending
    });
    assert!(poll(&mut future, &own).is_pending());
    drop(own);
    assert_eq!(Arc::strong_count(&task), 2, "the leaf's");
    drop(kept.lock().unwrap().take());
    assert_eq!(Arc::strong_count(&task), 1);
    assert_alive(1);
    assert_eq!(open_count(), 1, "it waits, for nobody");
    drop(future);
    assert_alive(0);
}
