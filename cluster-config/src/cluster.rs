//! Settings that must be equal on all nodes.

use serde::{Deserialize, Serialize};

use crate::ids::{ClusterId, ModelVersion};
use crate::limits::{
    NODES_MAX, RAFT_ELECTION_MS_MAX, RAFT_ELECTION_MS_MIN, RAFT_HEARTBEAT_MS, RAFT_HEARTBEAT_MS_MAX,
    RAFT_HEARTBEAT_MS_MIN, TEMPLATE_DIMS_MAX, TEMPLATE_DIMS_MIN, TEMPLATE_DIMS_STEP,
};
use crate::member::Member;

/// The `[cluster]` table of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSettings {
    /// Name of the cluster.
    pub name: String,
    /// The model whose templates the galleries hold.
    pub model: ModelVersion,
    /// Numbers in a template.
    pub template_dims: usize,
    /// Interval of the leader's heartbeats, milliseconds.
    #[serde(default = "heartbeat_ms")]
    pub heartbeat_ms: u64,
    /// A follower waits between these two before it stands for election, milliseconds.
    #[serde(default = "election_ms_min")]
    pub election_ms_min: u64,
    /// See `election_ms_min`.
    #[serde(default = "election_ms_max")]
    pub election_ms_max: u64,
    /// The members at the start of the cluster, all of them voters.
    pub members: Vec<Member>,
}

fn heartbeat_ms() -> u64 {
    RAFT_HEARTBEAT_MS
}

fn election_ms_min() -> u64 {
    RAFT_ELECTION_MS_MIN
}

fn election_ms_max() -> u64 {
    RAFT_ELECTION_MS_MAX
}

/// Why settings are refused: the key in its table, and what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct Error {
    /// The key as written in the file, such as `cluster.template_dims`.
    pub key: String,
    /// What is wrong and what is accepted.
    pub problem: String,
}

impl Error {
    /// A refusal of `key`.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

/// Checks an address under which others reach a node.
///
/// # Errors
/// What is wrong with it, and what is accepted.
pub fn reachable(address: &str) -> Result<(), String> {
    match address.parse::<std::net::SocketAddr>() {
        Ok(parsed) if parsed.ip().is_unspecified() => Err(format!("{address:?} names all addresses; give one IP:PORT")),
        Ok(parsed) if parsed.port() == 0 => Err(format!("{address:?} has port 0; give a port from 1 to 65535")),
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{address:?} is not IP:PORT, such as 10.0.0.1:7100")),
    }
}

impl ClusterSettings {
    /// Checks the values against each other and against the limits.
    ///
    /// # Errors
    /// The first key that cannot stand.
    pub fn check(&self) -> Result<(), Error> {
        if self.name.is_empty() || self.name.len() > 64 {
            return Err(Error::new("cluster.name", "must have 1 to 64 characters"));
        }
        if !(TEMPLATE_DIMS_MIN..=TEMPLATE_DIMS_MAX).contains(&self.template_dims)
            || !self.template_dims.is_multiple_of(TEMPLATE_DIMS_STEP)
        {
            return Err(Error::new(
                "cluster.template_dims",
                format!("must be a multiple of {TEMPLATE_DIMS_STEP} from {TEMPLATE_DIMS_MIN} to {TEMPLATE_DIMS_MAX}"),
            ));
        }
        if !(RAFT_HEARTBEAT_MS_MIN..=RAFT_HEARTBEAT_MS_MAX).contains(&self.heartbeat_ms) {
            let problem =
                format!("must be {RAFT_HEARTBEAT_MS_MIN} to {RAFT_HEARTBEAT_MS_MAX}; {RAFT_HEARTBEAT_MS} is usual");
            return Err(Error::new("cluster.heartbeat_ms", problem));
        }
        if self.election_ms_min < 3 * self.heartbeat_ms {
            return Err(Error::new("cluster.election_ms_min", "must be at least three heartbeats"));
        }
        if self.election_ms_max <= self.election_ms_min || self.election_ms_max > 60_000 {
            return Err(Error::new("cluster.election_ms_max", "must be above election_ms_min and at most 60000"));
        }
        if self.members.is_empty() || self.members.len() > NODES_MAX {
            return Err(Error::new("cluster.members", format!("must name 1 to {NODES_MAX} nodes")));
        }
        for (index, member) in self.members.iter().enumerate() {
            let key = format!("cluster.members[{index}]");
            if member.id.0 == 0 {
                return Err(Error::new(key, "id 0 is reserved; count from 1"));
            }
            reachable(&member.address).map_err(|problem| Error::new(key.clone(), format!("address {problem}")))?;
            if self.members[..index].iter().any(|m| m.id == member.id || m.address == member.address) {
                return Err(Error::new(key, "id and address must each be given once"));
            }
        }
        Ok(())
    }

    /// What must be equal on all nodes for answers to be equal. The member list is none of it: it changes as nodes join
    /// and leave.
    pub fn agreed(&self) -> Agreed {
        Agreed { name: self.name.clone(), model: self.model, template_dims: self.template_dims }
    }
}

/// The settings that are fixed when a cluster is founded, and equal on all of its nodes for as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// [`ClusterSettings::name`].
    pub name: String,
    /// [`ClusterSettings::model`].
    pub model: ModelVersion,
    /// [`ClusterSettings::template_dims`].
    pub template_dims: usize,
}

impl Agreed {
    /// Names the settings that are not the same there, with both values; absent where all are.
    pub fn difference(&self, there: &Self) -> Option<String> {
        let mut keys = Vec::new();
        if self.name != there.name {
            keys.push(format!("cluster.name is {:?} here and {:?} there", self.name, there.name));
        }
        if self.model != there.model {
            keys.push(format!("cluster.model is {} here and {} there", self.model, there.model));
        }
        if self.template_dims != there.template_dims {
            keys.push(format!(
                "cluster.template_dims is {} here and {} there",
                self.template_dims, there.template_dims
            ));
        }
        (!keys.is_empty()).then(|| keys.join(", "))
    }
}

/// What a cluster is from its founding on: it stands in its first entries, in the replicated state and in every folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// Which cluster.
    pub cluster: ClusterId,
    /// What its nodes agree on.
    pub agreed: Agreed,
}
