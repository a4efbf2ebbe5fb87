//! Who makes a request or causes a change.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, NodeId};

/// What a certificate entitles its holder to; read from the certificate's `tvs://ROLE/NAME` URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Gate,
    /// A member of the cluster.
    Node,
    /// A person or program that runs the cluster.
    Operator,
}

impl Role {
    /// The role's name in certificates and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Node => "node",
            Self::Operator => "operator",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "gate" => Ok(Self::Gate),
            "node" => Ok(Self::Node),
            "operator" => Ok(Self::Operator),
            other => Err(format!("unknown role {other:?}; use gate, node or operator")),
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whoever makes a request or causes a change: the role and the name of their certificate, `tvs://ROLE/NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// What they may ask for.
    pub role: Role,
    /// Their name, such as a device's or an operator's.
    pub name: DeviceId,
}

impl Actor {
    /// A node, by the name that its certificate has to have.
    pub fn node(id: NodeId) -> Self {
        Self { role: Role::Node, name: DeviceId::numbered("node-", id.0) }
    }

    /// The node whose certificate this is; absent where it is another role's, or names no node.
    pub fn as_node(&self) -> Option<NodeId> {
        let id = self.name.as_str().strip_prefix("node-")?.parse().ok()?;
        (*self == Self::node(id)).then_some(id)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tvs://{}/{}", self.role, self.name)
    }
}

impl std::str::FromStr for Actor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, name) = text
            .strip_prefix("tvs://")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(|| format!("{text:?} is not of the form tvs://ROLE/NAME"))?;
        Ok(Self { role: role.parse()?, name: name.parse().map_err(|error| format!("{error}"))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_exactly_one_name() {
        let actor = |text: &str| text.parse::<Actor>().expect("an actor");
        assert_eq!(actor("tvs://node/node-7").as_node(), Some(NodeId(7)));
        for other in ["tvs://gate/node-7", "tvs://node/node-07", "tvs://node/node-x", "tvs://node/7", "tvs://node/n-7"]
        {
            assert_eq!(actor(other).as_node(), None, "{other}");
        }
    }
}
