//! What gates and nodes say to each other. This is the published interface of capture devices (R23 to R25, R27).

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::decision::{Confirmed, Directive, Reason, Recording};
use crate::device::CaptureDetail;
use crate::ids::{DeviceId, EncounterId, Epoch, GalleryVersion, JourneyId, ModelVersion, NodeId, UnixMs};

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
    #[cfg_attr(feature = "next", serde(with = "crate::versions::Until::<2>"))]
    pub captured_at: UnixMs,
    /// Milliseconds that the gate will wait for the answer.
    pub deadline_ms: u32,
}

impl Capture {
    /// All that makes the boarding of this capture at a device the request that it is, as bytes: a retry has the same,
    /// and any other request has others. How long the gate waits and what its clock shows do not belong to it.
    pub fn content(&self, device: DeviceId) -> Vec<u8> {
        let Sample::Template { model, values } = &self.sample;
        let mut bytes = b"board".to_vec();
        // Each text says its length, so that no two requests run into the same bytes.
        for text in [device.as_str(), self.journey.as_str(), model.as_str()] {
            bytes.push(text.len() as u8);
            bytes.extend(text.as_bytes());
        }
        let CaptureDetail { device_kind, image_kind, quality } = self.detail;
        let quality = quality.map_or([0, 0], |quality| [1, quality]);
        bytes.extend([self.attempt, device_kind as u8, image_kind as u8, quality[0], quality[1]]);
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }
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
