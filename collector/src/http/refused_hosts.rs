//! Names that callers ask for and this collector does not answer to, told to its operator: whoever runs agents sees only that they are
//! refused, and it is `tephra serve --host` that was forgotten.
//!
//! Anybody can make up names, so there is one condition, with the latest few of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::base::clock;
use crate::conditions::{Conditions, Severity};

/// The condition's kind.
const KIND: &str = "host_refused";

/// Names that are told at a time.
const NAMES_MAX: usize = 8;

/// No longer one can be registered.
const NAME_BYTES_MAX: usize = 253;

/// It is over once nobody was refused for so long: agents come again every few seconds.
const OVER_AFTER: Duration = Duration::from_secs(300);

/// The names of late. Cheap to clone; clones are the same list.
#[derive(Debug, Clone, Default)]
pub(super) struct RefusedHosts {
    conditions: Conditions,
    latest: Arc<Mutex<Latest>>,
}

#[derive(Debug, Default)]
struct Latest {
    /// The latest last.
    names: Vec<String>,
    at: Option<Instant>,
}

impl RefusedHosts {
    pub(super) fn new(conditions: Conditions) -> Self {
        Self { conditions, latest: Arc::default() }
    }

    /// Somebody asked for this host name. Made of letters, digits, dots, dashes and underscores, so it can be shown as it is.
    pub(super) fn note(&self, name: &str) {
        if name.len() > NAME_BYTES_MAX {
            return;
        }
        let mut latest = self.lock();
        let begins = latest.names.is_empty();
        latest.at = Some(clock::task_instant());
        let known = latest.names.iter().position(|known| known == name);
        if let Some(at) = known {
            latest.names.remove(at);
        } else if latest.names.len() == NAMES_MAX {
            latest.names.remove(0);
        }
        latest.names.push(name.to_owned());
        if known.is_none() {
            self.conditions.begin(KIND, "", Severity::Notice, message(&latest.names));
        }
        drop(latest);
        if begins {
            tokio::spawn(self.clone().end_in_time());
        }
    }

    /// Ends the condition once nobody was refused for long enough.
    async fn end_in_time(self) {
        loop {
            let over_at = {
                let mut latest = self.lock();
                match latest.at.map(|at| at + OVER_AFTER).filter(|over_at| *over_at > clock::task_instant()) {
                    Some(over_at) => over_at,
                    None => {
                        *latest = Latest::default();
                        self.conditions.end(KIND, "");
                        return;
                    }
                }
            };
            sleep_until(over_at).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn message(names: &[String]) -> String {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    let (list, options) = (names.join(", "), names.join(","));
    format!(
        "agents, scripts or people call this collector by a name that it does not go by, and are refused: {list}. Where that is its name, \
         serve with `--host {options}`; where it is not, somebody else's name points here, and nothing needs to be done"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(conditions: &Conditions) -> Vec<String> {
        conditions.all().into_iter().map(|condition| condition.message).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_condition_tells_the_latest_names_and_ends_once_nobody_uses_them() {
        let conditions = Conditions::default();
        let refused = RefusedHosts::new(conditions.clone());
        refused.note("tephra.example.com");
        assert!(told(&conditions)[0].contains("`--host tephra.example.com`"), "{:?}", told(&conditions));
        for number in 0..10_000 {
            refused.note(&format!("x{number}.example.org"));
            // An agent comes again and again.
            refused.note("tephra.example.com");
        }
        refused.note(&"x.".repeat(200));
        let [message] = &told(&conditions)[..] else { panic!("one condition") };
        assert!(message.contains("tephra.example.com") && message.contains("x9999.example.org"), "{message}");
        assert_eq!(message.matches(".example.").count(), 2 * NAMES_MAX, "{message}");

        tokio::time::sleep(OVER_AFTER - Duration::from_secs(1)).await;
        refused.note("tephra.example.com");
        tokio::time::sleep(OVER_AFTER - Duration::from_secs(1)).await;
        assert_eq!(conditions.all().len(), 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(conditions.all(), []);
        refused.note("tephra.example.com");
        assert_eq!(told(&conditions).len(), 1, "and begins anew");
        tokio::time::sleep(2 * OVER_AFTER).await;
        assert_eq!(conditions.all(), []);
    }
}
