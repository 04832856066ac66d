//! Makes two sides comparable (the basis) and says of each node of a union tree how sure it is that it changed.

use super::meaning::{self, Shown};
use super::model::Kind;
use super::stats::{self, Replicates};
use super::tree::{Cell, Side, Tree};

/// How sides of different length and size are made comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Basis {
    /// Per second of covered time: cores for CPU, bytes per second for allocation. Gauges stay as they are.
    #[default]
    Cores,
    /// Of the side's total. Hides changes of the total itself.
    Share,
    /// Per second and instance.
    Instance,
    /// As measured, whatever the lengths.
    Total,
    /// Per request, of profiles whose replicates are groups of whole requests and whose seconds are requests. Nobody asks for it by a word.
    Request,
}

impl Basis {
    /// Reads the API's word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Cores, Self::Share, Self::Instance, Self::Total].into_iter().find(|basis| basis.as_str() == word)
    }

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cores => "cores",
            Self::Share => "share",
            Self::Instance => "instance",
            Self::Total => "total",
            Self::Request => "request",
        }
    }
}

/// Turns a side's values into the basis.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// One unit of the type is worth this much.
    pub factor: f64,
    /// `cores`, `bytes/s`, `share`, …
    pub unit: String,
}

impl Scale {
    /// For one side of `tree`.
    pub fn of(tree: &Tree, side: usize, basis: Basis) -> Self {
        let facts = &tree.sides[side].facts;
        let t = &tree.profile_type;
        let gauge = t.kind == Kind::Gauge;
        let seconds = if gauge { 1.0 } else { facts.seconds };
        let per = |divisor: f64| if divisor > 0.0 { 1.0 / divisor } else { 0.0 };
        let Shown { unit: rate, factor } = meaning::over_time(t);
        match basis {
            Basis::Cores | Basis::Request => Self { factor: factor * per(seconds), unit: rate },
            Basis::Instance => Self {
                factor: factor * per(seconds) * per(facts.instances.max(1) as f64),
                unit: format!("{rate} per instance"),
            },
            Basis::Share => Self { factor: per(facts.total as f64), unit: "share".to_owned() },
            Basis::Total => {
                let Shown { unit, factor } = meaning::in_all(t);
                Self { factor, unit }
            }
        }
    }
}

/// With at least this many replicates on both sides their own spread is the yardstick; with fewer, sample counts are.
const WELCH_REPLICATES_MIN: usize = 8;

/// Below this many samples on both sides together, a spread over replicates is mostly zeros: counts say more.
const WELCH_SAMPLES_MIN: u64 = 12;

/// Compares quantities between the two sides of one tree, in one basis.
pub struct Comparison {
    welch: bool,
    gauge: bool,
    /// How many requests each replicate is a group of, where it is one.
    requests: Option<[Vec<u64>; 2]>,
    sides: [Yardstick; 2],
    /// Which share of the samples side A would have if nothing had changed.
    expected_share: f64,
}

struct Yardstick {
    /// For each replicate, what turns its value into an observation whose mean is the side's value in the basis.
    weights: Vec<f64>,
    /// Gauges count the same live block once per replicate: how often a sample was counted.
    repeats: f64,
}

/// One quantity's values and samples by replicate, on both sides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// Values by replicate: A, B.
    pub values: [Vec<f64>; 2],
    /// Samples: A, B.
    pub samples: [u64; 2],
}

impl Comparison {
    /// Of a tree with two sides.
    pub fn new(tree: &Tree, basis: Basis) -> Self {
        let gauge = tree.profile_type.kind == Kind::Gauge;
        let sides = [0, 1].map(|side| Yardstick::of(&tree.sides[side], basis, gauge));
        let exposure = |side: usize| {
            let facts = &tree.sides[side].facts;
            let seconds = if gauge { 1.0 } else { facts.seconds };
            match basis {
                Basis::Cores | Basis::Request => seconds,
                Basis::Instance => seconds * facts.instances.max(1) as f64,
                Basis::Share => facts.samples as f64,
                Basis::Total => 1.0,
            }
        };
        // A timer that looks twice as often sees twice as much of the same work.
        let looks = |side: usize| {
            let facts = &tree.sides[side].facts;
            let all = [0, 1].iter().all(|side| tree.sides[*side].facts.total > 0);
            let by_timer = meaning::is_by_timer(&tree.profile_type.name) && basis != Basis::Share && all;
            if by_timer { facts.samples as f64 / facts.total as f64 } else { 1.0 }
        };
        let (a, b) = (exposure(0) * looks(0), exposure(1) * looks(1));
        let expected_share = if a + b > 0.0 { a / (a + b) } else { 0.5 };
        let welch = sides.iter().all(|side| side.weights.len() >= WELCH_REPLICATES_MIN);
        let group_sizes = |side: usize| tree.sides[side].facts.replicate_seconds.iter().map(|n| n.round() as u64);
        let requests = (basis == Basis::Request).then(|| [0, 1].map(|side| group_sizes(side).collect()));
        Self { welch, gauge, requests, sides, expected_share }
    }

    /// An empty quantity of the right shape.
    pub fn nothing(&self) -> Observed {
        Observed { values: [0, 1].map(|side| vec![0.0; self.sides[side].weights.len()]), samples: [0, 0] }
    }

    /// Two-sided p-value of "it differs".
    pub fn p_value(&self, observed: &Observed) -> f64 {
        if observed.values[0] == observed.values[1] && observed.samples[0] == observed.samples[1] && self.alike() {
            return 1.0;
        }
        let by_spread = self.p_by_spread(observed);
        if let Some(group_sizes) = &self.requests {
            // Two looks at the same thing: the better one counts half. Where requests are few and most cost nothing, their spread says
            // little; the number of samples would say too much, because those of one request come together.
            let by_presence = p_by_presence(group_sizes, observed);
            return by_spread.map_or(by_presence, |p| (2.0 * p.min(by_presence)).min(1.0));
        }
        match by_spread {
            Some(p) if !self.gauge => p,
            // A gauge's replicates show the same live blocks again and again, so their spread says nothing of the luck by which
            // those were sampled. It has to stand out from both.
            _ => by_spread.unwrap_or(0.0).max(self.p_by_count(observed)),
        }
    }

    /// By the spread over replicates, where it can say.
    fn p_by_spread(&self, observed: &Observed) -> Option<f64> {
        if !self.welch || observed.samples[0].saturating_add(observed.samples[1]) < WELCH_SAMPLES_MIN {
            return None;
        }
        let sides = [0, 1].map(|side| {
            let weighted = observed.values[side].iter().zip(&self.sides[side].weights).map(|(v, w)| v * w);
            Replicates::of(&weighted.collect::<Vec<_>>())
        });
        stats::welch(sides[0], sides[1]).or_else(|| {
            let scale = sides[0].mean.abs().max(sides[1].mean.abs());
            ((sides[0].mean - sides[1].mean).abs() <= scale * 1e-9).then_some(1.0)
        })
    }

    /// By the number of samples alone.
    fn p_by_count(&self, observed: &Observed) -> f64 {
        let [a, b] = [0, 1].map(|side| (observed.samples[side] as f64 / self.sides[side].repeats).round() as u64);
        stats::binomial_two_sided(a, a.saturating_add(b), self.expected_share)
    }

    /// True when equal values mean equal quantities.
    fn alike(&self) -> bool {
        self.sides[0].weights == self.sides[1].weights
    }
}

/// By how many requests cost anything at all (Fisher's exact test). Of a group it is only known whether any of its requests did, so each side is
/// given what speaks against the difference: one for each group that cost something, or as many as its requests and samples allow.
fn p_by_presence(group_sizes: &[Vec<u64>; 2], observed: &Observed) -> f64 {
    let costing = |side: usize| {
        let groups = observed.values[side].iter().zip(&group_sizes[side]);
        groups.filter(|(value, _)| **value > 0.0).map(|(_, requests)| *requests)
    };
    let least = [0, 1].map(|side| costing(side).count() as u64);
    let most = [0, 1].map(|side| costing(side).sum::<u64>().min(observed.samples[side]).max(least[side]));
    let all = [0, 1].map(|side: usize| group_sizes[side].iter().sum::<u64>());
    let more_in_b = stats::fisher_more([most[0], least[1]], all);
    let more_in_a = stats::fisher_more([most[1], least[0]], [all[1], all[0]]);
    (2.0 * more_in_b.min(more_in_a)).min(1.0)
}

impl Yardstick {
    fn of(side: &Side, basis: Basis, gauge: bool) -> Self {
        let facts = &side.facts;
        let n = facts.replicate_seconds.len() as f64;
        let mut totals = vec![0.0; facts.replicate_seconds.len()];
        for cell in &side.cells {
            if let Some(total) = totals.get_mut(usize::from(cell.replicate)) {
                *total += cell.value as f64;
            }
        }
        let weights = facts.replicate_seconds.iter().zip(&totals).map(|(&seconds, &total)| {
            // A gauge's replicates already carry their share of the covered time.
            let rate = match (gauge, seconds > 0.0) {
                (_, false) => 0.0,
                (true, true) => facts.seconds / seconds,
                (false, true) => 1.0 / seconds,
            };
            match basis {
                Basis::Cores | Basis::Request => rate,
                Basis::Instance => rate / facts.instances.max(1) as f64,
                Basis::Share if total > 0.0 => 1.0 / total,
                Basis::Share => 0.0,
                Basis::Total => n,
            }
        });
        let repeats = if gauge { n.max(1.0) } else { 1.0 };
        Self { weights: weights.collect(), repeats }
    }
}

/// For each node of a union tree the false-discovery rate of "its total differs", in 1/10000: 10000 is no evidence.
pub fn significance(tree: &Tree, basis: Basis) -> Vec<u16> {
    let comparison = Comparison::new(tree, basis);
    let mut p = vec![1.0; tree.nodes.len()];
    let mut cursors = [tree.sides[0].cells.len(), tree.sides[1].cells.len()];
    // One accumulator per depth is enough: in reverse preorder a node's subtree has just been seen when it comes.
    let mut open: Vec<Observed> = Vec::new();
    for node in (0..tree.nodes.len()).rev() {
        let depth = tree.nodes[node].depth as usize;
        while open.len() <= depth + 1 {
            open.push(comparison.nothing());
        }
        let (upper, lower) = open.split_at_mut(depth + 1);
        let total = &mut lower[0];
        for side in [0, 1] {
            let cells = &tree.sides[side].cells;
            while let Some(cell) = cursors[side].checked_sub(1).map(|i| cells[i]).filter(|c| c.node as usize == node) {
                total.add(side, cell);
                cursors[side] -= 1;
            }
        }
        p[node] = comparison.p_value(total);
        upper[depth].absorb(total);
    }
    stats::false_discovery_rates(&p, p.len()).into_iter().map(rate_in_10000ths).collect()
}

/// Rounds up: a rate is never shown as better than it is.
pub fn rate_in_10000ths(q: f64) -> u16 {
    (q * 10_000.0).ceil().clamp(0.0, 10_000.0) as u16
}

impl Observed {
    /// Counts a cell in.
    pub fn add(&mut self, side: usize, cell: Cell) {
        if let Some(value) = self.values[side].get_mut(usize::from(cell.replicate)) {
            *value += cell.value as f64;
        }
        self.samples[side] = self.samples[side].saturating_add(cell.samples);
    }

    /// Adds `other` to this and leaves it empty.
    fn absorb(&mut self, other: &mut Self) {
        for side in [0, 1] {
            for (sum, value) in self.values[side].iter_mut().zip(&mut other.values[side]) {
                *sum += std::mem::take(value);
            }
            let samples = std::mem::take(&mut other.samples[side]);
            self.samples[side] = self.samples[side].saturating_add(samples);
        }
    }
}
