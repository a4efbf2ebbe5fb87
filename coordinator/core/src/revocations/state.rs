//! What is revoked.

use std::collections::BTreeMap;

use cluster_config::actor::{Caller, Revoked};
use cluster_config::canary::{Canaries, Canary};
use cluster_config::ids::UnixMs;
use cluster_config::wire::operator::Revocation;
use cluster_config::wire::{Refusal, RefusalCode};
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Revocations {
    pub(super) since: BTreeMap<Revoked, UnixMs>,
}

impl Revocations {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Revocation> + '_ {
        self.since.iter().map(|(what, since)| Revocation { what: *what, since: *since })
    }

    /// Judges whoever shows a certificate.
    ///
    /// # Errors
    /// `revoked`.
    pub fn judge(&self, caller: &Caller, canaries: Canaries) -> Result<(), Refusal> {
        let is_revoked = caller.revoked_by().iter().any(|what| self.since.contains_key(what));
        if !is_revoked || canaries.has(Canary::RevokedServed) {
            return Ok(());
        }
        let place = format!("certificate {caller}");
        let fix = "issue another one with `tvs certs issue`, under another name where the name is revoked";
        Err(Refusal::new(RefusalCode::Revoked, place, "it is revoked", fix))
    }
}
