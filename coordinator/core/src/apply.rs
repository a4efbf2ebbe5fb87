//! Applying a command: total (every command has an outcome), clock-free and the same on every node.

use cluster_config::canary::{Canary, planted};
use cluster_config::ids::{Epoch, GalleryVersion, Generation, Incarnation, JourneyId, NodeId, ShardId, UnixMs};
use cluster_config::limits::{GALLERY_PARTS_MAX, JOURNEYS_MAX, NODES_MAX};
use cluster_config::policy::Policy;
use cluster_config::wire::gate::{Directive, Reason};
use cluster_config::wire::operator::JourneyStatus;
use cluster_config::wire::peer::{JourneyPlan, Member};
use cluster_config::wire::{Refusal, RefusalCode};

use crate::blueprint::Change;
use crate::check;
use crate::command::{Command, GalleryCommit, Outcome, RecordOutcome};
use crate::ledger::Record;
use crate::state::{Journey, MemberState, Receipt, ShardState, State};

fn refused(code: RefusalCode, place: impl Into<String>, fix: impl Into<String>) -> Outcome {
    Outcome::Refused(Refusal::new(code, place, fix))
}

impl State {
    /// Applies one command.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        match command {
            Command::RegisterMember(member) => self.register_member(member),
            Command::AnnounceStart { node, incarnation } => self.announce_start(*node, *incarnation),
            Command::RemoveMember(node) => self.remove_member(*node),
            Command::SetDraining { node, draining } => self.set_draining(*node, *draining),
            Command::SetPolicy(policy) => self.set_policy(policy),
            Command::OpenJourney(plan) => self.open_journey(plan),
            Command::ChangeBlueprint { parent, changes } => self.change_blueprint(*parent, changes),
            Command::CommitGallery(commit) => self.commit_gallery(commit),
            Command::Record(records) => Outcome::Recorded(records.iter().map(|record| self.record(record)).collect()),
            Command::CloseJourney(journey) => self.close_journey(*journey),
            Command::PurgeReceipt { shard, node, at } => self.purge_receipt(*shard, *node, *at),
            Command::AttestDestruction { node, at } => self.attest_destruction(*node, *at),
        }
    }

    fn register_member(&mut self, member: &Member) -> Outcome {
        if self.members.len() >= NODES_MAX && !self.members.contains_key(&member.id) {
            return refused(RefusalCode::TooLarge, "members", format!("a cluster has at most {NODES_MAX} nodes"));
        }
        let taken = self.members.values().find(|m| m.member.address == member.address && m.member.id != member.id);
        if let Some(other) = taken {
            let place = format!("member {} at {}", member.id, member.address);
            return refused(RefusalCode::Conflict, place, format!("node {} has that address", other.member.id));
        }
        let known = self.members.get(&member.id);
        let draining = known.is_some_and(|known| known.draining);
        let incarnation = known.map(|known| known.incarnation).unwrap_or_default();
        self.members.insert(member.id, MemberState { member: member.clone(), incarnation, draining });
        Outcome::Done
    }

    fn announce_start(&mut self, node: NodeId, incarnation: Incarnation) -> Outcome {
        let Some(member) = self.members.get_mut(&node) else {
            return refused(RefusalCode::NotFound, format!("member {node}"), "register the node first");
        };
        member.incarnation = member.incarnation.max(incarnation);
        Outcome::Done
    }

    fn remove_member(&mut self, node: NodeId) -> Outcome {
        if self.members.remove(&node).is_none() {
            return refused(
                RefusalCode::NotFound,
                format!("member {node}"),
                "see `tvs cluster status` for the members",
            );
        }
        Outcome::Done
    }

    fn set_draining(&mut self, node: NodeId, draining: bool) -> Outcome {
        let Some(member) = self.members.get_mut(&node) else {
            return refused(
                RefusalCode::NotFound,
                format!("member {node}"),
                "see `tvs cluster status` for the members",
            );
        };
        member.draining = draining;
        Outcome::Done
    }

    fn set_policy(&mut self, policy: &Policy) -> Outcome {
        if *policy == self.policy {
            return Outcome::Done;
        }
        if let Err(error) = policy.check() {
            return refused(RefusalCode::BadValue, format!("policy.{}", error.field), error.problem);
        }
        let next = self.policy.version.saturating_add(1);
        if policy.version != next {
            return refused(RefusalCode::Conflict, "policy.version", format!("must be {next}"));
        }
        self.policy = policy.clone();
        Outcome::Done
    }

    fn open_journey(&mut self, plan: &JourneyPlan) -> Outcome {
        if plan.parts == 0 || plan.parts > GALLERY_PARTS_MAX {
            let place = format!("journey {}: {} parts", plan.id, plan.parts);
            return refused(RefusalCode::BadValue, place, format!("use 1 to {GALLERY_PARTS_MAX}"));
        }
        if let Some(journey) = self.journeys.get_mut(&plan.id) {
            let place = format!("journey {}", plan.id);
            if !journey.is_open() {
                return refused(RefusalCode::NotOpen, place, "it is closed; a closed journey is not opened again");
            }
            if journey.plan.manifest == plan.manifest {
                return Outcome::KnownManifest;
            }
            if journey.plan.parts > plan.parts {
                let fix = format!("its gallery has {} parts by now; submit it again", journey.plan.parts);
                return refused(RefusalCode::Conflict, place, fix);
            }
            // A gallery grows in parts and never shrinks: people stay in the part in which they are.
            journey.shards.resize(usize::from(plan.parts), ShardState::default());
            journey.plan = plan.clone();
            return Outcome::Done;
        }
        if self.journeys.len() >= JOURNEYS_MAX {
            let oldest = self
                .journeys
                .values()
                .filter(|j| j.status == JourneyStatus::Purged)
                .min_by_key(|j| (j.plan.departs_at, j.plan.id));
            let Some(oldest) = oldest.map(|j| j.plan.id) else {
                return refused(
                    RefusalCode::TooLarge,
                    "journeys",
                    format!("close some of the {JOURNEYS_MAX} open ones"),
                );
            };
            self.journeys.remove(&oldest);
        }
        let shards = vec![ShardState::default(); usize::from(plan.parts)];
        self.journeys.insert(plan.id, Journey { plan: plan.clone(), status: JourneyStatus::Building, shards });
        Outcome::Done
    }

    fn change_blueprint(&mut self, parent: Generation, changes: &[Change]) -> Outcome {
        let current = self.blueprint.generation;
        if parent != current {
            let place = format!("blueprint with parent {parent}");
            return refused(RefusalCode::Conflict, place, format!("plan again on generation {current}"));
        }
        if let Err(violation) = check::changes(self, changes) {
            return refused(RefusalCode::Conflict, "blueprint", violation.to_string());
        }
        for change in changes {
            let journey = self.journeys.get_mut(&change.shard.journey);
            if let Some(shard) = journey.and_then(|j| j.shards.get_mut(usize::from(change.shard.part))) {
                let holders = change.placement.holders();
                for node in holders.filter(|n| !planted(Canary::ForgottenHolder) || change.placement.has(*n)) {
                    shard.holders.insert(node);
                    shard.receipts.remove(&node);
                }
            }
            self.blueprint.placements.insert(change.shard, change.placement.clone());
        }
        self.blueprint.advance();
        Outcome::Done
    }

    fn commit_gallery(&mut self, commit: &GalleryCommit) -> Outcome {
        let place = format!("gallery {} version {} of node {}", commit.shard, commit.version, commit.node);
        let placement = self.blueprint.placements.get(&commit.shard).map(|p| (p.owner, p.epoch));
        if placement != Some((commit.node, commit.epoch)) && !planted(Canary::NoFencing) {
            let (owner, epoch) = placement.unwrap_or((NodeId(0), Epoch(0)));
            return refused(RefusalCode::Conflict, place, format!("node {owner} owns it in epoch {epoch}"));
        }
        let Some(journey) = self.journeys.get_mut(&commit.shard.journey) else {
            return refused(RefusalCode::NotFound, place, "submit the journey's manifest first");
        };
        let own = commit.shard.part;
        let changed = commit.made_from.as_ref().and_then(|versions| journey.changed_since(own, versions));
        let Some(shard) = journey.shards.get_mut(usize::from(own)) else {
            return refused(RefusalCode::NotFound, place, "the gallery has no such part");
        };
        if shard.version == commit.version && shard.hash == commit.hash {
            return Outcome::Done;
        }
        let next = GalleryVersion(shard.version.0.saturating_add(1));
        if commit.version != next {
            return refused(RefusalCode::Conflict, place, format!("the next version is {next}"));
        }
        if let Some(part) = changed {
            return refused(RefusalCode::Conflict, place, format!("part {part} has changed meanwhile; build it again"));
        }
        shard.version = commit.version;
        shard.hash = commit.hash;
        shard.manifest = commit.manifest;
        shard.numbered_by = commit.numbered_by;
        shard.people = commit.people;
        shard.rows = commit.rows;
        shard.without_photo = commit.without_photo;
        if journey.status == JourneyStatus::Building && journey.shards.iter().all(|s| s.version.0 > 0) {
            journey.status = JourneyStatus::Ready;
        }
        Outcome::Done
    }

    fn record(&mut self, record: &Record) -> RecordOutcome {
        if let Some(stored) = self.ledger.find(record.encounter).filter(|_| !planted(Canary::ApplyTwice)) {
            return RecordOutcome::Stored(stored.clone());
        }
        let open = self.journeys.get(&record.journey).is_some_and(Journey::is_open);
        if !open && !planted(Canary::RecordAfterClose) {
            return RecordOutcome::NotOpen;
        }
        let mut stored = record.clone();
        let again = stored.subject.is_some_and(|subject| self.ledger.has_boarded(stored.journey, subject));
        if stored.directive == Directive::Proceed && again && !planted(Canary::SecondCrossing) {
            stored.directive = Directive::Wait;
            stored.reason = Reason::AlreadyBoarded;
            stored.subject = None;
            stored.manifest_ordinal = None;
        }
        self.ledger.push(stored.clone());
        RecordOutcome::Stored(stored)
    }

    fn close_journey(&mut self, id: JourneyId) -> Outcome {
        let Some(journey) = self.journeys.get_mut(&id) else {
            return refused(RefusalCode::NotFound, format!("journey {id}"), "see `tvs gallery list` for the journeys");
        };
        if !journey.is_open() {
            return Outcome::Done;
        }
        journey.status = JourneyStatus::Closing;
        let shards: Vec<ShardId> = journey.shard_ids().collect();
        journey.settle_purge();
        for shard in shards {
            self.blueprint.placements.remove(&shard);
        }
        self.blueprint.advance();
        Outcome::Done
    }

    fn purge_receipt(&mut self, id: ShardId, node: NodeId, at: UnixMs) -> Outcome {
        let placed = self.blueprint.placements.get(&id).is_some_and(|p| p.holders().any(|holder| holder == node));
        if placed {
            let place = format!("purge receipt of node {node} for {id}");
            return refused(RefusalCode::Conflict, place, "the blueprint has that node hold the shard");
        }
        let Some(journey) = self.journeys.get_mut(&id.journey) else {
            return Outcome::Done;
        };
        if let Some(shard) = journey.shards.get_mut(usize::from(id.part))
            && shard.holders.remove(&node)
        {
            shard.receipts.insert(node, Receipt { at, attested: false });
        }
        journey.settle_purge();
        Outcome::Done
    }

    fn attest_destruction(&mut self, node: NodeId, at: UnixMs) -> Outcome {
        let place = format!("attestation for node {node}");
        if self.members.contains_key(&node) {
            return refused(RefusalCode::Conflict, place, "it is a member; `tvs cluster remove` comes first");
        }
        let placed = self.blueprint.placements.iter().find(|(_, placement)| placement.holders().any(|n| n == node));
        if let Some((shard, _)) = placed {
            return refused(
                RefusalCode::Conflict,
                place,
                format!("it is still to hold {shard}; try again in a moment"),
            );
        }
        for journey in self.journeys.values_mut() {
            for shard in journey.shards.iter_mut().filter(|shard| shard.holders.contains(&node)) {
                shard.holders.remove(&node);
                shard.receipts.insert(node, Receipt { at, attested: true });
            }
            journey.settle_purge();
        }
        Outcome::Done
    }
}

impl Journey {
    /// A closed journey whose every holder has answered is purged.
    fn settle_purge(&mut self) {
        let left = |shard: &ShardState| shard.holders.len() > usize::from(planted(Canary::EarlyPurge));
        if self.status == JourneyStatus::Closing && !self.shards.iter().any(left) {
            self.status = JourneyStatus::Purged;
        }
    }
}
