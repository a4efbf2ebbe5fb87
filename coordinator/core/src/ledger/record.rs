//! One encounter as the ledger has it.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::decision::{Directive, Reason};
use cluster_config::gallery::{Fence, GalleryId};
use cluster_config::ids::{
    DeviceId, EncounterId, Epoch, GalleryVersion, JourneyId, NodeId, PersonMark, RequestDigest, SubjectId, UnixMs,
};
use cluster_config::wire::operator::LedgerRecord;
use serde::{Deserialize, Serialize};

/// One encounter. No name, document, image or template is in it; a person is known by a random subject id of the
/// journey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The encounter; the key of idempotency.
    pub encounter: EncounterId,
    /// What was asked with it: only the same request is a retry (P12).
    pub request: RequestDigest,
    /// Whose people were searched.
    pub gallery: GalleryId,
    pub device: DeviceId,
    /// The node that the device asked. It vouches for the record, whichever node's entry of the log carries it.
    pub entry: NodeId,
    /// When it was decided, by the entry node's clock.
    pub at: UnixMs,
    /// What the gate is told.
    pub directive: Directive,
    /// Why.
    pub reason: Reason,
    /// Who it is, where *proceed*; never set for people out of scope, who leave no trace (R3, R4).
    pub subject: Option<SubjectId>,
    /// What stands for whoever boards, also where they are out of scope: nobody boards twice.
    pub mark: Option<PersonMark>,
    /// The person's number on the manifest, under the same rule.
    pub manifest_ordinal: Option<u32>,
    /// Generation of ownership at the replica that searched.
    pub epoch: Epoch,
    /// The gallery version searched.
    pub gallery_version: GalleryVersion,
    /// How far the gallery was that was searched.
    pub fence: Fence,
    /// Which capture of the traveller this was, from 1; 0 where it was not kept.
    #[cfg(feature = "next")]
    #[serde(with = "cluster_config::versions::Since::<2>")]
    pub attempt: u8,
}

impl Record {
    /// Whether it answers this request: an encounter's id alone entitles nobody to its answer (P12).
    pub fn answers(&self, request: RequestDigest, canaries: Canaries) -> bool {
        self.request == request || canaries.has(Canary::KeyWithoutDigest)
    }

    /// The record of a capture for which nobody was found, in no gallery; what is known besides is set on it.
    pub fn waiting(encounter: EncounterId, journey: JourneyId, device: DeviceId, at: UnixMs) -> Self {
        Self {
            encounter,
            request: RequestDigest::default(),
            gallery: GalleryId::passengers(journey),
            device,
            entry: NodeId::default(),
            at,
            directive: Directive::Wait,
            reason: Reason::NoMatch,
            subject: None,
            mark: None,
            manifest_ordinal: None,
            epoch: Epoch::default(),
            gallery_version: GalleryVersion::default(),
            fence: Fence::default(),
            #[cfg(feature = "next")]
            attempt: 0,
        }
    }

    /// Whether this is a crossing: a boarding by a person in scope (R4).
    pub fn is_crossing(&self) -> bool {
        self.directive == Directive::Proceed && self.subject.is_some()
    }

    /// The record as it is given to systems of record, with its position in the ledger.
    pub fn exported(&self, position: u64) -> LedgerRecord {
        LedgerRecord {
            position,
            encounter: self.encounter,
            journey: self.gallery.journey(),
            standing: self.gallery.standing(),
            device: self.device,
            entry: self.entry,
            at: self.at,
            directive: self.directive,
            reason: self.reason,
            subject: self.subject,
            manifest_ordinal: self.manifest_ordinal,
            crossing: self.is_crossing(),
            epoch: self.epoch,
            gallery_version: self.gallery_version,
            #[cfg(feature = "next")]
            attempt: self.attempt,
        }
    }
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RecordOutcome {
    /// In the ledger, now or since an earlier try: this is what it says. It may differ from what was handed in where
    /// the person has boarded before.
    Stored(Record),
    /// Not recorded: the journey or the gallery is unknown or closed.
    NotOpen,
    /// Not recorded: the ledger has another request under this encounter's id.
    OtherRequest,
    /// Not recorded: the gallery has a newer version or other owners than was searched under (P4).
    Behind,
    /// In the ledger since an earlier try, or another request under this encounter's id: its record is in a file, at
    /// this position of the ledger.
    Sealed(u64),
}
