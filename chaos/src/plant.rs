//! How a process that is started for it is told which fault to plant in itself.

use cluster_config::canary::{Canary, plant};

/// Names the fault that the recorded process of a crash image plants.
pub const VARIABLE: &str = "TVS_CANARY";

/// Plants the fault that the environment names, in the process that is recorded.
pub fn plant_as_told() {
    let told = std::env::var(VARIABLE).ok();
    plant(Canary::ALL.into_iter().find(|canary| told.as_deref() == Some(&*name(*canary))));
}

/// A fault's name, as it stands in the environment and in reports.
pub fn name(canary: Canary) -> String {
    format!("{canary:?}")
}
