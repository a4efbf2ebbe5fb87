//! What was announced of each journey.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_config::ids::JourneyId;
use cluster_config::journey::JourneyPlan;
use serde::{Deserialize, Serialize};

/// The journeys that are remembered. Each is shared with the copies that snapshots are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Journeys(pub(super) BTreeMap<JourneyId, Arc<JourneyPlan>>);

impl Journeys {
    /// What was announced of a journey last.
    pub fn get(&self, journey: JourneyId) -> Option<&JourneyPlan> {
        self.0.get(&journey).map(Arc::as_ref)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &JourneyPlan> {
        self.0.values().map(Arc::as_ref)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
