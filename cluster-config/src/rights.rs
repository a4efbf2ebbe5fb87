//! What each role may ask for: one table of role and request. The door of a node asks it before anything else.

use serde::{Deserialize, Serialize};

use crate::actor::Role;
use crate::wire::{gate, operator, peer};

/// What the table says of a role and a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// The role may ask for this.
    Yes,
    /// The role may not.
    No,
}

/// Every kind of request that there is. A request that is added to the wire is added here, or it does not compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// A gate looks for a node and its fellows.
    GateHello,
    /// A gate has a capture looked for; nothing is recorded.
    Identify,
    /// A gate has a capture looked for and the boarding recorded.
    Board,
    /// A node introduces itself.
    PeerHello,
    /// A call of the raft group.
    Raft,
    /// A command for the leader.
    Propose,
    /// What a node holds.
    Report,
    /// The leader's index, to catch up with.
    ReadIndex,
    SearchShard,
    /// An order to build a gallery.
    Build,
    /// A segment to keep.
    StoreSegment,
    FetchSegment,
    /// The people of a gallery to fetch.
    FetchRoster,
    /// Whether a node is a member.
    Vouch,
    /// An operator's request that is handed on to the leader.
    ForLeader,
    /// The cluster as a node sees it.
    ClusterStatus,
    AddMember,
    /// A member that leaves.
    RemoveMember,
    /// A member that is emptied.
    Drain,
    /// A statement that a lost node's disks are destroyed.
    AttestDestruction,
    TransferLeader,
    SubmitManifest,
    GalleryList,
    GalleryShow,
    /// The end of a journey.
    CloseJourney,
    /// Records of the ledger.
    LedgerPage,
    /// The policy in force.
    PolicyShow,
    PolicySet,
    Metrics,
    /// A corrected record of the ledger.
    #[cfg(feature = "next")]
    Amend,
}

impl Ask {
    /// Whether a role may ask for this.
    pub const fn right_of(self, role: Role) -> Right {
        use Ask::{
            AddMember, AttestDestruction, Board, Build, CloseJourney, ClusterStatus, Drain, FetchRoster, FetchSegment,
            ForLeader, GalleryList, GalleryShow, GateHello, Identify, LedgerPage, Metrics, PeerHello, PolicySet,
            PolicyShow, Propose, Raft, ReadIndex, RemoveMember, Report, SearchShard, StoreSegment, SubmitManifest,
            TransferLeader, Vouch,
        };
        let may = match self {
            GateHello | Identify | Board => matches!(role, Role::Gate),
            PeerHello | Raft | Propose | Report | ReadIndex | SearchShard | Build | StoreSegment | FetchSegment
            | FetchRoster | ForLeader | Vouch => matches!(role, Role::Node),
            ClusterStatus | AddMember | RemoveMember | Drain | AttestDestruction | TransferLeader | SubmitManifest
            | GalleryList | GalleryShow | CloseJourney | LedgerPage | PolicyShow | PolicySet | Metrics => {
                matches!(role, Role::Operator)
            }
            #[cfg(feature = "next")]
            Self::Amend => matches!(role, Role::Operator),
        };
        if may { Right::Yes } else { Right::No }
    }
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
            peer::Request::ReadIndex => Self::ReadIndex,
            peer::Request::Vouch(_) => Self::Vouch,
        }
    }
}

impl From<&operator::Request> for Ask {
    fn from(request: &operator::Request) -> Self {
        match request {
            operator::Request::ClusterStatus => Self::ClusterStatus,
            operator::Request::AddMember { .. } => Self::AddMember,
            operator::Request::RemoveMember(_) => Self::RemoveMember,
            operator::Request::Drain { .. } => Self::Drain,
            operator::Request::AttestDestruction(_) => Self::AttestDestruction,
            operator::Request::TransferLeader(_) => Self::TransferLeader,
            operator::Request::SubmitManifest(_) => Self::SubmitManifest,
            operator::Request::GalleryList => Self::GalleryList,
            operator::Request::GalleryShow(_) => Self::GalleryShow,
            operator::Request::CloseJourney(_) => Self::CloseJourney,
            operator::Request::LedgerPage { .. } => Self::LedgerPage,
            operator::Request::PolicyShow => Self::PolicyShow,
            operator::Request::PolicySet(_) => Self::PolicySet,
            operator::Request::Metrics => Self::Metrics,
            #[cfg(feature = "next")]
            operator::Request::Amend(_) => Self::Amend,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versions::shape::variants_of;

    /// P11.
    #[test]
    fn each_request_belongs_to_one_role_and_each_role_has_some() {
        let asks = variants_of::<Ask>();
        let all: Vec<Ask> = asks
            .iter()
            .map(|name| serde_json::from_value(serde_json::Value::String((*name).to_owned())).expect("an ask"))
            .collect();
        let roles = [Role::Gate, Role::Node, Role::Operator];
        for ask in &all {
            let may = roles.iter().filter(|role| ask.right_of(**role) == Right::Yes).count();
            assert_eq!(may, 1, "{ask:?}");
        }
        for role in roles {
            assert!(all.iter().any(|ask| ask.right_of(role) == Right::Yes), "{role}");
        }
    }
}
