//! Commands about devices.

use cluster_config::device::Device;
use cluster_config::ids::DeviceId;
use serde::{Deserialize, Serialize};

/// A change of the devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Registers devices: all of them or none.
    Register(Vec<Device>),
    /// Takes a device out of service for good.
    Retire(DeviceId),
    /// Those that were retired so long ago that nobody asks any more are forgotten.
    Forget,
}
