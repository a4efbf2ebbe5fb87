//! Applying an entry: total (every command has an outcome), clock-free and the same on every node.

use cluster_config::canary::Canaries;
use cluster_config::ids::UnixMs;

use crate::command::Command;
use crate::entry::Entry;
use crate::outcome::Outcome;
use crate::state::State;
use crate::{clock, devices, galleries, journeys, ledger, membership, placement, policy, retention, revocations};

impl State {
    /// Applies one entry.
    pub fn apply(&mut self, entry: &Entry, canaries: Canaries) -> Outcome {
        // What comes into the state carries its time; before it has one, there is the leader's clock alone.
        let at = Some(self.clock.now()).filter(|now| *now != UnixMs::default()).unwrap_or(entry.at);
        match &entry.command {
            Command::Membership(command) => membership::apply(self, command, canaries),
            Command::Policy(command) => policy::apply(self, command),
            Command::Journeys(command) => journeys::apply(self, command, entry.actor, canaries),
            Command::Galleries(command) => galleries::apply(self, command, canaries),
            Command::Placement(command) => placement::apply(self, command, canaries),
            Command::Ledger(command) => ledger::apply(self, command, canaries),
            Command::Clock(command) => clock::apply(self, command),
            Command::Retention(command) => retention::apply(self, command, at, canaries),
            Command::Devices(command) => devices::apply(self, command, at),
            Command::Revocations(command) => revocations::apply(self, command, at),
        }
    }
}
