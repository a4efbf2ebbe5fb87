//! What the tests of this crate share.

#![allow(dead_code, reason = "each test uses its own part of it")]

use cluster_config::actor::{Actor, Role};
use cluster_config::canary::Canaries;
use cluster_config::ids::{ContentHash, ModelVersion, UnixMs};
use cluster_config::journey::JourneyPlan;
use coordinator_core::{Command, Entry, Outcome, State};

/// The model of all galleries here.
pub fn model() -> ModelVersion {
    "synthetic-512-v1".parse().expect("a model")
}

/// Journey `number` of a carrier, with one part.
pub fn plan(number: u64) -> JourneyPlan {
    JourneyPlan {
        id: format!("AA{number}-20270115-JFK").parse().expect("an id"),
        carrier: "AA".into(),
        number: number.to_string(),
        departure_port: "JFK".parse().expect("a port"),
        arrival_port: "LHR".parse().expect("a port"),
        departs_at: UnixMs(1),
        people: 10,
        parts: 1,
        manifest: ContentHash([number as u8; 32]),
        model: model(),
    }
}

/// Applies a command as node 1 would propose it.
pub fn apply(state: &mut State, command: impl Into<Command>) -> Outcome {
    apply_of(Actor { role: Role::Node, name: "node-1".parse().expect("a name") }, state, command)
}

/// Applies a command of somebody.
pub fn apply_of(actor: Actor, state: &mut State, command: impl Into<Command>) -> Outcome {
    state.apply(&Entry::new(actor, UnixMs(7), command.into()), Canaries::default())
}
