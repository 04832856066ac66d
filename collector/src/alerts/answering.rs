//! Answers alert links: from memory where that is new enough, otherwise when its turn comes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::answer::{Answer, AnswerError};
use super::evidence::{Evidence, Sources};
use super::link::AlertLink;
use super::words;
use crate::base::clock::now_ms;
use crate::query::QueryEngine;
use crate::store::Store;
use crate::symbols::Symbols;
use crate::work::Workbench;

/// Answers kept: a storm of alerts, at some 20 KiB each.
const ANSWERS_MAX: usize = 256;

/// After this long everything that agents hold back has arrived: the answer will not change any more.
pub const SETTLED_AFTER_MS: u64 = 120_000;

/// How long an answer is good before that.
const UNSETTLED_MS: u64 = 15_000;

/// How long it is good once it has settled: late data and late symbols still get in.
const SETTLED_MS: u64 = 600_000;

/// Answers alert links.
#[derive(Debug)]
pub struct Answers {
    sources: Sources,
    bench: Workbench,
    known: Mutex<VecDeque<Known>>,
}

#[derive(Debug)]
struct Known {
    link: AlertLink,
    computed_ms: u64,
    answer: Arc<Answer>,
}

impl Answers {
    /// Over what is stored; computed on `bench`.
    pub fn new(engine: QueryEngine, store: Arc<Store>, symbols: Symbols, bench: Workbench) -> Self {
        Self { sources: Sources { engine, store, symbols }, bench, known: Mutex::default() }
    }

    /// The answer to a link.
    ///
    /// # Errors
    /// When the service or the type is unknown, the profiles cannot be read, or there was no turn for it.
    pub async fn answer(&self, link: &AlertLink) -> Result<Arc<Answer>, AnswerError> {
        match self.known(link, now_ms()) {
            Some(known) => Ok(known),
            None => self.bench.run(self.compute(link)).await?,
        }
    }

    /// An answer that was computed lately enough.
    fn known(&self, link: &AlertLink, now_ms: u64) -> Option<Arc<Answer>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|known| known.link == *link)?;
        let settled = found.computed_ms >= link.at_ms.saturating_add(SETTLED_AFTER_MS);
        let good_for = if settled { SETTLED_MS } else { UNSETTLED_MS };
        (now_ms.saturating_sub(found.computed_ms) < good_for).then(|| found.answer.clone())
    }

    /// Computes an answer and remembers it.
    async fn compute(&self, link: &AlertLink) -> Result<Arc<Answer>, AnswerError> {
        let computed_ms = now_ms();
        let evidence = Evidence::gather(&self.sources, link).await?;
        let answer = Arc::new(words::answer(link, evidence));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.link != *link);
        known.truncate(ANSWERS_MAX - 1);
        known.push_front(Known { link: link.clone(), computed_ms, answer: answer.clone() });
        Ok(answer)
    }
}
