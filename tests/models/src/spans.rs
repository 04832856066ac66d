//! What is kept at hand of open spans, where all of them share one place.

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use crate::open_spans::{OpenSpans, Words};

const FIRST: u64 = 1;
const SECOND: u64 = 2;

fn words(of: u64) -> Words {
    [of, of * 10]
}

/// One span is there; what `other` does happens beside what the caller does then.
fn beside(other: impl FnOnce(&OpenSpans) + Send + 'static) -> (Arc<OpenSpans>, JoinHandle<()>) {
    let spans = Arc::new(OpenSpans::new());
    spans.set(FIRST, words(FIRST));
    let other = thread::spawn({
        let spans = Arc::clone(&spans);
        move || other(&spans)
    });
    (spans, other)
}

#[test]
fn a_span_is_found_whole_or_not_at_all_while_another_takes_its_place() {
    loom::model(|| {
        let (spans, other) = beside(|spans| spans.set(SECOND, words(SECOND)));
        let seen = spans.get(FIRST);
        assert!(seen.is_none_or(|seen| seen == words(FIRST)), "{seen:?} was never put in");
        other.join().unwrap();
        assert_eq!((spans.get(FIRST), spans.get(SECOND)), (None, Some(words(SECOND))));
    });
}

#[test]
fn a_closed_span_is_gone_whoever_else_writes_in_its_place() {
    loom::model(|| {
        let (spans, other) = beside(|spans| {
            spans.set(SECOND, words(SECOND));
            spans.remove(SECOND);
        });
        spans.remove(FIRST);
        other.join().unwrap();
        assert_eq!((spans.get(FIRST), spans.get(SECOND)), (None, None));
    });
}

#[test]
fn a_span_that_changes_is_found_as_it_was_or_as_it_is() {
    loom::model(|| {
        let (spans, owner) = beside(|spans| spans.set(FIRST, words(3)));
        let seen = spans.get(FIRST);
        assert!(seen.is_none_or(|seen| [words(FIRST), words(3)].contains(&seen)), "{seen:?} was never put in");
        owner.join().unwrap();
        assert_eq!(spans.get(FIRST), Some(words(3)));
    });
}
