//! Who makes a request or causes a change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{CarrierCode, ContentHash, DeviceId, NodeId, PortCode};

/// Declares the roles with their names in certificates and on the command line.
macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident $name:literal,)*) => {
        /// What a certificate entitles its holder to; read from the certificate's `tvs://ROLE/NAME` URI. What each may
        /// ask for stands in [`crate::rights`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Role {
            $($(#[$doc])* $role,)*
        }

        impl Role {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$role,)*];

            /// The role's name in certificates and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$role => $name,)*
                }
            }
        }
    };
}

roles! {
    /// A capture device, with somebody beside it or not (R12, R13, R22).
    Gate "gate",
    /// A member of the cluster.
    Node "node",
    /// A person or program that runs the cluster (R18).
    Operator "operator",
    /// Staff of a carrier, airport or agency beside a device: they see directive and confirmed identity (R12).
    Attendant "attendant",
    /// A travel-industry partner: submits manifests, owns devices, receives results (R16).
    Carrier "carrier",
    /// An officer, who is told of alerts and records what came of them (R14).
    Officer "officer",
    /// An analyst of the Passenger Analysis Unit, who validates hotlist entries (R15).
    Analyst "analyst",
    /// An analyst who vets (R20).
    Vetter "vetter",
    /// A supervisor, who approves access (R20).
    Supervisor "supervisor",
    /// The system's owner, who approves access as well (R20).
    Owner "owner",
    /// Internal investigations, who review the audit (R20).
    Auditor "auditor",
    /// A developer (R20).
    Developer "developer",
    /// Somebody who maintains machines and devices (R18).
    Maintainer "maintainer",
    /// Who supervises maintenance (R18).
    MaintenanceSupervisor "maintenance-supervisor",
    /// Who reads reports (R17).
    Reader "reader",
    /// Who is given crossing records by agreement: NTC, ICE, Border Patrol, USCG, TSA (R19).
    Consumer "consumer",
    /// Another system: OBIM, TECS, ADIS, APIS, ATS and their like (R21).
    System "system",
}

impl Role {
    /// What a certificate of this role has to name besides the role and the name.
    pub const fn names(self) -> Names {
        match self {
            Self::Gate | Self::Attendant | Self::Officer => Names::Port,
            Self::Carrier => Names::Carrier,
            _ => Names::Nothing,
        }
    }
}

/// What bounds the rights of a certificate's holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// The role alone does.
    Nothing,
    /// A port.
    Port,
    /// A carrier.
    Carrier,
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|role| role.as_str() == text);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|role| role.as_str()).collect();
            format!("unknown role {text:?}; use one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

impl FromStr for Actor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, name) = text
            .strip_prefix("tvs://")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(|| format!("{text:?} is not of the form tvs://ROLE/NAME"))?;
        Ok(Self { role: role.parse()?, name: name.parse().map_err(|error| format!("{error}"))? })
    }
}

/// What a certificate says of its holder, `tvs://ROLE/NAME?port=CODE` or `tvs://ROLE/NAME?carrier=CODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// Role and name.
    pub actor: Actor,
    /// The port at which they act.
    pub port: Option<PortCode>,
    /// The carrier whose journeys are theirs.
    pub carrier: Option<CarrierCode>,
}

impl From<Actor> for Holder {
    /// A holder of whom only role and name are known.
    fn from(actor: Actor) -> Self {
        Self { actor, port: None, carrier: None }
    }
}

impl Holder {
    /// What the certificate lacks that its role has to name.
    pub fn lacks(&self) -> Option<Names> {
        let names = self.actor.role.names();
        let is_there = match names {
            Names::Nothing => true,
            Names::Port => self.port.is_some(),
            Names::Carrier => self.carrier.is_some(),
        };
        (!is_there).then_some(names)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (port, carrier) = (self.port.map(|port| port.to_string()), self.carrier.map(|carrier| carrier.to_string()));
        write!(f, "{}", self.actor)?;
        let named = [("port", port), ("carrier", carrier)].into_iter().filter_map(|(key, code)| Some((key, code?)));
        for (number, (key, code)) in named.enumerate() {
            write!(f, "{}{key}={code}", if number == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl FromStr for Holder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (actor, query) = text.split_once('?').map_or((text, None), |(actor, query)| (actor, Some(query)));
        let mut holder = Self::from(actor.parse::<Actor>()?);
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            let (key, code) = pair.split_once('=').ok_or_else(|| format!("{pair:?} in {text:?} is not key=CODE"))?;
            let twice = match key {
                "port" => holder.port.replace(code.parse().map_err(|error| format!("{error}"))?).is_some(),
                "carrier" => holder.carrier.replace(code.parse().map_err(|error| format!("{error}"))?).is_some(),
                _ => return Err(format!("{key:?} in {text:?} is not known; use port or carrier")),
            };
            if twice {
                return Err(format!("{key:?} stands twice in {text:?}"));
            }
        }
        Ok(holder)
    }
}

/// Whoever is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// What their certificate says.
    pub holder: Holder,
    /// SHA-256 of the certificate.
    pub certificate: ContentHash,
}

impl Caller {
    /// Role and name.
    pub fn actor(&self) -> &Actor {
        &self.holder.actor
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.holder.fmt(f)
    }
}

/// What is revoked: one certificate, or every certificate of a role and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// The certificate of this fingerprint.
    Certificate(ContentHash),
    /// All certificates of this role and name.
    Name(Actor),
}

impl Caller {
    /// What would have to be revoked so that this one is refused.
    pub fn revoked_by(&self) -> [Revoked; 2] {
        [Revoked::Certificate(self.certificate), Revoked::Name(self.holder.actor)]
    }
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(fingerprint) => fingerprint.fmt(f),
            Self::Name(actor) => actor.fmt(f),
        }
    }
}

impl FromStr for Revoked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("tvs://") {
            return text.parse().map(Self::Name);
        }
        let fingerprint = text.replace(':', "").parse().map(Self::Certificate);
        fingerprint.map_err(|_| format!("{text:?} is neither tvs://ROLE/NAME nor a SHA-256 of 64 hexadecimal digits"))
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

    #[test]
    fn a_certificate_reads_back_as_it_is_written_and_says_what_it_lacks() {
        for text in [
            "tvs://gate/JFK-T4-B32-1?port=JFK",
            "tvs://carrier/desk?carrier=AA",
            "tvs://operator/ada",
            "tvs://maintenance-supervisor/ada?port=JFK&carrier=AA",
        ] {
            let holder: Holder = text.parse().expect("a holder");
            assert_eq!((holder.to_string().as_str(), holder.lacks()), (text, None));
        }
        let lacks = |text: &str| text.parse::<Holder>().expect("a holder").lacks();
        assert_eq!(lacks("tvs://gate/x"), Some(Names::Port));
        assert_eq!(lacks("tvs://gate/x?carrier=AA"), Some(Names::Port));
        assert_eq!(lacks("tvs://carrier/x?port=JFK"), Some(Names::Carrier));
        for wrong in [
            "tvs://gate/x?port",
            "tvs://gate/x?port=",
            "tvs://gate/x?port=JFK&port=MIA",
            "tvs://gate/x?gate=B32",
            "tvs://gate/x?port=J/K",
            "tvs://queen/x",
        ] {
            assert!(wrong.parse::<Holder>().is_err(), "{wrong}");
        }
    }
}
