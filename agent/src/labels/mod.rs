//! String labels of samples, such as route and tenant: few, kept for ever, and named by a small number that a signal handler
//! can copy.
//!
//! Nothing here takes a lock: neither who looks up what is known, nor who adds something new.

mod table;

use std::sync::atomic::{AtomicU64, Ordering};

use tephra_proto::label::{check_name, is_printable};
use tephra_proto::limits::SAMPLE_LABELS_MAX;

use self::table::Table;

/// Values of one name that are told apart; further ones share [`OTHER`].
const VALUES_MAX: usize = 128;
/// Names and values of a process.
const PAIRS_MAX: usize = 512;
/// Combinations of them.
const SETS_MAX: usize = 1024;
/// Longer values are cut.
const VALUE_BYTES_MAX: usize = 128;
/// What values beyond the limits are called.
const OTHER: &str = "__other__";

static PAIRS: Table<Pair, PAIRS_MAX> = Table::new();
static SETS: Table<Set, SETS_MAX> = Table::new();
static UNIONS: Unions = Unions([const { AtomicU64::new(0) }; 512]);
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Names and values that samples carry besides their trace, such as the route or the tenant of the request. Copies of a small
/// number; [`attach_labels`](crate::attach_labels) and [`in_labels`](crate::in_labels) say for how long they hold.
///
/// A process can tell 127 values of one name apart, 448 values in all and 896 combinations of them; a sample has 8 labels at most.
/// A value beyond that is called `__other__`, a combination beyond that keeps what came first, and
/// [`Stats::labels_refused`](crate::Stats::labels_refused) counts both: the id of a user or an order belongs into the trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Labels(u16);

impl Labels {
    /// No labels.
    pub const NONE: Self = Self(0);

    /// One label. Names are written as resource labels are: a lower-case letter, then letters, digits, `_` and `.`. A label of the
    /// service that has the same name wins. An empty value is no label; a value is cut after 128 bytes.
    pub fn of(name: &'static str, value: &str) -> Self {
        Self::NONE.with(name, value)
    }

    /// These and one more, which replaces one of the same name.
    #[must_use]
    pub fn with(self, name: &'static str, value: &str) -> Self {
        pair(name, value).and_then(|pair| Self::intern(&[pair])).map_or(self, |one| self.plus(one))
    }

    /// The union of both; of a name in both, the value of `inner`.
    #[must_use]
    #[inline]
    pub(crate) fn plus(self, inner: Self) -> Self {
        match (self, inner) {
            (labels, Self::NONE) | (Self::NONE, labels) => labels,
            _ if self == inner => self,
            _ => UNIONS.get(self, inner).unwrap_or_else(|| self.unite(inner)),
        }
    }

    #[cold]
    fn unite(self, inner: Self) -> Self {
        let [outer_pairs, inner_pairs] = [self, inner].map(Self::pair_ids);
        let replaced = |&outer: &u16| inner_pairs.iter().any(|&inner| name_of(inner) == name_of(outer));
        let mut pairs: Vec<u16> = outer_pairs.iter().copied().filter(|outer| !replaced(outer)).collect();
        pairs.extend_from_slice(inner_pairs);
        pairs.sort_unstable();
        let union = Self::intern(&pairs);
        if let Some(union) = union {
            UNIONS.set(self, inner, union);
        }
        union.unwrap_or(self)
    }

    /// Names and values, by name.
    pub(crate) fn pairs(self) -> Vec<(&'static str, &'static str)> {
        let text = |&pair: &u16| PAIRS.get(pair).map(|pair| (pair.name, &*pair.value));
        let mut pairs: Vec<_> = self.pair_ids().iter().filter_map(text).collect();
        pairs.sort_unstable();
        pairs
    }

    /// What a signal handler copies.
    #[cfg_attr(
        any(not(target_os = "linux"), feature = "pprof-fallback"),
        allow(dead_code, reason = "the stand-in sampler's samples have no labels")
    )]
    pub(crate) fn number(self) -> u16 {
        self.0
    }

    /// The labels with this number; a number that was never given has none.
    #[cfg_attr(
        any(not(target_os = "linux"), feature = "pprof-fallback"),
        allow(dead_code, reason = "the stand-in sampler's samples have no labels")
    )]
    pub(crate) fn numbered(number: u16) -> Self {
        Self(number)
    }

    fn pair_ids(self) -> &'static [u16] {
        SETS.get(self.0).map_or(&[], |set| set)
    }

    /// The labels of these pairs, which are in ascending order; without room for them `None`, which is counted.
    fn intern(pairs: &[u16]) -> Option<Self> {
        let add = || (pairs.len() <= SAMPLE_LABELS_MAX).then(|| pairs.into());
        let set = SETS.find_or_add(pairs, |set| **set == *pairs, add);
        if set.is_none() {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
        set.map(Self)
    }
}

impl std::fmt::Debug for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.pairs()).finish()
    }
}

/// How often a label could not be kept as it was.
pub(crate) fn refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// A name with a value.
struct Pair {
    name: &'static str,
    value: Box<str>,
}

/// Numbers of pairs, ascending.
type Set = Box<[u16]>;

/// The number of a pair. `None`: it is no label.
fn pair(name: &'static str, value: &str) -> Option<u16> {
    if value.is_empty() {
        return None;
    }
    let cut = value.get(..value.floor_char_boundary(VALUE_BYTES_MAX)).unwrap_or(value);
    let printed: String;
    let value = if cut.chars().all(is_printable) {
        cut
    } else {
        printed = cut.chars().map(|c| if is_printable(c) { c } else { '\u{fffd}' }).collect();
        &printed
    };
    let known = |value: &str, most: usize| {
        let add = || {
            let values = PAIRS.iter().filter(|pair| pair.name == name).count();
            (values < most && check_name(name).is_ok()).then(|| Pair { name, value: value.into() })
        };
        PAIRS.find_or_add((name, value), |pair| pair.name == name && *pair.value == *value, add)
    };
    known(value, VALUES_MAX - 1).or_else(|| {
        REFUSED.fetch_add(1, Ordering::Relaxed);
        known(OTHER, VALUES_MAX)
    })
}

fn name_of(pair: u16) -> Option<&'static str> {
    PAIRS.get(pair).map(|pair| pair.name)
}

/// Unions that were formed lately: a future that is polled under a label forms the same one each time.
struct Unions([AtomicU64; 512]);

impl Unions {
    const KNOWN: u64 = 1 << 63;

    fn key(outer: Labels, inner: Labels) -> u64 {
        Self::KNOWN | u64::from(outer.0) << 32 | u64::from(inner.0) << 16
    }

    fn slot(&self, key: u64) -> Option<&AtomicU64> {
        self.0.get(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> 55)
    }

    fn get(&self, outer: Labels, inner: Labels) -> Option<Labels> {
        let key = Self::key(outer, inner);
        let found = self.slot(key)?.load(Ordering::Relaxed);
        (found & !0xffff == key).then_some(Labels(found as u16))
    }

    fn set(&self, outer: Labels, inner: Labels, union: Labels) {
        let key = Self::key(outer, inner);
        if let Some(slot) = self.slot(key) {
            slot.store(key | u64::from(union.0), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs_by_name_and_the_inner_value_wins() {
        let acme = Labels::of("tenant", "acme").with("route", "GET /a");
        assert_eq!(acme.pairs(), [("route", "GET /a"), ("tenant", "acme")]);
        assert_eq!(Labels::of("route", "GET /a").with("tenant", "acme"), acme, "whatever the order");
        assert_eq!(acme.plus(Labels::of("tenant", "umbrella")).pairs(), [("route", "GET /a"), ("tenant", "umbrella")]);
        assert_eq!(acme.plus(Labels::NONE), acme);
        assert_eq!(Labels::NONE.plus(acme), acme);
        assert_eq!(Labels::numbered(acme.number()), acme);
        assert_eq!(Labels::numbered(9_999).pairs(), []);
    }

    #[test]
    fn whatever_a_client_sends_is_short_and_printable() {
        assert_eq!(Labels::of("client", ""), Labels::NONE);
        assert_eq!(Labels::of("client", "a\u{202e}\n").pairs(), [("client", "a\u{fffd}\u{fffd}")]);
        let long = Labels::of("client", &"ß".repeat(1_000)).pairs()[0].1;
        assert_eq!(long.len(), VALUE_BYTES_MAX);
        assert_eq!(Labels::of("Not a name", "x"), Labels::NONE);
    }

    #[test]
    fn a_flood_of_values_shares_one_and_leaves_other_names_alone() {
        let before = refused();
        let known = Labels::of("flooded", "first");
        for i in 0..100_000 {
            let labels = known.with("flooded", &format!("user {i}"));
            assert_eq!(labels.pairs().len(), 1);
        }
        assert_eq!(Labels::of("flooded", "one more").pairs(), [("flooded", OTHER)]);
        assert_eq!(Labels::of("flooded", "first"), known);
        assert!(refused() - before >= 100_000 - VALUES_MAX as u64);
        assert_eq!(PAIRS.iter().filter(|pair| pair.name == "flooded").count(), VALUES_MAX);
        assert_eq!(Labels::of("unflooded", "x").pairs(), [("unflooded", "x")]);
    }

    #[test]
    fn beyond_eight_labels_the_first_stay() {
        let names = ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"];
        let all = names.iter().fold(Labels::NONE, |labels, name| labels.with(name, "x"));
        assert_eq!(all.pairs().iter().map(|(name, _)| *name).collect::<Vec<_>>(), names[..8]);
    }
}
