//! How commands about placement are applied.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::wire::{Fix, RefusalCode};

use super::check;
use super::command::Command;
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command, canaries: Canaries) -> Outcome {
    let Command::Change { parent, changes } = command;
    let current = state.blueprint.generation();
    if *parent != current {
        let problem = format!("it was planned on generation {parent}, which is not the current one");
        let fix = Fix::with(format!("plan again on generation {current}"));
        return Outcome::refused(RefusalCode::Conflict, "blueprint", problem, fix);
    }
    if let Err(violation) = check::changes(state, changes, canaries) {
        let place = format!("blueprint of {}", violation.shard);
        return Outcome::refused(RefusalCode::Conflict, place, violation.rule.to_string(), "plan again");
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
