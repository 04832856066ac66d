//! Says in plain words why the chosen requests are slow. Fixed templates, so that the same numbers always read the same.

use super::{Cost, Difference, LabelShare, Part, REQUESTS_MIN, Selector, Side};
use crate::analysis::quantity;
use crate::profile::names::one_line;

/// With less of the time that they took longer explained by CPU, the rest is told too: they waited.
const EXPLAINED: f64 = 0.8;

/// With less than this it explains nothing.
const EXPLAINS: f64 = 0.2;

/// Labels that get a sentence.
const LABELS_SAID: usize = 2;

pub(super) struct Scene<'a> {
    pub(super) route: &'a str,
    pub(super) selector: Selector,
    pub(super) chosen: Side,
    pub(super) others: Side,
    /// Whether there are enough examples.
    pub(super) enough: bool,
}

impl Scene<'_> {
    pub(super) fn sentences(&self, costs: &[Cost], labels: &[LabelShare]) -> Vec<String> {
        if !self.enough {
            return vec![self.too_few()];
        }
        let cpu = costs.iter().find(|cost| cost.profile_type == "cpu");
        let space = costs.iter().find(|cost| cost.profile_type == "alloc_space");
        let mut out = vec![self.headline(cpu)];
        // Of a label with two values, the other one's share follows.
        let more = labels.iter().filter(|label| label.significant && label.chosen_share > label.others_share);
        out.extend(more.take(LABELS_SAID).map(label));
        out.extend(space.filter(|cost| cost.whole.significant && cost.whole.more() > 0.0).map(allocated));
        out
    }

    fn route(&self) -> String {
        one_line(self.route)
    }

    fn too_few(&self) -> String {
        let (chosen, others) = (self.chosen.examples, self.others.examples);
        format!(
            "There are too few examples to compare: {chosen} of the chosen requests to {} and {others} of the others; at least \
             {REQUESTS_MIN} of each are needed. Choose a longer range or more requests.",
            self.route()
        )
    }

    /// By how much they took longer, in microseconds.
    fn longer_us(&self) -> f64 {
        self.chosen.mean_us as f64 - self.others.mean_us as f64
    }

    /// By how much they took longer, and what they did meanwhile.
    fn headline(&self, cpu: Option<&Cost>) -> String {
        let (who, against) = match self.selector {
            Selector::Slowest { percent } => {
                (format!("The slowest {percent} % of requests to {}", self.route()), "those around the median")
            }
            Selector::Inside { .. } => (format!("The chosen requests to {}", self.route()), "the others"),
        };
        let longer_us = self.longer_us();
        let how = if longer_us >= 0.0 { "longer" } else { "less" };
        let said = format!(
            "{who} took {} {how} than {against} ({} against {})",
            quantity::duration(longer_us.abs() as u64),
            quantity::duration(self.chosen.mean_us),
            quantity::duration(self.others.mean_us)
        );
        said + &self.cpu(cpu) + "."
    }

    fn cpu(&self, cpu: Option<&Cost>) -> String {
        let longer_us = self.longer_us();
        let cpu_time = |ns: f64| quantity::duration((ns / 1e3) as u64);
        let more = cpu.map_or(0.0, |cost| if cost.whole.significant { cost.whole.more() } else { 0.0 });
        let (explains, waited_us) = (more / 1e3 / longer_us, longer_us - more / 1e3);
        if longer_us <= 0.0 {
            return if more < 0.0 { format!(": they used {} less CPU each", cpu_time(-more)) } else { String::new() };
        }
        if explains < EXPLAINS {
            let figures = cpu.map_or(String::new(), |cost| {
                let Difference { chosen_per_request, others_per_request, .. } = cost.whole;
                format!(" ({} against {})", cpu_time(chosen_per_request), cpu_time(others_per_request))
            });
            let no_more = if more > 0.0 { "hardly more" } else { "no more" };
            return format!(", and used {no_more} CPU{figures}: they waited");
        }
        let by = cpu.and_then(|cost| most_of(cost, cpu_time)).unwrap_or_default();
        let waited = match explains < EXPLAINED {
            true => format!(", and {} of waiting", quantity::duration(waited_us as u64)),
            false => String::new(),
        };
        format!(": {} more CPU each{by}{waited}", cpu_time(more))
    }
}

/// The function that most of a difference is in, or else the family.
fn most_of(cost: &Cost, amount: impl Fn(f64) -> String) -> Option<String> {
    let grew = |part: &&Part| part.difference.significant && part.difference.more() > 0.0;
    let told = |more: &Difference| amount(more.more().min(cost.whole.more()));
    if let Some(function) = cost.functions.iter().find(grew) {
        let family = match function.family.as_str() {
            "unknown" => String::new(),
            family => format!(" ({family})"),
        };
        return Some(format!(", {} of it in {}{family}", told(&function.difference), function.name));
    }
    let family = cost.families.iter().find(grew)?;
    Some(format!(", {} of it for {}", told(&family.difference), family.name))
}

fn label(label: &LabelShare) -> String {
    let [chosen, others] = [label.chosen_share, label.others_share].map(quantity::percent);
    format!("Of them {chosen} have {}={}, of the others {others}.", label.name, one_line(&label.value))
}

fn allocated(cost: &Cost) -> String {
    let amount = |bytes: f64| quantity::amount(bytes, "bytes");
    let by = most_of(cost, amount).unwrap_or_default();
    format!("They allocated {} more each{by}.", amount(cost.whole.more()))
}
