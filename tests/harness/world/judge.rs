//! What is looked at while a world runs, and what is looked at in the end. A broken invariant is a panic that names it:
//! the runner catches it together with the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use cluster_config::decision::{Directive, Recording};
use cluster_config::gallery::GalleryId;
use cluster_config::gallery::Segment;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{
    ContentHash, DeviceId, EncounterId, Epoch, GalleryVersion, JourneyId, NodeId, RequestDigest,
};
use cluster_config::journey::JourneyStatus;
use cluster_config::limits::{PEER_FRAME_BYTES_MAX, SEARCHES_IN_FLIGHT_MAX};
use cluster_config::person::Person;
use cluster_config::policy::Policy;
use cluster_config::wire::gate::{Answer, Capture, Sample};
use cluster_config::wire::{Refusal, RefusalCode, codec};
use coordinator_core::placement::Change;
use coordinator_core::placement::check::Violation;
use coordinator_core::{Command, Outcome, State, galleries, journeys, placement, retention};
use node::door::entry::request_digest;
use node::gallery::segment;
use node_core::encounter::Route;

use super::World;
use super::content::Content;
use super::lists::Message;
use super::node::{Node, Status};
use super::people::People;
use super::raft::{Entry, Payload};
use crate::invariants::p1_exactly_once;
use crate::invariants::p10_clear_refusals;
use crate::invariants::reference::{self, Row};
use node_stage::guest::Guest;
use node_stage::oracle::{self, Asked, History, Kind};

/// What a request may take beyond its deadline before its node has answered, microseconds: one look for the leader, and
/// a turn of the loop.
const DEADLINE_SLACK_US: u64 = 30_000;

/// How long a replica can answer before an entry node that searches for it has to have found it, microseconds.
const FINDS_US: u64 = 500_000;

/// What the invariants know.
pub struct Judge {
    /// How often each invariant looked.
    pub looked: BTreeMap<&'static str, u64>,
    /// What clients asked and were told.
    pub history: History,
    gentle: bool,
    begun: Instant,
    policy: Policy,
    log: Vec<u32>,
    records: u64,
    owners: BTreeMap<(ShardId, Epoch), NodeId>,
    epochs: BTreeMap<(NodeId, ShardId), Epoch>,
    /// Shards that were placed before.
    placed: BTreeSet<ShardId>,
    /// Epochs in which an owner had no standby for a while.
    alone: BTreeSet<(ShardId, Epoch)>,
    /// Nodes that have ever had a version on their disk.
    keepers: BTreeMap<ContentHash, BTreeSet<NodeId>>,
    segments: BTreeMap<ContentHash, Rc<Vec<Row>>>,
    /// Versions that are made of people alone, before their journey's time.
    bare: BTreeSet<ContentHash>,
    committed: BTreeMap<ShardId, Vec<(GalleryVersion, u64, ContentHash)>>,
    /// The oldest version of each shard that an entry node asked for; of a part that one did not ask for, version 0.
    oldest: BTreeMap<EncounterId, BTreeMap<ShardId, GalleryVersion>>,
    people: People,
    /// Journeys that were announced before anybody had told the time.
    pub(super) untimed: BTreeSet<JourneyId>,
    /// Journeys that were announced one by one.
    announced: BTreeSet<JourneyId>,
    /// What is recorded under each encounter's id.
    requests: BTreeMap<EncounterId, RequestDigest>,
    calm_since_us: BTreeMap<NodeId, u64>,
    now_us: u64,
}

impl Judge {
    /// A judge of a world that keeps this policy.
    pub fn new(policy: Policy, gentle: bool, content: &Content) -> Self {
        Self {
            people: People::new(content),
            looked: BTreeMap::new(),
            history: History::default(),
            gentle,
            begun: Instant::now(),
            policy,
            log: Vec::new(),
            records: 0,
            owners: BTreeMap::new(),
            epochs: BTreeMap::new(),
            placed: BTreeSet::new(),
            alone: BTreeSet::new(),
            keepers: BTreeMap::new(),
            segments: BTreeMap::new(),
            bare: BTreeSet::new(),
            committed: BTreeMap::new(),
            oldest: BTreeMap::new(),
            untimed: BTreeSet::new(),
            announced: BTreeSet::new(),
            requests: BTreeMap::new(),
            calm_since_us: BTreeMap::new(),
            now_us: 0,
        }
    }

    pub(super) fn look(&mut self, invariant: &'static str) {
        *self.looked.entry(invariant).or_default() += 1;
    }

    /// A node's state goes on from here: from its disk, or from a snapshot of the leader.
    pub fn started(&mut self, node: NodeId, _applied: u64) {
        self.epochs.retain(|(of, _), _| *of != node);
    }

    /// Entries that any node has applied.
    pub fn committed_entries(&self) -> u64 {
        self.log.len() as u64
    }

    /// Time goes on.
    pub fn time(&mut self, now_us: u64) {
        self.now_us = now_us;
    }

    /// A node has applied an entry.
    pub fn applied(
        &mut self,
        world: &World,
        node: &Node,
        index: u64,
        entry: &Entry,
        applied: Option<&(Command, Outcome)>,
        state: &State,
    ) {
        self.look("one log: every node applies the same, with the same outcome");
        let print = print(entry, applied);
        let place = index as usize - 1;
        match self.log.get(place) {
            Some(known) => assert_eq!(*known, print, "one log: node {} applied another entry {index}", node.id),
            None => {
                assert_eq!(place, self.log.len(), "one log: entry {index} was applied before the one before it");
                self.log.push(print);
                if let Some((command, outcome)) = applied {
                    if let Outcome::Refused(refusal) = outcome {
                        self.refused(refusal);
                    }
                    self.first_applied(world, command, outcome, state);
                }
            }
        }
        if let Some((Command::Placement(placement::Command::Change { changes, .. }), Outcome::Done)) = applied {
            for change in changes {
                self.placed(node.id, change);
            }
        }
    }

    fn placed(&mut self, node: NodeId, Change { shard, placement }: &Change) {
        self.look("P4: one owner an epoch, epochs rise");
        if placement.standbys.is_empty() {
            self.alone.insert((*shard, placement.epoch));
        }
        let owner = *self.owners.entry((*shard, placement.epoch)).or_insert(placement.owner);
        assert_eq!(owner, placement.owner, "P4: {shard} in epoch {} is owned by both", placement.epoch);
        let newest = self.epochs.entry((node, *shard)).or_default();
        assert!(placement.epoch >= *newest, "P4: {shard} went back to epoch {} at node {node}", placement.epoch);
        *newest = placement.epoch;
    }

    fn first_applied(&mut self, world: &World, command: &Command, outcome: &Outcome, state: &State) {
        match (command, outcome) {
            (Command::Galleries(galleries::Command::Commit(commit)), Outcome::Done) => {
                self.look("P4: only the owner of the present epoch commits a version");
                let placement = state.placement(commit.shard);
                let owner = placement.map(|placement| (placement.owner, placement.epoch));
                let place = format!("{} version {} by node {}", commit.shard, commit.version, commit.node);
                assert_eq!(owner, Some((commit.node, commit.epoch)), "P4: fencing: {place} is committed");
                self.held(commit);
                self.committed_in_time(commit.shard, commit.is_built, state);
                self.bare.extend((!commit.is_built).then_some(commit.hash));
                let versions = self.committed.entry(commit.shard).or_default();
                if versions.last().is_none_or(|(version, ..)| *version < commit.version) {
                    versions.push((commit.version, self.now_us, commit.hash));
                }
            }
            (Command::Ledger(_), Outcome::Recorded(_)) => {
                self.look("P1: nothing is recorded of a closed journey");
                self.recorded(state);
            }
            (Command::Journeys(journeys::Command::Open(plan)), Outcome::Done) => {
                self.untimed.extend((state.clock().now().0 == 0).then_some(plan.id));
                self.announced.insert(plan.id);
            }
            (Command::Journeys(journeys::Command::OpenAll(plans)), Outcome::Refused(_)) => {
                self.look("P10: the journeys of a file are announced together or not at all");
                for plan in plans.iter().filter(|plan| !self.announced.contains(&plan.id)) {
                    let known = state.journeys().get(plan.id);
                    assert!(known.is_none(), "P10: {} is announced by a file that was refused", plan.id);
                }
            }
            (Command::Placement(placement::Command::Change { changes, .. }), Outcome::Done) => {
                for change in changes {
                    self.zones(world, change, state);
                }
            }
            (Command::Retention(retention::Command::Receipt { shard, node, .. }), Outcome::Done) => {
                self.put_apart(world.node(*node), *shard);
                self.purged(world, shard.searched().gallery, state);
            }
            (Command::Journeys(journeys::Command::Purge(journey)), Outcome::Done) => {
                self.purge_begun(world.purging.borrow().contains(journey), *journey, state);
                self.purged(world, GalleryId::passengers(*journey), state);
            }
            (Command::Journeys(journeys::Command::Close(journey)), Outcome::Done) => {
                self.purged(world, GalleryId::passengers(*journey), state);
            }
            _ => {}
        }
    }

    /// What is committed outlives its owner: where there were standbys, one of them has it on its disk.
    fn held(&mut self, commit: &galleries::Commit) {
        if self.alone.contains(&(commit.shard, commit.epoch)) {
            return;
        }
        self.look("P3: a version is committed once a standby has it");
        let keepers = self.keepers.get(&commit.hash).into_iter().flatten();
        let place = format!("{} version {}", commit.shard, commit.version);
        let others = keepers.filter(|node| **node != commit.node).count();
        assert!(others > 0, "P3: {place} is committed, and only its owner, node {}, ever had it", commit.node);
    }

    /// Looks at what an entry has added to the ledger.
    fn recorded(&mut self, state: &State) {
        for position in self.records..state.ledger().len() {
            let Some(record) = state.ledger().get(position) else { continue };
            let open = state.takes(record.gallery);
            assert!(open, "P1: encounter {} is recorded, and its journey is closed", record.encounter);
            self.requests.insert(record.encounter, record.request);
            self.look("P4: nothing is recorded below the committed version");
            let committed = state.fence(record.gallery);
            assert!(!record.fence.is_behind(committed), "P4: {record:?} is recorded, and {committed:?} is committed");
            if record.directive == Directive::Proceed {
                self.people.boarded(record);
            }
        }
        self.records = state.ledger().len();
    }

    /// A new shard's replicas stand in different zones where enough nodes of different zones have been well for a
    /// while.
    fn zones(&mut self, world: &World, change: &Change, state: &State) {
        // Later a replica more stands somewhere while the shard moves.
        if !self.placed.insert(change.shard) || change.placement.standbys.is_empty() {
            return;
        }
        let well = |node: &&Node| {
            let since = self.calm_since_us.get(&node.id).copied();
            since.is_some_and(|since| since + 3_000_000 < self.now_us)
                && state.members().get(node.id).is_some_and(|member| !member.draining)
        };
        let zones: BTreeSet<_> = world.nodes.values().filter(well).map(|node| node.zone).collect();
        if zones.len() < 3 || world.is_struck() {
            return;
        }
        self.look("placement: replicas of a new shard stand in different zones");
        let replicas: Vec<NodeId> = change.placement.replicas().collect();
        let used: BTreeSet<_> = replicas.iter().map(|id| world.node(*id).zone).collect();
        let wanted = replicas.len().min(zones.len());
        assert!(used.len() >= wanted, "placement: {} stands at {replicas:?}, in {} zones", change.shard, used.len());
    }

    /// A node destroys its copy of an open gallery.
    pub fn keeps_a_copy(&mut self, node: NodeId, shard: ShardId, is_kept: bool) {
        self.look("P1: nobody destroys the last copy of an open gallery");
        assert!(is_kept, "P1: node {node} destroys the last copy of {shard}, which is open");
    }

    /// A gallery that is called purged is held by nobody who has not given a receipt.
    fn purged(&mut self, world: &World, gallery: GalleryId, state: &State) {
        let status = state.galleries().get(gallery).map(|gallery| gallery.status());
        if status != Some(JourneyStatus::Purged) {
            return;
        }
        self.look("P6: a purged journey is held by nobody without a receipt");
        for (shard, committed) in state.galleries().shards(gallery) {
            for node in world.nodes.values() {
                let held = node.disk.borrow().shards();
                let holds = held.contains(&shard) || shard.kept().is_some_and(|apart| held.contains(&apart));
                let receipt = committed.receipts.contains_key(&node.id);
                assert!(!holds || receipt, "P6: {shard} is purged, and node {} still holds it", node.id);
            }
        }
    }

    /// The planner proposed what its own check refuses.
    pub fn planner_broke(&mut self, violation: &Violation) -> ! {
        panic!("placement: the planner made a blueprint that breaks a rule: {violation}");
    }

    /// Looks at how much waits on a node.
    pub fn queues(&mut self, node: &Node, tasks: usize) {
        self.look("P9: no queue grows without bound");
        let records = |process: &super::node::Process| process.to_log.waiting() + process.to_leader.waiting();
        let waiting = node.with(|process| process.waiting.len() + records(process)).unwrap_or_default();
        let bound = SEARCHES_IN_FLIGHT_MAX;
        assert!(tasks < bound && waiting < bound, "P9: node {} has {tasks} tasks and {waiting} proposals", node.id);
        if !self.calm_since_us.contains_key(&node.id) {
            self.calm_since_us.insert(node.id, self.now_us);
        }
    }

    /// A node is struck, or comes back.
    pub fn not_calm(&mut self, node: NodeId) {
        self.calm_since_us.remove(&node);
    }

    /// An entry node that was not struck meanwhile has answered.
    pub fn entry_took(&mut self, node: &Node, took_us: u64, wait_us: u64) {
        let calm = self.calm_since_us.get(&node.id).is_some_and(|since| since + took_us < self.now_us);
        if calm {
            self.look("P9: an accepted request is answered by its deadline");
            let late = took_us > wait_us + DEADLINE_SLACK_US;
            assert!(!late, "P9: node {} took {took_us} us for a request of {wait_us} us", node.id);
        }
    }

    /// An entry node has answered. Every part of the gallery that it searched has had a replica for so long that could
    /// have answered, where the node itself takes it to be.
    pub fn entry_answered(&mut self, node: &Node, answerable_since_us: Option<u64>, answer: &Result<Answer, Refusal>) {
        let calm_since_us = self.calm_since_us.get(&node.id);
        let (Some(since_us), Some(calm_since_us)) = (answerable_since_us, calm_since_us) else { return };
        let answerable_us = self.now_us - since_us.max(*calm_since_us);
        if answerable_us < FINDS_US {
            return;
        }
        self.look("P3: an entry node finds a replica that can answer");
        if let Err(refusal) = answer
            && refusal.code.retryable()
        {
            panic!("P3: node {} could have been answered for {answerable_us} us, and refuses: {refusal}", node.id);
        }
    }

    /// A gate has asked once. `closing` says that its journey is being closed, `repeats` that it took the id of another
    /// request: both are reasons to refuse.
    pub fn asked(&mut self, took_us: u64, closing: bool, repeats: bool, outcome: &oracle::Outcome) {
        self.look("P3: a gate knows by the deadline where it stands");
        assert!(took_us <= 2_000_000 + DEADLINE_SLACK_US, "P3: a gate waited {took_us} us");
        if self.gentle {
            self.look("P3: one blow at a time fails no request");
            if let oracle::Outcome::Refused(refusal) = outcome
                && !(closing && refusal.code == RefusalCode::NotOpen)
                && !repeats
            {
                panic!("P3: a gate was refused: {refusal}");
            }
            if let oracle::Outcome::Unknown(reason) = outcome {
                panic!("P3: a gate was not answered: {reason}");
            }
        }
    }

    /// Somebody is refused: a gate, a node, or who proposed a command.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.look("P10: a refusal says where, what is wrong, and what to do");
        if let Some(why) = p10_clear_refusals::unclear(refusal) {
            panic!("P10: {why}: {refusal:?}");
        }
    }

    /// A node has a version on its disk.
    pub fn kept(&mut self, node: NodeId, hash: ContentHash) {
        self.keepers.entry(hash).or_default().insert(node);
    }

    /// A shard's version was made.
    pub fn built(&mut self, made: &Segment) {
        let loaded = segment::decode(made, None).expect("what was built reads");
        let row = |(owner, values): (usize, &[f32])| {
            let enrolled = &loaded.head.people[owner];
            Row {
                subject: enrolled.subject,
                manifest_ordinal: enrolled.person.manifest_ordinal,
                in_scope: enrolled.in_scope,
                values: values.to_vec(),
            }
        };
        let rows: Vec<Row> = loaded.templates().map(row).collect();
        self.people.built(made.hash, &loaded, &rows);
        self.segments.insert(made.hash, Rc::new(rows));
    }

    /// A gallery was not built. That its journey is not open is no answer while it is: who submits would give up.
    pub fn not_built(&mut self, message: &Message, refusal: &Refusal, closing: bool) {
        self.refused(refusal);
        self.look("P10: no gallery of an open journey is refused because the journey is not open");
        assert!(closing || refusal.code != RefusalCode::NotOpen, "P10: a journey is open, and yet: {refusal}");
        let right = refusal.code != RefusalCode::BadValue || message.is_unclear;
        assert!(right, "P10: a message that can be followed is refused: {refusal}");
    }

    /// A message was followed, or refused because nobody can say who is meant.
    pub fn submitted(&mut self, flight: usize, message: &Message) {
        self.look("a manifest that was taken is committed");
        let mut galleries = Vec::new();
        for part in 0..message.plan.parts {
            let shard = message.shard(part);
            let newest = self.committed.get(&shard).and_then(|versions| versions.last());
            let (.., hash) =
                newest.unwrap_or_else(|| panic!("{shard} was answered as built, and nothing is committed"));
            galleries.push((*hash, self.segments[hash].clone()));
        }
        if galleries.iter().any(|(hash, _)| self.bare.contains(hash)) {
            return;
        }
        self.look("P15: who is expected is in one part of the gallery, and nobody else is");
        self.people.are_expected(flight, message, &galleries);
    }

    /// An entry node asks for these versions at least on behalf of a capture: what it knew to be committed. An answer
    /// from an older one than any entry node asked for is wrong.
    pub fn demanded(&mut self, encounter: EncounterId, shards: &[Route]) {
        let is_first = !self.oldest.contains_key(&encounter);
        let oldest = self.oldest.entry(encounter).or_default();
        for (shard, known) in oldest.iter_mut() {
            let asked = shards.iter().find(|(other, ..)| other == shard);
            *known = asked.map_or(GalleryVersion(0), |(_, version, _)| *version.min(known));
        }
        for (shard, version, _) in shards {
            oldest.entry(*shard).or_insert(if is_first { *version } else { GalleryVersion(0) });
        }
    }

    /// A capture was presented, perhaps several times, and this came of it.
    #[expect(clippy::too_many_arguments, reason = "one request has so many sides")]
    pub fn told(
        &mut self,
        content: &Content,
        kind: Kind,
        flight: usize,
        guest: Option<usize>,
        (gate, capture): (DeviceId, Capture),
        begun_us: u64,
        took_us: u64,
        outcome: oracle::Outcome,
    ) {
        if let oracle::Outcome::Answered(answer) = &outcome {
            assert_eq!(answer.encounter, capture.encounter, "an answer names another encounter");
            self.entitled(gate, &capture, answer);
            self.true_answer(&capture, answer);
        }
        self.oldest.remove(&capture.encounter);
        let confirmed = outcome.answer().and_then(|answer| answer.confirmed);
        let guests = &content.flights[flight].guests;
        // Who it is, is judged by the reference matcher; the ledger is held against what the gate was told.
        let matched = confirmed.and_then(|confirmed| self.people.of(capture.journey, confirmed.subject));
        let number = confirmed.map_or(0, |confirmed| confirmed.manifest_ordinal);
        let who = matched.or(guest).map(|guest| {
            let guest = &guests[guest].0;
            Guest { person: Person { manifest_ordinal: number, ..guest.person.clone() }, ..guest.clone() }
        });
        self.history.add(oracle::Entry {
            kind,
            journey: capture.journey,
            who,
            encounter: capture.encounter,
            asked: Asked::of(gate.as_str(), &capture),
            begun: self.begun + Duration::from_micros(begun_us),
            took: Duration::from_micros(took_us),
            outcome,
        });
    }

    /// An encounter's record answers nothing but the request that it is of.
    fn entitled(&mut self, gate: DeviceId, capture: &Capture, answer: &Answer) {
        let stored = self.requests.get(&capture.encounter).copied();
        let Some(stored) = stored.filter(|_| answer.recording == Recording::Committed) else { return };
        self.look("P12: an answer of the ledger goes to the request that it is of");
        let entitled = stored == request_digest(capture, gate);
        assert!(entitled, "P12: {answer:?} was given to {gate}, and another request is recorded under its id");
    }

    fn true_answer(&mut self, capture: &Capture, answer: &cluster_config::wire::gate::Answer) {
        self.look("P5: the answer is the reference matcher's for a version of the request's window");
        let Sample::Template { values, .. } = &capture.sample;
        let oldest = self.oldest.get(&capture.encounter).cloned().unwrap_or_default();
        let mut parts: Vec<Vec<(GalleryVersion, Rc<Vec<Row>>)>> = Vec::new();
        for (shard, versions) in self.committed.iter().filter(|(shard, _)| shard.journey() == Some(capture.journey)) {
            let from = oldest.get(shard).copied().unwrap_or_default();
            let possible = versions.iter().filter(|(version, ..)| *version >= from);
            let mut part: Vec<_> =
                possible.filter_map(|(v, _, hash)| Some((*v, self.segments.get(hash)?.clone()))).collect();
            if from == GalleryVersion(0) {
                // The gallery has grown by it meanwhile: who asked before searched the other parts alone.
                part.push((GalleryVersion(u32::MAX), Rc::default()));
            }
            parts.push(part);
        }
        let mut mixes: Vec<(GalleryVersion, Vec<&Row>)> = vec![(GalleryVersion(u32::MAX), Vec::new())];
        for part in &parts {
            let mut longer = Vec::new();
            for (lowest, rows) in &mixes {
                for (version, more) in part {
                    longer.push((*version.min(lowest), rows.iter().copied().chain(more.iter()).collect()));
                }
            }
            mixes = longer;
        }
        let right = mixes.iter().any(|(version, rows)| {
            *version == answer.gallery_version
                && reference::allows(
                    &reference::decisions(&self.policy.matching, rows, values, capture.attempt),
                    answer,
                )
        });
        let versions: Vec<u32> = mixes.iter().map(|(version, _)| version.0).collect();
        assert!(right, "P5: {answer:?} is not what the versions {versions:?} give");
    }

    /// Everything has come to its end.
    pub fn settled(&mut self, left: Option<String>) {
        self.look("liveness: once healed, all that was begun comes to its end");
        assert!(left.is_none(), "liveness: long after the world was healed, {}", left.unwrap_or_default());
    }

    /// What holds in the end, of every node.
    pub fn finish(&mut self, world: &World) {
        let nodes: Vec<&Node> = world.nodes.values().filter(|node| node.status.get() != Status::Lost).collect();
        let lost: BTreeSet<NodeId> =
            world.nodes.values().filter(|node| node.status.get() == Status::Lost).map(|node| node.id).collect();
        let first = nodes[0].state(Clone::clone).expect("it runs");
        for node in &nodes {
            self.look("all nodes have the same state in the end");
            let same = node.state(|state| *state == first) == Some(true);
            assert!(same, "nodes {} and {} have different states in the end", nodes[0].id, node.id);
            self.look("P6: in the end no disk holds anything of a closed journey");
            let kept = node.disk.borrow().shards();
            assert!(kept.is_empty(), "P6: node {} still holds {kept:?}", node.id);
            // Who has asked a node that is lost still waits for it.
            let tasks = world.executor.tasks_of(node.id);
            assert!(tasks < 32, "P9: node {} has {tasks} tasks in the end", node.id);
        }
        for (id, gallery) in first.galleries().iter() {
            self.look("P6: every purge is complete");
            let left = gallery.parts().iter().flat_map(|part| part.holders.iter().chain(&part.keepers));
            let left: BTreeSet<NodeId> = left.copied().collect();
            assert!(left.is_subset(&lost), "P6: {} waits for the receipts of {left:?}", id);
        }
        self.look("P1: exactly once");
        let ledger = first.ledger().len();
        let records =
            (0..ledger).filter_map(|position| first.ledger().get(position).map(|record| record.exported(position)));
        p1_exactly_once::check(&self.history, &records.collect::<Vec<_>>());
    }

    /// Counts of what clients were told.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        let mut add = |name, by: bool| *counts.entry(name).or_default() += u64::from(by);
        for entry in self.history.entries() {
            add("requests", true);
            add("boardings", entry.kind == Kind::Board);
            let answer = entry.outcome.answer();
            add("proceeds", answer.is_some_and(|answer| answer.directive == Directive::Proceed));
            add("requests without an answer", matches!(entry.outcome, oracle::Outcome::Unknown(_)));
            add("requests refused", matches!(entry.outcome, oracle::Outcome::Refused(_)));
        }
        add("entries committed", false);
        *counts.entry("entries committed").or_default() += self.log.len() as u64;
        counts
    }
}

/// A print of an entry and its outcome.
fn print(entry: &Entry, applied: Option<&(Command, Outcome)>) -> u32 {
    let outcome = applied.map(|(_, outcome)| outcome);
    let mut bytes = codec::encode(&outcome, PEER_FRAME_BYTES_MAX).expect("an outcome encodes");
    bytes.extend(entry.term.to_le_bytes());
    if let Payload::Command(command) = &*entry.payload {
        bytes.extend(command);
    }
    super::trace::checksum(&bytes)
}
