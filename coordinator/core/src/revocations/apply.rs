//! How commands about revocations are applied.

use cluster_config::actor::Revoked;
use cluster_config::ids::UnixMs;
use cluster_config::limits::REVOCATIONS_MAX;
use cluster_config::wire::RefusalCode;

use super::command::Command;
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command, at: UnixMs) -> Outcome {
    match command {
        Command::Revoke(what) => revoke(state, *what, at),
        Command::Restore(what) => {
            if state.revocations.since.remove(what).is_none() {
                let fix = "see `tvs certs revoked` for what is";
                return Outcome::refused(RefusalCode::NotFound, format!("{what}"), "it is not revoked", fix);
            }
            Outcome::Done
        }
    }
}

fn revoke(state: &mut State, what: Revoked, at: UnixMs) -> Outcome {
    let since = &mut state.revocations.since;
    if since.len() >= REVOCATIONS_MAX && !since.contains_key(&what) {
        let problem = format!("{REVOCATIONS_MAX} are revoked, and no more can be");
        let fix = "take back those whose certificates have expired, with `tvs certs revoke --undo`";
        return Outcome::refused(RefusalCode::TooLarge, "revocations", problem, fix);
    }
    since.entry(what).or_insert(at);
    Outcome::Done
}
