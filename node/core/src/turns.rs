//! Turns at other nodes: of the contents that a node gets from another in bulk it gets few at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use cluster_config::ids::NodeId;

/// Contents that a node gets from another at a time. A node that comes back after a drain gets a hundred galleries; all
/// at once they take both nodes' processors and the link between them from those who stand at a gate.
pub const AT_A_TIME: usize = 2;

/// How long a turn is waited for: a node that is silent must not keep anybody from asking another. Longer than a silent
/// node keeps its connections. Who has waited so long asks without a turn.
pub const WAIT_MAX: Duration = Duration::from_millis(2_500);

/// One who has a turn, or waits for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Who has turns at one node, and who waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Place {
    taken: BTreeSet<Ticket>,
    waiting: VecDeque<Ticket>,
}

/// Whose turn it is at each of the other nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns {
    places: BTreeMap<NodeId, Place>,
    tickets: u64,
}

impl Turns {
    /// Asks for a turn at a node; the flag says whether it is there at once. Whether it came or not, the ticket has to
    /// be given back with [`Turns::leave`].
    pub fn ask(&mut self, at: NodeId) -> (Ticket, bool) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let place = self.places.entry(at).or_default();
        let is_next = place.taken.len() < AT_A_TIME;
        if is_next {
            place.taken.insert(ticket);
        } else {
            place.waiting.push_back(ticket);
        }
        (ticket, is_next)
    }

    /// Ends a turn, or the wait for one. Gives the ticket whose turn it is now.
    pub fn leave(&mut self, at: NodeId, ticket: Ticket) -> Option<Ticket> {
        let place = self.places.get_mut(&at)?;
        place.waiting.retain(|waiting| *waiting != ticket);
        let next = if place.taken.remove(&ticket) { place.waiting.pop_front() } else { None };
        place.taken.extend(next);
        if place.taken.is_empty() {
            self.places.remove(&at);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_at_a_time_and_the_others_in_the_order_in_which_they_came() {
        let mut turns = Turns::default();
        let node = NodeId(1);
        let [one, two, three, four] = std::array::from_fn(|_| turns.ask(node));
        assert_eq!([one.1, two.1, three.1, four.1], [true, true, false, false]);
        assert!(turns.ask(NodeId(2)).1, "who waits at one node keeps nobody from another");
        assert_eq!(turns.leave(node, two.0), Some(three.0));
        assert_eq!(turns.leave(node, one.0), Some(four.0));
        assert_eq!(turns.leave(node, four.0), None);
        assert!(turns.ask(node).1);
    }

    #[test]
    fn who_gives_up_waiting_gets_no_turn_and_takes_nobodys() {
        let mut turns = Turns::default();
        let node = NodeId(1);
        let [one, _two, three, four] = std::array::from_fn(|_| turns.ask(node).0);
        assert_eq!(turns.leave(node, three), None, "it had none");
        assert_eq!(turns.leave(node, one), Some(four), "it is passed over");
        assert!(!turns.ask(node).1, "both turns are taken");
    }
}
