//! What a wrapper of a future does around each poll: nearly always nothing. Of a chosen request it tells how long the task waited, and where.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::counters::{COUNTERS, count};
use super::registrations::Entry;
use super::state::{REGISTRATIONS, run};
use super::waker::{self, Handed};
use super::workspace::Sampling;
use super::{density, tell};
use crate::sampler::{self, Registers};
use crate::trace_context::TraceContext;

/// What a wrapper remembers from one poll to the next.
#[derive(Debug)]
pub(crate) struct Waits {
    /// Of its trace.
    hash: u64,
    open: Option<Open>,
}

impl Waits {
    /// Of a future that works for `context`. Without one it is not sampled by itself.
    pub(crate) fn of(context: Option<&TraceContext>) -> Self {
        let hash = context.map_or(density::NEVER, |context| density::hash_of(&context.trace_id));
        Self { hash, open: None }
    }

    /// Polls `future`, with a waker of ours if its request was chosen.
    #[inline]
    pub(crate) fn poll<F: Future>(&mut self, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.hash > density::threshold() && self.open.is_none() {
            return future.poll(cx);
        }
        self.poll_chosen(future, cx)
    }

    /// The copies of stacks reach up to this function, which is still there when they are walked.
    #[inline(never)]
    fn poll_chosen<F: Future>(&mut self, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let stands_from = Registers::here().sp();
        // What nobody woke goes on, if this poll leaves the task waiting again.
        let unfinished = self.open.take().and_then(Open::polled);
        let Some(begun) = Begun::begin(self.hash, cx.waker(), stands_from) else {
            unfinished.inspect(Open::end);
            return future.poll(cx);
        };
        let handed = Handed { parent: cx.waker(), registration: begun.open.0 };
        let outcome = waker::with_waker(&handed, |waker| future.poll(&mut Context::from_waker(waker)));
        if outcome.is_pending() {
            self.open = begun.pending(unfinished, sampler::monotonic_ns());
        } else {
            density::give_back();
            unfinished.inspect(Open::end);
        }
        outcome
    }
}

/// A sampled poll under way.
#[derive(Debug)]
struct Begun {
    sampling: Sampling,
    handed: PollsWaker,
    open: Open,
}

/// The waker of the poll under way, which holds the task's own. Dropped, it is one waker less.
#[derive(Debug)]
struct PollsWaker(u16);

impl Drop for PollsWaker {
    fn drop(&mut self) {
        REGISTRATIONS.release(self.0);
    }
}

impl Begun {
    /// `None`: this poll is not sampled.
    fn begin(hash: u64, waker: &Waker, stands_from: u64) -> Option<Self> {
        let threshold = density::threshold();
        if hash > threshold || waker::is_context(waker) || sampler::in_child() || !density::take() {
            return None;
        }
        let begun = Self::claim(density::halvings(threshold), waker, stands_from);
        if begun.is_none() {
            density::give_back();
        }
        begun
    }

    fn claim(halvings: u32, waker: &Waker, stands_from: u64) -> Option<Self> {
        let Some(number) = REGISTRATIONS.claim(waker) else {
            count(&COUNTERS.registrations_full);
            return None;
        };
        let (handed, open) = (PollsWaker(number), Open(number));
        open.entry()?.weigh(halvings, run());
        let Some(sampling) = Sampling::begin(number, stands_from) else {
            count(&COUNTERS.busy);
            return None;
        };
        Some(Self { sampling, handed, open })
    }

    /// The poll left the task waiting.
    #[inline(never)]
    fn pending(self, unfinished: Option<Open>, now_ns: u64) -> Option<Open> {
        let Self { sampling, handed, open } = self;
        let entry = open.entry()?;
        if entry.wakers() == 1 && entry.woke().is_none() {
            // Nobody has a waker of this poll: whoever is to wake the task was told before.
            density::give_back();
            return unfinished;
        }
        sampling
            .with_copies(|workspace| workspace.places().for_each(|(number, place)| entry.set_place(number, &place)));
        count(&COUNTERS.waits);
        // One interval, however often its leaves were asked in between.
        let goes_on = unfinished.as_ref().and_then(Open::entry).filter(|before| before.woke().is_none());
        let since = goes_on.and_then(Entry::take_since).unwrap_or(now_ns);
        unfinished.inspect(Open::end);
        entry.open(since);
        drop(handed);
        Some(open)
    }
}

/// An entry that its wrapper owns, of a task that waits. Dropped, it tells what was not told.
#[derive(Debug)]
struct Open(u16);

impl Open {
    fn entry(&self) -> Option<&'static Entry> {
        REGISTRATIONS.get(self.0)
    }

    /// The task is polled: tells its wait if one of our wakers ended it. Otherwise it goes on.
    fn polled(self) -> Option<Self> {
        if self.entry().is_some_and(|entry| entry.woke().is_some()) {
            self.end();
            return None;
        }
        count(&COUNTERS.not_woken);
        Some(self)
    }

    /// Tells what was not told.
    fn end(&self) {
        if let Some(entry) = self.entry()
            && let Some(since) = entry.take_since()
        {
            tell::by_host(entry, since, sampler::monotonic_ns());
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.entry().is_some_and(|entry| entry.since().is_some()) {
            count(&COUNTERS.dropped);
            self.end();
        }
        REGISTRATIONS.disown(self.0);
    }
}
