//! Relabelling, as Prometheus has it: rules that change the labels of a target before it is scraped, or leave it out.
//!
//! Written after <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config>.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use super::yaml::{Node, Problem};

/// What one expression may take once it is compiled.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Of what rules make.
const VALUE_BYTES_MAX: usize = 4 << 10;

/// The labels of a target.
pub(super) type Labels = BTreeMap<String, String>;

/// One rule.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    sources: Vec<String>,
    separator: String,
    target: String,
    regex: Regex,
    replacement: String,
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

const ACTIONS: [(&str, Action); 10] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

impl Rule {
    pub(super) fn read(node: Node) -> Result<Self, Problem> {
        let mut fields = node.fields("relabel_configs")?;
        let line = fields.line;
        let text =
            |node: Option<Node>, of: &str, default: &str| node.map_or(Ok(default.to_owned()), |node| node.text(of));
        let sources = fields.take("source_labels").map_or(Ok(Vec::new()), |node| node.list("source_labels"))?;
        let sources = sources.into_iter().map(|node| node.text("source_labels")).collect::<Result<_, _>>()?;
        let separator = text(fields.take("separator"), "separator", ";")?;
        let target = text(fields.take("target_label"), "target_label", "")?;
        let default = || regex("(.*)").map_err(|why| Problem::at(line, why));
        let regex = fields.take("regex").map_or_else(default, |node| node.parsed("regex", regex))?;
        let replacement = text(fields.take("replacement"), "replacement", "$1")?;
        let action = fields.take("action").map_or(Ok(Action::Replace), |node| node.parsed("action", action))?;
        fields.finish()?;
        let needs_target = matches!(
            action,
            Action::Replace | Action::KeepEqual | Action::DropEqual | Action::Lowercase | Action::Uppercase
        );
        if needs_target && target.is_empty() {
            return Err(Problem::at(line, "this action needs target_label"));
        }
        Ok(Self { sources, separator, target, regex, replacement, action })
    }

    /// Changes the labels; false: the target is left out.
    fn apply(&self, labels: &mut Labels) -> bool {
        let value = |name: &String| labels.get(name).map_or("", String::as_str);
        let source = self.sources.iter().map(value).collect::<Vec<_>>().join(&self.separator);
        match self.action {
            Action::Keep => return self.regex.is_match(&source),
            Action::Drop => return !self.regex.is_match(&source),
            Action::KeepEqual => return source == value(&self.target),
            Action::DropEqual => return source != value(&self.target),
            Action::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
            Action::Lowercase => set(labels, &self.target, source.to_lowercase()),
            Action::Uppercase => set(labels, &self.target, source.to_uppercase()),
            Action::LabelMap => {
                let mapped: Vec<(String, String)> = labels
                    .iter()
                    .filter_map(|(name, value)| Some((self.expand(&self.replacement, name)?, value.clone())))
                    .collect();
                mapped.into_iter().for_each(|(name, value)| set(labels, &name, value));
            }
            Action::Replace => {
                if let (Some(name), Some(value)) =
                    (self.expand(&self.target, &source), self.expand(&self.replacement, &source))
                {
                    set(labels, &name, value);
                }
            }
        }
        true
    }

    /// What a template says of a text that matches.
    fn expand(&self, template: &str, of: &str) -> Option<String> {
        let mut made = String::new();
        self.regex.captures(of)?.expand(template, &mut made);
        Some(made)
    }
}

/// A label without a value is none.
fn set(labels: &mut Labels, name: &str, mut value: String) {
    value.truncate(value.floor_char_boundary(VALUE_BYTES_MAX));
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.insert(name.to_owned(), value);
    }
}

/// All rules in their order; `None`: the target is left out.
pub(super) fn relabel(rules: &[Rule], mut labels: Labels) -> Option<Labels> {
    rules.iter().all(|rule| rule.apply(&mut labels)).then_some(labels)
}

fn regex(text: &str) -> Result<Regex, String> {
    let whole = RegexBuilder::new(&format!("^(?s:{text})$")).size_limit(REGEX_BYTES_MAX).build();
    whole.map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())
}

fn action(text: &str) -> Result<Action, String> {
    let found = ACTIONS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    found.map(|(_, action)| *action).ok_or_else(|| {
        let known: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
        format!("one of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relabelled(rules: &str, labels: &[(&str, &str)]) -> Option<Vec<String>> {
        let rules = Node::read(rules).unwrap().list("rules").unwrap();
        let rules: Vec<Rule> = rules.into_iter().map(|node| Rule::read(node).unwrap()).collect();
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let left = relabel(&rules, labels)?;
        Some(left.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn rules_do_what_prometheus_says_they_do() {
        let of = |rules: &str| relabelled(rules, &[("__address__", "a:1"), ("__meta_pod", "P-1"), ("zone", "eu")]);
        let kept = |labels: &[&str]| Some(labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>());
        let all = ["__address__=a:1", "__meta_pod=P-1", "zone=eu"];
        for (rules, expected) in [
            ("- {source_labels: [zone], regex: e., action: keep}", kept(&all)),
            ("- {source_labels: [zone], regex: e, action: keep}", None),
            ("- {source_labels: [zone, __meta_pod], regex: 'eu;P-.*', action: drop}", None),
            (
                "- {source_labels: [__address__], regex: '(.+):(\\d+)', target_label: host, replacement: '$1-${2}'}",
                kept(&["__address__=a:1", "__meta_pod=P-1", "host=a-1", "zone=eu"]),
            ),
            ("- {target_label: zone, replacement: ''}", kept(&all[..2])),
            ("- {regex: __meta_(.+), action: labelmap}", kept(&[all[0], all[1], "pod=P-1", all[2]])),
            ("- {regex: '__.*', action: labeldrop}", kept(&all[2..])),
            ("- {regex: zone, action: LabelKeep}", kept(&all[2..])),
            (
                "- {source_labels: [__meta_pod], target_label: pod, action: lowercase}",
                kept(&[all[0], all[1], "pod=p-1", all[2]]),
            ),
            ("- {source_labels: [zone], target_label: __meta_pod, action: keepequal}", None),
            ("- {source_labels: [zone], target_label: zone, action: dropequal}", None),
            ("- {source_labels: [zone], regex: no, target_label: zone, replacement: x}", kept(&all)),
        ] {
            assert_eq!(of(rules), expected, "{rules}");
        }
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused() {
        let refused = |text: &str| Rule::read(Node::read(text).unwrap()).unwrap_err().to_string();
        for (rule, says) in [
            ("{action: hashmod}", "one of replace, keep"),
            ("{regex: '('}", "regex is \"(\""),
            ("{source_labels: x}", "source_labels is a list"),
            ("{replacement: x}", "needs target_label"),
            ("{modulus: 2}", "has no \"modulus\" here"),
            ("{regex: '(a{1000}){1000}', target_label: x}", "regex"),
        ] {
            assert!(refused(rule).contains(says), "{rule}: {}", refused(rule));
        }
    }
}
