//! The replicated state: what every node knows alike once it has applied the same entries. Here the rooms' states are
//! put together.

use cluster_config::gallery::{Fence, GalleryId, ShardId};
use cluster_config::ids::{JourneyId, NodeId};
use cluster_config::journey::JourneyStatus;
use cluster_config::policy::Policy;
use cluster_config::versions::Version;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::devices::Devices;
use crate::galleries::{Galleries, Gallery, Part};
use crate::journeys::Journeys;
use crate::ledger::Ledger;
use crate::membership::Members;
use crate::placement::{Blueprint, Placement};
use crate::revocations::Revocations;

/// Everything that is replicated.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    pub(crate) members: Members,
    pub(crate) policy: Policy,
    pub(crate) journeys: Journeys,
    pub(crate) galleries: Galleries,
    pub(crate) blueprint: Blueprint,
    pub(crate) ledger: Ledger,
    pub(crate) devices: Devices,
    pub(crate) revocations: Revocations,
    pub(crate) clock: Clock,
}

impl State {
    /// The nodes.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The version in which the cluster writes; absent until the first node has announced a start.
    pub fn version(&self) -> Option<Version> {
        self.members.version()
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// All journeys that are remembered.
    pub fn journeys(&self) -> &Journeys {
        &self.journeys
    }

    /// What is committed of their galleries, and of those that stand.
    pub fn galleries(&self) -> &Galleries {
        &self.galleries
    }

    /// Where the shards live.
    pub fn blueprint(&self) -> &Blueprint {
        &self.blueprint
    }

    /// What happened.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The capture devices.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// What is revoked.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// How late it is.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// People who have boarded the journey, those out of scope included.
    pub fn boardings(&self, journey: JourneyId) -> u32 {
        let closed = self.passengers(journey).and_then(Gallery::closed);
        closed.map_or_else(|| self.ledger.boardings(journey), |closed| closed.boardings)
    }

    /// What is committed of a shard.
    pub fn part(&self, shard: ShardId) -> Option<&Part> {
        self.galleries.part(shard)
    }

    /// Where a shard lives.
    pub fn placement(&self, shard: ShardId) -> Option<&Placement> {
        self.blueprint.placement(shard)
    }

    /// The node that owns a shard.
    pub fn owner(&self, shard: ShardId) -> Option<NodeId> {
        self.placement(shard).map(|placement| placement.owner)
    }

    /// How far a gallery is.
    pub fn fence(&self, gallery: GalleryId) -> Fence {
        let built = self.galleries.shards(gallery).filter(|(_, part)| part.version.0 > 0);
        built.fold(Fence::default(), |fence, (shard, part)| {
            let epoch = self.placement(shard).map(|placement| placement.epoch).unwrap_or_default();
            fence.and(part.version, epoch)
        })
    }

    /// The gallery of a journey's passengers.
    pub fn passengers(&self, journey: JourneyId) -> Option<&Gallery> {
        self.galleries.of_passengers(journey)
    }

    /// Where a journey stands; absent where it is not known.
    pub fn status(&self, journey: JourneyId) -> Option<JourneyStatus> {
        self.passengers(journey).map(Gallery::status)
    }

    /// Whether encounters of the journey are taken and its replicas are kept.
    pub fn is_open(&self, journey: JourneyId) -> bool {
        self.passengers(journey).is_some_and(Gallery::is_open)
    }

    /// Whether a node that is being emptied destroys what it keeps of a closed journey's shard: another node that stays
    /// keeps it as well.
    pub fn gives_up(&self, node: NodeId, part: &Part) -> bool {
        let stays =
            |other: &NodeId| *other != node && self.members.contains(*other) && !self.members.is_draining(*other);
        self.members.is_draining(node) && part.keepers.contains(&node) && part.keepers.iter().any(stays)
    }

    /// A copy for a snapshot: everything but the ledger's indexes, which reading the snapshot back rebuilds. Journeys,
    /// galleries, placements and the ledger's full chunks are shared with it, since it is made on the raft thread.
    pub fn freeze(&self) -> Self {
        Self {
            members: self.members.clone(),
            policy: self.policy.clone(),
            journeys: self.journeys.clone(),
            galleries: self.galleries.clone(),
            blueprint: self.blueprint.clone(),
            ledger: self.ledger.freeze(),
            devices: self.devices.clone(),
            revocations: self.revocations.clone(),
            clock: self.clock,
        }
    }
}
