//! What grew over a range: live memory at its end against its start.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::analysis::growth::{self, growth};
use crate::analysis::lives::lives;
use crate::base::clock::now_ms;
use crate::base::labels::INSTANCE;
use crate::base::range::TimeRange;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::profile::model::{Kind, Partial};
use crate::profile::report::{PartialInfo, TypeInfo};
use crate::query::Selection;
use crate::urls::encode;
use crate::work::blocking;

pub(in crate::http) async fn growth_json(
    State(state): State<AppState>,
    mut params: Params,
) -> Result<Json<Value>, ApiError> {
    params.default("type", "inuse_space");
    let selection = params.selection(now_ms())?;
    // The whole, both of its ends, and its processes.
    let engine = state.engine.within(params.timeout(state.engine.timeout())? / 4);
    let options = super::flamegraph::options(&mut params)?;
    params.finish()?;
    let answer = async {
        let of = |range: TimeRange| Selection { from_ms: range.from_ms, until_ms: range.until_ms, ..selection.clone() };
        let mut whole = engine.merge(&selection).await?;
        if whole.profile_type.kind != Kind::Gauge {
            return Err(ApiError::invalid(
                format!("{} adds up over time, it does not grow", whole.profile_type.name),
                "ask for inuse_space or inuse_objects, or compare two ranges with /api/v1/diff",
            ));
        }
        // A part of the range has another start, and so another growth; and what was not read is not what never arrived.
        if let Some(partial) = whole.partial.as_ref().filter(|partial| partial.is_cut()) {
            return Err(ApiError::only_part(partial));
        }
        let of_all = whole.partial;
        let received = growth::received(&whole);
        // A trend wants points: slices of the part that has windows, where that is short.
        if received.millis() * 2 <= selection.range().millis() {
            whole = engine.merge(&of(received)).await?;
        }
        let [first, last] = growth::ends(received);
        let (a, b) = (engine.merge(&of(first)).await?, engine.merge(&of(last)).await?);
        let by_instance = engine.timeline(&selection, None, Some(INSTANCE)).await?;
        let processes = lives(&by_instance);
        let parts = || [of_all, whole.partial, a.partial, b.partial].into_iter().flatten();
        if let Some(partial) = parts().find(Partial::is_cut) {
            return Err(ApiError::only_part(&partial));
        }
        let damaged = parts().next();
        let symbols = state.symbols.clone();
        let service = selection.service.to_string();
        let asked = selection.range();
        let growth = blocking(move || growth(&service, asked, &whole, &a, &b, &symbols, options)).await?;
        Ok((growth, processes, diff_link(&selection, first, last), damaged))
    };
    let (mut growth, processes, diff, damaged) = state.in_turn(answer).await?;
    let [a, b] = [0, 1].map(|side| growth.view.side(side));
    let empty = [&a, &b].into_iter().all(|side| side.total == 0).then(|| {
        let facts = &growth.view.tree.sides[1].facts;
        facts.empty_because.clone().unwrap_or_else(|| "nothing was live in this range".to_owned())
    });
    if empty.is_none()
        && let Some(sentence) = processes.sentence(&growth.view.service, &b.unit)
    {
        // Behind the headline, which is about the ends.
        growth.sentences.insert(growth.sentences.len().min(1), sentence);
    }
    let mut answer = json!({
        "service": growth.view.service,
        "type": TypeInfo::from(&growth.view.tree.profile_type),
        "a": a,
        "b": b,
        "unit": b.unit,
        "delta": growth.values[1] - growth.values[0],
        "per_hour": growth.per_hour,
        "significant": growth.significant,
        "sentences": growth.sentences,
        "growers": growth.growers,
        "lives": processes.lives,
        "restarts": processes.restarts,
        "since_restart": processes.since_restart,
        "diff": diff,
    });
    if let Some(damaged) = damaged {
        answer["partial"] = json!(PartialInfo::from(damaged));
    }
    if let Some(why) = empty {
        answer["empty"] = why.into();
    }
    Ok(Json(answer))
}

/// The page that compares the two ends.
fn diff_link(selection: &Selection, first: TimeRange, last: TimeRange) -> String {
    let mut link =
        format!("/diff?service={}&type={}", encode(selection.service.as_str()), encode(&selection.profile_type));
    for (name, value) in &selection.labels {
        link += &format!("&label.{name}={}", encode(value));
    }
    for (side, TimeRange { from_ms, until_ms }) in [("a", first), ("b", last)] {
        link += &format!("&{side}.from={from_ms}&{side}.until={until_ms}");
    }
    link
}
