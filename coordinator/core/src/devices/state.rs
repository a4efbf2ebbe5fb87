//! What is known of each device.

use std::collections::BTreeMap;

use cluster_config::device::Registered;
use cluster_config::ids::DeviceId;
use serde::{Deserialize, Serialize};

/// The devices that are or were registered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Devices(pub(super) BTreeMap<DeviceId, Registered>);

impl Devices {
    /// A device, retired or not.
    pub fn get(&self, device: DeviceId) -> Option<&Registered> {
        self.0.get(&device)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Registered> {
        self.0.values()
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
