//! Which newcomers may begin a handshake, before anything is known of them but their address. Nothing here reads a
//! clock: time comes in as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::budget::Pace;
use crate::limits;

/// Where newcomers come from: an IPv4 address, or an IPv6 network of 64 bits, all of which one machine may use
/// (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Source {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let mut network = [0; 8];
                network.copy_from_slice(&address.octets()[..8]);
                Self::V6(network)
            }
        }
    }
}

/// What is to be done with a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its handshake begins under this number. Another one, that has gone on for too long, is given up for it.
    Begin { number: u64, instead_of: Option<u64> },
    /// It has to prove first that it gets what is sent to its address.
    Prove,
    /// It is turned away, for this reason.
    Refuse(&'static str),
}

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With a certificate that is in order.
    Good {
        /// Whether it is a node's.
        peer: bool,
    },
    Failed,
}

#[derive(Debug, Clone, Copy)]
struct Unfinished {
    source: Source,
    standing: Standing,
    began: Duration,
}

impl Unfinished {
    /// Whether it has had the time that a handshake needs.
    fn is_overdue(&self, now: Duration) -> bool {
        now >= self.began + limits::HANDSHAKE_GRACE
    }
}

/// What is known of an address. Who stands higher gives no place up for who stands lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Stranger,
    /// There was a good handshake before.
    Known,
    /// It was a node's.
    Peer,
}

impl Standing {
    /// Up to how many handshakes under way one more begins: of all, and of its address.
    fn shares(self) -> (usize, usize) {
        let known = limits::HANDSHAKES_MAX - limits::HANDSHAKES_FOR_PEERS;
        match self {
            Self::Stranger => (known - limits::HANDSHAKES_FOR_KNOWN, limits::HANDSHAKES_PER_ADDRESS),
            Self::Known => (known, limits::HANDSHAKES_PER_KNOWN_ADDRESS),
            Self::Peer => (limits::HANDSHAKES_MAX, limits::HANDSHAKES_PER_KNOWN_ADDRESS),
        }
    }

    fn failures_a_minute_max(self) -> u32 {
        match self {
            Self::Stranger => limits::FAILED_HANDSHAKES_A_MINUTE_MAX,
            Self::Known | Self::Peer => limits::KNOWN_FAILED_HANDSHAKES_A_MINUTE_MAX,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    peer: bool,
    at: Duration,
}

/// The handshakes under way, and what is remembered of addresses.
#[derive(Debug, Default)]
pub(super) struct Greetings {
    /// By number: the oldest first.
    unfinished: BTreeMap<u64, Unfinished>,
    of_source: BTreeMap<Source, BTreeSet<u64>>,
    /// From where there was a good handshake before.
    known: BTreeMap<Source, Known>,
    /// From where handshakes failed within the last minute.
    failing: BTreeMap<Source, Pace>,
    next: u64,
}

impl Greetings {
    /// Asks for a newcomer, which has `proven` its address or not.
    pub(super) fn ask(&mut self, now: Duration, source: Source, proven: bool) -> Verdict {
        self.begin(now, source, proven).unwrap_or_else(|verdict| verdict)
    }

    fn begin(&mut self, now: Duration, source: Source, proven: bool) -> Result<Verdict, Verdict> {
        let standing = self.standing(source);
        if self.failing.get(&source).is_some_and(|pace| pace.is_spent(now, standing.failures_a_minute_max())) {
            return Err(Verdict::Refuse("failing_address"));
        }
        let (of_all_max, of_source_max) = standing.shares();
        let of_source = self.of_source.get(&source).map_or(0, BTreeSet::len);
        let many = self.unfinished.len() >= limits::HANDSHAKES_BEFORE_ADDRESS_PROOF
            || of_source >= limits::HANDSHAKES_OF_ADDRESS_BEFORE_PROOF;
        if many && !proven {
            return Err(Verdict::Prove);
        }
        let instead_of = if of_source >= of_source_max {
            let mut numbers = self.of_source.get(&source).into_iter().flatten();
            let overdue = numbers.find(|number| self.unfinished.get(number).is_some_and(|one| one.is_overdue(now)));
            Some(*overdue.ok_or(Verdict::Refuse("handshakes_of_address"))?)
        } else if self.unfinished.len() >= of_all_max {
            let mut all = self.unfinished.iter();
            let overdue = all.find(|(_, one)| one.standing <= standing && one.is_overdue(now));
            Some(*overdue.ok_or(Verdict::Refuse("handshakes"))?.0)
        } else {
            None
        };
        if let Some(number) = instead_of {
            self.ended(number, now, Outcome::Failed);
        }
        let number = self.next;
        self.next += 1;
        self.unfinished.insert(number, Unfinished { source, standing, began: now });
        self.of_source.entry(source).or_default().insert(number);
        Ok(Verdict::Begin { number, instead_of })
    }

    fn standing(&self, source: Source) -> Standing {
        match self.known.get(&source) {
            Some(Known { peer: true, .. }) => Standing::Peer,
            Some(_) => Standing::Known,
            None => Standing::Stranger,
        }
    }

    /// A handshake has ended. One that was given up before has ended already.
    pub(super) fn ended(&mut self, number: u64, now: Duration, outcome: Outcome) {
        let Some(Unfinished { source, .. }) = self.unfinished.remove(&number) else { return };
        if let Some(numbers) = self.of_source.get_mut(&source) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.of_source.remove(&source);
            }
        }
        match outcome {
            Outcome::Good { peer } => self.learn(source, peer, now),
            Outcome::Failed => self.failed(source, now),
        }
    }

    fn learn(&mut self, source: Source, peer: bool, now: Duration) {
        if let Some(known) = self.known.get_mut(&source) {
            known.at = now;
            known.peer |= peer;
            return;
        }
        if self.known.len() >= limits::KNOWN_ADDRESSES_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| (known.peer, known.at));
            if let Some(source) = oldest.map(|(source, _)| *source) {
                self.known.remove(&source);
            }
        }
        self.known.insert(source, Known { peer, at: now });
    }

    fn failed(&mut self, source: Source, now: Duration) {
        if !self.failing.contains_key(&source) && self.failing.len() >= limits::FAILING_ADDRESSES_MAX {
            self.failing.retain(|_, pace| !pace.is_whole(now));
            // So many addresses fail that one more is not noticed. Each still has its share alone.
            if self.failing.len() >= limits::FAILING_ADDRESSES_MAX {
                return;
            }
        }
        let a_minute = self.standing(source).failures_a_minute_max();
        // One that is spent already stays so.
        let _ = self.failing.entry(source).or_default().take(now, a_minute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn address(text: &str) -> Source {
        Source::of(text.parse().expect("an address"))
    }

    fn begun(verdict: Verdict) -> u64 {
        match verdict {
            Verdict::Begin { number, .. } => number,
            other => panic!("not begun: {other:?}"),
        }
    }

    /// As many from each of so many addresses as one may have.
    fn crowd(greetings: &mut Greetings, addresses: u8) {
        for number in 0..addresses {
            let source = Source::V4([10, 0, 0, number]);
            while let Verdict::Begin { .. } = greetings.ask(NOW, source, true) {}
        }
    }

    #[test]
    fn an_address_is_a_machine_or_its_network() {
        assert_eq!(address("10.0.0.1"), address("::ffff:10.0.0.1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
    }

    #[test]
    fn one_address_has_its_share_and_its_oldest_goes_first() {
        let mut greetings = Greetings::default();
        crowd(&mut greetings, 1);
        let full = Verdict::Refuse("handshakes_of_address");
        assert_eq!(greetings.unfinished.len(), limits::HANDSHAKES_PER_ADDRESS);
        assert_eq!(greetings.ask(NOW, address("10.0.0.0"), true), full);
        begun(greetings.ask(NOW, address("10.0.0.9"), true));
        // What is under way gets the time that a handshake needs; then it makes room.
        let later = NOW + limits::HANDSHAKE_GRACE;
        let verdict = greetings.ask(later, address("10.0.0.0"), true);
        assert!(matches!(verdict, Verdict::Begin { instead_of: Some(0), .. }), "{verdict:?}");
        let verdict = greetings.ask(later, address("10.0.0.0"), true);
        assert!(matches!(verdict, Verdict::Begin { instead_of: Some(1), .. }), "{verdict:?}");
    }

    #[test]
    fn known_addresses_and_peers_have_room_when_strangers_fill_theirs() {
        let mut greetings = Greetings::default();
        for (text, peer) in [("192.0.2.1", false), ("192.0.2.2", true)] {
            let number = begun(greetings.ask(NOW, address(text), true));
            greetings.ended(number, NOW, Outcome::Good { peer });
        }
        crowd(&mut greetings, 255);
        let full = Verdict::Refuse("handshakes");
        assert_eq!(greetings.ask(NOW, address("192.0.2.3"), true), full);
        let mut taken = 0;
        while let Verdict::Begin { .. } = greetings.ask(NOW, address("192.0.2.1"), true) {
            taken += 1;
        }
        assert_eq!(taken, limits::HANDSHAKES_FOR_KNOWN);
        begun(greetings.ask(NOW, address("192.0.2.2"), true));
        // The oldest stranger makes room for a newcomer as soon as it has had its time.
        assert!(matches!(
            greetings.ask(NOW + limits::HANDSHAKE_GRACE, address("192.0.2.3"), true),
            Verdict::Begin { instead_of: Some(_), .. }
        ));
    }

    #[test]
    fn addresses_are_proven_under_load_and_where_one_of_them_has_many() {
        let mut greetings = Greetings::default();
        for _ in 0..limits::HANDSHAKES_OF_ADDRESS_BEFORE_PROOF {
            begun(greetings.ask(NOW, address("10.0.0.1"), false));
        }
        assert_eq!(greetings.ask(NOW, address("10.0.0.1"), false), Verdict::Prove);
        begun(greetings.ask(NOW, address("10.0.0.2"), false));
        crowd(&mut greetings, 2);
        assert_eq!(greetings.ask(NOW, address("10.0.0.3"), false), Verdict::Prove);
        begun(greetings.ask(NOW, address("10.0.0.3"), true));
    }

    #[test]
    fn an_address_whose_handshakes_fail_is_slowed_down_alone() {
        let mut greetings = Greetings::default();
        let fail = |greetings: &mut Greetings, now, text| match greetings.ask(now, address(text), true) {
            Verdict::Begin { number, .. } => {
                greetings.ended(number, now, Outcome::Failed);
                true
            }
            _ => false,
        };
        let most = limits::FAILED_HANDSHAKES_A_MINUTE_MAX;
        assert_eq!((0..2 * most).filter(|_| fail(&mut greetings, NOW, "10.0.0.1")).count(), most as usize);
        assert_eq!(greetings.ask(NOW, address("10.0.0.1"), true), Verdict::Refuse("failing_address"));
        assert!(fail(&mut greetings, NOW, "10.0.0.2"));
        let later = NOW + Duration::from_secs(6);
        assert_eq!((0..most).filter(|_| fail(&mut greetings, later, "10.0.0.1")).count(), most as usize / 10);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_peers_are_remembered_longest() {
        let mut greetings = Greetings::default();
        let peer = begun(greetings.ask(NOW, address("192.0.2.2"), true));
        greetings.ended(peer, NOW, Outcome::Good { peer: true });
        for number in 0..2 * limits::KNOWN_ADDRESSES_MAX as u32 {
            let now = NOW + Duration::from_millis(number.into());
            let [_, a, b, c] = number.to_be_bytes();
            for (net, outcome) in [(10, Outcome::Good { peer: false }), (11, Outcome::Failed)] {
                let begun = begun(greetings.ask(now, Source::V4([net, a, b, c]), true));
                greetings.ended(begun, now, outcome);
            }
        }
        assert_eq!(greetings.known.len(), limits::KNOWN_ADDRESSES_MAX);
        assert!(greetings.known.contains_key(&address("192.0.2.2")));
        assert!(greetings.failing.len() <= limits::FAILING_ADDRESSES_MAX);
        assert!(greetings.unfinished.is_empty() && greetings.of_source.is_empty());
    }
}
