//! Profiles of what a call selects, one service after another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tephra_proto::ids::SpanId;

use super::messages::StackTraceSelector;
use super::targets::Asked;
use super::tree::begin_with;
use super::unimplemented;
use crate::base::labels::Labels;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::profile::model::{Merged, Partial};
use crate::profile::tree::Tree;
use crate::query::{EntrySpan, Prepared, QueryError, RequestSides, Selection};
use crate::work::blocking;

/// Spans of one call.
const SPANS_MAX: usize = 64;

/// Frames of a call site.
const FRAMES_MAX: usize = 2_048;

/// Nodes of an answer where nobody says how many.
const NODES_DEFAULT: usize = 8_192;

/// The most that may be asked for.
const NODES_MAX: usize = 1 << 20;

/// Which samples of what is selected, and which of their stacks.
#[derive(Debug, Clone, Default)]
pub(super) struct Narrowed {
    /// Only those that were taken while these entry spans ran.
    spans: BTreeSet<SpanId>,
    /// Only stacks that begin so, outermost first.
    pub(super) call_site: Vec<String>,
}

impl Narrowed {
    /// Reads what calls narrow profiles by.
    ///
    /// # Errors
    /// When it is more than is taken, no ids, or something that is not known here.
    pub(super) fn new(
        spans: &[String],
        stacks: Option<&StackTraceSelector>,
        profile_ids: &[String],
    ) -> Result<Self, ApiError> {
        if !profile_ids.is_empty() {
            return Err(unimplemented(
                "profile_id_selector: single profiles are not kept, they are added up",
                "narrow the range and the labels down instead; instance is a label",
            ));
        }
        if stacks.is_some_and(|stacks| stacks.go_pgo.is_some()) {
            return Err(unimplemented(
                "stack_trace_selector.go_pgo is not known here",
                "fetch the profile without it, and give it to the compiler",
            ));
        }
        let call_site: Vec<String> =
            stacks.map(|stacks| stacks.call_site.iter().map(|frame| frame.name.clone()).collect()).unwrap_or_default();
        if call_site.len() > FRAMES_MAX {
            let message = format!("call_site has {} functions, limit {FRAMES_MAX}", call_site.len());
            return Err(ApiError::invalid(message, "send fewer of them"));
        }
        if spans.len() > SPANS_MAX {
            let message = format!("span_selector has {} spans, limit {SPANS_MAX}", spans.len());
            return Err(ApiError::invalid(message, "send fewer of them"));
        }
        let spans = spans.iter().map(|id| SpanId::parse(id)).collect::<Result<_, _>>()?;
        Ok(Self { spans, call_site })
    }

    /// Whether stacks are left out.
    pub(super) fn cuts_stacks(&self) -> bool {
        !self.call_site.is_empty()
    }

    /// The tree of a profile, with the stacks that are left. Blocks.
    pub(super) fn tree(&self, state: &AppState, merged: &Merged) -> Tree {
        let resolutions = state.symbols.resolve(&merged.modules, &merged.frames);
        let mut tree = Tree::of((merged, &resolutions));
        begin_with(&mut tree, &self.call_site);
        tree
    }
}

/// How many nodes an answer may have.
///
/// # Errors
/// When it is below 0 or beyond the limit.
pub(super) fn max_nodes(asked: Option<i64>) -> Result<usize, ApiError> {
    match usize::try_from(asked.unwrap_or(0)) {
        Ok(0) => Ok(NODES_DEFAULT),
        Ok(nodes) if nodes <= NODES_MAX => Ok(nodes),
        _ => Err(ApiError::invalid(
            format!("max_nodes is {}, limits 0 to {NODES_MAX}", asked.unwrap_or(0)),
            format!("0 is {NODES_DEFAULT}; what is left out is in nodes called other, which call_site opens"),
        )),
    }
}

/// What the engine lists for a selection; `None`: there is nothing of it any more.
///
/// # Errors
/// As the engine's.
pub(super) async fn prepared(state: &AppState, selection: &Selection) -> Result<Option<Prepared>, ApiError> {
    match state.engine.prepare(selection).await {
        Ok(prepared) => Ok(Some(prepared)),
        Err(QueryError::UnknownService { .. } | QueryError::UnknownType { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Refuses an answer about a part of the range: there is no place in it to say so.
///
/// # Errors
/// When it is one.
pub(super) fn whole(partial: Option<Partial>) -> Result<(), ApiError> {
    partial.filter(Partial::is_cut).map_or(Ok(()), |partial| Err(ApiError::only_part(&partial)))
}

/// Calls `each` with every profile that is selected, away from the threads that answer. `into` is what it adds them to.
///
/// # Errors
/// When the engine's limits allow only a part of one, or the store fails.
pub(super) async fn for_each<T: Send + 'static>(
    state: &AppState,
    asked: &Asked,
    narrowed: &Narrowed,
    mut into: T,
    each: impl Fn(&mut T, &Narrowed, Arc<Merged>) + Clone + Send + 'static,
) -> Result<T, ApiError> {
    for selection in &asked.selections {
        for merged in merged(state, selection, narrowed).await? {
            let (each, narrowed) = (each.clone(), narrowed.clone());
            into = blocking(move || {
                each(&mut into, &narrowed, merged);
                into
            })
            .await?;
        }
    }
    Ok(into)
}

async fn merged(state: &AppState, selection: &Selection, narrowed: &Narrowed) -> Result<Vec<Arc<Merged>>, ApiError> {
    if !narrowed.spans.is_empty() {
        return of_spans(state, selection, &narrowed.spans).await;
    }
    let Some(prepared) = prepared(state, selection).await? else { return Ok(Vec::new()) };
    let merged = state.engine.merge_prepared(&prepared).await?;
    whole(merged.partial)?;
    Ok(vec![merged])
}

/// What some entry spans cost, by route.
async fn of_spans(
    state: &AppState,
    selection: &Selection,
    wanted: &BTreeSet<SpanId>,
) -> Result<Vec<Arc<Merged>>, ApiError> {
    let (spans, partial) = state.engine.spans(&selection.service, selection.range(), &selection.labels).await?;
    whole(partial)?;
    let is_wanted = |link: Option<SpanId>| link.is_some_and(|id| wanted.contains(&id));
    let mut by_route: BTreeMap<Arc<str>, BTreeSet<_>> = BTreeMap::new();
    for span in spans.iter().filter(|span| is_wanted(span.link.span_id)) {
        by_route.entry(span.route.clone()).or_default().insert(span.link.trace_id);
    }
    let mut found = Vec::new();
    for (route, traces) in by_route {
        let mut asked = RequestSides::default();
        // Others of the same trace too: a sample belongs to the one that ran when it was taken.
        for span in spans.iter().filter(|span| span.route == route && traces.contains(&span.link.trace_id)) {
            if is_wanted(span.link.span_id) {
                asked.sides[0].push(asked.all.len());
            }
            asked.all.push(EntrySpan { span: span.clone(), instance: "".into(), labels: Labels::default() });
        }
        let costs = state.engine.request_costs(&selection.service, selection.range(), Arc::new(asked)).await?;
        let of_type = costs.types.into_iter().map(|[costs, _]| costs);
        found.extend(of_type.filter(|costs| costs.profile_type.name == selection.profile_type).map(Arc::new));
    }
    Ok(found)
}
