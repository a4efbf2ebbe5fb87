//! The replicated state: what every node knows alike once it has applied the same commands.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::ids::{ContentHash, GalleryVersion, Incarnation, JourneyId, NodeId, ShardId, UnixMs};
use cluster_config::policy::Policy;
use cluster_config::wire::operator::JourneyStatus;
use cluster_config::wire::peer::{JourneyPlan, Member};
use serde::{Deserialize, Serialize};

use crate::blueprint::Blueprint;
use crate::ledger::Ledger;

/// Everything that is replicated.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// The nodes.
    pub members: BTreeMap<NodeId, MemberState>,
    /// The policy in force.
    pub policy: Policy,
    /// All journeys that are remembered.
    pub journeys: BTreeMap<JourneyId, Journey>,
    /// Where the shards live.
    pub blueprint: Blueprint,
    /// What happened.
    pub ledger: Ledger,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// Id, address, zone.
    pub member: Member,
    /// The latest start of its process that it announced.
    pub incarnation: Incarnation,
    /// Whether it is being emptied.
    pub draining: bool,
}

/// One journey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journey {
    /// As it was announced last.
    pub plan: JourneyPlan,
    /// Where it stands.
    pub status: JourneyStatus,
    /// Its shards, by part from 0.
    pub shards: Vec<ShardState>,
}

/// What is committed of one shard's gallery.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShardState {
    /// The committed version; 0 where nothing is built yet.
    pub version: GalleryVersion,
    /// Hash of that version's segment.
    pub hash: ContentHash,
    /// The manifest that it was built from.
    pub manifest: ContentHash,
    /// The whole list on which its people stand at their numbers; zero where there is none.
    pub numbered_by: ContentHash,
    /// People in it.
    pub people: u32,
    /// Templates in it.
    pub rows: u32,
    /// People without a photograph.
    pub without_photo: u32,
    /// Nodes that were ever given a replica or its people, and have not confirmed their destruction.
    pub holders: BTreeSet<NodeId>,
    /// What stands for the destruction of those that were held.
    pub receipts: BTreeMap<NodeId, Receipt>,
}

/// That a node's replica of a shard, or its people, is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Since when.
    pub at: UnixMs,
    /// Whether an operator has stated it, in place of a node that has left for good.
    pub attested: bool,
}

impl Journey {
    /// Whether encounters are taken and replicas are kept.
    pub fn is_open(&self) -> bool {
        matches!(self.status, JourneyStatus::Building | JourneyStatus::Ready)
    }

    /// The first part, other than `own`, that is at another version than these say, by part.
    pub(crate) fn changed_since(&self, own: u16, versions: &[GalleryVersion]) -> Option<usize> {
        let seen = |part: usize| versions.get(part).copied().unwrap_or_default();
        let mut shards = self.shards.iter().enumerate();
        shards.find(|(part, shard)| *part != usize::from(own) && shard.version != seen(*part)).map(|(part, _)| part)
    }

    /// The ids of its shards.
    pub fn shard_ids(&self) -> impl Iterator<Item = ShardId> + '_ {
        (0..self.plan.parts).map(|part| ShardId { journey: self.plan.id, part })
    }
}

impl State {
    /// What is committed of a shard.
    pub fn shard(&self, shard: ShardId) -> Option<&ShardState> {
        self.journeys.get(&shard.journey)?.shards.get(usize::from(shard.part))
    }

    /// A copy for a snapshot: everything but the ledger's indexes, which reading the snapshot back rebuilds. Its cost
    /// does not grow with the ledger.
    pub fn freeze(&self) -> Self {
        Self {
            members: self.members.clone(),
            policy: self.policy.clone(),
            journeys: self.journeys.clone(),
            blueprint: self.blueprint.clone(),
            ledger: self.ledger.freeze(),
        }
    }
}
