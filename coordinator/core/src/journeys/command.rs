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
    /// The time has come to build a journey's gallery.
    Build {
        journey: JourneyId,
        /// Whether somebody wants it built although it has not.
        early: bool,
    },
    /// Ends a journey: nobody is searched any more, and what is not to be kept is destroyed.
    Close(JourneyId),
    /// Destroys all that is held of a journey; one that is open is closed.
    Purge(JourneyId),
    /// Of a journey of which all is destroyed only a line is left.
    Forget(JourneyId),
    /// Lines whose time is over go.
    ForgetLines,
}
