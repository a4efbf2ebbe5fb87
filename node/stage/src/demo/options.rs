//! What the demonstration is told.

use std::path::PathBuf;

use cluster_config::process::EngineChoice;

use super::given::Given;

/// What to show.
pub struct Options {
    /// Nodes of the cluster.
    pub nodes: u64,
    /// Flights of the bank.
    pub flights: u32,
    /// Travellers on each.
    pub travellers: u32,
    /// Seed of everything.
    pub seed: u64,
    /// Manifests in place of a made-up bank.
    pub manifests: Vec<Given>,
    /// Whether nodes are killed.
    pub kills: bool,
    /// What computes scores.
    pub engine: EngineChoice,
    /// The folder of everything.
    pub folder: PathBuf,
    /// The binary `tvs`.
    pub binary: PathBuf,
    /// What the nodes log (`TVS_LOG`).
    pub log: String,
}
