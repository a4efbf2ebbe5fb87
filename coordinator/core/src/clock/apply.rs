//! How commands about time are applied.

use super::command::Command;
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command) -> Outcome {
    let Command::Advance(now) = command;
    state.clock.set(*now);
    Outcome::Done
}
