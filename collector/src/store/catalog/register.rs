//! The commit of an arrived segment: it, its services and names, and its agents' sequence numbers in one transaction.

use super::agents::{self, AgentUpdate};
use super::arrivals::{self, Arrivals};
use super::names::{self, ServiceSpan};
use super::segments::{SegmentRow, ServicePart, add_services, insert_row};
use super::{Catalog, CatalogError, Tx, counters, is_conflict};

/// Everything that becomes visible at once when a segment is committed.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The segment.
    pub segment: SegmentRow,
    /// What it holds of which service, and the names that come with it.
    pub services: Vec<ServiceSpan>,
    /// The agents whose windows it holds.
    pub agents: Vec<AgentUpdate>,
    /// What of it is known again by its content.
    pub arrivals: Arrivals,
    /// The number of this commit, as [`Catalog::next_commit`] gave it.
    pub commit: u64,
    /// When it is committed, unix milliseconds.
    pub now_ms: u64,
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed.
    Done,
    /// Nothing was changed: another collector stored windows of the same agents meanwhile, so it must be decided anew what is new.
    Overtaken,
}

impl Catalog {
    /// Commits a segment, its services and its agents' sequence numbers in one transaction. On [`Outcome::Done`] it is durable,
    /// and visible to every collector.
    ///
    /// # Errors
    /// When the database fails. Nothing of it is visible then, unless the error is [`CatalogError::Unsure`].
    pub async fn register(&self, registration: &Registration) -> Result<Outcome, CatalogError> {
        let mut tx = self.begin().await?;
        // Whoever deletes waits until this transaction ends: what was written before it is still there.
        let names = if self.shared {
            registration.services.iter().map(|span| (span.clone(), true)).collect()
        } else {
            self.written.left_of(&registration.services)
        };
        match write(&mut tx, registration, &names).await {
            Ok(Outcome::Done) => {}
            Ok(Outcome::Overtaken) => return Ok(Outcome::Overtaken),
            Err(CatalogError::Database(error)) if is_conflict(&error) => return Ok(Outcome::Overtaken),
            Err(error) => return Err(error),
        }
        if !self.shared {
            self.written.note(&names);
        }
        let committed = tx.commit().await;
        if committed.is_err() {
            self.written.forget();
        }
        match committed {
            Ok(()) => Ok(Outcome::Done),
            Err(error) if is_conflict(&error) => Ok(Outcome::Overtaken),
            Err(error) => Err(CatalogError::Unsure(error)),
        }
    }
}

/// Agents come first: their rows are what collectors meet at, and the one that comes later has written nothing yet. All rows are
/// taken in the same order by everybody, so that nobody waits in a circle.
async fn write(
    tx: &mut Tx,
    registration: &Registration,
    names: &[(ServiceSpan, bool)],
) -> Result<Outcome, CatalogError> {
    let mut agents: Vec<_> = registration.agents.iter().collect();
    agents.sort_by_key(|agent| agent.id);
    for agent in agents {
        if !agents::save(tx, agent, registration.now_ms).await? {
            return Ok(Outcome::Overtaken);
        }
    }
    if !arrivals::save(tx, &registration.arrivals, registration.now_ms).await? {
        return Ok(Outcome::Overtaken);
    }
    counters::raise(tx, "commits", registration.commit).await?;
    insert_row(tx, &registration.segment, false, registration.now_ms).await?;
    let mut parts: Vec<ServicePart> = registration.services.iter().map(ServiceSpan::part).collect();
    parts.sort_by(|a, b| a.service.cmp(&b.service));
    add_services(tx, &registration.segment.id, &parts).await?;
    let mut names: Vec<_> = names.iter().collect();
    names.sort_by(|a, b| a.0.service.cmp(&b.0.service));
    for (span, is_service) in names {
        names::remember(tx, span, *is_service).await?;
    }
    Ok(Outcome::Done)
}
