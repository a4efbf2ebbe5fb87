//! How commands about revocations are applied.

use cluster_config::actor::Revoked;
use cluster_config::ids::UnixMs;
use cluster_config::limits::REVOCATIONS_MAX;
use cluster_config::wire::RefusalCode;

use super::command::Command;
use crate::outcome::Outcome;
use crate::state::State;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

pub(crate) fn apply(state: &mut State, command: &Command, at: UnixMs) -> Outcome {
    match command {
        Command::Revoke(what) => revoke(state, *what, at),
        Command::Forget => {
            let before = state.revocations_end();
            state.revocations.since.retain(|what, since| !is_over(what, *since, before));
            Outcome::Done
        }
        Command::Restore(what) => {
            if state.revocations.since.remove(what).is_none() {
                let fix = "see `tvs certs revoked` for what is";
                return Outcome::refused(RefusalCode::NotFound, format!("{what}"), "it is not revoked", fix);
            }
            Outcome::Done
        }
    }
}

/// Whether a revocation is of no use any more: its certificate has expired. A name may be given to another certificate.
fn is_over(what: &Revoked, since: UnixMs, before: UnixMs) -> bool {
    matches!(what, Revoked::Certificate(_)) && since <= before
}

impl State {
    fn revocations_end(&self) -> UnixMs {
        let kept_ms = u64::from(self.policy.retention.revocation_days) * DAY_MS;
        UnixMs(self.clock.now().0.saturating_sub(kept_ms))
    }

    /// Whether there is a revocation whose certificate has long expired.
    pub(crate) fn has_old_revocation(&self) -> bool {
        let before = self.revocations_end();
        self.revocations.since.iter().any(|(what, since)| is_over(what, *since, before))
    }
}

fn revoke(state: &mut State, what: Revoked, at: UnixMs) -> Outcome {
    let since = &mut state.revocations.since;
    if since.len() >= REVOCATIONS_MAX && !since.contains_key(&what) {
        let problem = format!("{REVOCATIONS_MAX} are revoked, and no more can be");
        let fix = "take back those of names that are not needed, with `tvs certs revoke --undo`";
        return Outcome::refused(RefusalCode::TooLarge, "revocations", problem, fix);
    }
    since.entry(what).or_insert(at);
    Outcome::Done
}
