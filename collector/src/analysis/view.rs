//! The one engine behind the web view, the API, alert pages and the gate: profiles in, an annotated tree out, so that they
//! can never disagree.

use crate::profile::diff::{self, Basis};
use crate::profile::flame::{self, Annotations, DiffAnnotations, Flame};
use crate::profile::fold;
use crate::profile::markdown;
use crate::profile::model::{Labelled, Merged};
use crate::profile::prune::{PruneOptions, prune};
use crate::profile::report::{Coverage, Mover, Sentence, SideInfo, TypeInfo};
use crate::profile::speedscope::speedscope;
use crate::profile::svg;
use crate::profile::tree::{Resolved, Tree};
use crate::profile::written_out::written_out;
use crate::symbols::Symbols;

use super::filter::Filters;
use super::{families::Families, movers, summary};

/// How much of a tree to send, and how to compare its sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ViewOptions {
    /// At most this many nodes in the answer.
    pub max_nodes: usize,
    /// Nodes below this share of the total are folded into "small frames".
    pub min_share: f64,
    /// For a diff.
    pub basis: Basis,
}

impl Default for ViewOptions {
    fn default() -> Self {
        // A quarter of a pixel on a wide screen is 1/8000.
        Self { max_nodes: 50_000, min_share: 1.0 / 8_000.0, basis: Basis::Cores }
    }
}

/// A flame graph or a comparison with everything that is said about it.
#[derive(Debug, Clone)]
pub struct View {
    /// Which service.
    pub service: String,
    /// The whole tree: what exports and totals come from.
    pub tree: Tree,
    /// The part of it that is shown. Frame indexes are the whole tree's, extended.
    pub shown: Tree,
    /// What is said about the shown part. Frame indexes are the tree's.
    pub annotations: Annotations,
    /// How sides are made comparable.
    pub basis: Basis,
}

/// What a comparison found, without the tree it was found in. Frame numbers are those of the comparison's [`Flame`].
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// What was compared.
    pub profile_type: TypeInfo,
    /// The baseline.
    pub before: SideInfo,
    /// What is compared with it.
    pub now: SideInfo,
    /// Functions that changed, largest change first.
    pub movers: Vec<Mover>,
    /// The same in words.
    pub summary: Vec<Sentence>,
}

impl Findings {
    /// Whether both sides have anything at all.
    pub fn is_comparable(&self) -> bool {
        self.before.total > 0 && self.now.total > 0
    }
}

/// The flame graph of one profile. Looks up symbols, so it blocks: call it from a blocking task.
pub fn flamegraph(service: &str, merged: &Merged, symbols: &Symbols, options: ViewOptions) -> View {
    let resolutions = symbols.resolve(&merged.modules, &merged.frames);
    let coverage = symbols.coverage(&[(merged, &resolutions)]);
    View::single(service, (merged, &resolutions), coverage, options)
}

/// The same of the stacks that `filters` leave.
pub fn filtered_flamegraph(
    service: &str,
    merged: &Merged,
    symbols: &Symbols,
    filters: &Filters,
    options: ViewOptions,
) -> View {
    let resolutions = symbols.resolve(&merged.modules, &merged.frames);
    let coverage = symbols.coverage(&[(merged, &resolutions)]);
    View::of_one(service, filters.apply(Tree::of((merged, &resolutions))), coverage, options)
}

/// What changed from `a` (the baseline) to `b`, node by node. Blocks like [`flamegraph`].
pub fn compare(service: &str, a: &Merged, b: &Merged, symbols: &Symbols, options: ViewOptions) -> View {
    let (of_a, of_b) = (symbols.resolve(&a.modules, &a.frames), symbols.resolve(&b.modules, &b.frames));
    let coverage = symbols.coverage(&[(a, &of_a), (b, &of_b)]);
    View::pair(service, (a, &of_a), (b, &of_b), coverage, options)
}

/// The same of the stacks that `filters` leave.
pub fn filtered_comparison(
    service: &str,
    a: &Merged,
    b: &Merged,
    symbols: &Symbols,
    filters: &Filters,
    options: ViewOptions,
) -> View {
    let (of_a, of_b) = (symbols.resolve(&a.modules, &a.frames), symbols.resolve(&b.modules, &b.frames));
    let coverage = symbols.coverage(&[(a, &of_a), (b, &of_b)]);
    View::of_two(service, filters.apply(Tree::pair((a, &of_a), (b, &of_b))), coverage, options)
}

/// What changed from `a` (the baseline) to `b`, without the nodes. Blocks like [`flamegraph`].
pub fn findings(service: &str, a: &Merged, b: &Merged, symbols: &Symbols) -> Findings {
    let view = compare(service, a, b, symbols, ViewOptions::default());
    let (movers, summary) =
        view.annotations.diff.as_ref().map(|diff| flame::said_of(&view.shown, diff)).unwrap_or_default();
    let profile_type = TypeInfo::from(&view.tree.profile_type);
    Findings { profile_type, before: view.side(0), now: view.side(1), movers, summary }
}

impl View {
    /// Of one profile whose frames are resolved.
    pub fn single(service: &str, profile: Resolved<'_>, symbols: Coverage, options: ViewOptions) -> Self {
        Self::of_one(service, Tree::of(profile), symbols, options)
    }

    /// Of a tree with one side.
    pub fn of_one(service: &str, tree: Tree, symbols: Coverage, options: ViewOptions) -> Self {
        let (shown, pruned) = prune(&tree, options.into());
        let families = Families::reviewed();
        let annotations = Annotations {
            families: families.names(),
            carriers: Families::carriers(),
            family_of_frame: families.classify(&tree.frames),
            pruned,
            symbols,
            diff: None,
        };
        Self { service: service.to_owned(), tree, shown, annotations, basis: options.basis }
    }

    /// Of a baseline `a` and what is compared with it.
    pub fn pair(service: &str, a: Resolved<'_>, b: Resolved<'_>, symbols: Coverage, options: ViewOptions) -> Self {
        Self::of_two(service, Tree::pair(a, b), symbols, options)
    }

    /// Of a tree with two sides: a baseline and what is compared with it.
    pub fn of_two(service: &str, tree: Tree, symbols: Coverage, options: ViewOptions) -> Self {
        let (shown, pruned) = prune(&tree, options.into());
        let families = Families::reviewed();
        let family_of_frame = families.classify(&tree.frames);
        let movers = movers::movers(&tree, options.basis, |frame| families.name(family_of_frame[frame as usize]));
        let q = diff::significance(&shown, options.basis);
        let summary = summary::sentences(service, &tree, options.basis, &movers, &q, &shown, &symbols);
        let diff = DiffAnnotations { basis: options.basis, movers, summary, q };
        let annotations = Annotations {
            families: families.names(),
            carriers: Families::carriers(),
            family_of_frame,
            pruned,
            symbols,
            diff: Some(diff),
        };
        Self { service: service.to_owned(), tree, shown, annotations, basis: options.basis }
    }

    /// The answer: `to_json()`, `to_json_value()` or `to_bytes()` from here.
    pub fn flame(&self) -> Flame {
        Flame::new(&self.service, &self.shown, &self.annotations)
    }

    /// Functions that changed, largest change first; empty for a single profile.
    pub fn movers(&self) -> &[Mover] {
        self.annotations.diff.as_ref().map_or(&[], |diff| &diff.movers)
    }

    /// What the comparison says in words; empty for a single profile.
    pub fn summary(&self) -> &[Sentence] {
        self.annotations.diff.as_ref().map_or(&[], |diff| &diff.summary)
    }

    /// One side in the basis: 0 is the baseline or the only side, 1 what is compared with it.
    pub fn side(&self, side: usize) -> SideInfo {
        flame::side_info(&self.tree, side, self.basis)
    }

    /// False-discovery rate of "the total changed", 0…1; 1 for a single profile.
    pub fn total_q(&self) -> f64 {
        let q = self.annotations.diff.as_ref().and_then(|diff| diff.q.first().copied());
        f64::from(q.unwrap_or(10_000)) / 10_000.0
    }
}

/// Exports.
impl View {
    /// Folded stacks of the whole tree; two values per line on a diff.
    pub fn folded(&self) -> String {
        fold::folded(&self.tree)
    }

    /// A still picture of what is shown.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn svg(&self) -> Result<Vec<u8>, svg::SvgError> {
        let q = self.annotations.diff.as_ref().map(|diff| diff.q.as_slice());
        let title = format!("{} {}", self.service, self.tree.profile_type.name);
        Ok(svg::svg(&self.shown, self.basis, q, &title)?.into_bytes())
    }

    /// The last side of the whole tree as a speedscope file.
    pub fn speedscope(&self) -> Vec<u8> {
        let name = format!("{} {}", self.service, self.tree.profile_type.name);
        speedscope(&self.tree, self.tree.sides.len() - 1, &name)
    }

    /// A comparison as Markdown; of a single profile, compared with itself, only the total.
    pub fn markdown(&self) -> String {
        let last = self.tree.sides.len() - 1;
        markdown::comparison(&self.service, &self.side(0), &self.side(last), self.summary(), self.movers())
    }
}

/// One profile as gzipped pprof, with labels. Looks up symbols, so it blocks. Where filters decide which stacks there are, frames have
/// names and no addresses.
pub fn pprof(Labelled { merged, label_sets }: &Labelled, symbols: &Symbols, filters: &Filters) -> Vec<u8> {
    let resolutions = symbols.resolve(&merged.modules, &merged.frames);
    if !filters.is_empty() {
        // Replicates are label sets here, and cells keep theirs.
        let tree = filters.apply(Tree::of((merged, &resolutions)));
        let (shown, names) = written_out(&tree, merged);
        return crate::profile::pprof::encode_labelled((&shown, &names), label_sets);
    }
    crate::profile::pprof::encode_labelled((merged, &resolutions), label_sets)
}

impl From<ViewOptions> for PruneOptions {
    fn from(options: ViewOptions) -> Self {
        Self { max_nodes: options.max_nodes, min_share: options.min_share }
    }
}
