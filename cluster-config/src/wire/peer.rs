//! What nodes say to each other.

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::actor::Actor;
use crate::cluster::Agreed;
use crate::decision::{Candidate, Priority};
use crate::gallery::GalleryCounts;
use crate::gallery::Segment;
use crate::gallery::ShardId;
use crate::ids::{ClusterId, ContentHash, Epoch, GalleryVersion, Incarnation, ModelVersion, NodeId, UnixMs};
use crate::journey::Listing;
use crate::member::{Member, Past, Trouble};
use crate::person::Person;
use crate::versions::Version;

/// A request of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// First request on each connection: who is there, and do both agree on the cluster?
    Hello(Hello),
    /// One remote procedure call of the raft group; the body belongs to `coordinator`.
    Raft {
        /// The cluster that the group is of: calls of another one are refused.
        cluster: ClusterId,
        call: RaftCall,
        #[serde(with = "crate::raw")]
        body: Vec<u8>,
    },
    /// A command of the replicated state, forwarded to the leader.
    Propose {
        /// Who asked for the change.
        actor: Actor,
        command: Vec<u8>,
    },
    /// What the node holds, told to the leader.
    Report(Report),
    /// Search one shard that the node holds.
    Search(ShardSearch),
    /// Build or update the shard's gallery out of these people (sent to its owner).
    Build(BuildOrder),
    /// Keep this segment as a replica of it.
    StoreSegment(Segment),
    /// Give the newest segment of the shard that is at least this version.
    FetchSegment {
        shard: ShardId,
        /// The oldest version that is of use.
        version_min: GalleryVersion,
    },
    /// An operator's request that only the leader can carry out, handed on by the node that was asked.
    ForLeader { actor: Actor, request: super::operator::Request },
    /// Give the people of the shard's gallery, at this version or a later one: a segment without templates.
    FetchRoster {
        shard: ShardId,
        /// The oldest version that is of use.
        version_min: GalleryVersion,
    },
    /// How far is the leader? Asked by a node that has to know whether it lacks something.
    ReadIndex,
    /// Give the file of a sealed chunk of the ledger.
    FetchChunk(ContentHash),
    /// Is that node a member? Asked by a node that does not know it, and may have missed that it was added.
    Vouch(NodeId),
    /// Are the people of the shard's gallery kept here, at this version or a later one? Asked by a node that is to
    /// destroy its own. Answered with [`Response::Done`], or `not-found`.
    Keeps {
        shard: ShardId,
        /// The oldest version that is of use.
        version_min: GalleryVersion,
    },
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// To [`Request::Hello`].
    Hello(Hello),
    /// To [`Request::Raft`]: the encoded result.
    Raft(#[serde(with = "crate::raw")] Vec<u8>),
    /// To [`Request::Propose`]: the encoded outcome.
    Proposed(Vec<u8>),
    /// To [`Request::Propose`] where this node does not lead: ask that one.
    NotLeader(Option<NodeId>),
    /// To [`Request::Report`], [`Request::StoreSegment`] and [`Request::Keeps`].
    Done,
    /// To [`Request::Search`].
    Found(ShardFound),
    /// To [`Request::Build`].
    Built(Built),
    /// To [`Request::FetchSegment`] and [`Request::FetchRoster`].
    Segment(Segment),
    /// To [`Request::ForLeader`].
    ForLeader(super::operator::Response),
    Refused(Refusal),
    /// To [`Request::ReadIndex`]: the last entry that the leader had applied once it had made sure that it leads.
    ReadIndex(u64),
    /// To [`Request::FetchChunk`].
    Chunk(#[serde(with = "crate::raw")] Vec<u8>),
    /// To [`Request::Vouch`].
    Vouched(bool),
    /// To [`Request::Report`] of what is held as before: it is not known here what that was.
    TellAll,
}

/// Who a node is and what it takes the cluster to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The node, with the address and the zone that its configuration gives it.
    pub member: Member,
    /// This start of its process.
    pub incarnation: Incarnation,
    pub past: Past,
    /// The cluster that its folder belongs to; absent before it belongs to one.
    pub cluster: Option<ClusterId>,
    /// Its settings; different ones do not work together.
    pub agreed: Agreed,
    /// The members at the start of the cluster, as its configuration lists them.
    pub members: Vec<Member>,
    /// Whether the node belongs to an initialised raft group.
    pub initialised: bool,
    /// What speaks against the node that is answered being the member that the cluster knows; absent in a request.
    pub doubt: Option<Refusal>,
    /// Index of the last entry that the node has applied: of two that judge a third, the one that knows more counts.
    pub applied: u64,
    /// The leader, as the node knows it.
    pub leader: Option<NodeId>,
    /// The newest version that the node understands.
    pub version: Version,
}

impl Hello {
    pub fn node(&self) -> NodeId {
        self.member.id
    }
}

/// The remote procedure calls of the raft group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RaftCall {
    /// Append entries, and heartbeats.
    Append,
    /// Request for a vote.
    Vote,
    /// Would you vote for me? (Ongaro, Consensus: Bridging Theory and Practice, section 9.6)
    PreVote,
    /// One chunk of a snapshot.
    Snapshot,
    /// Leader transfer (the same, section 3.10).
    TransferLeader,
}

/// What a node holds, and cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    /// The shards whose galleries it can search, and at which version.
    pub shards: Vec<(ShardId, GalleryVersion)>,
    /// What it cannot do.
    pub troubles: Vec<Trouble>,
}

/// What a node holds and how busy it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub node: NodeId,
    /// This start of its process.
    pub incarnation: Incarnation,
    /// Counts the changes of what it holds.
    pub revision: u64,
    /// What it holds; absent where that is as in its report of this revision.
    pub held: Option<Held>,
    /// Answers that gates wait for here.
    pub open: u32,
    /// Its wall clock, when it sends this.
    pub clock: UnixMs,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardSearch {
    pub shard: ShardId,
    /// The gallery's committed version: an older replica must refuse.
    pub version_min: GalleryVersion,
    /// The model that made the probe.
    pub model: ModelVersion,
    /// Unit-norm probe.
    pub probe: Vec<f32>,
    /// Lowest score of interest: the entry node's policy decides, so that every replica answers alike.
    pub floor: f32,
    /// How urgent it is.
    pub priority: Priority,
    /// How long the answer is waited for, milliseconds from when this arrives.
    pub wait_ms: u32,
}

/// The candidates of one shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardFound {
    /// The node that searched.
    pub node: NodeId,
    /// The shard's ownership generation, as that node knows it.
    pub epoch: Epoch,
    /// The version that was searched.
    pub version: GalleryVersion,
    /// Templates in the shard.
    pub rows: u32,
    /// The best templates' persons, best score first.
    pub candidates: Vec<Candidate>,
}

/// Orders the owner of a shard to build its gallery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildOrder {
    pub shard: ShardId,
    /// Hash of the manifest that this comes from: the same one again changes nothing.
    pub manifest: ContentHash,
    /// The people of the message, whichever part of the gallery they belong to: that is for the owners of the parts to
    /// say. Where a part is built again, its own people.
    pub people: Vec<Person>,
    /// What they are to the people who are there.
    pub listing: Listing,
}

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The version that is now committed.
    pub version: GalleryVersion,
    /// What the shard holds.
    pub counts: GalleryCounts,
}
