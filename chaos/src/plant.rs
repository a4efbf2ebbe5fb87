//! Tells a process that it starts which fault to plant in itself.

use cluster_config::canary::{Canary, plant};

/// The variable that names the fault to the process whose writes are recorded.
pub const VARIABLE: &str = "TVS_CANARY";

/// Plants the fault that the environment names, in the process whose writes are recorded.
pub fn plant_as_told() {
    let told = std::env::var(VARIABLE).ok();
    plant(Canary::ALL.into_iter().find(|canary| told.as_deref() == Some(&*name(*canary))));
}

/// The name of a fault in the environment and in reports.
pub fn name(canary: Canary) -> String {
    format!("{canary:?}")
}
