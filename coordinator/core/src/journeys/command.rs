//! Commands about journeys.

use cluster_config::ids::JourneyId;
use cluster_config::journey::JourneyPlan;
use serde::{Deserialize, Serialize};

/// A change of the journeys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Announces a journey, or a newer manifest of a known one.
    Open(JourneyPlan),
    /// Announces all journeys of one manifest file, or none of them.
    OpenAll(Vec<JourneyPlan>),
    /// Ends a journey: no more encounters, and its galleries are to be destroyed.
    Close(JourneyId),
}
