//! What each role may ask for: one table of role and request. The door of a node asks it before anything else, and
//! `tvs rights` prints it.

use serde::{Deserialize, Serialize};

use crate::actor::{Actor, Role};
use crate::wire::{Channel, Fix, Refusal, RefusalCode, gate, operator, peer};

/// What the table says of a role and a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// The role may ask for this.
    Yes,
    /// The role may not.
    No,
    /// Of what belongs to the port that the certificate names, and to the journeys that leave it or come to it.
    OwnPort,
    /// Of the journeys of the carrier that the certificate names.
    OwnJourneys,
    /// Together with a second person.
    TwoPeople,
}

impl Right {
    /// The right in words, as a table has it; absent where there is none.
    pub fn in_words(self) -> Option<&'static str> {
        match self {
            Self::Yes => Some("yes"),
            Self::No => None,
            Self::OwnPort => Some("own port"),
            Self::OwnJourneys => Some("own journeys"),
            Self::TwoPeople => Some("two people"),
        }
    }
}

/// Declares the requests: each with what it is, the channel on which it comes, and the roles that may ask for it.
/// Whoever is not named may not.
macro_rules! table {
    ($($(#[$attribute:meta])* $ask:ident $channel:ident $what:literal: $($role:ident $right:ident),+;)*) => {
        /// Every kind of request that there is. A request that is added to the wire is added here, or it does not
        /// compile.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Ask {
            $($(#[$attribute])* #[doc = $what] $ask,)*
        }

        impl Ask {
            /// All of them, in the order of the table.
            pub const ALL: &[Self] = &[$($(#[$attribute])* Self::$ask,)*];

            /// What is asked for.
            pub const fn what(self) -> &'static str {
                match self {
                    $($(#[$attribute])* Self::$ask => $what,)*
                }
            }

            /// The channel on which it comes.
            pub const fn channel(self) -> Channel {
                match self {
                    $($(#[$attribute])* Self::$ask => Channel::$channel,)*
                }
            }

            /// What a role may ask for of this.
            pub const fn right_of(self, role: Role) -> Right {
                match self {
                    $($(#[$attribute])* Self::$ask => match role {
                        $(Role::$role => Right::$right,)+
                        #[allow(unreachable_patterns, reason = "a row may name every role")]
                        _ => Right::No,
                    },)*
                }
            }
        }
    };
}

table! {
    GateHello Gate "greet a node": Gate Yes;
    Identify Gate "look for a traveller": Gate OwnPort;
    Board Gate "board a traveller": Gate OwnPort;

    PeerHello Peer "introduce a node": Node Yes;
    Raft Peer "take part in the group": Node Yes;
    Propose Peer "hand a command on": Node Yes;
    Report Peer "report what a node holds": Node Yes;
    ReadIndex Peer "ask how far the leader is": Node Yes;
    SearchShard Peer "search a shard": Node Yes;
    Build Peer "have a gallery built": Node Yes;
    StoreSegment Peer "hand a segment to its keeper": Node Yes;
    FetchSegment Peer "fetch a segment": Node Yes;
    FetchRoster Peer "fetch the people of a gallery": Node Yes;
    FetchChunk Peer "fetch a file of the ledger": Node Yes;
    ForLeader Peer "hand a request on to the leader": Node Yes;
    Vouch Peer "ask whether a node is a member": Node Yes;
    Keeps Peer "ask whether a gallery is kept": Node Yes;

    ClusterStatus Operator "see the cluster":
        Operator Yes, Maintainer Yes, MaintenanceSupervisor Yes, Developer Yes, Auditor Yes;
    Metrics Operator "read metrics": Operator Yes, Maintainer Yes, MaintenanceSupervisor Yes, Developer Yes;
    AddMember Operator "add a node": Operator Yes;
    RemoveMember Operator "take a node out": Operator Yes;
    MoveMember Operator "move a member": Operator Yes;
    Drain Operator "empty a node": Operator Yes, Maintainer Yes, MaintenanceSupervisor Yes;
    DrainStatus Operator "see what an emptied node still has": Operator Yes, Maintainer Yes, MaintenanceSupervisor Yes;
    TransferLeader Operator "hand leadership over": Operator Yes, Maintainer Yes, MaintenanceSupervisor Yes;
    AttestDestruction Operator "state that disks are destroyed": Operator Yes, MaintenanceSupervisor TwoPeople;
    SubmitManifest Operator "submit a manifest": Operator Yes, Carrier OwnJourneys;
    GalleryList Operator "list journeys and galleries":
        Operator Yes, Maintainer Yes, Auditor Yes, Reader Yes, Carrier OwnJourneys, Attendant OwnPort, Officer OwnPort;
    GalleryShow Operator "see a journey and its galleries":
        Operator Yes, Maintainer Yes, Auditor Yes, Reader Yes, Carrier OwnJourneys, Attendant OwnPort, Officer OwnPort;
    BuildJourney Operator "have a journey built before its time": Operator Yes;
    CloseJourney Operator "close a journey": Operator Yes, Carrier OwnJourneys;
    PurgeJourney Operator "destroy what is kept of a journey": Operator Yes;
    LedgerPage Operator "read the ledger": Operator Yes, Auditor Yes;
    PolicyShow Operator "read the policy":
        Operator Yes, Maintainer Yes, MaintenanceSupervisor Yes, Supervisor Yes, Owner Yes, Auditor Yes, Developer Yes;
    PolicySet Operator "replace the policy": Operator Yes, Owner TwoPeople;
    DeviceAdd Operator "register a device": Operator Yes;
    DeviceList Operator "list devices": Operator Yes, Maintainer Yes, MaintenanceSupervisor Yes, Auditor Yes;
    DeviceShow Operator "see a device": Operator Yes, Maintainer Yes, MaintenanceSupervisor Yes, Auditor Yes;
    DeviceRetire Operator "retire a device": Operator Yes;
    Revoke Operator "revoke a certificate": Operator Yes, Owner Yes;
    RevocationList Operator "list what is revoked": Operator Yes, Owner Yes, Supervisor Yes, Auditor Yes;
    #[cfg(feature = "next")]
    Amend Operator "correct a record of the ledger": Operator Yes;
}

/// Whether a role may ask for anything at all on a channel.
pub fn may_use(role: Role, channel: Channel) -> bool {
    Ask::ALL.iter().any(|ask| ask.channel() == channel && ask.right_of(role) != Right::No)
}

/// Judges a frame by its header, before its body is read: somebody who may ask for nothing on a channel sends nothing
/// there.
///
/// # Errors
/// `wrong-role`, with the roles that may.
pub fn check_channel(actor: &Actor, channel: Channel) -> Result<(), Refusal> {
    if may_use(actor.role, channel) {
        return Ok(());
    }
    let asked = match channel {
        Channel::Gate => "what a gate asks for",
        Channel::Peer => "what a node asks for",
        Channel::Operator => "what an operator asks for",
    };
    let problem = format!("its role, {}, may not ask for {asked}", actor.role);
    let may = Role::ALL.iter().filter(|role| may_use(**role, channel)).map(|role| role.as_str());
    Err(wrong_role(format!("certificate {actor}"), problem, may))
}

/// Judges a request by the table.
///
/// # Errors
/// `wrong-role`, with the roles that may.
pub fn check(actor: &Actor, ask: Ask) -> Result<Right, Refusal> {
    let (place, role) = (format!("certificate {actor}"), actor.role);
    match ask.right_of(role) {
        Right::No => {
            let may = Role::ALL.iter().filter(|role| ask.right_of(**role) != Right::No).map(|role| role.as_str());
            Err(wrong_role(place, format!("its role, {role}, may not {}", ask.what()), may))
        }
        Right::TwoPeople => {
            let problem = format!("its role, {role}, may {} together with a second person alone", ask.what());
            let may = Role::ALL.iter().filter(|role| ask.right_of(**role) == Right::Yes).map(|role| role.as_str());
            Err(wrong_role(place, problem, may))
        }
        right => Ok(right),
    }
}

fn wrong_role<'a>(place: String, problem: String, may: impl Iterator<Item = &'a str>) -> Refusal {
    let fix = format!("use a certificate of role {}", may.collect::<Vec<_>>().join(" or "));
    Refusal::new(RefusalCode::WrongRole, place, problem, Fix::with(fix))
}

/// The rows of the table as people read it, the head first: what is asked for, and who may.
pub fn table() -> impl Iterator<Item = [String; 2]> {
    let head = ["request", "who may"].map(String::from);
    let rows = Ask::ALL.iter().map(|ask| {
        let who = Role::ALL.iter().filter_map(|role| {
            Some(match (ask.right_of(*role), ask.right_of(*role).in_words()?) {
                (Right::Yes, _) => role.to_string(),
                (_, bound) => format!("{role} ({bound})"),
            })
        });
        [ask.what().to_owned(), who.collect::<Vec<_>>().join(", ")]
    });
    std::iter::once(head).chain(rows)
}

impl From<&gate::Request> for Ask {
    fn from(request: &gate::Request) -> Self {
        match request {
            gate::Request::Hello => Self::GateHello,
            gate::Request::Identify(_) => Self::Identify,
            gate::Request::Board(_) => Self::Board,
        }
    }
}

impl From<&peer::Request> for Ask {
    fn from(request: &peer::Request) -> Self {
        match request {
            peer::Request::Hello(_) => Self::PeerHello,
            peer::Request::Raft { .. } => Self::Raft,
            peer::Request::Propose { .. } => Self::Propose,
            peer::Request::Report(_) => Self::Report,
            peer::Request::Search(_) => Self::SearchShard,
            peer::Request::Build(_) => Self::Build,
            peer::Request::StoreSegment(_) => Self::StoreSegment,
            peer::Request::FetchSegment { .. } => Self::FetchSegment,
            peer::Request::ForLeader { .. } => Self::ForLeader,
            peer::Request::FetchRoster { .. } => Self::FetchRoster,
            peer::Request::FetchChunk(_) => Self::FetchChunk,
            peer::Request::ReadIndex => Self::ReadIndex,
            peer::Request::Vouch(_) => Self::Vouch,
            peer::Request::Keeps { .. } => Self::Keeps,
        }
    }
}

impl From<&operator::Request> for Ask {
    fn from(request: &operator::Request) -> Self {
        match request {
            operator::Request::ClusterStatus => Self::ClusterStatus,
            operator::Request::AddMember { .. } => Self::AddMember,
            operator::Request::RemoveMember { .. } => Self::RemoveMember,
            operator::Request::MoveMember(_) => Self::MoveMember,
            operator::Request::DrainStatus(_) | operator::Request::DrainPreview(_) => Self::DrainStatus,
            operator::Request::Drain { .. } => Self::Drain,
            operator::Request::AttestDestruction(_) => Self::AttestDestruction,
            operator::Request::TransferLeader(_) => Self::TransferLeader,
            operator::Request::SubmitManifest(_) => Self::SubmitManifest,
            operator::Request::GalleryList => Self::GalleryList,
            operator::Request::GalleryShow(_) => Self::GalleryShow,
            operator::Request::BuildJourney(_) => Self::BuildJourney,
            operator::Request::CloseJourney { purge: false, .. } => Self::CloseJourney,
            operator::Request::CloseJourney { purge: true, .. } => Self::PurgeJourney,
            operator::Request::LedgerPage { .. } => Self::LedgerPage,
            operator::Request::PolicyShow => Self::PolicyShow,
            operator::Request::PolicySet(_) => Self::PolicySet,
            operator::Request::Metrics => Self::Metrics,
            operator::Request::DeviceAdd(_) => Self::DeviceAdd,
            operator::Request::DeviceList => Self::DeviceList,
            operator::Request::DeviceShow(_) => Self::DeviceShow,
            operator::Request::DeviceRetire(_) => Self::DeviceRetire,
            operator::Request::Revoke { .. } => Self::Revoke,
            operator::Request::RevocationList => Self::RevocationList,
            #[cfg(feature = "next")]
            operator::Request::Amend(_) => Self::Amend,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versions::shape::variants_of;

    /// P11: nothing is forgotten in the table, and no role gets a right by an oversight.
    #[test]
    fn every_role_and_every_request_has_its_place_in_the_table() {
        assert_eq!(Ask::ALL.len(), variants_of::<Ask>().len());
        assert_eq!(Role::ALL.len(), variants_of::<Role>().len());
        let has = |ask: &Ask, role: Role| ask.right_of(role) != Right::No;
        for ask in Ask::ALL {
            assert!(Role::ALL.iter().any(|role| has(ask, *role)), "nobody may ask for {ask:?}");
            // Machines do what machines do, and people what people do.
            assert_eq!(has(ask, Role::Node), ask.channel() == Channel::Peer, "{ask:?}");
            assert_eq!(has(ask, Role::Gate), ask.channel() == Channel::Gate, "{ask:?}");
            assert_eq!(has(ask, Role::Operator), ask.channel() == Channel::Operator, "{ask:?}");
        }
    }

    /// Sharper than the table is printed: a right that grows is seen here.
    #[test]
    fn a_role_beside_operators_changes_nothing_but_what_it_is_named_for() {
        let changes = [
            Ask::AddMember,
            Ask::RemoveMember,
            Ask::Drain,
            Ask::AttestDestruction,
            Ask::TransferLeader,
            Ask::SubmitManifest,
            Ask::BuildJourney,
            Ask::CloseJourney,
            Ask::PurgeJourney,
            Ask::PolicySet,
            Ask::DeviceAdd,
            Ask::DeviceRetire,
            Ask::Revoke,
        ];
        let may = |role: Role| changes.into_iter().filter(|ask| ask.right_of(role) == Right::Yes).collect::<Vec<_>>();
        let maintenance = vec![Ask::Drain, Ask::TransferLeader];
        for role in Role::ALL.iter().copied().filter(|role| *role != Role::Operator) {
            let wanted = match role {
                Role::Maintainer | Role::MaintenanceSupervisor => maintenance.clone(),
                Role::Owner => vec![Ask::Revoke],
                _ => Vec::new(),
            };
            assert_eq!(may(role), wanted, "{role}");
        }
    }

    #[test]
    fn a_channel_is_open_to_those_who_may_ask_for_something_there() {
        for (role, channel, may) in [
            (Role::Gate, Channel::Gate, true),
            (Role::Operator, Channel::Gate, false),
            (Role::Node, Channel::Operator, false),
            (Role::Carrier, Channel::Operator, true),
            (Role::Carrier, Channel::Peer, false),
            (Role::Consumer, Channel::Operator, false),
        ] {
            assert_eq!(may_use(role, channel), may, "{role} on {channel:?}");
        }
    }
}
