//! The machine is driven by hand: what it wants done is looked at, and what came of it is made up.

use cluster_config::decision::Candidate;
use cluster_config::decision::{Directive, Reason, Recording};
use cluster_config::gallery::{GalleryId, ShardId};
use cluster_config::ids::{
    DeviceId, EncounterId, Epoch, GalleryVersion, JourneyId, PersonMark, RequestDigest, SubjectId, UnixMs,
};
use cluster_config::wire::peer::ShardFound;
use coordinator_core::Record;

use super::super::step::Here;
use super::*;
use crate::fixture;
use crate::hedge::Hedge;

const ME: NodeId = NodeId(9);
const DEADLINE_US: u64 = 2_000_000;

fn journey() -> JourneyId {
    "AA100-20261124-JFK".parse().expect("an id")
}

fn device() -> DeviceId {
    "GATE-1".parse().expect("an id")
}

fn shard(part: u16) -> ShardId {
    fixture::shard(part)
}

fn placement(owner: u64, standbys: &[u64]) -> Placement {
    let standbys = standbys.iter().copied().map(NodeId).collect();
    Placement { epoch: Epoch(1), owner: NodeId(owner), standbys, rosters: vec![] }
}

fn routes(placements: &[Placement]) -> Question {
    let shards = (0..).zip(placements).map(|(part, placement)| (shard(part), GalleryVersion(1), placement.clone()));
    Question { shards: shards.collect(), floor: 0.2 }
}

fn found(node: u64, subject: u64, score: f32) -> ShardFound {
    let mark = PersonMark(u128::from(subject).to_be_bytes());
    let who = Candidate { subject: SubjectId(subject), mark, manifest_ordinal: subject as u32, score, in_scope: true };
    let (epoch, version) = (Epoch(node), GalleryVersion(1));
    ShardFound { node: NodeId(node), epoch, version, rows: 100, candidates: vec![who] }
}

fn busy() -> Refusal {
    Refusal::new(RefusalCode::Busy, "a replica", "its queue is full", "try again")
}

fn proceed(subject: u64) -> Verdict {
    let who = found(1, subject, 0.7).candidates[0];
    Verdict { directive: Directive::Proceed, reason: Reason::Matched, who: Some(who) }
}

/// A machine, and what it wants done.
struct Driven {
    machine: Machine,
    now_us: u64,
    out: VecDeque<Effect>,
    hedge: Hedge,
    unconfirmed_us: u64,
}

impl Driven {
    fn new(purpose: Purpose, canaries: Canaries) -> Self {
        Self::unconfirmed_for(0, purpose, canaries)
    }

    fn unconfirmed_for(unconfirmed_us: u64, purpose: Purpose, canaries: Canaries) -> Self {
        let capture = Capture { journey: journey(), ..fixture::capture() };
        let machine = Machine::new(ME, capture, (purpose, Reach::All), DEADLINE_US, canaries);
        let mut driven = Self { machine, now_us: 0, out: VecDeque::new(), hedge: Hedge::default(), unconfirmed_us };
        driven.step(Event::Began);
        driven
    }

    /// An identification that searches these placements; nothing of it is on the entry node.
    fn searching(placements: &[Placement]) -> Self {
        let mut driven = Self::new(Purpose::Identify, Canaries::default());
        assert_eq!(driven.effects(), [Effect::Look(Look::Question)]);
        driven.step(Event::Looked(Seen::Question(Ok(routes(placements)))));
        driven
    }

    fn step(&mut self, event: Event) {
        let now = Moment { us: self.now_us, wall: UnixMs(1_800_000_000_000), unconfirmed_us: self.unconfirmed_us };
        self.machine.step(now, event, &mut self.out);
    }

    /// What it wants done since the last time.
    fn effects(&mut self) -> Vec<Effect> {
        self.out.drain(..).collect()
    }

    /// As [`Self::effects`], where the entry node itself has nothing, which is said by the way.
    fn asks(&mut self) -> Vec<Effect> {
        let mut others = Vec::new();
        while let Some(effect) = self.out.pop_front() {
            match effect {
                Effect::SearchHere { part } => {
                    let here = Here::Not { ready: false, hedge: self.hedge.clone() };
                    self.step(Event::SearchedHere { part, here });
                }
                other => others.push(other),
            }
        }
        others
    }

    /// Lets time go on to where it wants to be woken.
    fn wake(&mut self) -> u64 {
        self.now_us = self.machine.wake_us();
        self.step(Event::TimeCame);
        self.now_us
    }

    fn answered(&mut self, part: usize, replica: u64, result: Result<ShardFound, Refusal>) {
        self.step(Event::Answered { part, replica: NodeId(replica), result });
    }

    fn refusal(&mut self) -> Refusal {
        match self.effects().pop() {
            Some(Effect::Answer(Err(refusal))) => refusal,
            other => panic!("{other:?}"),
        }
    }
}

fn ask(part: usize, replica: u64, wait_ms: u32) -> Effect {
    Effect::Ask { part, replica: NodeId(replica), wait_ms }
}

#[test]
fn what_is_searched_at_once_is_decided_without_waiting_for_anything() {
    let mut driven = Driven::searching(&[placement(9, &[1])]);
    assert_eq!(driven.effects(), [Effect::SearchHere { part: 0 }]);
    driven.step(Event::SearchedHere { part: 0, here: Here::AtOnce(Ok(found(9, 4, 0.7))) });
    assert_eq!(driven.effects(), [Effect::Look(Look::Verdict)]);
    driven.step(Event::Looked(Seen::Verdict(Some(proceed(4)))));
    let Some(Effect::Answer(Ok(answer))) = driven.effects().pop() else { panic!("it is answered") };
    assert_eq!((answer.directive, answer.searched_by), (Directive::Proceed, NodeId(9)));
    assert_eq!(answer.recording, Recording::NotRequired);
}

#[test]
fn a_silent_owner_costs_one_delay_and_is_told_of() {
    let mut driven = Driven::searching(&[placement(1, &[2, 3])]);
    assert_eq!(driven.asks(), [ask(0, 1, 2_000)]);
    let delay_us = driven.hedge.delay_us();
    assert_eq!(driven.wake(), delay_us);
    let left_ms = ((DEADLINE_US - delay_us) / 1_000) as u32;
    assert_eq!(driven.asks(), [Effect::Silent(NodeId(1)), Effect::Hedged, ask(0, 2, left_ms)]);
    driven.now_us += 700;
    driven.answered(0, 2, Ok(found(2, 4, 0.7)));
    let heard = Effect::Heard { replica: NodeId(2), latency_us: 700 };
    assert_eq!(driven.asks(), [heard, Effect::Forget, Effect::Look(Look::Verdict)]);
    driven.answered(0, 1, Ok(found(1, 5, 0.9)));
    assert_eq!(driven.asks(), [], "the owner's late answer changes nothing");
}

#[test]
fn a_replica_that_fails_makes_room_for_the_next_at_once() {
    let mut driven = Driven::searching(&[placement(1, &[2])]);
    driven.asks();
    driven.now_us = 300;
    driven.answered(0, 1, Err(busy()));
    assert_eq!(driven.asks(), [ask(0, 2, 1_999)], "and that is no hedge");
}

#[test]
fn who_is_silent_is_not_waited_for_where_the_blueprint_has_others_by_now() {
    let mut driven = Driven::searching(&[placement(1, &[2])]);
    driven.asks();
    driven.now_us = 300;
    driven.answered(0, 2, Ok(found(2, 4, 0.7)));
    assert_eq!(driven.asks(), [], "who was not asked has nothing to say");
    driven.wake();
    driven.asks();
    driven.now_us += 500;
    driven.answered(0, 2, Err(busy()));
    assert_eq!(driven.asks(), []);
    let before_us = driven.now_us;
    assert!(driven.wake() <= before_us + 100_000, "the owner is silent, the standby refused");
    assert_eq!(driven.asks(), [Effect::Look(Look::Placement { part: 0 })]);
    driven.step(Event::Looked(Seen::Placement { part: 0, placement: Some(placement(2, &[1, 3])) }));
    let left_ms = ((DEADLINE_US - driven.now_us) / 1_000) as u32;
    assert_eq!(driven.asks(), [Effect::Hedged, ask(0, 2, left_ms)], "the owner of before is still asked");
    driven.answered(0, 1, Ok(found(1, 4, 0.7)));
    let latency_us = driven.now_us;
    let heard = Effect::Heard { replica: NodeId(1), latency_us };
    assert_eq!(driven.asks(), [heard, Effect::Forget, Effect::Look(Look::Verdict)], "and may answer at last");
}

#[test]
fn a_replica_that_came_back_without_the_question_is_asked_once_more() {
    let mut driven = Driven::searching(&[placement(1, &[])]);
    driven.asks();
    let mut asked = Vec::new();
    while driven.now_us < 1_000_000 {
        driven.wake();
        if driven.asks().contains(&Effect::Look(Look::Placement { part: 0 })) {
            driven.step(Event::Looked(Seen::Placement { part: 0, placement: Some(placement(1, &[])) }));
        }
        let again = driven.asks().into_iter().filter(|effect| matches!(effect, Effect::Ask { .. }));
        asked.extend(again.map(|_| driven.now_us));
    }
    assert_eq!(asked, [400_000, 800_000]);
}

#[test]
fn where_all_replicas_fail_the_blueprint_is_looked_at_again_and_the_next_round_goes_there() {
    let mut driven = Driven::searching(&[placement(1, &[2])]);
    driven.asks();
    driven.answered(0, 1, Err(busy()));
    driven.answered(0, 2, Err(busy()));
    driven.asks();
    assert_eq!(driven.wake(), 10_000, "after a pause");
    assert_eq!(driven.asks(), [Effect::Look(Look::Placement { part: 0 })]);
    driven.step(Event::Looked(Seen::Placement { part: 0, placement: Some(placement(3, &[1])) }));
    assert_eq!(driven.asks(), [ask(0, 3, 1_990)]);

    let mut driven = Driven::searching(&[placement(1, &[])]);
    driven.asks();
    driven.answered(0, 1, Err(busy()));
    driven.wake();
    driven.asks();
    driven.step(Event::Looked(Seen::Placement { part: 0, placement: None }));
    assert_eq!(driven.refusal().code, RefusalCode::NotOpen, "a gallery that is nowhere belongs to a closed journey");
}

#[test]
fn what_is_refused_for_good_is_not_asked_again() {
    let mut driven = Driven::searching(&[placement(1, &[2])]);
    driven.asks();
    let bad = Refusal::new(RefusalCode::BadValue, "capture.sample", "it is no template", "send another");
    driven.answered(0, 1, Err(bad.clone()));
    driven.answered(0, 2, Err(bad.clone()));
    assert_eq!(driven.refusal(), bad);
}

#[test]
fn the_deadline_ends_it_whatever_does_not_come() {
    let mut driven = Driven::searching(&[placement(1, &[2])]);
    while driven.now_us < DEADLINE_US {
        driven.asks();
        driven.wake();
    }
    assert_eq!((driven.now_us, driven.refusal().code), (DEADLINE_US, RefusalCode::Unavailable));
    driven.step(Event::TimeCame);
    driven.answered(0, 1, Ok(found(1, 4, 0.7)));
    assert_eq!(driven.effects(), [], "it is answered once");

    let mut driven = Driven::searching(&[placement(1, &[])]);
    driven.asks();
    driven.now_us = DEADLINE_US - 5_000;
    driven.answered(0, 1, Err(busy()));
    assert_eq!(driven.refusal(), busy(), "no round begins that the gate would not wait for");

    let mut driven = boarding();
    driven.step(Event::SearchedHere { part: 0, here: Here::AtOnce(Ok(found(9, 4, 0.7))) });
    driven.step(Event::Looked(Seen::Verdict(Some(proceed(4)))));
    driven.effects();
    assert_eq!(driven.wake(), DEADLINE_US, "a record that is not confirmed");
    assert_eq!(driven.refusal().code, RefusalCode::Unavailable);
}

#[test]
fn an_unknown_journey_is_caught_up_once_and_looked_for_again() {
    let missing = || {
        let fix = "submit its manifest first";
        let refusal = Refusal::new(RefusalCode::NotFound, "capture.journey", "it is not known", fix);
        Event::Looked(Seen::Question(Err(Missing::NotYet(refusal))))
    };
    for (caught_up, code) in [(true, RefusalCode::NotFound), (false, RefusalCode::Unavailable)] {
        let mut driven = Driven::new(Purpose::Identify, Canaries::default());
        driven.effects();
        driven.step(missing());
        assert_eq!(driven.effects(), [Effect::CatchUp { until_us: CATCH_UP_US }]);
        driven.step(Event::CaughtUp(caught_up));
        assert_eq!(driven.effects(), [Effect::Look(Look::Question)]);
        driven.step(missing());
        assert_eq!(driven.refusal().code, code, "only who lacks nothing refuses for good");
    }
    let mut driven = Driven::new(Purpose::Identify, Canaries::default());
    driven.step(missing());
    driven.effects();
    assert_eq!(driven.wake(), CATCH_UP_US, "it is not waited for without an end");
    assert_eq!(driven.effects(), [Effect::Look(Look::Question)]);
    driven.step(Event::Looked(Seen::Question(Ok(routes(&[placement(1, &[])])))));
    assert_eq!(driven.asks(), [ask(0, 1, 1_750)]);
}

#[test]
fn the_parts_of_a_gallery_are_searched_side_by_side_and_taken_together() {
    let mut driven = Driven::searching(&[placement(1, &[2]), placement(3, &[4])]);
    assert_eq!(driven.asks(), [ask(0, 1, 2_000), ask(1, 3, 2_000)]);
    driven.answered(1, 3, Ok(found(3, 8, 0.4)));
    driven.asks();
    driven.wake();
    let left_ms = ((DEADLINE_US - driven.now_us) / 1_000) as u32;
    assert_eq!(driven.asks(), [Effect::Silent(NodeId(1)), Effect::Hedged, ask(0, 2, left_ms)]);
    driven.answered(0, 2, Ok(found(2, 6, 0.6)));
    assert!(driven.asks().contains(&Effect::Look(Look::Verdict)));
    let Stage::Deciding(merged, _) = &driven.machine.stage else { panic!("{:?}", driven.machine.stage) };
    let subjects: Vec<u64> = merged.candidates.iter().map(|candidate| candidate.subject.0).collect();
    assert_eq!((subjects, merged.templates, merged.searched_by), (vec![6, 8], 200, NodeId(2)));
}

#[test]
fn scores_that_come_to_count_are_searched_for_again_without_a_floor() {
    let mut driven = Driven::searching(&[placement(9, &[])]);
    assert_eq!(driven.machine.search(0).map(|search| search.floor), Some(0.2));
    driven.step(Event::SearchedHere { part: 0, here: Here::AtOnce(Ok(found(9, 4, 0.7))) });
    driven.effects();
    driven.step(Event::Looked(Seen::Verdict(None)));
    assert_eq!(driven.effects(), [Effect::Look(Look::Question)]);
    driven.step(Event::Looked(Seen::Question(Ok(routes(&[placement(9, &[])])))));
    assert_eq!(driven.machine.search(0).map(|search| search.floor), Some(f32::NEG_INFINITY));
}

fn presented() -> Presented {
    Presented { device: device(), request: RequestDigest([3; 16]) }
}

fn boarding() -> Driven {
    let mut driven = Driven::new(Purpose::Board(presented()), Canaries::default());
    assert_eq!(driven.effects(), [Effect::Look(Look::Answered)]);
    driven.step(Event::Looked(Seen::Answered(None)));
    assert_eq!(driven.effects(), [Effect::Look(Look::Question)]);
    driven.step(Event::Looked(Seen::Question(Ok(routes(&[placement(9, &[])])))));
    driven.effects();
    driven
}

fn recording() -> (Driven, Record) {
    let mut driven = boarding();
    driven.step(Event::SearchedHere { part: 0, here: Here::AtOnce(Ok(found(9, 4, 0.7))) });
    driven.effects();
    driven.step(Event::Looked(Seen::Verdict(Some(proceed(4)))));
    match driven.effects().pop() {
        Some(Effect::Record(record)) => (driven, record),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_boarding_is_answered_with_what_the_ledger_says() {
    let (mut driven, record) = recording();
    assert_eq!((record.at, record.subject), (UnixMs(1_800_000_000_000), Some(SubjectId(4))));
    let stored = Record { directive: Directive::Wait, reason: Reason::AlreadyBoarded, subject: None, ..record };
    driven.step(Event::Recorded(Ok(RecordOutcome::Stored(stored))));
    let Some(Effect::Answer(Ok(answer))) = driven.effects().pop() else { panic!("it is answered") };
    assert_eq!((answer.directive, answer.recording), (Directive::Wait, Recording::Committed));
    assert_eq!(answer.confirmed, None);
}

#[test]
fn a_boarding_whose_journey_was_closed_meanwhile_is_answered_as_before_if_it_was_recorded_before() {
    let (mut driven, _) = recording();
    driven.step(Event::Recorded(Ok(RecordOutcome::NotOpen)));
    assert_eq!(driven.effects(), [Effect::Look(Look::Answered)]);
    driven.step(Event::Looked(Seen::Answered(None)));
    assert_eq!(driven.refusal().code, RefusalCode::NotOpen);

    let (mut driven, _) = recording();
    driven.step(Event::Recorded(Ok(RecordOutcome::NotOpen)));
    driven.effects();
    let before = Answer {
        encounter: EncounterId(7),
        directive: Directive::Proceed,
        reason: Reason::Matched,
        confirmed: None,
        recording: Recording::Committed,
        epoch: Epoch(1),
        gallery_version: GalleryVersion(1),
        searched_by: ME,
    };
    driven.step(Event::Looked(Seen::Answered(Some(Ok(before.clone())))));
    assert_eq!(driven.effects(), [Effect::Answer(Ok(before))]);
}

/// P12: what the ledger says stands in a file by then.
#[test]
fn a_retry_of_a_record_that_is_in_a_file_is_answered_from_it_and_another_request_is_a_conflict() {
    let (_, record) = recording();
    let other = Record { request: RequestDigest([4; 16]), ..record.clone() };
    for is_closed in [false, true] {
        for (stored, code) in [(&record, None), (&other, Some(RefusalCode::Conflict))] {
            let mut driven = match is_closed {
                false => recording().0,
                true => Driven::new(Purpose::Board(presented()), Canaries::default()),
            };
            driven.effects();
            driven.step(match is_closed {
                false => Event::Recorded(Ok(RecordOutcome::Sealed(9))),
                true => Event::Looked(Seen::InFile(9)),
            });
            assert_eq!(driven.effects(), [Effect::Read(9)]);
            driven.step(Event::Read(Ok(stored.clone())));
            let Some(Effect::Answer(answer)) = driven.effects().pop() else { panic!("it is answered") };
            assert_eq!(answer.as_ref().err().map(|refusal| refusal.code), code);
            let is_committed = |answer: Answer| (answer.directive, answer.recording);
            let wanted = (record.directive, Recording::Committed);
            assert!(answer.is_err() || answer.is_ok_and(|answer| is_committed(answer) == wanted));
        }
    }
    let mut unread = recording().0;
    unread.step(Event::Recorded(Ok(RecordOutcome::Sealed(9))));
    unread.effects();
    let lost = Refusal::new(RefusalCode::Unavailable, "chunk 0", "its file is not here", "ask again");
    unread.step(Event::Read(Err(lost)));
    assert!(unread.refusal().code.retryable(), "another node may have it");
}

/// P12, on every way to an answer: while the journey is open, once it is closed, and where the record comes first to
/// the ledger's leader.
#[test]
fn who_repeats_an_encounters_id_with_anything_else_gets_no_answer_of_it() {
    let capture = fixture::capture();
    let entitled = RequestDigest([3; 16]);
    let seen = |state: &State, journey: JourneyId, request: RequestDigest| {
        let capture = Capture { journey, ..capture.clone() };
        let purpose = Purpose::Board(Presented { device: device(), request });
        let machine = Machine::new(ME, capture, (purpose, Reach::All), DEADLINE_US, Canaries::default());
        match machine.look(Look::Answered, state) {
            Seen::Answered(seen) => seen,
            other => panic!("{other:?}"),
        }
    };
    let (_, record) = recording();
    let placed = placement(1, &[]);
    let mut state = fixture::state(&placed, 1);
    let record = Record { gallery: GalleryId::passengers(capture.journey), ..record };
    // Of somebody out of scope no subject is stored: nothing but the digest tells whose boarding it was.
    let record = Record { subject: None, manifest_ordinal: None, ..record };
    fixture::apply(&mut state, coordinator_core::Command::record(vec![record]));
    let elsewhere: JourneyId = "AA404".parse().expect("an id");
    for is_open in [true, false] {
        for (journey, request) in [(capture.journey, RequestDigest([4; 16])), (elsewhere, RequestDigest([5; 16]))] {
            let refusal = seen(&state, journey, request).expect("known").expect_err("no answer");
            assert_eq!((refusal.code, &*refusal.place), (RefusalCode::Conflict, "capture.encounter"));
        }
        let answered = seen(&state, capture.journey, entitled);
        assert_eq!(answered.is_some_and(|answer| answer.is_ok()), !is_open, "a retry");
        if is_open {
            fixture::apply(&mut state, coordinator_core::journeys::Command::Close(capture.journey));
        }
    }
    let (mut driven, _) = recording();
    driven.step(Event::Recorded(Ok(RecordOutcome::OtherRequest)));
    assert_eq!(driven.refusal().code, RefusalCode::Conflict);
}

/// P4, F5: what was searched below the committed version, or under other owners, is not recorded but searched again.
#[test]
fn a_boarding_that_was_searched_in_an_old_version_is_searched_again() {
    let (mut driven, record) = recording();
    assert_eq!(record.fence, Fence { versions: 1, epochs: 9 });
    driven.step(Event::Recorded(Ok(RecordOutcome::Behind)));
    assert_eq!(driven.effects(), [Effect::Look(Look::Question)]);
    let as_before = Placement { epoch: Epoch(9), ..placement(9, &[]) };
    driven.step(Event::Looked(Seen::Question(Ok(routes(std::slice::from_ref(&as_before))))));
    let until_us = CATCH_UP_US;
    assert_eq!(driven.effects(), [Effect::CatchUp { until_us }], "it would be found again");
    driven.step(Event::CaughtUp(true));
    assert_eq!(driven.effects(), [Effect::Look(Look::Question)]);
    let mut newer = routes(&[as_before]);
    newer.shards[0].1 = GalleryVersion(2);
    driven.step(Event::Looked(Seen::Question(Ok(newer))));
    assert_eq!(driven.effects(), [Effect::SearchHere { part: 0 }]);
    let newer = ShardFound { version: GalleryVersion(2), ..found(9, 5, 0.7) };
    driven.step(Event::SearchedHere { part: 0, here: Here::AtOnce(Ok(newer)) });
    driven.effects();
    driven.step(Event::Looked(Seen::Verdict(Some(proceed(5)))));
    let Some(Effect::Record(record)) = driven.effects().pop() else { panic!("it is recorded") };
    assert_eq!((record.subject, record.gallery_version), (Some(SubjectId(5)), GalleryVersion(2)));
    assert_eq!(record.fence.versions, 2);
}

/// P14, F5.
#[test]
fn a_node_that_has_long_heard_no_leader_identifies_nobody_unless_it_finds_one() {
    let unconfirmed_us = UNCONFIRMED_MS_MAX * 1_000 + 1;
    let unsure = || Driven::unconfirmed_for(unconfirmed_us, Purpose::Identify, Canaries::default());
    let mut alone = unsure();
    assert_eq!(alone.effects(), [Effect::CatchUp { until_us: CATCH_UP_US }]);
    alone.step(Event::CaughtUp(false));
    let refusal = alone.refusal();
    assert_eq!((refusal.code, &*refusal.place), (RefusalCode::Unavailable, "node 9"));
    let mut found = unsure();
    found.effects();
    found.step(Event::CaughtUp(true));
    assert_eq!(found.effects(), [Effect::Look(Look::Question)]);
    let mut boarding = Driven::unconfirmed_for(unconfirmed_us, Purpose::Board(presented()), Canaries::default());
    assert_eq!(boarding.effects(), [Effect::Look(Look::Answered)], "its record makes sure");
}
