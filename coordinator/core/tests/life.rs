//! A journey's life: announced, built in its time, closed, kept in part, destroyed, a line of it (P6, P13; F7, F14).

use std::collections::BTreeSet;

use cluster_config::actor::{Actor, Revoked};
use cluster_config::canary::Canaries;
use cluster_config::device::{Device, DeviceKind, Ownership, Place, Touchpoint};
use cluster_config::gallery::{GalleryCounts, GalleryId, Modality, ShardId};
use cluster_config::ids::{ContentHash, EncounterId, Epoch, GalleryVersion, JourneyId, NodeId, UnixMs};
use cluster_config::journey::{JourneyPlan, JourneyStatus, NextStatus};
use cluster_config::member::Member;
use cluster_config::policy::{Policy, Retention};
use cluster_config::wire::{RefusalCode, codec};
use coordinator_core::journeys::Command;
use coordinator_core::placement::{Change, Placement};
use coordinator_core::{
    Outcome, Record, RecordOutcome, State, clock, devices, galleries, membership, placement, policy, retention,
    revocations, upkeep,
};

mod support;
use support::{apply, plan};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const NOW: UnixMs = UnixMs(1_800_000_000_000);
const BOTH: [NodeId; 2] = [NodeId(1), NodeId(2)];

fn departing(number: u64, departs_at: u64) -> JourneyPlan {
    JourneyPlan { departs_at: UnixMs(departs_at), ..plan(number) }
}

fn shard(journey: JourneyId) -> ShardId {
    ShardId { gallery: GalleryId::passengers(journey), modality: Modality::Face, model: support::model(), part: 0 }
}

fn kept(journey: JourneyId) -> ShardId {
    shard(journey).kept().expect("a journey's")
}

/// Two nodes, and the time is told.
fn state() -> State {
    let mut state = State::default();
    for id in BOTH {
        let (address, zone) = (format!("10.0.0.{id}:7100"), "a".parse().expect("a zone"));
        apply(&mut state, membership::Command::Register(Member { id, address, zone }));
    }
    advance(&mut state, NOW.0);
    state
}

fn advance(state: &mut State, to: u64) {
    assert_eq!(apply(state, clock::Command::Advance(UnixMs(to))), Outcome::Done);
}

/// Announces a journey and places its gallery.
fn announce(state: &mut State, plan: JourneyPlan) {
    let shard = shard(plan.id);
    assert_eq!(apply(state, Command::Open(plan)), Outcome::Done);
    let placement = Placement { epoch: Epoch(1), owner: NodeId(1), standbys: vec![NodeId(2)], rosters: Vec::new() };
    let parent = state.blueprint().generation();
    let changes = vec![Change { shard, placement }];
    assert_eq!(apply(state, placement::Command::Change { parent, changes }), Outcome::Done);
}

fn commit(state: &mut State, journey: JourneyId, is_built: bool) -> Outcome {
    let version = state.part(shard(journey)).map_or(0, |part| part.version.0) + 1;
    let rows = if is_built { 15 } else { 0 };
    let commit = galleries::Commit {
        shard: shard(journey),
        epoch: Epoch(1),
        node: NodeId(1),
        version: GalleryVersion(version),
        hash: ContentHash([version as u8; 32]),
        manifest: ContentHash([1; 32]),
        counts: GalleryCounts { people: 10, rows, without_photo: 0 },
        loss: None,
        made_from: None,
        numbered_by: ContentHash([1; 32]),
        is_built,
    };
    apply(state, galleries::Command::Commit(commit))
}

fn receipt(state: &mut State, shard: ShardId, node: NodeId, keeps: bool) {
    assert_eq!(apply(state, retention::Command::Receipt { shard, node, keeps }), Outcome::Done);
}

fn due(state: &State) -> Vec<coordinator_core::Command> {
    upkeep::due(state, None, Canaries::default())
}

fn is_conflict(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(refusal) if refusal.code == RefusalCode::Conflict)
}

#[test]
fn a_journey_goes_from_phase_to_phase_by_the_states_time_and_only_a_line_is_left() {
    let mut state = state();
    let departs_at = NOW.0 + 3 * DAY_MS;
    let id = plan(1).id;
    announce(&mut state, departing(1, departs_at));
    let next = |status, at| Some(NextStatus { status, at: UnixMs(at) });
    assert_eq!(state.status(id), Some(JourneyStatus::Announced));
    assert_eq!(state.next_status(id), next(JourneyStatus::Building, departs_at - DAY_MS));
    assert!(is_conflict(&commit(&mut state, id, true)), "R36: it is too early for templates");
    assert_eq!(commit(&mut state, id, false), Outcome::Done, "its people are kept");
    assert!(is_conflict(&apply(&mut state, Command::Build { journey: id, early: false })));
    advance(&mut state, departs_at - DAY_MS - 1);
    assert_eq!(due(&state), []);

    advance(&mut state, departs_at - DAY_MS);
    let build = Command::Build { journey: id, early: false };
    assert_eq!(due(&state), [build.clone().into()]);
    assert_eq!(apply(&mut state, build.clone()), Outcome::Done);
    assert_eq!(apply(&mut state, build), Outcome::Done, "a repeat");
    assert_eq!(state.status(id), Some(JourneyStatus::Building));
    assert!(is_conflict(&commit(&mut state, id, false)), "it is time for templates");
    assert_eq!(commit(&mut state, id, true), Outcome::Done);
    assert_eq!(state.next_status(id), next(JourneyStatus::Closed, departs_at + DAY_MS));

    advance(&mut state, departs_at + DAY_MS);
    assert_eq!(due(&state), [Command::Close(id).into()]);
    assert_eq!(apply(&mut state, Command::Close(id)), Outcome::Done);
    assert!(state.blueprint().is_empty(), "nobody is to search it");
    let record = Record::waiting(EncounterId(1), id, "JFK-B1".parse().expect("a device"), NOW);
    let recorded = apply(&mut state, coordinator_core::Command::record(vec![record]));
    assert_eq!(recorded, Outcome::Recorded(vec![RecordOutcome::NotOpen]));
    receipt(&mut state, shard(id), NodeId(1), true);
    receipt(&mut state, shard(id), NodeId(2), false);
    assert_eq!(state.status(id), Some(JourneyStatus::Closed), "node 1 keeps those who are no citizens");
    assert_eq!(state.next_status(id), next(JourneyStatus::Purging, departs_at + 14 * DAY_MS));
    advance(&mut state, departs_at + 14 * DAY_MS - 1);
    assert_eq!(due(&state), []);

    advance(&mut state, departs_at + 14 * DAY_MS);
    assert_eq!(due(&state), [Command::Purge(id).into()]);
    assert_eq!(apply(&mut state, Command::Purge(id)), Outcome::Done);
    assert_eq!(state.status(id), Some(JourneyStatus::Purging));
    assert!(is_conflict(&apply(&mut state, Command::Forget(id))), "node 1 has not answered");
    receipt(&mut state, kept(id), NodeId(1), false);
    receipt(&mut state, shard(id), NodeId(1), true);
    assert_eq!(state.status(id), Some(JourneyStatus::Purged), "a receipt that comes twice brings nothing back");

    assert_eq!(due(&state), [Command::Forget(id).into()]);
    assert_eq!(apply(&mut state, Command::Forget(id)), Outcome::Done);
    assert!(state.journeys().is_empty() && state.galleries().iter().next().is_none());
    let line = state.journeys().ended(id).expect("a line");
    assert_eq!((line.people, line.boarded, line.receipts, line.attested), (10, 0, 2, 0));
    assert_eq!(line.closed_at, UnixMs(departs_at + DAY_MS));
    for again in [Command::Close(id), Command::Purge(id), Command::Forget(id)] {
        assert_eq!(apply(&mut state, again), Outcome::Done, "a repeat");
    }
    let opened = apply(&mut state, Command::Open(departing(1, departs_at)));
    assert!(matches!(opened, Outcome::Refused(refusal) if refusal.code == RefusalCode::NotOpen));
}

#[test]
fn within_its_time_a_journey_is_built_at_once_and_nothing_is_kept_where_nothing_was_built() {
    let mut state = state();
    announce(&mut state, departing(1, NOW.0 + DAY_MS));
    assert_eq!(state.status(plan(1).id), Some(JourneyStatus::Building));
    announce(&mut state, departing(2, NOW.0 + DAY_MS + 1));
    let id = plan(2).id;
    assert_eq!(state.status(id), Some(JourneyStatus::Announced));
    // A newer list has it depart earlier.
    let newer = JourneyPlan { manifest: ContentHash([9; 32]), ..departing(2, NOW.0 + HOUR_MS) };
    assert_eq!(apply(&mut state, Command::Open(newer)), Outcome::Done);
    assert_eq!(state.status(id), Some(JourneyStatus::Building));
    announce(&mut state, departing(3, NOW.0 + 9 * DAY_MS));
    let id = plan(3).id;
    assert_eq!(apply(&mut state, Command::Build { journey: id, early: true }), Outcome::Done);
    assert_eq!(state.status(id), Some(JourneyStatus::Building), "somebody wants it so");
    assert_eq!(apply(&mut state, Command::Close(id)), Outcome::Done);
    assert_eq!(state.status(id), Some(JourneyStatus::Purging), "there is no template to keep");
    for node in BOTH {
        receipt(&mut state, shard(id), node, false);
    }
    assert_eq!(state.status(id), Some(JourneyStatus::Purged));
}

#[test]
fn a_policy_may_keep_nothing_and_a_purge_waits_for_those_who_keep_something() {
    let mut state = state();
    let retention = Retention { purge_after_hours: 0, ..Retention::default() };
    for (number, status) in [(1, JourneyStatus::Closed), (2, JourneyStatus::Purging)] {
        announce(&mut state, departing(number, NOW.0));
        let id = plan(number).id;
        assert_eq!(commit(&mut state, id, true), Outcome::Done);
        assert_eq!(apply(&mut state, Command::Close(id)), Outcome::Done);
        assert_eq!(state.status(id), Some(status));
        let nothing = Policy { version: 2, retention: retention.clone(), ..Policy::default() };
        assert_eq!(apply(&mut state, policy::Command::Set(nothing)), Outcome::Done);
    }
    // Of the first journey one node has put a part apart, and the other one is at it.
    let id = plan(1).id;
    receipt(&mut state, shard(id), NodeId(1), true);
    assert_eq!(apply(&mut state, Command::Purge(id)), Outcome::Done);
    receipt(&mut state, shard(id), NodeId(2), true);
    for node in BOTH {
        assert_eq!(state.status(id), Some(JourneyStatus::Purging));
        receipt(&mut state, kept(id), node, false);
    }
    assert_eq!(state.status(id), Some(JourneyStatus::Purged));
}

#[test]
fn an_operators_word_stands_for_what_a_lost_node_kept() {
    let mut state = state();
    announce(&mut state, departing(1, NOW.0));
    let id = plan(1).id;
    commit(&mut state, id, true);
    apply(&mut state, Command::Close(id));
    BOTH.into_iter().for_each(|node| receipt(&mut state, shard(id), node, true));
    apply(&mut state, Command::Purge(id));
    receipt(&mut state, kept(id), NodeId(1), false);
    apply(&mut state, membership::Command::Remove(NodeId(2)));
    assert_eq!(apply(&mut state, retention::Command::Attest(NodeId(2))), Outcome::Done);
    assert_eq!(state.status(id), Some(JourneyStatus::Purged));
    advance(&mut state, NOW.0 + HOUR_MS);
    assert_eq!(apply(&mut state, Command::Forget(id)), Outcome::Done);
    assert_eq!(state.journeys().ended(id).map(|line| (line.receipts, line.attested)), Some((2, 1)));
}

/// F7, F14: what grew with every journey for ever.
#[test]
fn a_line_is_small_and_goes_when_its_time_is_over() {
    let mut state = state();
    let bytes = |state: &State| codec::encode(&state.freeze(), usize::MAX).expect("encodes").len();
    let before = bytes(&state);
    const COUNT: usize = 1_000;
    for number in 1..=COUNT as u64 {
        announce(&mut state, departing(number, NOW.0));
        let id = plan(number).id;
        apply(&mut state, Command::Purge(id));
        BOTH.into_iter().for_each(|node| receipt(&mut state, shard(id), node, false));
    }
    advance(&mut state, NOW.0 + HOUR_MS);
    while let Some(next) = due(&state).first() {
        assert_eq!(apply(&mut state, next.clone()), Outcome::Done);
    }
    assert_eq!((state.journeys().len(), state.journeys().lines().count()), (0, COUNT));
    let each = (bytes(&state) - before) / COUNT;
    assert!(each <= 64, "{each} bytes of each journey");
    let kept_ms = u64::from(state.policy().retention.journey_line_days) * DAY_MS;
    advance(&mut state, NOW.0 + kept_ms - 1);
    assert_eq!(due(&state), []);
    advance(&mut state, NOW.0 + kept_ms);
    assert_eq!(due(&state), [Command::ForgetLines.into()]);
    assert_eq!(apply(&mut state, Command::ForgetLines), Outcome::Done);
    assert_eq!(state.journeys().lines().count(), 0);
    assert_eq!(due(&state), []);
}

/// F14: what is over leaves the state, and a certificate that may still be valid stays revoked.
#[test]
fn retired_devices_and_revocations_of_expired_certificates_go_and_those_of_names_stay() {
    let mut state = state();
    let device = Device {
        id: "G1".parse().expect("a name"),
        place: Place { port: "JFK".parse().expect("a port"), terminal: None, gate: None, lane: None },
        owner: "AA".parse().expect("a name"),
        ownership: Ownership::Partner,
        kind: DeviceKind::GateCamera,
        touchpoints: BTreeSet::from([Touchpoint::Boarding]),
    };
    let other = Device { id: "G2".parse().expect("a name"), ..device.clone() };
    let (certificate, name) = (Revoked::Certificate(ContentHash([1; 32])), Revoked::Name(Actor::node(NodeId(9))));
    apply(&mut state, devices::Command::Register(vec![device.clone(), other]));
    apply(&mut state, devices::Command::Retire(device.id));
    for what in [certificate, name] {
        apply(&mut state, revocations::Command::Revoke(what));
    }
    let days = |days: u32| NOW.0 + u64::from(days) * DAY_MS;
    let Retention { retired_device_days, revocation_days, .. } = state.policy().retention.clone();
    assert_eq!(retired_device_days, revocation_days);
    advance(&mut state, days(revocation_days) - 1);
    assert_eq!(due(&state), []);
    advance(&mut state, days(revocation_days));
    let both: [coordinator_core::Command; 2] = [devices::Command::Forget.into(), revocations::Command::Forget.into()];
    assert_eq!(due(&state), both);
    for command in both {
        apply(&mut state, command);
    }
    assert_eq!(state.devices().iter().map(|known| known.device.id.to_string()).collect::<Vec<_>>(), ["G2"]);
    assert_eq!(state.revocations().iter().map(|one| one.what).collect::<Vec<_>>(), [name]);
    assert_eq!(due(&state), []);
}

/// Numbers that are the same on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Whatever happens in whatever order, no phase comes back, nothing is destroyed before its time, and everything after.
#[test]
fn phases_only_go_on_and_nothing_is_destroyed_before_its_time() {
    for seed in 0..300 {
        let (mut dice, mut state, mut now) = (Dice(seed), state(), NOW.0);
        let departs_at = NOW.0 + dice.below(72) * HOUR_MS;
        let (id, mut is_wanted, mut was) = (plan(1).id, false, JourneyStatus::Announced);
        announce(&mut state, departing(1, departs_at));
        for _ in 0..60 {
            match dice.below(9) {
                0..3 => {
                    now += dice.below(40) * HOUR_MS;
                    advance(&mut state, now);
                }
                3..5 => due(&state).into_iter().for_each(|command| {
                    apply(&mut state, command);
                }),
                5 => drop(commit(&mut state, id, dice.below(2) == 0)),
                6 if dice.below(8) == 0 => drop(apply(&mut state, Command::Close(id))),
                7 if dice.below(20) == 0 => {
                    is_wanted = true;
                    apply(&mut state, Command::Purge(id));
                }
                _ => {
                    let (node, keeps) = (BOTH[dice.below(2) as usize], dice.below(2) == 0);
                    let part = state.part(shard(id));
                    let owes = |of: ShardId| state.placement(of).is_none() && part.is_some();
                    let of = if dice.below(2) == 0 { shard(id) } else { kept(id) };
                    if owes(of) && (of == shard(id) || part.is_some_and(|part| part.keepers.contains(&node))) {
                        receipt(&mut state, of, node, keeps && of == shard(id));
                    }
                }
            }
            let Some(status) = state.status(id) else { break };
            assert!(status >= was, "seed {seed}: {was:?} became {status:?}");
            let was_built = state.part(shard(id)).is_some_and(|part| part.is_built);
            if status == JourneyStatus::Purging && was_built {
                let is_due = now >= departs_at + 14 * DAY_MS;
                assert!(
                    is_wanted || is_due,
                    "seed {seed}: destroyed {} h early",
                    (departs_at + 14 * DAY_MS - now) / HOUR_MS
                );
            }
            assert_eq!(state.is_open(id), !state.blueprint().is_empty(), "seed {seed}: {status:?}");
            was = status;
        }
        advance(&mut state, departs_at + 20 * DAY_MS);
        for _ in 0..8 {
            due(&state).into_iter().for_each(|command| drop(apply(&mut state, command)));
            BOTH.into_iter().for_each(|node| receipt(&mut state, shard(id), node, true));
            due(&state).into_iter().for_each(|command| drop(apply(&mut state, command)));
            BOTH.into_iter().for_each(|node| receipt(&mut state, kept(id), node, false));
        }
        assert!(state.journeys().ended(id).is_some(), "seed {seed}: {:?} in the end", state.status(id));
        assert!(state.journeys().is_empty());
    }
}
