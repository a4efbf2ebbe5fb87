//! What a gate sends.

use cluster_config::device::{CaptureDetail, DeviceKind, ImageKind};
use cluster_config::ids::{EncounterId, JourneyId, UnixMs};
use cluster_config::limits::GATE_DEADLINE_MS;
use cluster_config::wire::gate::{Capture, Sample};
use node_population::model;

/// The capture of a gate's camera that has made this template.
pub fn of_template(
    journey: JourneyId,
    encounter: EncounterId,
    attempt: u8,
    values: Vec<f32>,
    captured_at: UnixMs,
) -> Capture {
    Capture {
        encounter,
        journey,
        sample: Sample::Template { model: model(), values },
        detail: CaptureDetail {
            device_kind: DeviceKind::GateCamera,
            image_kind: ImageKind::VisibleStill,
            quality: Some(80),
        },
        attempt,
        captured_at,
        deadline_ms: GATE_DEADLINE_MS as u32,
    }
}
