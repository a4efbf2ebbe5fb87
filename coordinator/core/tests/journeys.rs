//! Journeys as they are announced: a file of several is all or nothing (P10).

use cluster_config::actor::Actor;
use cluster_config::ids::NodeId;
use cluster_config::journey::JourneyPlan;
use cluster_config::limits::{CARRIER_JOURNEYS_MAX, JOURNEYS_MAX, MANIFEST_JOURNEYS_MAX};
use cluster_config::wire::RefusalCode;
use coordinator_core::journeys::Command;
use coordinator_core::{Outcome, State};

mod support;
use support::{apply, apply_of, plan};

fn refusal(state: &mut State, plans: Vec<JourneyPlan>) -> RefusalCode {
    let before = state.clone();
    match apply(state, Command::OpenAll(plans)) {
        Outcome::Refused(refusal) => {
            assert_eq!(*state, before, "half of it is applied");
            refusal.code
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_journey_that_is_refused_keeps_the_others_of_its_file_from_being_announced() {
    let mut state = State::default();
    let newer = |number| JourneyPlan { manifest: Default::default(), ..plan(number) };
    assert_eq!(apply(&mut state, Command::Open(JourneyPlan { parts: 2, ..plan(1) })), Outcome::Done);
    assert_eq!(apply(&mut state, Command::OpenAll(vec![plan(2), plan(3)])), Outcome::Opened(vec![false, false]));
    assert_eq!(apply(&mut state, Command::OpenAll(vec![plan(2), newer(3)])), Outcome::Opened(vec![true, false]));
    assert_eq!(refusal(&mut state, vec![plan(4), newer(1)]), RefusalCode::Conflict);
    assert_eq!(refusal(&mut state, vec![plan(4), JourneyPlan { parts: 0, ..plan(5) }]), RefusalCode::BadValue);
    assert_eq!(refusal(&mut state, vec![plan(4), plan(5), plan(4)]), RefusalCode::BadValue);
    apply(&mut state, Command::Close(plan(2).id));
    assert_eq!(refusal(&mut state, vec![plan(4), newer(3), plan(2)]), RefusalCode::NotOpen);
    let many = (10..).take(MANIFEST_JOURNEYS_MAX + 1).map(plan).collect();
    assert_eq!(refusal(&mut state, many), RefusalCode::TooLarge);
}

/// F14, P9: one file of 1.1 MB announced 13,500 journeys, and then nobody else's were taken.
#[test]
fn a_submitter_has_a_share_and_leaves_the_others_theirs() {
    let mut state = State::default();
    let [wild, calm] = ["wild", "calm"].map(|name| format!("tvs://carrier/{name}").parse::<Actor>().expect("an actor"));
    let share = CARRIER_JOURNEYS_MAX as u64;
    for number in 1..=share {
        assert_eq!(apply_of(wild, &mut state, Command::Open(plan(number))), Outcome::Done);
    }
    let too_many = apply_of(wild, &mut state, Command::OpenAll(vec![plan(share + 1)]));
    let Outcome::Refused(refusal) = too_many else { panic!("{too_many:?}") };
    assert_eq!((refusal.code, refusal.place.as_str()), (RefusalCode::TooLarge, "journeys"));
    assert!(refusal.problem.contains("tvs://carrier/wild") && refusal.problem.contains("4096"), "{refusal}");
    assert!(matches!(apply_of(wild, &mut state, Command::Open(plan(share + 1))), Outcome::Refused(_)));
    assert_eq!(apply_of(wild, &mut state, Command::Open(plan(1))), Outcome::KnownManifest, "a known one is no new one");
    assert_eq!(apply_of(calm, &mut state, Command::Open(plan(share + 2))), Outcome::Done);
    apply(&mut state, Command::Close(plan(7).id));
    assert_eq!(apply_of(wild, &mut state, Command::Open(plan(share + 1))), Outcome::Done, "a closed one is not open");
    assert_eq!((state.journeys().open_of(wild), state.journeys().open_of(calm)), (share as usize, 1));
}

#[test]
fn a_file_for_half_of_which_there_is_no_room_is_refused_whole() {
    let mut state = State::default();
    let others: Actor = "tvs://operator/others".parse().expect("an actor");
    for number in 1..JOURNEYS_MAX as u64 {
        let by = if number % 2 == 0 { others } else { Actor::node(NodeId(1)) };
        assert_eq!(apply_of(by, &mut state, Command::Open(plan(number))), Outcome::Done);
    }
    let (one, two) = (plan(20_001), plan(20_002));
    assert_eq!(refusal(&mut state, vec![one.clone(), two.clone()]), RefusalCode::TooLarge);
    // What is closed makes room.
    apply(&mut state, Command::Close(plan(1).id));
    assert_eq!(apply(&mut state, Command::OpenAll(vec![one, two])), Outcome::Opened(vec![false, false]));
}
