//! What nodes say to each other.

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::ids::{
    ContentHash, Epoch, GalleryVersion, Incarnation, JourneyId, ModelVersion, NodeId, PortCode, ShardId, SubjectId,
    UnixMs,
};

/// A request of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// First request on each connection: who is there, and do both agree on the cluster?
    Hello(Hello),
    /// One remote procedure call of the raft group; the body belongs to `coordinator`.
    Raft {
        /// Which call.
        call: RaftCall,
        /// Its encoded argument.
        body: Vec<u8>,
    },
    /// An encoded command of the replicated state, forwarded to the leader.
    Propose(Vec<u8>),
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
        /// The shard.
        shard: ShardId,
        /// The oldest version that is of use.
        version_min: GalleryVersion,
    },
    /// An operator's request that only the leader can carry out, handed on by the node that was asked.
    ForLeader(super::operator::Request),
    /// Give the people of the shard's gallery, at this version or a later one: a segment without templates.
    FetchRoster {
        /// The shard.
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
    Raft(Vec<u8>),
    /// To [`Request::Propose`]: the encoded outcome.
    Proposed(Vec<u8>),
    /// To [`Request::Propose`] where this node does not lead: ask that one.
    NotLeader(Option<NodeId>),
    /// To [`Request::Report`] and [`Request::StoreSegment`].
    Done,
    /// To [`Request::Search`].
    Found(ShardFound),
    /// To [`Request::Build`].
    Built(Built),
    /// To [`Request::FetchSegment`] and [`Request::FetchRoster`].
    Segment(Segment),
    /// To [`Request::ForLeader`].
    ForLeader(super::operator::Response),
    /// Not done; why.
    Refused(Refusal),
}

/// Who a node is and what it takes the cluster to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The node.
    pub node: NodeId,
    /// This start of its process.
    pub incarnation: Incarnation,
    /// [`crate::cluster::ClusterSettings::fingerprint`]; different ones do not work together.
    pub fingerprint: u64,
    /// Whether the node belongs to an initialised raft group.
    pub initialised: bool,
    /// Whether the node that is answered is a registered member; one that is, but has an empty disk, was wiped and must
    /// come back under another id. False in a request.
    pub knows_you: bool,
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
    /// A whole snapshot.
    Snapshot,
    /// Leader transfer (the same, section 3.10).
    TransferLeader,
}

/// What a node holds and how busy it is: one of these every [`crate::limits::REPORT_INTERVAL_MS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The node.
    pub node: NodeId,
    /// This start of its process.
    pub incarnation: Incarnation,
    /// The shards whose galleries it can search, and at which version.
    pub shards: Vec<(ShardId, GalleryVersion)>,
}

/// A search of one shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardSearch {
    /// The shard.
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

/// How urgent a request is, the most urgent first: what an overloaded node sheds, it sheds from the other end
/// (promise P9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Priority {
    /// Somebody boards now.
    Board,
    /// Somebody is looked for; nothing is recorded.
    Identify,
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

/// One template's person and score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The person.
    pub subject: SubjectId,
    /// The person's number on the manifest, from 1.
    pub manifest_ordinal: u32,
    /// Cosine similarity, -1 to 1.
    pub score: f32,
    /// Whether a crossing of this person is recorded (in scope by age and citizenship, R1, R4).
    pub in_scope: bool,
}

/// What the people of a manifest are to those who are known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listing {
    /// Everybody: who is not among them does not travel.
    Whole,
    /// Further people, or other data of people who are known: a part of a series, a change.
    Added,
    /// People who are not expected any more: a cancellation.
    Removed,
}

/// Orders the owner of a shard to build its gallery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildOrder {
    /// The shard.
    pub shard: ShardId,
    /// Hash of the manifest that this comes from: the same one again changes nothing.
    pub manifest: ContentHash,
    /// The people of the message, whichever part of the gallery they belong to: that is for the owners of the parts to say.
    /// Where a part is built again, its own people.
    pub people: Vec<Person>,
    /// What they are to the people who are there.
    pub listing: Listing,
}

/// One person of a manifest. Personal data: it travels between nodes and lies on disks only sealed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// On a list that was read: the person's place on it, from 1. In a gallery: the person's number, which belongs to them and
    /// to nobody else of the journey, whatever their place on later lists.
    pub manifest_ordinal: u32,
    /// Family name.
    pub family_name: String,
    /// Given names.
    pub given_names: String,
    /// Date of birth as YYYYMMDD, where the manifest has it.
    pub date_of_birth: Option<u32>,
    /// Nationality, ISO 3166-1 alpha-3, where the manifest has it.
    pub nationality: Option<String>,
    /// Travel document: type, number and issuing state, where the manifest has one.
    pub document: Option<Document>,
    /// Further travel documents, where the manifest has several.
    pub other_documents: Vec<Document>,
    /// The carrier's unique reference of this passenger (RFF+ABO), where the manifest has one. It is no booking reference:
    /// that one names a party.
    pub reference: Option<String>,
}

/// A travel document.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// `P` passport, `V` visa ... (ICAO 9303).
    pub kind: String,
    /// Its number.
    pub number: String,
    /// Issuing state, ISO 3166-1 alpha-3.
    pub issuing_state: Option<String>,
}

impl std::fmt::Debug for Person {
    /// Prints no personal data: a person in a log line or a panic message is a number.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Person(#{})", self.manifest_ordinal)
    }
}

impl std::fmt::Debug for Document {
    /// Prints no personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Document(..)")
    }
}

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The version that is now committed.
    pub version: GalleryVersion,
    /// People in the shard.
    pub people: u32,
    /// Templates in the shard.
    pub rows: u32,
    /// People without any photograph: the biographic path (R42, R47).
    pub without_photo: u32,
}

/// An immutable version of one shard's gallery. The hash is over `bytes`, which `node/src/segment.rs` writes and reads.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The shard.
    pub shard: ShardId,
    /// The version.
    pub version: GalleryVersion,
    /// SHA-256 of `bytes`.
    pub hash: ContentHash,
    /// The content.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Segment {
    /// Prints no content.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({} v{}, {} bytes)", self.shard, self.version, self.bytes.len())
    }
}

/// A member as configuration and state know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The node.
    pub id: NodeId,
    /// Its QUIC endpoint, `IP:PORT`.
    pub address: String,
    /// Its failure domain.
    pub zone: crate::ids::Zone,
}

/// A journey as it is announced to the cluster: nothing in it is personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JourneyPlan {
    /// The journey.
    pub id: JourneyId,
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
    /// People on the manifest.
    pub people: u32,
    /// Parts of the gallery.
    pub parts: u16,
    /// Hash of the manifest's own bytes for this journey.
    pub manifest: ContentHash,
}
