//! Which ledger records go together, pure: into one entry of the log at the leader, or into one message to the leader
//! at any other node. Both follow this one policy.
//!
//! While few batches are in flight a record goes at once; while many are, what comes gathers and goes together. What
//! was asked for together stays together: a batch that another node has sent becomes part of one entry, whole.

use std::collections::{BTreeMap, VecDeque};

use cluster_config::canary::{Canaries, Canary};
use cluster_config::ids::NodeId;
use cluster_config::limits::{LEDGER_BATCH_RECORDS_MAX, SEARCHES_IN_FLIGHT_MAX};

use crate::{Record, RecordOutcome};

/// Batches in flight at once: enough that one is on the disk while others travel, few enough that records gather.
pub const PROPOSALS_IN_FLIGHT_MAX: usize = 4;

/// Records that may wait: half of what a node searches at once. The other half may wait to be taken up by the loop
/// around this machine.
pub const WAITING_MAX: usize = SEARCHES_IN_FLIGHT_MAX / 2;

/// Records that somebody wants stored.
#[derive(Debug, PartialEq)]
pub struct Asked<A> {
    /// Who can store them: the leader, as the asker knows it.
    pub to: NodeId,
    /// The records. They stay together.
    pub records: Vec<Record>,
    /// Who asks. The machine only hands this back.
    pub asker: A,
}

/// What happened.
#[derive(Debug, PartialEq)]
pub enum Event<A, E> {
    /// Records were asked for, all of these since the last turn.
    Asked(Vec<Asked<A>>),
    /// A batch has come to its end.
    Ended {
        batch: u64,
        /// One outcome for each of its records in their order, or why there is none.
        outcomes: Result<Vec<RecordOutcome>, E>,
    },
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Effect<A, E> {
    /// Propose this, or send it to its leader; its end is told with [`Event::Ended`].
    Send(Batch),
    /// Tell an asker what became of its records, in its order.
    Answer(A, Result<Vec<RecordOutcome>, Error<E>>),
}

/// Records that go together.
#[derive(Debug, PartialEq)]
pub struct Batch {
    /// Its number; no other batch of the machine has it.
    pub number: u64,
    /// Where it goes.
    pub to: NodeId,
    /// At most [`LEDGER_BATCH_RECORDS_MAX`].
    pub records: Vec<Record>,
}

/// Why records have no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    #[error("too many records are waiting")]
    Busy,
    #[error("more than {LEDGER_BATCH_RECORDS_MAX} records at once")]
    TooMany,
    /// Records go to another node by now, or nowhere. What was in flight may still be stored.
    #[error("the batch was given up")]
    Forgotten,
    /// The outcomes do not fit the records.
    #[error("a batch was answered with another number of outcomes")]
    OutOfTurn,
    /// The batch failed. It may still be stored.
    #[error("{0}")]
    Failed(E),
}

/// A batch in flight: who gets how many of its outcomes.
#[derive(Debug)]
struct Flight<A> {
    records: usize,
    askers: Vec<(usize, A)>,
}

#[derive(Debug)]
pub struct Batching<A> {
    to: Option<NodeId>,
    waiting: VecDeque<Asked<A>>,
    /// Records in `waiting`.
    waiting_records: usize,
    in_flight: BTreeMap<u64, Flight<A>>,
    sent: u64,
    canaries: Canaries,
}

impl<A> Batching<A> {
    /// A machine for which nobody waits.
    pub fn new(canaries: Canaries) -> Self {
        Self { to: None, waiting: VecDeque::new(), waiting_records: 0, in_flight: BTreeMap::new(), sent: 0, canaries }
    }

    /// Records that wait for a batch.
    pub fn waiting(&self) -> usize {
        self.waiting_records
    }

    /// True while as many batches are in flight as may be, so that what comes has to wait.
    pub fn is_full(&self) -> bool {
        self.in_flight.len() >= PROPOSALS_IN_FLIGHT_MAX
    }

    /// Takes an event. `waits` says whether an asker still does: the records of one who has given up are left out,
    /// since they are asked for again.
    pub fn step<E: Clone>(&mut self, event: Event<A, E>, waits: impl Fn(&A) -> bool, effects: &mut Vec<Effect<A, E>>) {
        match event {
            Event::Asked(all) => all.into_iter().for_each(|asked| self.ask(asked, effects)),
            Event::Ended { batch, outcomes } => self.end(batch, outcomes, effects),
        }
        while !self.is_full() && self.send(&waits, effects) {}
    }

    fn ask<E: Clone>(&mut self, asked: Asked<A>, effects: &mut Vec<Effect<A, E>>) {
        if self.to != Some(asked.to) {
            self.turn_to(asked.to, effects);
        }
        let refusal = match asked.records.len() {
            0 => Ok(Vec::new()),
            count if count > LEDGER_BATCH_RECORDS_MAX => Err(Error::TooMany),
            count if self.waiting_records + count > WAITING_MAX => Err(Error::Busy),
            count => {
                self.waiting_records += count;
                self.waiting.push_back(asked);
                return;
            }
        };
        effects.push(Effect::Answer(asked.asker, refusal));
    }

    /// Batches go to another node from here on. One that is in flight to a node that has died would keep its place
    /// until its connection times out.
    fn turn_to<E>(&mut self, to: NodeId, effects: &mut Vec<Effect<A, E>>) {
        self.to = Some(to);
        self.waiting_records = 0;
        let waited = std::mem::take(&mut self.waiting).into_iter().map(|asked| asked.asker);
        let flew = std::mem::take(&mut self.in_flight).into_values().flat_map(|flight| flight.askers);
        let askers = flew.map(|(_, asker)| asker).chain(waited);
        effects.extend(askers.map(|asker| Effect::Answer(asker, Err(Error::Forgotten))));
    }

    /// Sends what waits, as much as one batch holds. False where nobody does.
    fn send<E>(&mut self, waits: impl Fn(&A) -> bool, effects: &mut Vec<Effect<A, E>>) -> bool {
        let (mut records, mut askers) = (Vec::new(), Vec::new());
        let fits = |asked: &mut Asked<A>, records: &Vec<Record>| {
            records.len() + asked.records.len() <= LEDGER_BATCH_RECORDS_MAX
        };
        while let Some(next) = self.waiting.pop_front_if(|asked| fits(asked, &records)) {
            self.waiting_records -= next.records.len();
            if waits(&next.asker) {
                askers.push((next.records.len(), next.asker));
                records.extend(next.records);
            }
        }
        let Some(to) = self.to.filter(|_| !askers.is_empty()) else { return false };
        if self.canaries.has(Canary::BatchDropped)
            && let Some((_, asker)) = askers.pop_if(|(count, _)| *count == 1 && records.len() > 1)
        {
            let dropped = records.pop().into_iter().map(RecordOutcome::Stored);
            effects.push(Effect::Answer(asker, Ok(dropped.collect())));
        }
        self.sent += 1;
        self.in_flight.insert(self.sent, Flight { records: records.len(), askers });
        effects.push(Effect::Send(Batch { number: self.sent, to, records }));
        true
    }

    fn end<E: Clone>(&mut self, batch: u64, outcomes: Result<Vec<RecordOutcome>, E>, effects: &mut Vec<Effect<A, E>>) {
        // A batch that is not in flight any more was sent to a leader that has gone.
        let Some(flight) = self.in_flight.remove(&batch) else { return };
        let mut outcomes = match outcomes {
            Ok(outcomes) if outcomes.len() == flight.records => Ok(outcomes.into_iter()),
            Ok(_) => Err(Error::OutOfTurn),
            Err(error) => Err(Error::Failed(error)),
        };
        if self.canaries.has(Canary::OutcomeOfAnother) {
            outcomes = outcomes.map(|outcomes| {
                let mut all: Vec<RecordOutcome> = outcomes.collect();
                all.rotate_left(1);
                all.into_iter()
            });
        }
        for (count, asker) in flight.askers {
            let own = match &mut outcomes {
                Ok(outcomes) => Ok(outcomes.take(count).collect()),
                Err(error) => Err(error.clone()),
            };
            effects.push(Effect::Answer(asker, own));
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster_config::ids::{EncounterId, Epoch, GalleryVersion, UnixMs};

    use super::*;

    type Effects = Vec<Effect<u32, &'static str>>;

    const LEADER: NodeId = NodeId(1);

    fn record(number: u32) -> Record {
        Record {
            epoch: Epoch(1),
            gallery_version: GalleryVersion(1),
            ..Record::waiting(
                EncounterId(u128::from(number)),
                "AA100-20261124-JFK".parse().expect("an id"),
                "GATE-1".parse().expect("an id"),
                UnixMs(1),
            )
        }
    }

    fn stored(number: u32) -> RecordOutcome {
        RecordOutcome::Stored(record(number))
    }

    /// Each asker asks for the record of its own number.
    fn asked(numbers: impl IntoIterator<Item = u32>) -> Event<u32, &'static str> {
        let one = |number| Asked { to: LEADER, records: vec![record(number)], asker: number };
        Event::Asked(numbers.into_iter().map(one).collect())
    }

    fn numbers(batch: &Batch) -> Vec<u32> {
        batch.records.iter().map(|record| record.encounter.0 as u32).collect()
    }

    /// The batches that are sent after an event for which everybody waits.
    fn step(machine: &mut Batching<u32>, event: Event<u32, &'static str>) -> Vec<(u64, Vec<u32>)> {
        let mut effects = Vec::new();
        machine.step(event, |_| true, &mut effects);
        let sent = effects.iter().filter_map(|effect| match effect {
            Effect::Send(batch) => Some((batch.number, numbers(batch))),
            Effect::Answer(..) => None,
        });
        sent.collect()
    }

    #[test]
    fn a_record_goes_at_once_and_gathers_with_others_while_batches_are_in_flight() {
        let mut machine = Batching::new(Canaries::default());
        for number in 1..=4 {
            assert_eq!(step(&mut machine, asked([number])), [(u64::from(number), vec![number])]);
        }
        assert_eq!(step(&mut machine, asked([5, 6])), []);
        assert_eq!(step(&mut machine, asked([7])), []);
        assert_eq!(machine.waiting(), 3);
        let ended = Event::Ended { batch: 2, outcomes: Ok(vec![stored(2)]) };
        assert_eq!(step(&mut machine, ended), [(5, vec![5, 6, 7])]);
        assert_eq!(machine.waiting(), 0);
    }

    #[test]
    fn a_batch_holds_no_more_than_an_entry_and_what_was_asked_for_together_stays_together() {
        let mut machine = Batching::new(Canaries::default());
        step(&mut machine, asked([1]));
        step(&mut machine, asked([2]));
        step(&mut machine, asked([3]));
        step(&mut machine, asked([4]));
        let many = LEDGER_BATCH_RECORDS_MAX as u32 - 1;
        let whole = |from: u32, count: u32, asker| Asked {
            to: LEADER,
            records: (from..from + count).map(record).collect(),
            asker,
        };
        assert_eq!(step(&mut machine, Event::Asked(vec![whole(1_000, many, 5), whole(2_000, 2, 6)])), []);
        assert_eq!(step(&mut machine, asked([7])), []);
        let first = step(&mut machine, Event::Ended { batch: 1, outcomes: Err("lost") });
        assert_eq!(first, [(5, (1_000..1_000 + many).collect())]);
        let second = step(&mut machine, Event::Ended { batch: 2, outcomes: Err("lost") });
        assert_eq!(second, [(6, vec![2_000, 2_001, 7])]);
    }

    #[test]
    fn who_has_given_up_is_left_out() {
        let mut machine = Batching::new(Canaries::default());
        (1..=4).for_each(|number| drop(step(&mut machine, asked([number]))));
        step(&mut machine, asked([5, 6, 7]));
        let mut effects = Effects::new();
        machine.step(Event::Ended { batch: 1, outcomes: Ok(vec![stored(1)]) }, |asker| *asker != 6, &mut effects);
        let batch = Batch { number: 5, to: LEADER, records: vec![record(5), record(7)] };
        assert_eq!(effects, [Effect::Answer(1, Ok(vec![stored(1)])), Effect::Send(batch)]);
        let mut effects = Effects::new();
        machine.step(asked([8, 9]), |_| true, &mut effects);
        machine.step(Event::Ended { batch: 2, outcomes: Err("lost") }, |_| false, &mut effects);
        assert_eq!(effects, [Effect::Answer(2, Err(Error::Failed("lost")))], "nothing is sent for nobody");
    }

    #[test]
    fn everybody_is_told_the_outcome_of_their_own_records() {
        let mut machine = Batching::new(Canaries::default());
        (1..=4).for_each(|number| drop(step(&mut machine, asked([number]))));
        let pair = Asked { to: LEADER, records: vec![record(6), record(7)], asker: 67 };
        let Event::Asked(mut all) = asked([5, 8]) else { panic!("asked") };
        all.insert(1, pair);
        step(&mut machine, Event::Asked(all));
        step(&mut machine, Event::Ended { batch: 1, outcomes: Err("lost") });
        let mut effects = Effects::new();
        let outcomes = vec![stored(5), RecordOutcome::NotOpen, stored(7), stored(8)];
        machine.step(Event::Ended { batch: 5, outcomes: Ok(outcomes) }, |_| true, &mut effects);
        let told = [
            Effect::Answer(5, Ok(vec![stored(5)])),
            Effect::Answer(67, Ok(vec![RecordOutcome::NotOpen, stored(7)])),
            Effect::Answer(8, Ok(vec![stored(8)])),
        ];
        assert_eq!(effects, told);
        let mut effects = Effects::new();
        machine.step(Event::Ended { batch: 2, outcomes: Ok(vec![]) }, |_| true, &mut effects);
        assert_eq!(effects, [Effect::Answer(2, Err(Error::OutOfTurn))]);
    }

    #[test]
    fn what_was_on_its_way_to_a_leader_that_has_gone_keeps_no_place() {
        let mut machine = Batching::new(Canaries::default());
        (1..=4).for_each(|number| drop(step(&mut machine, asked([number]))));
        step(&mut machine, asked([5]));
        let mut effects = Effects::new();
        let next = Asked { to: NodeId(2), records: vec![record(6)], asker: 6 };
        machine.step(Event::Asked(vec![next]), |_| true, &mut effects);
        let batch = Batch { number: 5, to: NodeId(2), records: vec![record(6)] };
        let mut wanted: Effects = (1..=5).map(|asker| Effect::Answer(asker, Err(Error::Forgotten))).collect();
        wanted.push(Effect::Send(batch));
        assert_eq!(effects, wanted);
        let mut effects = Effects::new();
        machine.step(Event::Ended { batch: 1, outcomes: Ok(vec![stored(1)]) }, |_| true, &mut effects);
        assert_eq!(effects, [], "its answer comes too late");
    }

    #[test]
    fn no_more_may_wait_than_the_bound_and_nothing_is_answered_at_once() {
        let mut machine = Batching::new(Canaries::default());
        (1..=4).for_each(|number| drop(step(&mut machine, asked([number]))));
        step(&mut machine, asked(10..10 + WAITING_MAX as u32));
        let mut effects = Effects::new();
        machine.step(asked([5]), |_| true, &mut effects);
        let records = (0..=LEDGER_BATCH_RECORDS_MAX as u32).map(record).collect();
        let all = vec![Asked { to: LEADER, records, asker: 6 }, Asked { to: LEADER, records: vec![], asker: 7 }];
        machine.step(Event::Asked(all), |_| true, &mut effects);
        let wanted = [
            Effect::Answer(5, Err(Error::Busy)),
            Effect::Answer(6, Err(Error::TooMany)),
            Effect::Answer(7, Ok(vec![])),
        ];
        assert_eq!(effects, wanted);
    }
}
