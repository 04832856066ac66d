//! Labels, and the one way to select by them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A name and its value.
pub type Label = (Arc<str>, Arc<str>);

/// Which process: every window has it, in a field of its own, and it is selected like a label.
pub const INSTANCE: &str = "instance";

/// Which requests: agents give it to samples and to requests alike.
pub const ROUTE: &str = "route";

/// Labels of a window, a series or a sample, by name. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[Label]>);

impl Labels {
    /// Puts them in order.
    pub fn new(mut labels: Vec<Label>) -> Self {
        labels.sort_unstable();
        Self(labels.into())
    }

    /// In order, as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// In order, to be kept.
    pub fn pairs(&self) -> &[Label] {
        &self.0
    }

    /// In order, as those who outlive them need them.
    pub fn owned(&self) -> impl Iterator<Item = (String, String)> {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_owned()))
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    /// The value of a label of a process, whose [`INSTANCE`] is one of them.
    pub fn get_of<'a>(&'a self, instance: &'a str, name: &str) -> Option<&'a str> {
        if name == INSTANCE { Some(instance) } else { self.get(name) }
    }

    /// A name that has two values.
    pub fn repeated(&self) -> Option<&str> {
        self.0.windows(2).find_map(|pair| match pair {
            [(a, _), (b, _)] if a == b => Some(&**a),
            _ => None,
        })
    }

    /// These and others.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        if others.is_empty() {
            return self.clone();
        }
        Self::new(self.0.iter().chain(&*others.0).cloned().collect())
    }
}

impl<N: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(labels: I) -> Self {
        Self::new(labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Selects by labels: all names must match; several values of one name mean any of them. What has no such label has its value empty.
#[derive(Debug, Clone)]
pub struct Matcher<'a> {
    wanted: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Matcher<'a> {
    /// By these names and values.
    pub fn new(labels: &'a [(String, String)]) -> Self {
        let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in labels {
            wanted.entry(name).or_default().push(value);
        }
        Self { wanted }
    }

    /// The same without these names.
    #[must_use]
    pub fn without(mut self, names: &BTreeSet<String>) -> Self {
        self.wanted.retain(|name, _| !names.contains(*name));
        self
    }

    /// True of what `value` tells the labels of, by their names.
    pub fn matches<'b>(&self, value: impl Fn(&str) -> Option<&'b str>) -> bool {
        self.wanted.iter().all(|(name, values)| values.contains(&value(name).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(labels: &[(&str, &str)]) -> Vec<(String, String)> {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_name_must_match_by_one_of_its_values() {
        let labels: Labels = [("zone", "a"), ("version", "v2")].into_iter().collect();
        let selects = |by: &[(&str, &str)]| Matcher::new(&wanted(by)).matches(|name| labels.get_of("host-1", name));
        assert!(selects(&[]));
        assert!(selects(&[("version", "v1"), ("version", "v2"), ("zone", "a")]));
        assert!(selects(&[(INSTANCE, "host-1"), ("region", "")]), "a label that is not there is empty");
        assert!(!selects(&[("version", "v2"), ("zone", "b")]));
        assert!(!selects(&[(INSTANCE, "host-2")]));
        let by = wanted(&[("zone", "b"), ("version", "v2")]);
        let names = BTreeSet::from(["zone".to_owned()]);
        assert!(Matcher::new(&by).without(&names).matches(|name| labels.get(name)));
    }

    #[test]
    fn labels_are_in_order_of_their_names() {
        let window: Labels = [("zone", "a")].into_iter().collect();
        let all = window.with(&[("route", "/a")].into_iter().collect());
        assert_eq!(all.iter().collect::<Vec<_>>(), [("route", "/a"), ("zone", "a")]);
        assert_eq!((all.repeated(), all.with(&window).repeated()), (None, Some("zone")));
    }
}
