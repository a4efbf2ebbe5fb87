//! What the tests of this crate share.

use cluster_config::actor::{Actor, Role};
use cluster_config::canary::Canaries;
use cluster_config::ids::{ModelVersion, UnixMs};
use coordinator_core::{Command, Entry, Outcome, State};

/// The model of all galleries here.
pub fn model() -> ModelVersion {
    "synthetic-512-v1".parse().expect("a model")
}

/// Applies a command as node 1 would propose it.
pub fn apply(state: &mut State, command: impl Into<Command>) -> Outcome {
    let actor = Actor { role: Role::Node, name: "node-1".parse().expect("a name") };
    state.apply(&Entry::new(actor, UnixMs(7), command.into()), Canaries::default())
}
