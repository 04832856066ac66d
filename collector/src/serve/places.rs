//! Who may be connected: so many in all, so many from one address, and who has to go when room is needed.
//!
//! What costs nobody anything goes first: a connection on which nothing is being answered. Among those, one that never asked for
//! anything; then one from the address that has the most; then the one that was silent the longest. So whoever opens connections to fill
//! the collector up pushes out their own. Where all are at work there is a small lobby, in which only probes are answered: so a probe always is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::activity::Activity;
use crate::base::clock;
use crate::conditions::{Conditions, Severity};
use crate::ingest::Peer;

/// Connections of one collector: each agent keeps one, a browser six.
const ALL: usize = 4_096;

/// Connections beyond them, in which only probes are answered.
const LOBBY: usize = 64;

/// The condition when all are at work.
const FULL: &str = "connections_full";

/// The condition when all of one address are.
const ADDRESS_FULL: &str = "connections_of_address_full";

/// How many may be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at the same time, from all addresses.
    pub all: usize,
    /// From one address; half of all where it is `None`. Behind a proxy all have one.
    pub per_address: Option<usize>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { all: ALL, per_address: None }
    }
}

impl ConnectionLimits {
    /// What so many file descriptors leave of them: a quarter, and at most 512, stay for files.
    pub fn within(self, descriptors: u64) -> Self {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let for_files = (descriptors / 4).min(512);
        let room = descriptors.saturating_sub(for_files + LOBBY).max(1);
        Self { all: self.all.min(room), ..self }
    }

    fn per_address(&self) -> usize {
        self.per_address.unwrap_or(self.all / 2).clamp(1, self.all)
    }
}

/// All connections. Cheap to clone; clones are the same connections.
#[derive(Debug, Clone)]
pub(super) struct Places {
    limits: ConnectionLimits,
    conditions: Conditions,
    since: Instant,
    held: Arc<Mutex<Held>>,
    /// Whether an operator was told that there is no room.
    told: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    seated: HashMap<u64, Seat>,
    by_address: HashMap<IpAddr, usize>,
    /// By when they came.
    lobby: BTreeMap<u64, Seat>,
}

#[derive(Debug, Clone)]
struct Seat {
    address: IpAddr,
    activity: Arc<Activity>,
    leave: Arc<Notify>,
}

/// A connection's place, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    number: u64,
    seat: Seat,
    /// Only probes are answered.
    pub(super) is_lobby: bool,
}

impl Places {
    pub(super) fn new(limits: ConnectionLimits, conditions: Conditions) -> Self {
        Self { limits, conditions, since: clock::instant(), held: Arc::default(), told: Arc::default() }
    }

    /// A place for a new connection. Others may have to go. That of a proxy is many people's, and may be one of any number.
    pub(super) fn take(&self, peer: Peer, is_proxy: bool) -> Place {
        let activity = Arc::new(Activity::new(self.since));
        let seat = Seat { address: peer.neighbourhood(), activity, leave: Arc::default() };
        let mut held = self.held();
        let number = held.next;
        held.next += 1;
        let of_address = held.by_address.get(&seat.address).copied().unwrap_or(0);
        let is_lobby = if !is_proxy && of_address >= self.limits.per_address() {
            let full = !held.send_away(Some(seat.address));
            if full {
                self.tell(
                    ADDRESS_FULL,
                    &seat.address.to_string(),
                    of_address,
                    "raise --connections-per-address, if it is a proxy or a gateway",
                );
            }
            full
        } else if held.seated.len() >= self.limits.all {
            let full = !held.send_away(None);
            if full {
                self.tell(FULL, "", held.seated.len(), "raise --connections, or run another collector");
            }
            full
        } else {
            false
        };
        if is_lobby {
            if held.lobby.len() >= LOBBY
                && let Some((_, first)) = held.lobby.pop_first()
            {
                first.leave.notify_one();
            }
            held.lobby.insert(number, seat.clone());
        } else {
            *held.by_address.entry(seat.address).or_default() += 1;
            held.seated.insert(number, seat.clone());
        }
        drop(held);
        Place { places: self.clone(), number, seat, is_lobby }
    }

    /// Makes room for another file descriptor, if that costs nobody anything.
    pub(super) fn send_one_away(&self) -> bool {
        self.held().send_away(None)
    }

    fn tell(&self, kind: &'static str, subject: &str, connections: usize, hint: &str) {
        self.told.store(true, Ordering::Relaxed);
        let whose = if subject.is_empty() { String::new() } else { format!(" from {subject}") };
        let message = format!(
            "{connections} connections{whose} are at work, which is the limit; a further one is only answered probes: {hint}"
        );
        self.conditions.begin(kind, subject, Severity::Degraded, message);
    }

    /// Ends what was told once there is room again, and some to spare: it must not come and go with every connection.
    fn untell(&self, held: &Held, address: IpAddr) {
        let is_roomy = |count: usize, limit: usize| count <= limit - limit.div_ceil(8);
        if is_roomy(held.seated.len(), self.limits.all) {
            self.conditions.end(FULL, "");
        }
        let of_address = held.by_address.get(&address).copied().unwrap_or(0);
        if is_roomy(of_address, self.limits.per_address()) {
            self.conditions.end(ADDRESS_FULL, &address.to_string());
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Ends an idle connection, of one address if one is given; false when there is none.
    fn send_away(&mut self, of: Option<IpAddr>) -> bool {
        let candidates = self.seated.iter().filter(|(_, seat)| of.is_none_or(|of| of == seat.address));
        let idle = candidates.filter(|(_, seat)| seat.activity.is_idle());
        let first = idle.min_by_key(|(number, seat)| {
            let used = seat.activity.used();
            (used.is_some(), Reverse(self.by_address.get(&seat.address)), used, **number)
        });
        let Some(number) = first.map(|(number, _)| *number) else { return false };
        if let Some(seat) = self.remove(number) {
            seat.leave.notify_one();
        }
        true
    }

    fn remove(&mut self, number: u64) -> Option<Seat> {
        if let Some(seat) = self.lobby.remove(&number) {
            return Some(seat);
        }
        let seat = self.seated.remove(&number)?;
        if let Some(count) = self.by_address.get_mut(&seat.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&seat.address);
            }
        }
        Some(seat)
    }
}

impl Place {
    pub(super) fn activity(&self) -> Arc<Activity> {
        self.seat.activity.clone()
    }

    /// Done when somebody else needs the place.
    pub(super) async fn is_needed(&self) {
        self.seat.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held();
        held.remove(self.number);
        if self.places.told.load(Ordering::Relaxed) {
            self.places.untell(&held, self.seat.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(all: usize, per_address: Option<usize>) -> Places {
        Places::new(ConnectionLimits { all, per_address }, Conditions::default())
    }

    fn peer(last: u8) -> Peer {
        Peer([10, 0, 0, last].into())
    }

    /// Whether somebody else needed the place.
    fn must_go(place: &Place) -> bool {
        !place.places.held().seated.contains_key(&place.number)
    }

    /// As an agent between two pushes.
    fn used(places: &Places, peer: Peer) -> Place {
        let place = places.take(peer, false);
        drop(place.activity().begin());
        place
    }

    #[test]
    fn whoever_fills_the_collector_up_pushes_out_their_own() {
        let places = places(10, Some(8));
        let agents: Vec<Place> = (1..=4).map(|last| used(&places, peer(last))).collect();
        let silent: Vec<Place> = (0..50).map(|_| places.take(peer(66), false)).collect();
        let asked_once: Vec<Place> = (0..50).map(|_| used(&places, peer(67))).collect();
        assert!(agents.iter().all(|agent| !must_go(agent)));
        assert!(silent.iter().all(must_go), "what never asked for anything goes first");
        assert_eq!(asked_once.iter().filter(|place| !must_go(place)).count(), 6);
        assert!(silent.iter().chain(&asked_once).all(|place| !place.is_lobby));
        assert_eq!(places.conditions.all(), [], "nobody was turned away");
    }

    #[test]
    fn of_an_address_s_own_the_longest_silent_goes() {
        let places = places(10, Some(2));
        let [first, second] = [(); 2].map(|()| used(&places, peer(1)));
        let other = used(&places, peer(2));
        drop(first.activity().begin());
        // The clock has milliseconds, and of two that are alike the older one goes.
        let third = used(&places, peer(1));
        assert!(must_go(&first) || must_go(&second));
        assert!(!must_go(&third) && !must_go(&other));
    }

    #[test]
    fn where_all_are_at_work_there_is_a_lobby_and_an_operator_is_told() {
        let places = places(8, Some(4));
        let of_one: Vec<_> =
            (0..4).map(|_| places.take(peer(1), false)).map(|place| (place.activity().begin(), place)).collect();
        let crowded = places.take(peer(1), false);
        assert!(crowded.is_lobby);
        let kinds = || places.conditions.all().iter().map(|told| (told.kind, told.subject.clone())).collect::<Vec<_>>();
        assert_eq!(kinds(), [(ADDRESS_FULL, "10.0.0.1".to_owned())]);
        let others: Vec<_> =
            (2..=5).map(|last| places.take(peer(last), false)).map(|place| (place.activity().begin(), place)).collect();
        assert!(places.take(peer(6), false).is_lobby);
        assert!(kinds().contains(&(FULL, String::new())));
        assert_eq!(places.conditions.unready(), None, "those that are served are served");

        let lobby: Vec<Place> = (0..LOBBY).map(|_| places.take(peer(7), false)).collect();
        assert!(lobby.iter().all(|place| place.is_lobby));
        assert_eq!(places.held().lobby.len(), LOBBY, "the first of the lobby went");
        assert!(!places.held().lobby.contains_key(&crowded.number));

        drop((of_one, others));
        assert_eq!(kinds(), []);
        drop((crowded, lobby));
        let held = places.held();
        assert!(held.seated.is_empty() && held.by_address.is_empty() && held.lobby.is_empty());
    }

    #[test]
    fn a_proxy_s_connections_are_many_people_s() {
        let places = places(10, Some(2));
        let held: Vec<_> =
            (0..9).map(|_| places.take(peer(1), true)).map(|place| (place.activity().begin(), place)).collect();
        assert!(held.iter().all(|(_, place)| !place.is_lobby));
        assert!(places.take(peer(1), false).is_lobby, "the limit of an address is that of all others");
        assert!(!places.take(peer(2), false).is_lobby);
    }

    #[test]
    fn neighbours_of_an_ipv6_network_are_one_address() {
        let places = places(100, Some(3));
        let _held: Vec<_> = (0..3)
            .map(|host| places.take(Peer([0x2001, 0xdb8, 0, 1, 0, 0, 0, host].into()), false))
            .map(|place| (place.activity().begin(), place))
            .collect();
        assert!(places.take(Peer([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9].into()), false).is_lobby);
        assert!(!places.take(Peer([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1].into()), false).is_lobby);
        let mapped = Peer("::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(mapped.neighbourhood(), peer(1).neighbourhood());
    }

    #[test]
    fn descriptors_bound_the_connections_and_leave_some_for_files() {
        let limits = ConnectionLimits::default();
        let all = |descriptors| limits.within(descriptors).all;
        assert_eq!((all(1_024), all(4_096), all(1 << 20), all(u64::MAX)), (704, 3_520, ALL, ALL));
        assert_eq!(all(16), 1, "a start is better than none");
        assert_eq!(ConnectionLimits { all: 100, per_address: Some(500) }.per_address(), 100);
        assert_eq!(limits.per_address(), ALL / 2);
    }
}
