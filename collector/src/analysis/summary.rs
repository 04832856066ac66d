//! Says in plain words what a comparison shows. Fixed templates, so that the same numbers always read the same.

use crate::profile::diff::{Basis, Scale};
use crate::profile::model::Partial;
use crate::profile::report::{Coverage, Mover, Sentence};
use crate::profile::said::plain;
use crate::profile::tree::{Side, Tree, flag};

use super::movers::{self, SIGNIFICANT, presence};
use super::quantity;

/// Beyond this change of the total, share hides something worth saying.
const HIDDEN_CHANGE_MIN: f64 = 0.02;

/// Frames below this share of their side are too small for a sentence.
const WORTH_A_SENTENCE: f64 = 0.01;

/// Below this part of frames with names, the rest is worth a sentence.
const NAMED_SHARE_GOOD: f64 = 0.9;

const CAUSES_MAX: usize = 3;

/// Samples below this cannot show small changes.
const SAMPLES_FEW: u64 = 1_000;

/// What the comparison of `tree` says. `q` belongs to the nodes of `shown`.
pub fn sentences(
    service: &str,
    tree: &Tree,
    basis: Basis,
    movers: &[Mover],
    q: &[u16],
    shown: &Tree,
    symbols: &Coverage,
) -> Vec<Sentence> {
    let scene = Scene::new(service, tree, basis);
    let mut out = vec![scene.headline(q.first().copied().unwrap_or(10_000))];
    if scene.comparable() {
        out.extend(scene.hidden_by_share());
        out.extend(scene.only_load(movers, q.first().copied().unwrap_or(10_000)));
        out.extend(movers.iter().take(CAUSES_MAX).map(|mover| scene.cause(mover)));
        out.extend(scene.appeared(movers, shown, q));
        out.extend(scene.vanished(movers, shown, q));
        out.extend(scene.noise(movers, shown, q));
    }
    out.extend(cut_short(tree));
    out.extend(damaged(tree));
    out.extend(few_samples(tree));
    out.extend(unnamed(symbols));
    out
}

struct Scene<'a> {
    service: &'a str,
    tree: &'a Tree,
    basis: Basis,
    scales: [Scale; 2],
    totals: [f64; 2],
    sides: SideWords,
}

impl<'a> Scene<'a> {
    fn new(service: &'a str, tree: &'a Tree, basis: Basis) -> Self {
        // Shares of the whole are always 100 %: the total is told in the basis that shows it.
        let of_total = if basis == Basis::Share { Basis::Cores } else { basis };
        let scales = [0, 1].map(|side| Scale::of(tree, side, of_total));
        let totals = [0, 1].map(|side| tree.sides[side].facts.total as f64 * scales[side].factor);
        Self { service, tree, basis, scales, totals, sides: SideWords::of(tree) }
    }

    fn comparable(&self) -> bool {
        self.tree.sides.iter().all(|side| side.facts.total > 0)
    }

    fn unit(&self) -> &str {
        &self.scales[1].unit
    }

    fn headline(&self, q: u16) -> Sentence {
        let what = quantity::of_type(&self.tree.profile_type.name);
        let service = self.service;
        let [a, b] = self.totals;
        let text = match (a > 0.0, b > 0.0) {
            (false, false) => {
                format!("{service} has no {what} samples on either side, so there is nothing to compare.")
            }
            (false, true) => format!(
                "There is no baseline: {service} has no {what} samples on side A, and {} on side B.",
                quantity::amount(b, self.unit())
            ),
            (true, false) => format!(
                "There is nothing to compare with the baseline: {service} has {} of {what} on side A, and no samples on side B.",
                quantity::amount(a, self.unit())
            ),
            (true, true) if !significant(q) && self.basis != Basis::Share => format!(
                "{service}'s {what} did not change beyond noise: {}, {} {}.",
                quantity::amount(b, self.unit()),
                quantity::amount(a, self.unit()),
                self.sides.in_a()
            ),
            (true, true) => {
                let direction = if b >= a { "more" } else { "less" };
                format!(
                    "{service} used {} {direction} {what}{} ({}): {}, {} {}.",
                    quantity::amount((b - a).abs(), self.unit()),
                    self.sides.in_b(),
                    quantity::percent_change(a, b),
                    quantity::amount(b, self.unit()),
                    quantity::amount(a, self.unit()),
                    self.sides.in_a()
                )
            }
        };
        Sentence { text, frames: vec![], kind: "headline" }
    }

    fn hidden_by_share(&self) -> Option<Sentence> {
        let [a, b] = self.totals;
        if self.basis != Basis::Share || (b / a - 1.0).abs() < HIDDEN_CHANGE_MIN {
            return None;
        }
        let text = format!(
            "Shares hide that the total changed by {}: a function can keep its share and still use {}.",
            quantity::percent_change(a, b),
            if b > a { "more" } else { "less" }
        );
        Some(Sentence { text, frames: vec![], kind: "basis" })
    }

    /// All moved, and each by as much: the code did what it did before, more or less often.
    fn only_load(&self, movers: &[Mover], q: u16) -> Option<Sentence> {
        let [a, b] = self.totals;
        let several = self.basis != Basis::Share && movers.len() > 1 && movers.iter().all(|m| m.delta * (b - a) > 0.0);
        if !several || !significant(q) || !movers::movers(self.tree, Basis::Share, |_| "").is_empty() {
            return None;
        }
        let more = if b > a { "more" } else { "less" };
        let text = format!(
            "Functions keep their shares of the total: this looks like {more} load, not like a change of code."
        );
        Some(Sentence { text, frames: vec![], kind: "basis" })
    }

    fn cause(&self, mover: &Mover) -> Sentence {
        let unit = &Scale::of(self.tree, 1, self.basis).unit;
        let name = plain(&mover.name);
        let share = quantity::percent(mover.share_of_change);
        let direction = if mover.delta > 0.0 { "increase" } else { "decrease" };
        let (a, b) = (quantity::amount(mover.a, unit), quantity::amount(mover.b, unit));
        let part = format!("{share} of all {direction}");
        let text = match (mover.state, &self.sides) {
            ("new", SideWords::Times) => format!("{name} is new and takes {b}: {part}."),
            ("gone", SideWords::Times) => format!("{name} is gone; it took {a}: {part}."),
            ("new", SideWords::Apart { b: only, .. }) => format!("{name} is only there {only} and takes {b}: {part}."),
            ("gone", SideWords::Apart { a: only, .. }) => format!("{name} is only there {only} and takes {a}: {part}."),
            _ => {
                let change = quantity::difference(mover.delta.abs(), unit);
                let more = if mover.delta > 0.0 { "more" } else { "less" };
                format!("{name} takes {change} {more} ({b}, {a} {}): {part}.", self.sides.in_a())
            }
        };
        Sentence { text, frames: vec![mover.frame], kind: "cause" }
    }

    /// The largest subtrees whose frame is on one side only, where chance does not explain that, beyond what the causes said.
    fn one_sided(&self, movers: &[Mover], shown: &Tree, q: &[u16], there: usize) -> Vec<(u32, f64)> {
        let present = presence(self.tree);
        let totals = shown.totals(there);
        let mut largest: Vec<(u32, f64)> = Vec::new();
        let mut skip_until = 0;
        for (i, node) in shown.nodes.iter().enumerate().skip(1) {
            // Frames that stand for many small ones are on no side.
            let Some(frame) = present.get(node.frame as usize) else { continue };
            if i < skip_until || !frame[there] || frame[1 - there] || !q.get(i).copied().is_some_and(significant) {
                continue;
            }
            // What is below a new frame is part of it.
            skip_until = node.end as usize;
            let share = totals[i] as f64 / totals[0].max(1) as f64;
            let plain = shown.frame(i).flags & (flag::UNRESOLVED | flag::TRUNCATED | flag::SMALL) == 0;
            let told = movers.iter().take(CAUSES_MAX).any(|mover| mover.frame == node.frame);
            if plain && !told {
                match largest.iter_mut().find(|(known, _)| *known == node.frame) {
                    Some((_, sum)) => *sum += share,
                    None => largest.push((node.frame, share)),
                }
            }
        }
        largest.retain(|(_, share)| *share >= WORTH_A_SENTENCE);
        largest.sort_by(|x, y| y.1.total_cmp(&x.1));
        largest.truncate(CAUSES_MAX);
        largest
    }

    fn appeared(&self, movers: &[Mover], shown: &Tree, q: &[u16]) -> Option<Sentence> {
        let found = self.one_sided(movers, shown, q, 1);
        let list = self.list(&found)?;
        let text = match &self.sides {
            SideWords::Times => format!("Not seen before: {list}."),
            SideWords::Apart { b, .. } => format!("Only {b}: {list}."),
        };
        Some(Sentence { text, frames: found.iter().map(|(frame, _)| *frame).collect(), kind: "new" })
    }

    fn vanished(&self, movers: &[Mover], shown: &Tree, q: &[u16]) -> Option<Sentence> {
        let found = self.one_sided(movers, shown, q, 0);
        let list = self.list(&found)?;
        let text = match &self.sides {
            SideWords::Times => format!("No longer seen: {list}."),
            SideWords::Apart { a, .. } => format!("Only {a}: {list}."),
        };
        Some(Sentence { text, frames: found.iter().map(|(frame, _)| *frame).collect(), kind: "gone" })
    }

    fn list(&self, found: &[(u32, f64)]) -> Option<String> {
        let name = |(frame, share): &(u32, f64)| {
            format!("{} ({})", plain(&self.tree.frames[*frame as usize].function), quantity::percent(*share))
        };
        (!found.is_empty()).then(|| found.iter().map(name).collect::<Vec<_>>().join(", "))
    }

    fn noise(&self, movers: &[Mover], shown: &Tree, q: &[u16]) -> Option<Sentence> {
        if !movers.is_empty() {
            return None;
        }
        let differing = q.iter().filter(|&&q| significant(q)).count();
        let of = shown.nodes.len();
        let text = if differing == 0 {
            format!("Nothing shown changed by more than chance: all {of} frames are within noise.")
        } else {
            format!(
                "No single function explains a change, but {differing} of {of} frames shown changed by more than chance."
            )
        };
        Some(Sentence { text, frames: vec![], kind: "noise" })
    }
}

/// What tells the sides apart.
enum SideWords {
    /// A came before B.
    Times,
    /// They are of one time: `with tenant=acme` and `with tenant=umbrella`, or by the names of the sides.
    Apart { a: String, b: String },
}

/// Labels that are told; more say nothing.
const APART_LABELS_MAX: usize = 2;

impl SideWords {
    fn of(tree: &Tree) -> Self {
        let [Side { facts: a, .. }, Side { facts: b, .. }] = tree.sides.as_slice() else { return Self::Times };
        // However little of them they share: neither is before the other then.
        if a.until_ms <= b.from_ms || b.until_ms <= a.from_ms {
            return Self::Times;
        }
        let mut apart: Vec<(&String, &String, &String)> = Vec::new();
        for (name, values) in &a.labels {
            if let ([of_a], Some([of_b])) = (values.as_slice(), b.labels.get(name).map(Vec::as_slice))
                && of_a != of_b
            {
                apart.push((name, of_a, of_b));
            }
        }
        // Which instance it was says less than anything else.
        if apart.len() > 1 {
            apart.retain(|(name, ..)| *name != "instance");
        }
        if apart.is_empty() || apart.len() > APART_LABELS_MAX {
            return Self::Apart { a: "on side A".to_owned(), b: "on side B".to_owned() };
        }
        let words = |value: fn(&(&String, &String, &String)) -> String| {
            format!("with {}", apart.iter().map(value).collect::<Vec<_>>().join(" "))
        };
        Self::Apart { a: words(|(name, a, _)| format!("{name}={a}")), b: words(|(name, _, b)| format!("{name}={b}")) }
    }

    /// Behind a value of side A.
    fn in_a(&self) -> &str {
        match self {
            Self::Times => "before",
            Self::Apart { a, .. } => a,
        }
    }

    /// Behind what is said of side B; with a space before it, and nothing where that goes without saying.
    fn in_b(&self) -> String {
        match self {
            Self::Times => String::new(),
            Self::Apart { b, .. } => format!(" {b}"),
        }
    }
}

fn significant(q: u16) -> bool {
    f64::from(q) <= SIGNIFICANT * 10_000.0
}

/// Sides in which something is damaged.
fn damaged(tree: &Tree) -> impl Iterator<Item = Sentence> {
    let sides = tree.sides.iter().zip(["baseline", "comparison"]);
    sides.filter(|(side, _)| side.facts.partial.is_some_and(|partial| partial.is_damaged)).map(|(_, name)| {
        let text =
            format!("Some of what was stored in the {name}'s time is damaged and left out: its sums are too small.");
        Sentence { text, frames: vec![], kind: "quality" }
    })
}

/// Sides that are only about a part of their range.
fn cut_short(tree: &Tree) -> impl Iterator<Item = Sentence> {
    tree.sides.iter().zip(["baseline", "comparison"]).filter_map(|(side, name)| {
        let (facts, partial) = (&side.facts, side.facts.partial.filter(Partial::is_cut)?);
        let share = (partial.until_ms - partial.from_ms) as f64 / (facts.until_ms - facts.from_ms).max(1) as f64;
        let (share, why) = (quantity::percent(share), partial.reason.words());
        let text = format!("Only the newest {share} of the {name}'s time is in this answer: the query {why}.");
        Some(Sentence { text, frames: vec![], kind: "quality" })
    })
}

fn few_samples(tree: &Tree) -> Option<Sentence> {
    let fewest = tree.sides.iter().map(|side| side.facts.samples).min().unwrap_or(0);
    if fewest == 0 || fewest >= SAMPLES_FEW {
        return None;
    }
    // A frame's count is uncertain by its square root: twice that, of all samples, at a frame of a tenth.
    let blind = 2.0 * (0.1 * fewest as f64).sqrt() / (0.1 * fewest as f64);
    let text = format!(
        "The smaller side has {fewest} samples: a frame of 10 % must change by about {} to stand out.",
        quantity::percent(blind)
    );
    Some(Sentence { text, frames: vec![], kind: "quality" })
}

fn unnamed(symbols: &Coverage) -> Option<Sentence> {
    let worst = symbols.missing.first()?;
    if symbols.share >= NAMED_SHARE_GOOD {
        return None;
    }
    let text = format!("{} of what is shown has names; {}", quantity::percent(symbols.share), worst.hint);
    Some(Sentence { text, frames: vec![], kind: "quality" })
}
