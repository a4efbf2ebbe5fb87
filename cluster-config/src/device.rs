//! What a capture device is, and how it took a picture (R25, R89).

use serde::{Deserialize, Serialize};

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
    NearInfrared,
}
