//! The commands: the only ways to change the replicated state.

use cluster_config::ids::{
    ContentHash, Epoch, GalleryVersion, Generation, Incarnation, JourneyId, NodeId, ShardId, UnixMs,
};
use cluster_config::policy::Policy;
use cluster_config::wire::Refusal;
use cluster_config::wire::peer::{JourneyPlan, Member};
use serde::{Deserialize, Serialize};

use crate::blueprint::Change;
use crate::ledger::Record;

/// One change of the replicated state. A repeated command is answered like the first and changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// A node announces itself: new, or with another address or zone.
    RegisterMember(Member),
    /// A node has started; once it finds this in its own state, that state is not an old one any more.
    AnnounceStart {
        /// The node.
        node: NodeId,
        /// This start of its process.
        incarnation: Incarnation,
    },
    /// A node has left for good.
    RemoveMember(NodeId),
    /// A node is being emptied before a planned stop, or takes work again.
    SetDraining {
        /// The node.
        node: NodeId,
        /// On or off.
        draining: bool,
    },
    /// Replaces the policy; its version must be the next one.
    SetPolicy(Policy),
    /// Announces a journey, or a newer manifest of a known one.
    OpenJourney(JourneyPlan),
    /// A new generation of the blueprint, as a difference to its parent.
    ChangeBlueprint {
        /// The generation that this builds on; any other refuses it.
        parent: Generation,
        /// What changes.
        changes: Vec<Change>,
    },
    /// The owner has built a version and its standbys have it.
    CommitGallery(GalleryCommit),
    /// Encounters for the ledger, in this order.
    Record(Vec<Record>),
    /// Ends a journey: no more encounters, and its galleries are to be destroyed.
    CloseJourney(JourneyId),
    /// A node has destroyed its replica of the shard and the keys to it.
    PurgeReceipt {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
        /// When, by the node's clock.
        at: UnixMs,
    },
    /// An operator states that the disks of a node that has left for good are destroyed: it gives no receipts any more.
    AttestDestruction {
        /// The node.
        node: NodeId,
        /// When, by the clock of the node that was told.
        at: UnixMs,
    },
}

/// See [`Command::CommitGallery`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GalleryCommit {
    /// The shard.
    pub shard: ShardId,
    /// The generation of ownership under which it was built: an older one is refused (fencing).
    pub epoch: Epoch,
    /// The owner that built it.
    pub node: NodeId,
    /// The version; must be the one after the committed one.
    pub version: GalleryVersion,
    /// SHA-256 of the segment.
    pub hash: ContentHash,
    /// Hash of the manifest that it was built from.
    pub manifest: ContentHash,
    /// People in it.
    pub people: u32,
    /// Templates in it.
    pub rows: u32,
    /// People without a photograph.
    pub without_photo: u32,
    /// The versions of all parts of the gallery, by part, that its people were made from. It is refused where another part
    /// has changed since: nobody may be taken for a newcomer in two parts. Absent where the people are those of the version
    /// before.
    pub made_from: Option<Vec<GalleryVersion>>,
    /// The whole list on which its people stand at their numbers; zero where there is none.
    pub numbered_by: ContentHash,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Applied, or applied before.
    Done,
    /// The journey was announced with this very manifest before.
    KnownManifest,
    /// One for each record, in order.
    Recorded(Vec<RecordOutcome>),
    /// Nothing was changed; why.
    Refused(Refusal),
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RecordOutcome {
    /// In the ledger, now or since an earlier try: this is what it says. It may differ from what was handed in where
    /// the person has boarded before.
    Stored(Record),
    /// Not recorded: the journey is unknown or closed.
    NotOpen,
}

impl Command {
    /// Whether the command only adds to the ledger, so that nothing on the nodes has to be reconciled after it.
    pub fn is_ledger(&self) -> bool {
        matches!(self, Self::Record(_))
    }
}
