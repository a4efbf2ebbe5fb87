//! The commands: the only ways to change the replicated state. Here the rooms' commands are put together.

use cluster_config::actor::Actor;
use cluster_config::ids::UnixMs;
use serde::{Deserialize, Serialize};

use crate::{galleries, journeys, ledger, membership, placement, policy, retention};

/// Version of the entries that this release writes. It counts up when the form of an entry changes after a release.
pub const ENTRY_VERSION: u16 = 1;

/// One entry of the log. The leader stamps it: applying reads no clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The form in which it is written ([`ENTRY_VERSION`]).
    pub version: u16,
    /// Who asked for the change, as the door knew them.
    pub actor: Actor,
    /// When the leader took it, by the leader's clock.
    pub at: UnixMs,
    /// The change.
    pub command: Command,
}

impl Entry {
    /// An entry of this release.
    pub fn new(actor: Actor, at: UnixMs, command: Command) -> Self {
        Self { version: ENTRY_VERSION, actor, at, command }
    }
}

/// One change of the replicated state. A repeated command is answered like the first and changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Nodes come, start, are emptied, leave.
    Membership(membership::Command),
    /// The policy.
    Policy(policy::Command),
    /// Journeys are announced and closed.
    Journeys(journeys::Command),
    /// Galleries are opened, built and closed.
    Galleries(galleries::Command),
    /// Shards are placed on nodes.
    Placement(placement::Command),
    /// Encounters are recorded.
    Ledger(ledger::Command),
    /// What was held is destroyed.
    Retention(retention::Command),
}

impl Command {
    /// Whether the command only adds to the ledger, so that nothing on the nodes has to be reconciled after it.
    pub fn is_ledger(&self) -> bool {
        matches!(self, Self::Ledger(_))
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
    Retention(retention)
}
