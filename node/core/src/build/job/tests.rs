use cluster_config::journey::JourneyPlan;
use coordinator_core::placement::Change;
use coordinator_core::{galleries, journeys, placement};

use super::push::{PUSH_GRACE, PUSH_TIMEOUT};
use super::*;
use crate::fixture;

const NOW: Duration = Duration::from_secs(50);
const ME: NodeId = NodeId(1);

/// What each version holds.
const COUNTS: GalleryCounts = GalleryCounts { people: 3, rows: 4, without_photo: 1 };

fn shard() -> ShardId {
    fixture::shard(0)
}

fn manifest(number: u8) -> ContentHash {
    ContentHash([number; 32])
}

fn placement() -> Placement {
    fixture::placement(ME.0, &[2, 3], &[4, 5])
}

/// A journey whose gallery is placed on five nodes, and committed at this version.
fn state(version: u32) -> State {
    fixture::state(&placement(), version)
}

fn commit(version: u32) -> Commit {
    Commit {
        made_from: Some(vec![GalleryVersion(version - 1)]),
        numbered_by: manifest(1),
        ..fixture::commit(&placement(), version)
    }
}

fn order(number: u8, listing: Listing) -> BuildOrder {
    BuildOrder { shard: shard(), manifest: manifest(number), people: Vec::new(), listing }
}

/// A gallery of one part, at this version.
fn alone(version: u32) -> Beside {
    Beside { versions: vec![GalleryVersion(version)], given: BTreeMap::new() }
}

fn job(number: u8, known: Option<u32>) -> Job {
    let order = order(number, Listing::Whole);
    Job::ordered(ME, &order, placement(), known.map(GalleryVersion), Canaries::default())
}

fn made() -> Made {
    Made { hash: ContentHash([1; 32]), manifest: manifest(1), numbered_by: manifest(1), counts: COUNTS }
}

fn step(job: &mut Job, now: Duration, state: &State, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    job.step(now, state, event, &mut effects);
    effects
}

/// A first version that is built and kept, on its way to the standbys.
fn pushing(state: &State) -> Job {
    let mut job = job(1, None);
    let build = Effect::Build(GalleryVersion(1), People::OfReplica, alone(0), true);
    assert_eq!(step(&mut job, NOW, state, Event::Begun), [build]);
    assert_eq!(step(&mut job, NOW, state, Event::Built(Ok(()))), [Effect::Keep]);
    let until = NOW + PUSH_TIMEOUT;
    let pushes = [Effect::Push(NodeId(2), until), Effect::Push(NodeId(3), until), Effect::Wake(until)];
    assert_eq!(step(&mut job, NOW, state, Event::Kept(Ok(made()))), pushes);
    job
}

fn refusal() -> Refusal {
    Refusal::new(RefusalCode::Internal, "here", "it is broken", "mend it")
}

#[test]
fn a_version_is_committed_once_a_standby_has_it_with_the_epoch_of_the_order() {
    let state = state(0);
    let mut job = pushing(&state);
    let later = NOW + PUSH_GRACE;
    let took = step(&mut job, NOW, &state, Event::PushAnswered(NodeId(2), push::Answer::Took));
    assert_eq!(took, [Effect::Wake(later)], "the other standby is slow: it is waited for a moment");
    assert_eq!(step(&mut job, later, &state, Event::Woken), [Effect::Commit(commit(1))]);
    let late = Event::PushAnswered(NodeId(3), push::Answer::Took);
    assert_eq!(step(&mut job, later, &state, late), [], "it was not waited for");
    let built = Built { version: GalleryVersion(1), counts: COUNTS };
    assert_eq!(step(&mut job, later, &state, Event::Committed(Ok(()))), [Effect::Done(Ok(built))]);
}

#[test]
fn nothing_is_committed_where_no_standby_took_it() {
    let state = state(0);
    let mut refused = pushing(&state);
    step(&mut refused, NOW, &state, Event::PushAnswered(NodeId(2), push::Answer::Never));
    let effects = step(&mut refused, NOW, &state, Event::PushAnswered(NodeId(3), push::Answer::Never));
    assert!(matches!(&effects[..], [Effect::Done(Err(refusal))] if refusal.code == RefusalCode::Unavailable));
    let mut silent = pushing(&state);
    assert_eq!(step(&mut silent, NOW + PUSH_GRACE, &state, Event::Woken), []);
    let effects = step(&mut silent, NOW + PUSH_TIMEOUT, &state, Event::Woken);
    assert!(matches!(&effects[..], [Effect::Done(Err(refusal))] if refusal.code == RefusalCode::Unavailable));
    assert_eq!(step(&mut silent, NOW + PUSH_TIMEOUT, &state, Event::Committed(Ok(()))), [], "it is over");
}

#[test]
fn what_fails_on_the_way_is_the_answer_and_nothing_is_committed() {
    let state = state(0);
    let failed = [Effect::Done(Err(refusal()))];
    let mut one = job(1, None);
    step(&mut one, NOW, &state, Event::Begun);
    assert_eq!(step(&mut one, NOW, &state, Event::Built(Err(refusal()))), failed);
    let mut other = job(1, None);
    step(&mut other, NOW, &state, Event::Begun);
    step(&mut other, NOW, &state, Event::Built(Ok(())));
    assert_eq!(step(&mut other, NOW, &state, Event::Kept(Err(refusal()))), failed);
    let mut last = pushing(&state);
    for node in [2, 3] {
        step(&mut last, NOW, &state, Event::PushAnswered(NodeId(node), push::Answer::Took));
    }
    assert_eq!(step(&mut last, NOW, &state, Event::Committed(Err(refusal()))), failed);
}

#[test]
fn what_is_committed_and_searched_is_answered_at_once() {
    let state = state(2);
    let built = Built { version: GalleryVersion(2), counts: COUNTS };
    assert_eq!(step(&mut job(1, Some(2)), NOW, &state, Event::Begun), [Effect::Done(Ok(built))]);
    let newer = step(&mut job(9, Some(2)), NOW, &state, Event::Begun);
    assert_eq!(newer, [Effect::Build(GalleryVersion(3), People::OfReplica, alone(2), true)], "another manifest");
    let behind = step(&mut job(1, Some(1)), NOW, &state, Event::Begun);
    assert_eq!(
        behind,
        [Effect::AskRoster(shard(), ME, GalleryVersion(2))],
        "the committed version is not searched here"
    );
    let gone = step(&mut job(1, None), NOW, &State::default(), Event::Begun);
    assert!(matches!(&gone[..], [Effect::Done(Err(refusal))] if refusal.code == RefusalCode::NotFound));
}

#[test]
fn the_people_before_come_from_a_roster_where_this_node_lacks_them() {
    let state = state(2);
    let v2 = GalleryVersion(2);
    let mut here = job(9, Some(1));
    assert_eq!(step(&mut here, NOW, &state, Event::Begun), [Effect::AskRoster(shard(), ME, v2)]);
    let given = Event::RosterAnswered(shard(), ME, seek::Answer::Gave(v2));
    assert_eq!(
        step(&mut here, NOW, &state, given),
        [Effect::Build(GalleryVersion(3), People::OfRoster(ME), alone(2), true)]
    );

    let mut elsewhere = job(9, None);
    step(&mut elsewhere, NOW, &state, Event::Begun);
    let asked = step(&mut elsewhere, NOW, &state, Event::RosterAnswered(shard(), ME, seek::Answer::HasNone));
    assert_eq!(asked, [2, 3, 4, 5].map(|node| Effect::AskRoster(shard(), NodeId(node), v2)), "every holder");
    assert_eq!(step(&mut elsewhere, NOW, &state, Event::RosterAnswered(shard(), NodeId(2), seek::Answer::Silent)), []);
    let given = Event::RosterAnswered(shard(), NodeId(5), seek::Answer::Gave(v2));
    let build = Effect::Build(GalleryVersion(3), People::OfRoster(NodeId(5)), alone(2), true);
    assert_eq!(step(&mut elsewhere, NOW, &state, given), [build]);
}

fn all_silent(job: &mut Job, state: &State) -> Vec<Effect> {
    step(job, NOW, state, Event::Begun);
    step(job, NOW, state, Event::RosterAnswered(shard(), ME, seek::Answer::HasNone));
    let answers = [2, 3, 4, 5].map(|node| Event::RosterAnswered(shard(), NodeId(node), seek::Answer::Silent));
    answers.into_iter().flat_map(|answer| step(job, NOW, state, answer)).collect()
}

#[test]
fn where_all_holders_are_silent_it_is_begun_anew_if_that_is_allowed() {
    let state = state(2);
    let begun = all_silent(&mut job(9, Some(1)), &state);
    assert_eq!(begun, [Effect::Build(GalleryVersion(3), People::OfReplica, alone(2), true)], "nobody has boarded");
    let added = order(9, Listing::Added);
    let mut change = Job::ordered(ME, &added, placement(), None, Canaries::default());
    let refused = all_silent(&mut change, &state);
    assert!(matches!(&refused[..], [Effect::Done(Err(refusal))] if refusal.code == RefusalCode::Unavailable));
}

#[test]
fn a_lost_gallery_is_built_again_out_of_a_roster() {
    let state = state(2);
    let v2 = GalleryVersion(2);
    let lost = Order { placement: placement(), version: v2, hash: ContentHash([2; 32]), is_due: false };
    let mut job = Job::rebuild(ME, shard(), &lost, Canaries::default());
    assert_eq!(step(&mut job, NOW, &state, Event::Begun), [Effect::AskRoster(shard(), ME, v2)]);
    let asked = step(&mut job, NOW, &state, Event::RosterAnswered(shard(), ME, seek::Answer::HasNone));
    assert_eq!(asked, [2, 3, 4, 5].map(|node| Effect::AskRoster(shard(), NodeId(node), v2)), "whoever may keep them");
    let given = Event::RosterAnswered(shard(), NodeId(4), seek::Answer::Gave(v2));
    let build = Effect::Build(GalleryVersion(3), People::OfRoster(NodeId(4)), Beside::default(), true);
    assert_eq!(step(&mut job, NOW, &state, given), [build], "the very manifest that is committed is built again");

    let mut nobody = Job::rebuild(ME, shard(), &lost, Canaries::default());
    step(&mut nobody, NOW, &state, Event::Begun);
    step(&mut nobody, NOW, &state, Event::RosterAnswered(shard(), ME, seek::Answer::HasNone));
    for holder in [2, 3, 4].map(NodeId) {
        step(&mut nobody, NOW, &state, Event::RosterAnswered(shard(), holder, seek::Answer::HasNone));
    }
    let effects = step(&mut nobody, NOW, &state, Event::RosterAnswered(shard(), NodeId(5), seek::Answer::Silent));
    assert!(matches!(&effects[..], [Effect::Done(Err(refusal))] if refusal.problem.contains("no other node")));
}

#[test]
fn what_was_committed_while_the_roster_was_looked_for_is_gone_on_from() {
    let lost = Order { placement: placement(), version: GalleryVersion(2), hash: ContentHash([2; 32]), is_due: false };
    let mut job = Job::rebuild(ME, shard(), &lost, Canaries::default());
    step(&mut job, NOW, &state(2), Event::Begun);
    let given = Event::RosterAnswered(shard(), ME, seek::Answer::Gave(GalleryVersion(2)));
    let asked = step(&mut job, NOW, &state(3), given);
    assert_eq!(asked, [Effect::AskRoster(shard(), ME, GalleryVersion(3))], "version 2 is not the one before any more");
}

/// A journey of three parts, of which the first two are built.
fn state_of_three() -> State {
    let mut state = state(2);
    let plan = JourneyPlan { parts: 3, manifest: manifest(7), ..fixture::plan() };
    fixture::apply(&mut state, journeys::Command::Open(plan));
    let change = |part| Change { shard: fixture::shard(part), placement: placement() };
    let (parent, changes) = (state.blueprint().generation(), vec![change(1), change(2)]);
    fixture::apply(&mut state, placement::Command::Change { parent, changes });
    let second = Commit { shard: fixture::shard(1), made_from: None, ..commit(1) };
    fixture::apply(&mut state, galleries::Command::Commit(second));
    state
}

/// P15: before anybody has boarded, who counts as lost may be listed anew, and stood in two parts then.
#[test]
fn nobody_is_lost_while_a_node_that_may_have_them_has_not_heard_of_them() {
    let state = state_of_three();
    let second = ShardId { part: 1, ..shard() };
    for (answer, is_built) in [(seek::Answer::NotYet, false), (seek::Answer::Silent, true)] {
        let mut job = job(9, Some(2));
        step(&mut job, NOW, &state, Event::Begun);
        step(&mut job, NOW, &state, Event::RosterAnswered(second, ME, seek::Answer::HasNone));
        for node in [2, 3, 4] {
            step(&mut job, NOW, &state, Event::RosterAnswered(second, NodeId(node), seek::Answer::Silent));
        }
        let effects = step(&mut job, NOW, &state, Event::RosterAnswered(second, NodeId(5), answer));
        match &effects[..] {
            [Effect::Build(..)] => assert!(is_built, "{answer:?}"),
            [Effect::Done(Err(refusal))] => assert!(!is_built && refusal.code.retryable(), "{answer:?}: {refusal}"),
            other => panic!("{other:?}"),
        }
    }
}

/// P1: somebody who is a newcomer to one part may be known in another.
#[test]
fn the_people_of_the_other_parts_are_looked_for_before_anything_is_built() {
    let state = state_of_three();
    let second = ShardId { part: 1, ..shard() };
    let begin = || {
        let mut job = job(9, Some(2));
        let asked = step(&mut job, NOW, &state, Event::Begun);
        assert_eq!(asked, [Effect::AskRoster(second, ME, GalleryVersion(1))], "part 2 is not built yet");
        job
    };
    let mut job = begin();
    let stray = Event::RosterAnswered(shard(), ME, seek::Answer::Gave(GalleryVersion(2)));
    assert_eq!(step(&mut job, NOW, &state, stray), [], "the answer to another question");
    let versions = [2, 4, 0].map(GalleryVersion).to_vec();
    let given = Event::RosterAnswered(second, ME, seek::Answer::Gave(GalleryVersion(4)));
    let beside = Beside { versions: versions.clone(), given: BTreeMap::from([(1, ME)]) };
    let build = Effect::Build(GalleryVersion(3), People::OfReplica, beside, true);
    assert_eq!(step(&mut job, NOW, &state, given), [build]);
    step(&mut job, NOW, &state, Event::Built(Ok(())));
    step(&mut job, NOW, &state, Event::Kept(Ok(made())));
    let took = [2, 3].map(|node| Event::PushAnswered(NodeId(node), push::Answer::Took));
    let effects: Vec<Effect> = took.into_iter().flat_map(|event| step(&mut job, NOW, &state, event)).collect();
    let [.., Effect::Commit(commit)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(commit.made_from, Some(versions), "it is committed only on what it was made from");

    // Nobody gives them, and nobody has boarded: they are lost.
    let mut lost = begin();
    let mut effects = step(&mut lost, NOW, &state, Event::RosterAnswered(second, ME, seek::Answer::HasNone));
    for node in [2, 3, 4, 5] {
        let silent = Event::RosterAnswered(second, NodeId(node), seek::Answer::Silent);
        effects = step(&mut lost, NOW, &state, silent);
    }
    let beside = Beside { versions: [2, 1, 0].map(GalleryVersion).to_vec(), given: BTreeMap::new() };
    assert_eq!(effects, [Effect::Build(GalleryVersion(3), People::OfReplica, beside, true)]);
}
