//! What one identity may take of a node, and all of them together. Nothing here reads a clock: time comes in as an
//! argument.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster_config::actor::{Actor, Role};
use cluster_config::wire::{Fix, Refusal, RefusalCode};

use tokio::sync::Semaphore;

use crate::limits;

const MINUTE: Duration = Duration::from_secs(60);

/// What an identity of a role may take, over all of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) requests_in_flight: usize,
    pub(super) bodies_bytes: usize,
    /// Absent: as many as it likes.
    pub(super) requests_a_minute: Option<u32>,
    /// Absent: as many as it likes.
    pub(super) records_a_minute: Option<u32>,
    pub(super) windows_bytes: u64,
    pub(super) window_bytes_max: u64,
}

impl Share {
    pub(super) fn of(role: Role) -> Self {
        let (in_flight, bodies) = match role {
            Role::Gate => (limits::GATE_REQUESTS_IN_FLIGHT_MAX, limits::GATE_BODIES_BYTES_MAX),
            Role::Node => (limits::PEER_REQUESTS_IN_FLIGHT_MAX, limits::PEER_BODIES_BYTES_MAX),
            _ => (limits::OPERATOR_REQUESTS_IN_FLIGHT_MAX, limits::OPERATOR_BODIES_BYTES_MAX),
        };
        let (requests, records) = match role {
            Role::Gate => (Some(limits::GATE_REQUESTS_A_MINUTE_MAX), Some(limits::GATE_RECORDS_A_MINUTE_MAX)),
            Role::Node => (None, None),
            _ => (Some(limits::OPERATOR_REQUESTS_A_MINUTE_MAX), None),
        };
        let window = match role {
            Role::Node => limits::PEER_CONNECTION_WINDOW_BYTES,
            _ => limits::CONNECTION_WINDOW_BYTES,
        };
        Self {
            requests_in_flight: in_flight,
            bodies_bytes: bodies,
            requests_a_minute: requests,
            records_a_minute: records,
            windows_bytes: u64::from(window) * limits::WHOLE_WINDOWS_PER_IDENTITY,
            window_bytes_max: window.into(),
        }
    }
}

/// What all nodes may take together, and all others together: neither takes anything of what the other has.
#[derive(Debug)]
pub(super) struct Whole {
    requests_in_flight_max: usize,
    bodies_bytes_max: usize,
    taken: Mutex<Taken>,
}

impl Whole {
    pub(super) fn of_peers() -> Self {
        Self::new(limits::PEERS_REQUESTS_IN_FLIGHT_MAX, limits::PEERS_BODIES_BYTES_MAX)
    }

    pub(super) fn of_others() -> Self {
        Self::new(limits::REQUESTS_IN_FLIGHT_MAX, limits::BODIES_BYTES_MAX)
    }

    fn new(requests_in_flight_max: usize, bodies_bytes_max: usize) -> Self {
        Self { requests_in_flight_max, bodies_bytes_max, taken: Mutex::default() }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Taken {
    requests: usize,
    bodies_bytes: usize,
}

/// So many a minute, and all of them at once where there were none for a minute.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Pace {
    /// When what was taken is earned back in full.
    whole_at: Duration,
}

impl Pace {
    /// Takes one; gives whether there was one left.
    pub(super) fn take(&mut self, now: Duration, a_minute: u32) -> bool {
        let spent = self.is_spent(now, a_minute);
        if !spent {
            self.whole_at = self.whole_at.max(now) + MINUTE / a_minute;
        }
        !spent
    }

    pub(super) fn is_spent(&self, now: Duration, a_minute: u32) -> bool {
        self.whole_at.max(now) + MINUTE / a_minute > now + MINUTE
    }

    /// Whether all is earned back.
    pub(super) fn is_whole(&self, now: Duration) -> bool {
        self.whole_at <= now
    }
}

#[derive(Debug, Default)]
struct Used {
    taken: Taken,
    requests: Pace,
    records: Pace,
}

/// What an identity takes of a node now. All of its connections share it.
#[derive(Debug)]
pub(super) struct Account {
    owner: Actor,
    share: Share,
    whole: Arc<Whole>,
    used: Mutex<Used>,
    refusals: Semaphore,
}

/// Which budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The identity's requests under way.
    Requests,
    /// The identity's bodies.
    Bodies,
    /// The identity's requests within a minute.
    Pace,
    /// The identity's records within a minute.
    Records,
    /// The node's requests under way.
    AllRequests,
    /// The node's bodies.
    AllBodies,
}

impl Over {
    /// Its name in metrics and logs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests_in_flight",
            Self::Bodies => "bodies_bytes",
            Self::Pace => "requests_a_minute",
            Self::Records => "records_a_minute",
            Self::AllRequests => "requests_in_flight_of_all",
            Self::AllBodies => "bodies_bytes_of_all",
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No change under these locks can panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Account {
    pub(super) fn new(owner: Actor, whole: Arc<Whole>) -> Self {
        let refusals = Semaphore::new(limits::REFUSALS_AT_ONCE);
        Self { owner, share: Share::of(owner.role), whole, used: Mutex::default(), refusals }
    }

    /// Places for refusals that are being given.
    pub(super) fn refusals(&self) -> &Semaphore {
        &self.refusals
    }

    pub(super) fn share(&self) -> &Share {
        &self.share
    }

    /// Takes the place of one more request, until what is given back is dropped.
    pub(super) fn begin(self: &Arc<Self>, now: Duration) -> Result<UnderWay, Over> {
        let mut used = lock(&self.used);
        if used.taken.requests >= self.share.requests_in_flight {
            return Err(Over::Requests);
        }
        if self.share.requests_a_minute.is_some_and(|a_minute| !used.requests.take(now, a_minute)) {
            return Err(Over::Pace);
        }
        let mut whole = lock(&self.whole.taken);
        if whole.requests >= self.whole.requests_in_flight_max {
            return Err(Over::AllRequests);
        }
        whole.requests += 1;
        used.taken.requests += 1;
        Ok(UnderWay { account: self.clone(), bodies_bytes: 0 })
    }

    /// Counts one record.
    pub(super) fn record(&self, now: Duration) -> Result<(), Over> {
        let Some(a_minute) = self.share.records_a_minute else { return Ok(()) };
        if lock(&self.used).records.take(now, a_minute) { Ok(()) } else { Err(Over::Records) }
    }

    /// Whether nothing is taken and everything earned back, so that nothing is lost if this is forgotten.
    pub(super) fn at_rest(&self, now: Duration) -> bool {
        let used = lock(&self.used);
        used.taken.requests == 0 && used.requests.is_whole(now) && used.records.is_whole(now)
    }

    /// What its owner is told whose request has no place.
    pub(super) fn refusal(&self, over: Over) -> Refusal {
        let share = &self.share;
        let mebibytes = |bytes: usize| bytes >> 20;
        let (problem, fix) = match over {
            Over::Requests => (
                format!("{} requests of this certificate are under way, as many as may be", share.requests_in_flight),
                Fix::from("wait for answers before you ask again; give each device its own certificate"),
            ),
            Over::Bodies => (
                format!(
                    "long requests of this certificate hold {} MiB, as much as they may",
                    mebibytes(share.bodies_bytes)
                ),
                Fix::from("send fewer long requests at once"),
            ),
            Over::Pace => (
                format!("this certificate asks more than {} times a minute", share.requests_a_minute.unwrap_or(0)),
                Fix::from("ask less often; give each device its own certificate"),
            ),
            Over::Records => (
                format!("this certificate boards more than {} a minute", share.records_a_minute.unwrap_or(0)),
                Fix::from("board less often; give each device its own certificate"),
            ),
            Over::AllRequests => (
                format!("{} requests are under way at this node, as many as may be", self.whole.requests_in_flight_max),
                Fix::from("ask another node, or this one a little later"),
            ),
            Over::AllBodies => (
                format!(
                    "long requests hold {} MiB of this node, as much as they may",
                    mebibytes(self.whole.bodies_bytes_max)
                ),
                Fix::from("ask another node, or this one a little later"),
            ),
        };
        Refusal::new(RefusalCode::Busy, format!("budget {} of {}", over.as_str(), self.owner), problem, fix)
    }
}

/// What one request takes of its identity's share, until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    account: Arc<Account>,
    bodies_bytes: usize,
}

impl UnderWay {
    /// Takes memory for a body of so many bytes, of which none need have come.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Over> {
        let (account, whole) = (&self.account, &self.account.whole);
        let mut used = lock(&account.used);
        if used.taken.bodies_bytes + bytes > account.share.bodies_bytes {
            return Err(Over::Bodies);
        }
        let mut all = lock(&whole.taken);
        if all.bodies_bytes + bytes > whole.bodies_bytes_max {
            return Err(Over::AllBodies);
        }
        all.bodies_bytes += bytes;
        used.taken.bodies_bytes += bytes;
        self.bodies_bytes += bytes;
        Ok(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let give_back = |taken: &mut Taken| {
            taken.requests -= 1;
            taken.bodies_bytes -= self.bodies_bytes;
        };
        give_back(&mut lock(&self.account.used).taken);
        give_back(&mut lock(&self.account.whole.taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(role: Role, whole: &Arc<Whole>) -> Arc<Account> {
        let owner = Actor { role, name: "one".parse().expect("a name") };
        Arc::new(Account::new(owner, whole.clone()))
    }

    fn roomy() -> Arc<Whole> {
        Arc::new(Whole::of_others())
    }

    #[test]
    fn requests_under_way_are_bounded_and_given_back() {
        let gate = account(Role::Gate, &roomy());
        let held: Vec<_> = (0..gate.share.requests_in_flight).map(|_| gate.begin(MINUTE).expect("a place")).collect();
        assert_eq!(gate.begin(MINUTE).expect_err("no place"), Over::Requests);
        drop(held);
        assert!(gate.begin(MINUTE).is_ok());
    }

    #[test]
    fn a_minute_is_spent_at_once_or_evenly_and_no_more() {
        let gate = account(Role::Gate, &roomy());
        let a_minute = gate.share.requests_a_minute.expect("a bound");
        let asks = |now| (0..2 * a_minute).filter(|_| gate.begin(now).is_ok()).count();
        assert_eq!(asks(MINUTE), a_minute as usize);
        assert_eq!(gate.begin(MINUTE).expect_err("spent"), Over::Pace);
        assert_eq!(asks(MINUTE + MINUTE / 4), a_minute as usize / 4);
        assert!(!gate.at_rest(MINUTE * 2));
        assert!(gate.at_rest(MINUTE * 3));
        assert_eq!(asks(MINUTE * 9), a_minute as usize);
    }

    #[test]
    fn records_have_a_pace_of_their_own() {
        let gate = account(Role::Gate, &roomy());
        let a_minute = gate.share.records_a_minute.expect("a bound");
        assert_eq!((0..2 * a_minute).filter(|_| gate.record(MINUTE).is_ok()).count(), a_minute as usize);
        assert!(gate.begin(MINUTE).is_ok());
        let peer = account(Role::Node, &roomy());
        assert!((0..2 * a_minute).all(|_| peer.record(MINUTE).is_ok() && peer.begin(MINUTE).is_ok()));
    }

    #[test]
    fn bodies_count_before_they_have_come() {
        let gate = account(Role::Gate, &roomy());
        let mut first = gate.begin(MINUTE).expect("a place");
        let mut second = gate.begin(MINUTE).expect("a place");
        first.hold(gate.share.bodies_bytes - 1).expect("room");
        assert_eq!(second.hold(2), Err(Over::Bodies));
        drop(first);
        assert_eq!(second.hold(2), Ok(()));
    }

    #[test]
    fn the_whole_is_bounded_and_peers_have_theirs_for_themselves() {
        let others = Arc::new(Whole::new(3, 100));
        let gates: Vec<_> = (0..4).map(|_| account(Role::Gate, &others)).collect();
        let mut held: Vec<_> = gates[..3].iter().map(|gate| gate.begin(MINUTE).expect("a place")).collect();
        assert_eq!(gates[3].begin(MINUTE).expect_err("no place"), Over::AllRequests);
        held[0].hold(60).expect("room");
        assert_eq!(held[1].hold(60), Err(Over::AllBodies));
        assert!(account(Role::Node, &Arc::new(Whole::of_peers())).begin(MINUTE).is_ok());
        drop(held);
        assert!(gates[3].begin(MINUTE).expect("a place").hold(100).is_ok());
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let gate = account(Role::Gate, &roomy());
        use Over::{AllBodies, AllRequests, Bodies, Pace, Records, Requests};
        for over in [Requests, Bodies, Pace, Records, AllRequests, AllBodies] {
            let refusal = gate.refusal(over);
            assert_eq!(refusal.code, RefusalCode::Busy);
            assert!(refusal.place.contains(over.as_str()) && refusal.place.contains("tvs://gate/one"), "{refusal}");
            assert!(!refusal.fix.as_str().is_empty());
        }
    }
}
