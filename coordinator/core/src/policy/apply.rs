//! How commands about the policy are applied.

use cluster_config::wire::RefusalCode;

use super::command::Command;
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command) -> Outcome {
    let Command::Set(policy) = command;
    if *policy == state.policy {
        return Outcome::Done;
    }
    if let Err(error) = policy.check() {
        return Outcome::refused(RefusalCode::BadValue, format!("policy.{}", error.field), error.problem);
    }
    let next = state.policy.version.saturating_add(1);
    if policy.version != next {
        return Outcome::refused(RefusalCode::Conflict, "policy.version", format!("must be {next}"));
    }
    state.policy = policy.clone();
    Outcome::Done
}
