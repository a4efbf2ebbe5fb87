//! How commands about the policy are applied.

use cluster_config::wire::{Fix, RefusalCode};

use super::command::Command;
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command) -> Outcome {
    let Command::Set(policy) = command;
    if *policy == state.policy {
        return Outcome::Done;
    }
    if let Err(error) = policy.check() {
        return Outcome::refused(RefusalCode::BadValue, error.place(), error.problem, error.fix);
    }
    let next = state.policy.version.saturating_add(1);
    if policy.version != next {
        let problem = format!("{} does not follow on the version in force", policy.version);
        return Outcome::refused(RefusalCode::Conflict, "policy.version", problem, Fix::with(format!("use {next}")));
    }
    state.policy = policy.clone();
    Outcome::Done
}
