//! Asks the store all that an explanation needs.

use std::sync::Arc;

use tephra_proto::ids::ServiceName;

use super::choose::Draw;
use super::{Explained, Selector, choose};
use crate::analysis::requests::together;
use crate::base::labels::ROUTE;
use crate::base::range::TimeRange;
use crate::profile::durations::Durations;
use crate::profile::model::Partial;
use crate::query::{Drawing, QueryEngine, QueryError, RequestsAsked, RequestsOver};
use crate::symbols::Symbols;
use crate::work::{WorkError, blocking};

/// Which requests somebody wonders about.
#[derive(Debug, Clone)]
pub struct Question {
    /// Whose.
    pub service: ServiceName,
    /// Those that ended in windows which start in it.
    pub range: TimeRange,
    /// Of instances with these labels.
    pub labels: Vec<(String, String)>,
    /// To this route.
    pub route: String,
    /// Which of them.
    pub selector: Selector,
}

/// Why one could not be given.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The store could not say.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// It took too long, or failed.
    #[error(transparent)]
    Work(#[from] WorkError),
}

/// Why the requests of a question are slow; and which part of the range the answer is about, where it is not all of it.
///
/// # Errors
/// When the service is unknown, a limit is exceeded, the time is up, or the store fails.
pub async fn explain(
    engine: &QueryEngine,
    symbols: &Symbols,
    question: Question,
) -> Result<(Explained, Option<Partial>), ExplainError> {
    let Question { service, range, labels, route, selector } = question;
    // The route is asked for by itself: whether samples have it or not.
    let labels: Vec<_> = labels.into_iter().filter(|(name, _)| name != ROUTE).collect();
    let asked = |range| RequestsAsked { service: service.clone(), range, labels: labels.clone(), step_ms: None };
    let over = engine.requests(&asked(range)).await?;
    let all = of_route(&over, &route);
    let within = match selector {
        Selector::Inside { range: inside, .. } if inside != range => {
            of_route(&engine.requests(&asked(inside)).await?, &route)
        }
        _ => all.clone(),
    };
    let drawing: Arc<dyn Drawing> = Arc::new(Draw::new(selector, range, &all));
    let (spans, of_spans) = engine.drawn_spans(&service, range, &labels, &route, &drawing).await?;
    let chosen = blocking(move || choose(selector, range, (&all, &within), spans)).await?;
    let costs = engine.request_costs(&service, range, chosen.requests.clone()).await?;
    let symbols = symbols.clone();
    let explained = blocking(move || Explained::of(&route, selector, &chosen, &costs, &symbols)).await?;
    Ok((explained, over.partial.or(of_spans)))
}

fn of_route(over: &RequestsOver, route: &str) -> Durations {
    together(&over.by_status(route))
}
