//! Agents: which of their windows are stored already, and how many of their samples arrived.
//!
//! De-duplication is exact and bounded: the highest sequence number, and one bit for each of the 1024 below it (2 h 50 min of
//! windows). Of anything older nobody can tell whether it was stored, so it is refused rather than guessed.

use std::collections::{BTreeMap, HashMap};

use sqlx::Row;
use sqlx::any::AnyRow;
use tephra_proto::limits::{WINDOW_AHEAD_MS_MAX, WINDOW_LATE_MS_MAX};

use super::{Catalog, CatalogError, Tx, from_sql, to_sql};
use crate::profile::decode::WindowId;
use crate::store::ranges::Ranges;

/// How far below the highest sequence number windows are told apart.
pub const SEQUENCES_REMEMBERED: u64 = 1_024;

/// How long agents are remembered after they were last heard of, milliseconds: a window may come this late.
pub const SEQUENCES_REMEMBERED_MS: u64 = WINDOW_LATE_MS_MAX + 2 * WINDOW_AHEAD_MS_MAX;

/// Agents looked up by one statement: both databases take many more parameters.
const AGENTS_PER_QUERY: usize = 500;

const WORDS: usize = SEQUENCES_REMEMBERED as usize / 64;

/// Which sequence numbers of one agent instance are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceState {
    max: u64,
    /// Bit `i` (of word `i / 64`): sequence `max - 1 - i` is stored.
    below: [u64; WORDS],
}

/// Whether a window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not stored yet: it is marked as stored now.
    New,
    /// Stored already.
    Duplicate,
    /// Too far below the highest to tell.
    Stale,
}

impl Default for SequenceState {
    fn default() -> Self {
        Self { max: 0, below: [0; WORDS] }
    }
}

impl SequenceState {
    /// These are stored, as far as they can be told apart.
    pub(crate) fn of(sequences: &Ranges) -> Self {
        let mut state = Self::default();
        let mut recent = sequences.clone();
        recent.keep_from(sequences.max().unwrap_or(0).saturating_sub(SEQUENCES_REMEMBERED));
        for sequence in recent.iter() {
            state.admit(sequence);
        }
        state
    }

    /// Highest sequence number stored; 0: none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Marks `sequence` as stored, unless it is already, or too old to tell.
    pub fn admit(&mut self, sequence: u64) -> Verdict {
        if sequence == self.max {
            return Verdict::Duplicate;
        }
        if sequence > self.max {
            self.advance(sequence);
            return Verdict::New;
        }
        let back = self.max - 1 - sequence;
        if back >= SEQUENCES_REMEMBERED {
            return Verdict::Stale;
        }
        let bit = 1u64 << (back % 64);
        let Some(word) = self.below.get_mut((back / 64) as usize) else { return Verdict::Stale };
        if *word & bit != 0 {
            return Verdict::Duplicate;
        }
        *word |= bit;
        Verdict::New
    }

    /// Makes `sequence` the highest: everything else moves down, and the old highest becomes a bit.
    fn advance(&mut self, sequence: u64) {
        let by = sequence - self.max;
        let old_was_stored = self.max > 0;
        let mut moved = [0u64; WORDS];
        if by < SEQUENCES_REMEMBERED {
            let (words, bits) = ((by / 64) as usize, (by % 64) as u32);
            for (i, word) in moved.iter_mut().enumerate().skip(words) {
                let low = self.below.get(i - words).copied().unwrap_or(0) << bits;
                let carried = if bits > 0 && i > words {
                    self.below.get(i - words - 1).copied().unwrap_or(0) >> (64 - bits)
                } else {
                    0
                };
                *word = low | carried;
            }
        }
        let back = by - 1;
        if old_was_stored
            && back < SEQUENCES_REMEMBERED
            && let Some(word) = moved.get_mut((back / 64) as usize)
        {
            *word |= 1 << (back % 64);
        }
        *self = Self { max: sequence, below: moved };
    }

    fn to_text(&self) -> String {
        self.below.iter().map(|word| format!("{word:016x}")).collect()
    }

    fn from_text(max: u64, text: &str) -> Option<Self> {
        let mut state = Self { max, below: [0; WORDS] };
        if text.len() != WORDS * 16 {
            return None;
        }
        for (i, word) in state.below.iter_mut().enumerate() {
            *word = u64::from_str_radix(text.get(i * 16..(i + 1) * 16)?, 16).ok()?;
        }
        Some(state)
    }
}

/// What the catalog knew of an agent when a commit was prepared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentBefore {
    /// Its sequence numbers.
    pub sequences: SequenceState,
    /// Where its samples went, before this commit.
    pub sums: Accounting,
}

/// What one commit changes for one agent.
#[derive(Debug, Clone)]
pub struct AgentUpdate {
    /// The agent (the sequence is of no meaning).
    pub id: WindowId,
    /// What was decided from; `None`: never heard of.
    pub before: Option<AgentBefore>,
    /// Its sequence numbers, the commit's included.
    pub sequences: SequenceState,
    /// Its service.
    pub service: String,
    /// Its instance.
    pub instance: String,
    /// Version of the agent library.
    pub version: String,
    /// Where the samples of this commit's windows went.
    pub added: Accounting,
}

/// Where an agent's samples went: sampled = stored + dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounting {
    /// Taken by the agent.
    pub sampled: u64,
    /// In the store.
    pub stored: u64,
    /// Lost before they were sent, by reason.
    pub drops: BTreeMap<String, u64>,
    /// CPU time that samples stand for, nanoseconds.
    pub cpu_ns: u64,
    /// CPU time the processes used in the same windows, nanoseconds.
    pub process_cpu_ns: u64,
}

impl Accounting {
    /// Adds another account.
    pub fn add(&mut self, other: &Self) {
        self.sampled = self.sampled.saturating_add(other.sampled);
        self.stored = self.stored.saturating_add(other.stored);
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.process_cpu_ns = self.process_cpu_ns.saturating_add(other.process_cpu_ns);
        for (reason, samples) in &other.drops {
            let sum = self.drops.entry(reason.clone()).or_default();
            *sum = sum.saturating_add(*samples);
        }
    }
}

/// An agent, for the status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentStatus {
    /// Its service.
    pub service: String,
    /// Its instance.
    pub instance: String,
    /// Version of the agent library.
    pub version: String,
    /// When its last window was stored, unix milliseconds.
    pub last_seen_ms: u64,
    /// Its samples since it started.
    pub accounting: Accounting,
}

impl Catalog {
    /// What is known of these agents, by agent and boot; those never seen are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sequences(
        &self,
        agents: impl IntoIterator<Item = ([u8; 16], u64)>,
    ) -> Result<HashMap<([u8; 16], u64), AgentBefore>, CatalogError> {
        let wanted: BTreeMap<(String, i64), ([u8; 16], u64)> =
            agents.into_iter().map(|(agent, boot)| ((agent_text(&agent), to_sql(boot)), (agent, boot))).collect();
        let ids: Vec<&(String, i64)> = wanted.keys().collect();
        let mut known = HashMap::new();
        for chunk in ids.chunks(AGENTS_PER_QUERY) {
            let places: Vec<String> = (1..=chunk.len()).map(|i| format!("${i}")).collect();
            let sql = format!(
                "SELECT agent_id, boot_id, max_sequence, stored_below, sampled, stored, drops, cpu_ns, process_cpu_ns
                 FROM agents WHERE agent_id IN ({})",
                places.join(", ")
            );
            let query = sqlx::query(sqlx::AssertSqlSafe(sql));
            let query = chunk.iter().fold(query, |query, (agent, _)| query.bind(agent));
            for row in query.fetch_all(&self.write).await? {
                // Other boots of the same agent are none of our business.
                let Some(key) = wanted.get(&(row.try_get("agent_id")?, row.try_get("boot_id")?)) else { continue };
                known.insert(*key, AgentBefore { sequences: read_sequences(&row)?, sums: read_sums(&row)? });
            }
        }
        Ok(known)
    }

    /// Agents that sent something since `since_ms`, by service and instance; at most 10 000. Of those that are known from segments alone
    /// only the sequence numbers are known: they are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn agents(&self, since_ms: u64) -> Result<Vec<AgentStatus>, CatalogError> {
        let rows = sqlx::query(
            "SELECT service, instance, version, last_seen_ms, sampled, stored, drops, cpu_ns, process_cpu_ns
             FROM agents WHERE last_seen_ms >= $1 AND service <> '' ORDER BY service, instance, last_seen_ms DESC LIMIT 10000",
        )
        .bind(to_sql(since_ms))
        .fetch_all(&self.read)
        .await?;
        let read = |row: &AnyRow| -> Result<AgentStatus, CatalogError> {
            Ok(AgentStatus {
                service: row.try_get("service")?,
                instance: row.try_get("instance")?,
                version: row.try_get("version")?,
                last_seen_ms: from_sql(row.try_get("last_seen_ms")?),
                accounting: read_sums(row)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Forgets agents that were last heard of before `before_ms`. That must be longer ago than a window may be late,
    /// or a repeat could be counted twice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_agents(&self, before_ms: u64) -> Result<u64, CatalogError> {
        let gone = sqlx::query("DELETE FROM agents WHERE last_seen_ms < $1")
            .bind(to_sql(before_ms))
            .execute(&self.write)
            .await?;
        Ok(gone.rows_affected())
    }
}

/// Writes what a commit changes for one agent. `false`: the row is no longer as it was when the commit was prepared, since another
/// collector stored windows of the same agent; then everything must be decided anew. The row stays locked until `tx` ends.
pub(super) async fn save(tx: &mut Tx, agent: &AgentUpdate, now_ms: u64) -> Result<bool, CatalogError> {
    let sql = match agent.before {
        // Every commit changes the sequence numbers, so they tell whether anything else of the row has changed.
        Some(_) => {
            "UPDATE agents SET max_sequence = $3, stored_below = $4, service = $5, instance = $6, version = $7,
             last_seen_ms = $8, sampled = $9, stored = $10, drops = $11, cpu_ns = $12, process_cpu_ns = $13
             WHERE agent_id = $1 AND boot_id = $2 AND max_sequence = $14 AND stored_below = $15"
        }
        None => {
            "INSERT INTO agents (agent_id, boot_id, max_sequence, stored_below, service, instance, version, last_seen_ms,
                                 sampled, stored, drops, cpu_ns, process_cpu_ns)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
             ON CONFLICT (agent_id, boot_id) DO NOTHING"
        }
    };
    let mut sums = agent.added.clone();
    sums.add(&agent.before.as_ref().map(|before| before.sums.clone()).unwrap_or_default());
    let mut query = sqlx::query(sql)
        .bind(agent_text(&agent.id.agent_id))
        .bind(to_sql(agent.id.boot_id))
        .bind(to_sql(agent.sequences.max))
        .bind(agent.sequences.to_text())
        .bind(&agent.service)
        .bind(&agent.instance)
        .bind(&agent.version)
        .bind(to_sql(now_ms))
        .bind(to_sql(sums.sampled))
        .bind(to_sql(sums.stored))
        .bind(serde_json::to_string(&sums.drops).unwrap_or_else(|_| "{}".to_owned()))
        .bind(to_sql(sums.cpu_ns))
        .bind(to_sql(sums.process_cpu_ns));
    if let Some(before) = &agent.before {
        query = query.bind(to_sql(before.sequences.max)).bind(before.sequences.to_text());
    }
    Ok(query.execute(&mut **tx).await?.rows_affected() == 1)
}

fn read_sequences(row: &AnyRow) -> Result<SequenceState, CatalogError> {
    let text: String = row.try_get("stored_below")?;
    let state = SequenceState::from_text(from_sql(row.try_get("max_sequence")?), &text);
    state.ok_or(CatalogError::Corrupt { what: "agents.stored_below", value: text })
}

fn read_sums(row: &AnyRow) -> Result<Accounting, CatalogError> {
    Ok(Accounting {
        sampled: from_sql(row.try_get("sampled")?),
        stored: from_sql(row.try_get("stored")?),
        drops: read_drops(row.try_get("drops")?)?,
        cpu_ns: from_sql(row.try_get("cpu_ns")?),
        process_cpu_ns: from_sql(row.try_get("process_cpu_ns")?),
    })
}

fn agent_text(id: &[u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_drops(text: String) -> Result<BTreeMap<String, u64>, CatalogError> {
    serde_json::from_str(&text).map_err(|_| CatalogError::Corrupt { what: "agents.drops", value: text })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Reordered, repeated, with gaps and through its text form: it never says "new" twice, and never calls a window a
        /// duplicate that was not stored.
        #[test]
        fn a_sequence_is_new_exactly_once(steps in prop::collection::vec((1u64..3_000, any::<bool>()), 1..400)) {
            let mut state = SequenceState::default();
            let mut stored = BTreeSet::new();
            for (sequence, reload) in steps {
                let max = state.max();
                let expected = if stored.contains(&sequence) && max - sequence <= SEQUENCES_REMEMBERED {
                    Verdict::Duplicate
                } else if sequence < max && max - sequence > SEQUENCES_REMEMBERED {
                    Verdict::Stale
                } else {
                    Verdict::New
                };
                prop_assert_eq!(state.admit(sequence), expected, "sequence {} below {}", sequence, max);
                if expected == Verdict::New {
                    stored.insert(sequence);
                }
                if reload {
                    state = SequenceState::from_text(state.max(), &state.to_text()).unwrap();
                }
            }
        }
    }

    #[test]
    fn damaged_bitmaps_are_refused() {
        for text in ["", "00", &"g".repeat(WORDS * 16), &"é".repeat(WORDS * 8)] {
            assert_eq!(SequenceState::from_text(5, text), None, "{text:?}");
        }
    }
}
