//! How commands about placement are applied.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::wire::RefusalCode;

use super::check;
use super::command::Command;
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command, canaries: Canaries) -> Outcome {
    let Command::Change { parent, changes } = command;
    let current = state.blueprint.generation();
    if *parent != current {
        let place = format!("blueprint with parent {parent}");
        return Outcome::refused(RefusalCode::Conflict, place, format!("plan again on generation {current}"));
    }
    if let Err(violation) = check::changes(state, changes, canaries) {
        return Outcome::refused(RefusalCode::Conflict, "blueprint", violation.to_string());
    }
    for change in changes {
        let forgets = canaries.has(Canary::ForgottenHolder);
        let holders = change.placement.holders().filter(|node| !forgets || change.placement.has(*node));
        state.galleries.held_by(change.shard, holders);
        state.blueprint.place(change.shard, change.placement.clone());
    }
    state.blueprint.advance();
    Outcome::Done
}
