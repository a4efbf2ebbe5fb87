//! The types and the configuration of the raft group.

use std::fmt;
use std::sync::Arc;

use cluster_config::cluster::ClusterSettings;
use cluster_config::member::Member;
use coordinator_core::Outcome;
use openraft::type_config::alias;
use openraft::{Config, SnapshotPolicy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

openraft::declare_raft_types!(
    /// The group's types. Log ids carry term and node (openraft's `leader_id_adv`).
    pub TypeConfig:
        D = Proposal,
        R = Option<Outcome>,
        NodeId = u64,
        Node = Peer,
);

/// An entry of the log.
pub type Entry = alias::EntryOf<TypeConfig>;
/// Term, leader and index of an entry.
pub type LogId = alias::LogIdOf<TypeConfig>;
pub type Vote = alias::VoteOf<TypeConfig>;
/// The members, and the id of the entry that set them.
pub type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot covers.
pub type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;

/// Entries after which a snapshot is made: a start replays so many in a fraction of a second.
pub const SNAPSHOT_AFTER_ENTRIES: u64 = 20_000;

/// Records after which a snapshot is made, too: an entry may hold many, and a start replays so many in half a second.
pub const SNAPSHOT_AFTER_RECORDS: u64 = 131_072;

/// Entries that a snapshot leaves in the log. They are more than one interval, so that a node can start from the
/// snapshot before the last when the last one cannot be read.
pub const ENTRIES_KEPT: u64 = SNAPSHOT_AFTER_ENTRIES + 4_000;

/// Entries in one replication message; with batches of 256 records each that is 16 MiB at most.
pub const APPEND_ENTRIES_MAX: u64 = 256;

/// How long a follower may take to install a snapshot that it has, and a new member to catch up, milliseconds.
pub const SNAPSHOT_TRANSFER_MS_MAX: u64 = 60_000;

/// What an entry of the log says. It is shared: the log's tail, the message to each follower and the state machine hold
/// the same one.
#[derive(Clone, PartialEq)]
pub struct Proposal(pub Arc<coordinator_core::Entry>);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Proposal {
    /// openraft writes this into its traces. A command's content must not stand there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.command.leaves_galleries() { "ledger or time" } else { "command" })
    }
}

impl Serialize for Proposal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Proposal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        coordinator_core::Entry::deserialize(deserializer).map(|entry| Self(Arc::new(entry)))
    }
}

/// A member as the raft group knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Peer {
    /// Its QUIC endpoint, `IP:PORT`.
    pub address: String,
    /// Its failure domain.
    pub zone: String,
}

impl From<&Member> for Peer {
    fn from(member: &Member) -> Self {
        Self { address: member.address.clone(), zone: member.zone.to_string() }
    }
}

/// openraft's configuration for these settings.
///
/// # Errors
/// [`Error::Settings`] where openraft refuses them.
pub fn config(settings: &ClusterSettings) -> Result<Config, Error> {
    let config = Config {
        cluster_name: settings.name.clone(),
        heartbeat_interval: settings.heartbeat_ms,
        election_timeout_min: settings.election_ms_min,
        election_timeout_max: settings.election_ms_max,
        install_snapshot_timeout: SNAPSHOT_TRANSFER_MS_MAX,
        max_payload_entries: APPEND_ENTRIES_MAX,
        // A follower that lacks more entries is sent a snapshot. It must be more than one interval.
        replication_lag_threshold: 2 * SNAPSHOT_AFTER_ENTRIES,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_AFTER_ENTRIES),
        max_in_snapshot_log_to_keep: ENTRIES_KEPT,
        // Followers write while the leader writes, not after it.
        broadcast_submitted_on_append: Some(true),
        enable_pre_vote: Some(true),
        // A leader without a quorum stops its heartbeats for a while, so that the nodes that reach each other elect
        // one.
        quorum_loss_probe_interval: Some(2 * settings.election_ms_max),
        // A leader that restarts has to be elected again: its state may be older than its last answer.
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        // An unreachable peer is asked again every second heartbeat, so that its return is noticed at once.
        backoff: format!("{0}ms {0}ms {0}ms", settings.heartbeat_ms.max(10).saturating_mul(2)),
        ..Config::default()
    };
    config.validate().map_err(|error| Error::Settings(error.to_string()))
}
