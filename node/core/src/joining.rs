//! How a node comes to belong to a cluster: what the answers to its greetings mean.
//!
//! A node that belongs to a cluster takes part once enough members have looked whether it is the one that they know: a
//! copy of its folder, an earlier state of it and an empty one are none. A cluster is founded once, by the first of the
//! members that all their configurations list, when all of them answer and agree. Whoever is there later is added. A
//! node that differs is named, and keeps nobody else from working.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::cluster::Agreed;
use cluster_config::ids::{ClusterId, Incarnation, NodeId};
use cluster_config::member::Member;
use cluster_config::versions::Version;
use cluster_config::wire::peer::Hello;
use cluster_config::wire::{Refusal, RefusalCode};

/// What the node is by itself.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub agreed: &'a Agreed,
    /// The members at the start of the cluster, as its configuration lists them.
    pub members: &'a [Member],
    /// The cluster that its folder belongs to.
    pub cluster: Option<ClusterId>,
    /// The voters of its raft group, where it belongs to one.
    pub voters: Option<&'a BTreeSet<NodeId>>,
    pub home: Home,
    /// How often it has asked without coming to an end.
    pub tries: u32,
}

/// Who answers at the node's own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// Nobody, up to now.
    Silent,
    /// This node, in this start of it.
    Node(NodeId, Incarnation),
}

/// How often a node looks whether it is reached at its own address before it goes on without: there are networks in
/// which nobody reaches himself. A leader that may know better is waited for once: it may be dead.
pub const TRIES_MAX: u32 = 3;

/// What a listed member answered.
#[derive(Debug, Clone)]
pub enum Answer {
    Hello(Box<Hello>),
    Refused(Refusal),
}

/// What the node does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It belongs to a cluster.
    Belongs,
    /// It founds one.
    Founds,
    /// It founds this one, too: the first of the founders has said which it is. A founder on a slow line could not be
    /// elected by those who wait for its log.
    FoundsToo(ClusterId),
    /// It answers the calls of this cluster's raft group, so that it can be added.
    Opens(ClusterId),
    /// It asks again.
    Waits,
    /// It ends: it is not the node that the cluster knows.
    IsRefused(Refusal),
    /// It ends: the node runs already, elsewhere.
    IsTwin(NodeId),
    /// It ends: its folder is of another cluster than the members that are listed.
    IsForeign(Remark),
}

/// What an operator is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    OtherCluster { node: NodeId, ours: ClusterId, theirs: ClusterId },
    OtherSettings { node: NodeId, difference: String },
    OtherList { node: NodeId, ours: Vec<Member>, theirs: Vec<Member> },
    OtherNode { listed: NodeId, found: NodeId },
    OtherRelease { node: NodeId, version: Version },
    Refused { node: NodeId, refusal: Refusal },
    SeveralClusters(BTreeSet<ClusterId>),
    Waits { answered: Vec<NodeId>, listed: usize },
}

/// Why a node of another cluster does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Foreign(pub Remark);

impl Remark {
    /// Whether somebody has to act.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::Waits { .. })
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCluster { node, ours, theirs } => write!(
                f,
                "node {node} belongs to cluster {theirs}, this node to {ours}; give each the data folder and the \
                 cluster.members of its own cluster"
            ),
            Self::OtherSettings { node, difference } => {
                write!(f, "node {node} has other settings: {difference}; correct the file that is wrong")
            }
            Self::OtherList { node, ours, theirs } => write!(
                f,
                "node {node} lists {} as cluster.members, this node {}; list the same on all, and a cluster is \
                 founded; where it is, take a node that came later off its own list, and add it",
                listed(theirs),
                listed(ours)
            ),
            Self::OtherNode { listed, found } => write!(
                f,
                "node {found} answers where cluster.members lists node {listed}; correct the address that is wrong"
            ),
            Self::OtherRelease { node, version } => write!(
                f,
                "node {node} understands version {version}, this node {}; a cluster is founded by nodes of one \
                 release: start one on all",
                Version::CURRENT
            ),
            Self::Refused { node, refusal } => write!(f, "node {node} refuses this node: {refusal}"),
            Self::SeveralClusters(clusters) => {
                let clusters: Vec<String> = clusters.iter().map(ToString::to_string).collect();
                let clusters = clusters.join(" and ");
                write!(f, "the members that are listed belong to clusters {clusters}; list those of one alone")
            }
            Self::Waits { answered, listed } => {
                let answered: Vec<String> = answered.iter().map(ToString::to_string).collect();
                let answered = if answered.is_empty() { "none".to_owned() } else { answered.join(", ") };
                write!(f, "waiting for the other members; of {listed} other listed members these answer: {answered}")
            }
        }
    }
}

fn listed(members: &[Member]) -> String {
    let members = sorted(members);
    let members = members.iter().map(|member| format!("{} at {} in zone {}", member.id, member.address, member.zone));
    format!("[{}]", members.collect::<Vec<_>>().join(", "))
}

/// The order in which a file lists members says nothing.
fn sorted(members: &[Member]) -> BTreeSet<&Member> {
    members.iter().collect()
}

/// What a node does next, after its greetings of the other listed members: `answers` are those that came, by who is
/// listed at the address.
pub fn next(own: &Own<'_>, answers: &BTreeMap<NodeId, Answer>, canaries: Canaries) -> (Step, Vec<Remark>) {
    let mut remarks = Vec::new();
    let mut friends = Vec::new();
    for (listed, answer) in answers {
        match answer {
            Answer::Hello(hello) => match differs(own, *listed, hello) {
                Some(remark) => remarks.push(remark),
                None => friends.push(hello.as_ref()),
            },
            Answer::Refused(refusal) => remarks.push(Remark::Refused { node: *listed, refusal: refusal.clone() }),
        }
    }
    // Whatever the others doubt of a copy, its operator has to know that the node runs. The cluster's own copy moves on
    // meanwhile, so that this one would be told that its folder has gone back in time.
    if let Home::Node(node, incarnation) = own.home
        && own.voters.is_some()
        && (node, incarnation) != (own.node, own.incarnation)
        && !canaries.has(Canary::TwinAccepted)
    {
        return (Step::IsTwin(node), remarks);
    }
    // Of those who judge this node, the one that knows more counts: the others may not have heard of a move yet.
    let doubts = |hello: &&&Hello| (hello.applied, hello.doubt.is_some());
    if let Some(refusal) = friends.iter().max_by_key(doubts).and_then(|hello| hello.doubt.clone()) {
        return (Step::IsRefused(refusal), remarks);
    }
    if let Some(voters) = own.voters {
        let step = takes_part(own, voters, &friends, answers, &remarks);
        if step == Step::Waits {
            remarks.push(waits(own, answers));
        }
        return (step, remarks);
    }
    let clusters: BTreeSet<ClusterId> =
        friends.iter().filter(|hello| hello.initialised).filter_map(|hello| hello.cluster).collect();
    let founds = own.members.iter().any(|member| member.id == own.node);
    if founds {
        compare_lists(own, &friends, &mut remarks);
    }
    let step = match clusters.first() {
        None if founds && may_found(own, &friends, &mut remarks) => return (Step::Founds, remarks),
        None => Step::Waits,
        Some(cluster) if clusters.len() == 1 && founds && follows_founder(own, &friends) => Step::FoundsToo(*cluster),
        Some(cluster) if clusters.len() == 1 => Step::Opens(*cluster),
        Some(_) => {
            remarks.push(Remark::SeveralClusters(clusters));
            Step::Waits
        }
    };
    remarks.push(waits(own, answers));
    (step, remarks)
}

fn waits(own: &Own<'_>, answers: &BTreeMap<NodeId, Answer>) -> Remark {
    let others = own.members.iter().filter(|member| member.id != own.node).count();
    Remark::Waits { answered: answers.keys().copied().collect(), listed: others }
}

/// Whether a node that belongs to a raft group may take part in it: a majority of the voters, itself included, have
/// looked at it, and so has the leader that they know, who alone remembers the last moments; and whoever is reached at
/// its address is itself.
fn takes_part(
    own: &Own<'_>,
    voters: &BTreeSet<NodeId>,
    friends: &[&Hello],
    answers: &BTreeMap<NodeId, Answer>,
    remarks: &[Remark],
) -> Step {
    if matches!(own.home, Home::Silent) && own.tries < TRIES_MAX {
        return Step::Waits;
    }
    let leaders = friends.iter().filter_map(|hello| hello.leader);
    let unheard = leaders.filter(|leader| *leader != own.node && !answers.contains_key(leader)).count();
    if unheard > 0 && own.tries == 0 {
        return Step::Waits;
    }
    let looked = friends.iter().filter(|hello| voters.contains(&hello.node())).count();
    let itself = usize::from(voters.contains(&own.node));
    if 2 * (looked + itself) > voters.len() {
        return Step::Belongs;
    }
    let foreign = |remark: &&Remark| match remark {
        Remark::OtherCluster { .. } => true,
        Remark::Refused { refusal, .. } => refusal.code == RefusalCode::Conflict,
        _ => false,
    };
    match remarks.iter().find(foreign) {
        Some(remark) if 2 * (remarks.iter().filter(foreign).count() + 1) > voters.len() => {
            Step::IsForeign(remark.clone())
        }
        _ => Step::Waits,
    }
}

/// Why a node that answers cannot be one of this node's cluster.
fn differs(own: &Own<'_>, listed: NodeId, hello: &Hello) -> Option<Remark> {
    let node = hello.node();
    if node != listed {
        return Some(Remark::OtherNode { listed, found: node });
    }
    if let (Some(ours), Some(theirs)) = (own.cluster, hello.cluster)
        && ours != theirs
    {
        return Some(Remark::OtherCluster { node, ours, theirs });
    }
    let difference = own.agreed.difference(&hello.agreed);
    difference.map(|difference| Remark::OtherSettings { node, difference })
}

/// Names those whose list differs from that of a node which takes itself for a founder. In a cluster that is founded
/// the lists of its members say nothing, except that they do not count this node as a founder.
fn compare_lists(own: &Own<'_>, friends: &[&Hello], remarks: &mut Vec<Remark>) {
    for hello in friends {
        let counts_us = hello.members.iter().any(|member| member.id == own.node);
        if sorted(&hello.members) != sorted(own.members) && !(hello.initialised && counts_us) {
            let (node, ours, theirs) = (hello.node(), own.members.to_vec(), hello.members.clone());
            remarks.push(Remark::OtherList { node, ours, theirs });
        }
    }
}

/// Whether the first of those who are listed has founded the cluster, and lists the same.
fn follows_founder(own: &Own<'_>, friends: &[&Hello]) -> bool {
    let first = own.members.iter().map(|member| member.id).min();
    let founder = friends.iter().find(|hello| Some(hello.node()) == first && hello.initialised);
    founder.is_some_and(|founder| sorted(&founder.members) == sorted(own.members))
}

/// Whether this node founds the cluster: all who are listed are there and agree, and it is the first of them. Nobody
/// else does, so there is one founding.
fn may_found(own: &Own<'_>, friends: &[&Hello], remarks: &mut Vec<Remark>) -> bool {
    // The version in which the founders begin to write is one that all of them understand.
    let others = friends.iter().filter(|hello| hello.version != Version::CURRENT);
    remarks.extend(others.map(|hello| Remark::OtherRelease { node: hello.node(), version: hello.version }));
    let all_agree = remarks.is_empty() && friends.len() + 1 == own.members.len();
    let is_unbound = friends.iter().all(|hello| hello.cluster.is_none() || hello.cluster == own.cluster);
    let is_first = own.members.iter().all(|member| member.id >= own.node);
    all_agree && is_unbound && is_first
}

#[cfg(test)]
mod tests;
