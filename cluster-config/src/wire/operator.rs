//! What operators and nodes say to each other; every answer is also what `tvs … --json` prints.

use serde::{Deserialize, Serialize};

use crate::actor::Revoked;
use crate::journey::{Ended, JourneyStatus, NextStatus};

use super::Refusal;
#[cfg(feature = "next")]
use crate::decision::Amendment;
use crate::decision::{Directive, Reason};
use crate::device::{Device, Registered};
use crate::gallery::ShardId;
use crate::ids::{
    ContentHash, DeviceId, EncounterId, Epoch, GalleryVersion, Generation, JourneyId, NodeId, PortCode, StandingId,
    SubjectId, UnixMs,
};
use crate::member::{Member, Trouble};
use crate::policy::Policy;
use crate::versions::Version;

/// A request of an operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    ClusterStatus,
    /// Add a member: a learner first, a voter where asked.
    AddMember {
        member: Member,
        /// Whether it becomes a voter once it has caught up.
        voter: bool,
    },
    /// Take a member out of the raft group; it should be drained or lost.
    RemoveMember {
        node: NodeId,
        /// Whether the quorum or the last copy of a gallery may be lost by it.
        i_know: bool,
    },
    /// Move leadership and ownership off the node (or let it take work again).
    Drain {
        node: NodeId,
        draining: bool,
    },
    /// State that the disks of a node that was taken out are destroyed, so that no purge waits for it.
    AttestDestruction(NodeId),
    /// Hand leadership to that node.
    TransferLeader(NodeId),
    /// The bytes of one manifest file, whatever its format.
    SubmitManifest(Vec<u8>),
    /// All journeys and their galleries.
    GalleryList,
    GalleryShow(JourneyId),
    /// Build a journey's gallery now, though it is too early.
    BuildJourney(JourneyId),
    /// Close a journey: nobody is searched any more, and citizens' data are destroyed on every node.
    CloseJourney {
        journey: JourneyId,
        /// Whether all else is destroyed as well, before the policy's time; also where the journey is closed already.
        purge: bool,
    },
    /// Ledger records from this position on.
    LedgerPage {
        /// Position of the first record wanted, from 0.
        from: u64,
        /// Records wanted at most.
        limit: u32,
    },
    /// The policy in force.
    PolicyShow,
    PolicySet(Policy),
    /// The node's metrics in the Prometheus text format.
    Metrics,
    /// Register devices: all of them or none.
    DeviceAdd(Vec<Device>),
    /// All devices, those that are retired as well.
    DeviceList,
    /// One device.
    DeviceShow(DeviceId),
    /// Retire a device: it is refused from now on.
    DeviceRetire(DeviceId),
    /// Revoke a certificate or a name, or take that back.
    Revoke {
        /// What.
        what: Revoked,
        /// On or off.
        revoked: bool,
    },
    /// What is revoked.
    RevocationList,
    /// Another address or zone of a member that has moved.
    MoveMember(Member),
    /// What a node still holds that is being emptied.
    DrainStatus(NodeId),
    /// Where the galleries of a node would go if it were emptied now.
    DrainPreview(NodeId),
    /// Correct how often the traveller of a record was captured.
    #[cfg(feature = "next")]
    Amend(#[serde(with = "crate::versions::OnlySince::<2>")] Amendment),
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// To [`Request::ClusterStatus`].
    ClusterStatus(ClusterStatus),
    /// To [`Request::SubmitManifest`].
    Submitted(Submitted),
    /// To [`Request::GalleryList`].
    Galleries(Vec<Gallery>),
    /// To [`Request::GalleryShow`].
    Gallery(Gallery),
    /// To [`Request::GalleryShow`], where only counts are left.
    Ended(Ended),
    /// To [`Request::LedgerPage`].
    LedgerPage(LedgerPage),
    /// To [`Request::PolicyShow`].
    Policy(Policy),
    /// To [`Request::Metrics`].
    Metrics(String),
    /// To [`Request::DeviceList`].
    Devices(Vec<Registered>),
    /// To [`Request::DeviceShow`].
    Device(Registered),
    /// To [`Request::RevocationList`].
    Revocations(Vec<Revocation>),
    /// To requests that change something and have nothing to tell.
    Done,
    Refused(Refusal),
    /// To [`Request::AddMember`] and [`Request::RemoveMember`].
    Voters(Voters),
    /// To [`Request::DrainStatus`].
    Draining(Draining),
    /// To [`Request::DrainPreview`].
    Moves(Vec<Move>),
    /// To [`Request::Amend`].
    #[cfg(feature = "next")]
    Amended(#[serde(with = "crate::versions::OnlySince::<2>")] Amendment),
}

/// Something that is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// What.
    pub what: Revoked,
    /// Since when.
    pub since: UnixMs,
}

/// How many vote, before and after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voters {
    pub before: u32,
    pub after: u32,
}

impl Voters {
    /// How many of so many voters may be lost while the rest is a majority.
    pub fn tolerated(voters: u32) -> u32 {
        voters.saturating_sub(1) / 2
    }
}

/// What a node still holds that is being emptied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// Whether it leads the group.
    pub leads: bool,
    /// Shards that it owns.
    pub owns: u32,
    pub stands_by: u32,
    /// Shards whose people it keeps without a replica, those of closed journeys included that others keep as well.
    pub rosters: u32,
    /// Of those that it has, how many have no other copy that is ready yet.
    pub unready: u32,
    /// Of those that it has, how many no other node takes.
    pub stuck: u32,
    /// Answers that gates wait for at it.
    pub open: u32,
    /// Whether it may be stopped.
    pub is_done: bool,
}

/// Where a shard would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    pub shard: ShardId,
    /// Whether the node that is emptied owns it.
    pub owned: bool,
    /// Who would have it; nobody where no other node takes it.
    pub to: Vec<NodeId>,
}

/// The cluster as one node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Its name.
    pub cluster: String,
    /// The version in which it writes: the oldest of its members'.
    pub version: Version,
    /// The node that answers.
    pub node: NodeId,
    /// The leader, where there is one.
    pub leader: Option<NodeId>,
    /// The raft term.
    pub term: u64,
    /// Index of the last applied log entry at the node that answers.
    pub applied_index: u64,
    /// The replicated time, by which alone anything is built, closed or destroyed; 0 until it is told.
    pub time: UnixMs,
    /// Generation of the blueprint.
    pub generation: Generation,
    /// The engine that scores at the node that answers.
    pub engine: String,
    pub members: Vec<MemberStatus>,
    /// Journeys that are not closed.
    pub journeys: u32,
    /// Shards that should have replicas.
    pub shards: u32,
    /// Shards that have all of their replicas at the committed version; known at the leader alone.
    pub shards_replicated: Option<u32>,
    pub ledger_records: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Id, address, zone.
    pub member: Member,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it is being drained.
    pub draining: bool,
    /// The newest version that it understands; absent until it has started.
    pub version: Option<Version>,
    /// Milliseconds since its last report to the leader; known at the leader alone.
    pub silent_ms: Option<u64>,
    /// What it cannot do; known at the leader alone.
    pub troubles: Vec<Trouble>,
    /// Shards that it owns.
    pub owner_of: u32,
    /// Shards that it stands by for.
    pub standby_of: u32,
}

/// What became of a submitted manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submitted {
    /// One for each journey whose gallery is built.
    pub journeys: Vec<SubmittedJourney>,
    /// The other journeys. They are announced; the same file submitted again goes on with them.
    pub unbuilt: Vec<UnbuiltJourney>,
    /// What the parser wants to be known.
    pub warnings: Vec<String>,
    /// People that were set aside, with place and reason.
    pub quarantined: Vec<String>,
}

/// One journey of a manifest whose gallery is not built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnbuiltJourney {
    pub journey: JourneyId,
    /// Why.
    pub refusal: Refusal,
}

/// One journey of a manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmittedJourney {
    pub journey: JourneyId,
    /// Whether this very manifest was known already.
    pub duplicate: bool,
    /// Where the journey stands: an announced one has no templates yet.
    pub status: JourneyStatus,
    /// What it comes to by itself, and when.
    pub next: Option<NextStatus>,
    /// The committed gallery version (the lowest, of several parts).
    pub version: GalleryVersion,
    /// People on the manifest.
    pub people: u32,
    /// Templates in the gallery.
    pub templates: u32,
    /// People without a photograph.
    pub without_photo: u32,
}

/// A journey and its shards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gallery {
    pub journey: JourneyId,
    /// Carrier code.
    pub carrier: String,
    /// Flight or voyage number.
    pub number: String,
    /// Where it leaves from.
    pub departure_port: PortCode,
    /// Where it goes.
    pub arrival_port: PortCode,
    /// Scheduled departure.
    pub departs_at: UnixMs,
    /// Where it stands.
    pub status: JourneyStatus,
    /// What it comes to by itself, and when.
    pub next: Option<NextStatus>,
    /// People on the manifest.
    pub people: u32,
    /// People who have boarded.
    pub boarded: u32,
    pub shards: Vec<Shard>,
}

/// One shard of a gallery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    pub shard: ShardId,
    /// The committed version.
    pub version: GalleryVersion,
    /// Hash of the committed version.
    pub hash: ContentHash,
    pub people: u32,
    /// Templates in it.
    pub rows: u32,
    /// People without a photograph.
    pub without_photo: u32,
    /// Ownership generation.
    pub epoch: Epoch,
    /// The owner, where it is placed.
    pub owner: Option<NodeId>,
    pub standbys: Vec<NodeId>,
    /// Nodes without a replica that keep its people, for when every replica is lost.
    pub rosters: Vec<NodeId>,
    /// Nodes that have ever held a replica or its people and have not yet confirmed that these are destroyed.
    pub holders: Vec<NodeId>,
    /// Nodes that keep those of its people who are no citizens, once the journey is closed.
    pub keepers: Vec<NodeId>,
    /// What stands for the destruction of those that were held.
    pub receipts: Vec<Receipt>,
    /// Memory of its templates at the node that answers, bytes; absent where that node has no replica that can be
    /// searched.
    pub memory_bytes: Option<u64>,
}

/// That a node's replica of a shard, or its people, is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub node: NodeId,
    /// Since when.
    pub at: UnixMs,
    /// Whether an operator has stated it, in place of a node that was taken out.
    pub attested: bool,
}

/// A run of ledger records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerPage {
    pub records: Vec<LedgerRecord>,
    /// Where the next page starts; absent at the end.
    pub next: Option<u64>,
}

/// One encounter as the ledger has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerRecord {
    /// Position in the ledger, from 0.
    pub position: u64,
    pub encounter: EncounterId,
    /// Absent where a standing gallery was searched.
    pub journey: Option<JourneyId>,
    /// The standing gallery that was searched.
    pub standing: Option<StandingId>,
    pub device: DeviceId,
    /// The node that the device asked.
    pub entry: NodeId,
    /// When it was decided.
    pub at: UnixMs,
    /// What the gate was told.
    pub directive: Directive,
    /// Why.
    pub reason: Reason,
    /// Who boarded; absent where nobody did, and for citizens, who leave no trace (R3).
    pub subject: Option<SubjectId>,
    /// The person's number on the manifest, under the same rule.
    pub manifest_ordinal: Option<u32>,
    /// Whether this is a crossing: a boarding by a person in scope (R4).
    pub crossing: bool,
    /// The shard's ownership generation at the search.
    pub epoch: Epoch,
    /// The gallery version searched.
    pub gallery_version: GalleryVersion,
    /// Which capture of the traveller this was, from 1; 0 where it was not kept.
    #[cfg(feature = "next")]
    #[serde(with = "crate::versions::Since::<2>")]
    pub attempt: u8,
}
