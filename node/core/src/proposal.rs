//! How a command, or one record, gets into the replicated state from any node: proposed here where this node leads,
//! else handed to the leader, again and again until the deadline. What was handed to a leader that has gone is handed
//! to its successor, long before the dead one's connection times out. Every command that goes this way may be repeated
//! without harm.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::ids::NodeId;
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::Outcome;
use coordinator_core::ledger::batching;

/// How often a waiting proposal looks whether there is another leader by now, microseconds.
pub const LEADER_LOOK_US: u64 = 5_000;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The proposal begins, or the time has come to look: this is whom the node takes for the leader now.
    Looked(Option<NodeId>),
    /// What was proposed here or sent was answered.
    Answered(Result<Outcome, Refusal>),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Propose it on this node, which leads.
    ProposeHere,
    /// Hand it to this node.
    Send { leader: NodeId },
    /// Wait no more for the answer to what was proposed here or sent.
    Forget,
    /// Look for the leader at this time, unless something comes before; the last such time counts.
    Wake {
        /// Microseconds of the clock of [`Proposal::step`].
        at_us: u64,
    },
    /// This came of it: nothing more happens. It may still be applied where there is no outcome.
    Done(Result<Outcome, Refusal>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It waits for a leader, or for its next try.
    Waits,
    /// This node, perhaps the own one, has it.
    At(NodeId),
    Done,
}

/// One proposal; times in microseconds of any clock that does not go back.
#[derive(Debug, Clone)]
pub struct Proposal {
    me: NodeId,
    deadline_us: u64,
    state: State,
    /// Why the last try failed.
    last: Option<Refusal>,
    canaries: Canaries,
}

impl Proposal {
    /// A proposal of node `me`. It begins with the first [`Event::Looked`].
    pub fn new(me: NodeId, deadline_us: u64, canaries: Canaries) -> Self {
        Self { me, deadline_us, state: State::Waits, last: None, canaries }
    }

    /// Takes an event.
    pub fn step(&mut self, now_us: u64, event: Event, effects: &mut Vec<Effect>) {
        match (self.state, event) {
            (State::Waits, Event::Looked(leader)) => self.try_again(now_us, leader, effects),
            (State::At(node), Event::Looked(leader)) => self.look(now_us, node, leader, effects),
            (State::At(_), Event::Answered(answer)) => self.answered(now_us, answer, effects),
            (State::Waits, Event::Answered(_)) | (State::Done, _) => {}
        }
    }

    fn try_again(&mut self, now_us: u64, leader: Option<NodeId>, effects: &mut Vec<Effect>) {
        match leader {
            _ if now_us >= self.deadline_us => {
                let problem = if leader.is_some() { "no time is left" } else { "no leader is known" };
                let last = self.last.take().unwrap_or_else(|| unavailable(problem));
                self.end(Err(last), effects);
            }
            Some(leader) => self.hand_to(now_us, leader, effects),
            None => self.wait(now_us, effects),
        }
    }

    /// Looks whether the one who has the proposal still leads. That there is no leader for a moment says nothing.
    fn look(&mut self, now_us: u64, node: NodeId, leader: Option<NodeId>, effects: &mut Vec<Effect>) {
        let successor = leader.filter(|leader| *leader != node && !self.canaries.has(Canary::StaleLeader));
        if now_us >= self.deadline_us {
            effects.push(Effect::Forget);
            self.end(Err(unavailable("the leader did not answer in time")), effects);
        } else if let Some(successor) = successor {
            effects.push(Effect::Forget);
            self.last = Some(unavailable("the leader changed"));
            self.hand_to(now_us, successor, effects);
        } else {
            self.wait(now_us, effects);
        }
    }

    fn answered(&mut self, now_us: u64, answer: Result<Outcome, Refusal>, effects: &mut Vec<Effect>) {
        match answer {
            // What the state refuses it would refuse again.
            Ok(Outcome::Refused(refusal)) => self.end(Err(refusal), effects),
            Ok(outcome) => self.end(Ok(outcome), effects),
            Err(refusal) if !refusal.code.retryable() || now_us >= self.deadline_us => self.end(Err(refusal), effects),
            Err(refusal) => {
                self.last = Some(refusal);
                self.state = State::Waits;
                self.wait(now_us, effects);
            }
        }
    }

    fn hand_to(&mut self, now_us: u64, leader: NodeId, effects: &mut Vec<Effect>) {
        self.state = State::At(leader);
        effects.push(if leader == self.me { Effect::ProposeHere } else { Effect::Send { leader } });
        self.wait(now_us, effects);
    }

    fn wait(&self, now_us: u64, effects: &mut Vec<Effect>) {
        effects.push(Effect::Wake { at_us: self.deadline_us.min(now_us + LEADER_LOOK_US) });
    }

    fn end(&mut self, outcome: Result<Outcome, Refusal>, effects: &mut Vec<Effect>) {
        self.state = State::Done;
        effects.push(Effect::Done(outcome));
    }
}

/// The refusal of what cannot be proposed now.
pub fn unavailable(problem: impl Into<String>) -> Refusal {
    Refusal::new(
        RefusalCode::Unavailable,
        "cluster",
        problem,
        "try again; a leader is elected within a second while a majority lives",
    )
}

/// Why a record that was batched has no outcome.
pub fn refusal_of(error: batching::Error<Refusal>) -> Refusal {
    let (place, problem) = ("batch of records", error.to_string());
    match error {
        batching::Error::Failed(refusal) => refusal,
        batching::Error::Busy => Refusal::new(RefusalCode::Busy, place, problem, "try again in a moment"),
        batching::Error::Forgotten => unavailable(problem),
        batching::Error::TooMany => Refusal::new(RefusalCode::TooLarge, place, problem, "send fewer at once"),
        batching::Error::OutOfTurn => {
            Refusal::new(RefusalCode::Internal, place, problem, "check that all nodes run the same version")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId(3);
    const DEADLINE_US: u64 = 100_000;

    fn proposal() -> Proposal {
        Proposal::new(ME, DEADLINE_US, Canaries::default())
    }

    fn step(machine: &mut Proposal, now_us: u64, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        machine.step(now_us, event, &mut effects);
        effects
    }

    fn looked(leader: u64) -> Event {
        Event::Looked(Some(NodeId(leader)))
    }

    fn send(leader: u64) -> Effect {
        Effect::Send { leader: NodeId(leader) }
    }

    fn wake(at_us: u64) -> Effect {
        Effect::Wake { at_us }
    }

    fn problem_of(effects: &[Effect]) -> &str {
        match effects.last() {
            Some(Effect::Done(Err(refusal))) => &refusal.problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_is_proposed_here_or_sent_and_its_outcome_is_the_answer() {
        let mut here = proposal();
        assert_eq!(step(&mut here, 0, looked(3)), [Effect::ProposeHere, wake(5_000)]);
        assert_eq!(step(&mut here, 700, Event::Answered(Ok(Outcome::Done))), [Effect::Done(Ok(Outcome::Done))]);
        let mut there = proposal();
        assert_eq!(step(&mut there, 0, looked(1)), [send(1), wake(5_000)]);
        assert_eq!(step(&mut there, 700, Event::Answered(Ok(Outcome::Done))), [Effect::Done(Ok(Outcome::Done))]);
        assert_eq!(step(&mut there, 800, looked(2)), [], "it is over");
    }

    #[test]
    fn what_a_dead_leader_has_is_sent_to_its_successor() {
        let mut machine = proposal();
        step(&mut machine, 0, looked(1));
        assert_eq!(step(&mut machine, 5_000, looked(1)), [wake(10_000)]);
        assert_eq!(step(&mut machine, 10_000, Event::Looked(None)), [wake(15_000)], "it may lead on");
        assert_eq!(step(&mut machine, 15_000, looked(2)), [Effect::Forget, send(2), wake(20_000)]);
        assert_eq!(step(&mut machine, 20_000, looked(3)), [Effect::Forget, Effect::ProposeHere, wake(25_000)]);
        assert_eq!(step(&mut machine, 25_000, looked(2)), [Effect::Forget, send(2), wake(30_000)]);
    }

    #[test]
    fn it_is_tried_again_after_a_pause_until_the_deadline() {
        let mut machine = proposal();
        step(&mut machine, 0, looked(1));
        let lost = || Event::Answered(Err(unavailable("node 1: lost")));
        assert_eq!(step(&mut machine, 1_000, lost()), [wake(6_000)]);
        assert_eq!(step(&mut machine, 6_000, Event::Looked(None)), [wake(11_000)]);
        assert_eq!(step(&mut machine, 97_000, looked(1)), [send(1), wake(DEADLINE_US)]);
        assert_eq!(problem_of(&step(&mut machine, DEADLINE_US, lost())), "node 1: lost");
    }

    #[test]
    fn at_the_deadline_it_says_what_was_missing() {
        let mut nobody = proposal();
        assert_eq!(step(&mut nobody, 98_000, Event::Looked(None)), [wake(DEADLINE_US)]);
        assert_eq!(problem_of(&step(&mut nobody, DEADLINE_US, Event::Looked(None))), "no leader is known");
        let mut silent = proposal();
        step(&mut silent, 0, looked(1));
        let effects = step(&mut silent, DEADLINE_US, looked(2));
        assert_eq!(effects[0], Effect::Forget);
        assert_eq!(problem_of(&effects), "the leader did not answer in time");
        let mut refused = proposal();
        step(&mut refused, 0, looked(1));
        step(&mut refused, 97_000, Event::Answered(Err(unavailable("node 1: lost"))));
        assert_eq!(problem_of(&step(&mut refused, DEADLINE_US, looked(1))), "node 1: lost");
    }

    #[test]
    fn a_refusal_that_is_final_ends_it() {
        let refusal = |code| Refusal::new(code, "journey", "it is not known", "open it first");
        let mut by_state = proposal();
        step(&mut by_state, 0, looked(1));
        let refused = Event::Answered(Ok(Outcome::Refused(refusal(RefusalCode::Unavailable))));
        assert_eq!(step(&mut by_state, 1, refused), [Effect::Done(Err(refusal(RefusalCode::Unavailable)))]);
        let mut by_node = proposal();
        step(&mut by_node, 0, looked(1));
        let refused = Event::Answered(Err(refusal(RefusalCode::TooLarge)));
        assert_eq!(step(&mut by_node, 1, refused), [Effect::Done(Err(refusal(RefusalCode::TooLarge)))]);
    }
}
