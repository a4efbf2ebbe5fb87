//! Bringing an order to build to the shard's owner, whoever that is by then, until the gallery is built.

use std::time::Duration;

use cluster_config::gallery::ShardId;
use cluster_config::ids::NodeId;
use cluster_config::wire::peer::Built;
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::State;

/// Pause before the owner is asked again.
pub const ORDER_PAUSE: Duration = Duration::from_millis(20);

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The order is to be sent.
    Begun,
    /// The replicated state may have changed.
    Changed,
    /// That node has answered.
    Answered(NodeId, Result<Built, Refusal>),
    /// The time that an [`Effect::Wake`] named has come.
    Woken,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Have the shard that runs on this node build.
    BuildHere,
    /// Send the order to that node, which has until then.
    Ask(NodeId, Duration),
    /// Nobody waits for the node's answer any more.
    Abandon(NodeId),
    /// Send [`Event::Woken`] at that time.
    Wake(Duration),
    /// It is built; or the owner's refusal, the last one where the deadline has passed.
    Done(Result<Built, Refusal>),
}

/// One order on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    me: NodeId,
    shard: ShardId,
    deadline: Duration,
    asked: Option<NodeId>,
    last: Refusal,
}

impl Sending {
    /// An order that has to be carried out by the deadline.
    pub fn new(me: NodeId, shard: ShardId, deadline: Duration) -> Self {
        let last = Refusal::new(
            RefusalCode::Unavailable,
            format!("gallery {shard}"),
            "it is not placed on any node",
            "look with `tvs cluster status` whether there are nodes, and a leader",
        );
        Self { me, shard, deadline, asked: None, last }
    }

    /// Takes what happened at `now` and adds what is to be done.
    pub fn step(&mut self, now: Duration, state: &State, event: Event, effects: &mut Vec<Effect>) {
        let owner = state.placement(self.shard).map(|placement| placement.owner);
        match event {
            Event::Begun | Event::Woken if self.asked.is_none() => self.send(now, owner, effects),
            Event::Answered(by, answer) if self.asked == Some(by) => {
                self.asked = None;
                match answer {
                    Ok(built) => effects.push(Effect::Done(Ok(built))),
                    Err(refusal) if refusal.code.retryable() || refusal.code == RefusalCode::Conflict => {
                        self.try_again(now, refusal, effects);
                    }
                    Err(refusal) => effects.push(Effect::Done(Err(refusal))),
                }
            }
            Event::Changed => self.follow(now, owner, effects),
            Event::Begun | Event::Woken | Event::Answered(..) => {}
        }
    }

    fn send(&mut self, now: Duration, owner: Option<NodeId>, effects: &mut Vec<Effect>) {
        if now >= self.deadline {
            effects.push(Effect::Done(Err(self.last.clone())));
            return;
        }
        self.asked = owner;
        effects.push(match owner {
            Some(owner) if owner == self.me => Effect::BuildHere,
            Some(owner) => Effect::Ask(owner, self.deadline),
            None => Effect::Wake(now + ORDER_PAUSE),
        });
    }

    /// A dead owner's successor builds in its place.
    fn follow(&mut self, now: Duration, owner: Option<NodeId>, effects: &mut Vec<Effect>) {
        let Some(asked) = self.asked.filter(|asked| owner != Some(*asked) && *asked != self.me) else { return };
        self.asked = None;
        effects.push(Effect::Abandon(asked));
        let (place, problem) = (format!("gallery {}", self.shard), format!("node {asked} does not own it any more"));
        self.try_again(now, Refusal::new(RefusalCode::Unavailable, place, problem, "ask the new owner"), effects);
    }

    fn try_again(&mut self, now: Duration, refusal: Refusal, effects: &mut Vec<Effect>) {
        self.last = refusal;
        effects.push(Effect::Wake(now + ORDER_PAUSE));
    }
}

#[cfg(test)]
mod tests {
    use cluster_config::ids::GalleryVersion;

    use super::*;
    use crate::fixture;

    const NOW: Duration = Duration::from_secs(7);
    const DEADLINE: Duration = Duration::from_secs(17);

    fn shard() -> ShardId {
        fixture::shard(0)
    }

    fn owned_by(owner: u64) -> State {
        fixture::state(&fixture::placement(owner, &[], &[]), 0)
    }

    fn sending() -> Sending {
        Sending::new(NodeId(1), shard(), DEADLINE)
    }

    fn step(sending: &mut Sending, now: Duration, state: &State, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        sending.step(now, state, event, &mut effects);
        effects
    }

    fn refused(code: RefusalCode) -> Result<Built, Refusal> {
        Err(Refusal::new(code, "the owner", "it does not build", "ask again"))
    }

    #[test]
    fn an_owner_that_changes_while_the_order_is_out_is_followed() {
        let mut sending = sending();
        let state = owned_by(2);
        assert_eq!(step(&mut sending, NOW, &state, Event::Begun), [Effect::Ask(NodeId(2), DEADLINE)]);
        assert_eq!(step(&mut sending, NOW, &state, Event::Changed), [], "something else has changed");
        let state = owned_by(3);
        let after = NOW + ORDER_PAUSE;
        let effects = step(&mut sending, NOW, &state, Event::Changed);
        assert_eq!(effects, [Effect::Abandon(NodeId(2)), Effect::Wake(after)]);
        let late = Event::Answered(NodeId(2), refused(RefusalCode::NotFound));
        assert_eq!(step(&mut sending, NOW, &state, late), [], "nobody waits for the old one");
        assert_eq!(step(&mut sending, after, &state, Event::Woken), [Effect::Ask(NodeId(3), DEADLINE)]);
        let built = Built { version: GalleryVersion(1), counts: Default::default() };
        let answered = Event::Answered(NodeId(3), Ok(built.clone()));
        assert_eq!(step(&mut sending, after, &state, answered), [Effect::Done(Ok(built))]);
    }

    #[test]
    fn it_is_built_here_where_this_node_owns_it_and_no_change_breaks_that_off() {
        let mut sending = sending();
        assert_eq!(step(&mut sending, NOW, &owned_by(1), Event::Begun), [Effect::BuildHere]);
        assert_eq!(step(&mut sending, NOW, &owned_by(2), Event::Changed), []);
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_the_caller_has_to_mend_is_not() {
        use RefusalCode::{BadValue, Busy, Conflict, Internal, NotFound, NotOpen, Unavailable};
        for code in [Busy, Unavailable, Internal, Conflict] {
            let mut sending = sending();
            step(&mut sending, NOW, &owned_by(2), Event::Begun);
            let effects = step(&mut sending, NOW, &owned_by(2), Event::Answered(NodeId(2), refused(code)));
            assert_eq!(effects, [Effect::Wake(NOW + ORDER_PAUSE)], "{code:?}");
        }
        for code in [BadValue, NotFound, NotOpen] {
            let mut sending = sending();
            step(&mut sending, NOW, &owned_by(2), Event::Begun);
            let effects = step(&mut sending, NOW, &owned_by(2), Event::Answered(NodeId(2), refused(code)));
            assert_eq!(effects, [Effect::Done(refused(code))], "{code:?}");
        }
    }

    #[test]
    fn after_the_deadline_the_last_refusal_is_the_answer() {
        let mut sending = sending();
        let nowhere = State::default();
        assert_eq!(step(&mut sending, NOW, &nowhere, Event::Begun), [Effect::Wake(NOW + ORDER_PAUSE)]);
        let effects = step(&mut sending, DEADLINE, &nowhere, Event::Woken);
        assert!(matches!(&effects[..], [Effect::Done(Err(refusal))] if refusal.problem.contains("not placed")));

        let mut sending = self::sending();
        step(&mut sending, NOW, &owned_by(2), Event::Begun);
        step(&mut sending, NOW, &owned_by(2), Event::Answered(NodeId(2), refused(RefusalCode::Busy)));
        let effects = step(&mut sending, DEADLINE, &owned_by(2), Event::Woken);
        assert_eq!(effects, [Effect::Done(refused(RefusalCode::Busy))]);
    }
}
