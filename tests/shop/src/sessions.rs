//! Who was here, and what they looked at. Nobody ever leaves: the slow leak that a heap profile should find.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// About 70 MiB of them; the leak ends here so that a demo can run over night.
const SESSIONS_MAX: usize = 16_000;

/// Size of the page that each session keeps.
const PAGE_BYTES: usize = 4_096;

/// What a session may remember.
const VISITS_MAX: usize = 50;

/// Everybody's sessions, behind one lock.
#[derive(Debug, Default)]
pub struct Sessions {
    by_customer: Mutex<HashMap<String, Session>>,
}

#[derive(Debug)]
struct Session {
    visits: Vec<String>,
    /// A page kept ready for the next visit.
    page: Vec<u8>,
}

impl Sessions {
    /// Notes a visit, and returns how many there were.
    pub fn remember(&self, customer: &str, page: &str) -> usize {
        let mut sessions = self.by_customer.lock().unwrap_or_else(PoisonError::into_inner);
        if !sessions.contains_key(customer) && sessions.len() >= SESSIONS_MAX {
            return 0;
        }
        let session = sessions.entry(customer.to_owned()).or_insert_with(new_session);
        if session.visits.len() < VISITS_MAX {
            session.visits.push(page.to_owned());
        }
        session.page.truncate(PAGE_BYTES);
        session.visits.len()
    }
}

fn new_session() -> Session {
    Session { visits: Vec::new(), page: vec![b' '; PAGE_BYTES] }
}
