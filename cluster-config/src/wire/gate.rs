//! What gates and nodes say to each other. This is the published interface of capture devices (R23 to R25, R27).

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::ids::{EncounterId, Epoch, GalleryVersion, JourneyId, ModelVersion, NodeId, SubjectId, UnixMs};

/// A request of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Is the node there, and which nodes are there besides?
    Hello,
    /// Search the journey's gallery; nothing is recorded.
    Identify(Capture),
    /// Search the journey's gallery and record the boarding before *proceed* is answered.
    Board(Capture),
}

/// A node's answer to a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// To [`Request::Hello`].
    Welcome(Welcome),
    /// To the two searches.
    Answer(Answer),
    /// Nothing was done; why, and what to do.
    Refused(Refusal),
}

/// Where a gate can go besides the node that it asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The node that answers.
    pub node: NodeId,
    /// Addresses of all members, as `IP:PORT`.
    pub members: Vec<String>,
}

/// One live capture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// Made by the client; every retry carries the same.
    pub encounter: EncounterId,
    /// The journey that is boarding at this gate.
    pub journey: JourneyId,
    /// What was captured.
    pub sample: Sample,
    /// How it was captured (R25).
    pub detail: CaptureDetail,
    /// Which capture of this traveller this is, from 1.
    pub attempt: u8,
    /// The gate's clock at the capture.
    pub captured_at: UnixMs,
    /// Milliseconds that the gate will wait for the answer.
    pub deadline_ms: u32,
}

/// The biometric sample of a capture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Sample {
    /// A template that the device made itself.
    Template {
        /// The model that made it; must be the cluster's.
        model: ModelVersion,
        /// Unit-norm values, as many as the cluster's template has dimensions.
        values: Vec<f32>,
    },
}

/// Image-descriptive data that comes with every submission (R25, R89).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureDetail {
    /// The capture device's kind.
    pub device_kind: DeviceKind,
    /// How the picture was taken.
    pub image_kind: ImageKind,
    /// The device's own quality score, 0 to 100 (ISO/IEC 29794-1), where it has one.
    pub quality: Option<u8>,
}

/// Kinds of capture devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// Fixed camera at a boarding gate.
    GateCamera,
    /// Electronic gate with doors.
    Egate,
    /// Handheld device of an operator.
    Handheld,
    /// Self-service kiosk.
    Kiosk,
}

/// Kinds of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageKind {
    /// A single visible-light picture.
    VisibleStill,
    /// The best frame of a video.
    VideoFrame,
    /// A near-infrared picture.
    NearInfrared,
}

/// What the gate does next (R24).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Directive {
    /// Let the traveller through.
    Proceed,
    /// Take another picture.
    Recapture,
    /// The traveller waits for a person.
    Wait,
}

/// Why the directive is what it is. It never tells of a watch list (R12, R33).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// One person of the gallery, and no other near.
    Matched,
    /// Nobody of the gallery is near enough.
    NoMatch,
    /// Two persons of the gallery are too close to each other to tell.
    Ambiguous,
    /// Almost near enough: a better picture may do.
    NearThreshold,
    /// The person matched has boarded this journey already, with another encounter.
    AlreadyBoarded,
}

/// Whether and where the boarding is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recording {
    /// Nothing had to be recorded (an identification).
    NotRequired,
    /// In the ledger of a quorum.
    Committed,
}

/// The traveller whom the search confirmed, in the words of the carrier's own manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The person in this journey's gallery.
    pub subject: SubjectId,
    /// The person's number on the carrier's manifest, from 1.
    pub manifest_ordinal: u32,
}

/// The answer to one capture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The capture that this answers.
    pub encounter: EncounterId,
    /// What the gate does next.
    pub directive: Directive,
    /// Why.
    pub reason: Reason,
    /// Who it is, where *proceed*.
    pub confirmed: Option<Confirmed>,
    /// Whether it is recorded.
    pub recording: Recording,
    /// The shard's ownership generation at the replica that searched (the highest, of several parts).
    pub epoch: Epoch,
    /// The gallery version that was searched.
    pub gallery_version: GalleryVersion,
    /// The node that searched (the first part's, of several).
    pub searched_by: NodeId,
}
