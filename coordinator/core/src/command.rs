//! The commands: the only ways to change the replicated state. Here the rooms' commands are put together.

use serde::{Deserialize, Serialize};

use crate::{clock, devices, galleries, journeys, ledger, membership, placement, policy, retention, revocations};

/// One change of the replicated state. A repeated command is answered like the first and changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Nodes come, start, are emptied, leave.
    Membership(membership::Command),
    Policy(policy::Command),
    /// Journeys are announced and closed.
    Journeys(journeys::Command),
    /// Galleries are opened, built and closed.
    Galleries(galleries::Command),
    /// Shards are placed on nodes.
    Placement(placement::Command),
    Ledger(ledger::Command),
    /// What was held is destroyed.
    Retention(retention::Command),
    /// Devices are registered and retired.
    Devices(devices::Command),
    /// Certificates are revoked.
    Revocations(revocations::Command),
    /// It gets later.
    Clock(clock::Command),
}

impl Command {
    /// Whether the command only changes the ledger or the time, so that nothing on the nodes has to be reconciled after
    /// it.
    pub fn leaves_galleries(&self) -> bool {
        matches!(self, Self::Ledger(_) | Self::Clock(_))
    }

    /// Encounters for the ledger, in this order.
    pub fn record(records: Vec<ledger::Record>) -> Self {
        Self::Ledger(ledger::Command::Record(records))
    }
}

/// Makes the command of a room one of the whole.
macro_rules! of_room {
    ($($variant:ident($room:ident))*) => {
        $(impl From<$room::Command> for Command {
            fn from(command: $room::Command) -> Self {
                Self::$variant(command)
            }
        })*
    };
}

of_room! {
    Membership(membership) Policy(policy) Journeys(journeys) Galleries(galleries) Placement(placement) Ledger(ledger)
    Retention(retention) Devices(devices) Revocations(revocations) Clock(clock)
}
