//! Whether this node belongs to the cluster, and how it comes to: by greetings of the other members.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster_config::ids::{Incarnation, NodeId};
use cluster_config::member::Member;
use cluster_config::versions::Version;
use cluster_config::wire::peer::{Hello, Request, Response};
use coordinator::Coordinator;
use coordinator_core::State;
use node_link::PeerLinks;

/// How often members are asked whether the cluster exists, while this node does not belong to one.
const BOOTSTRAP_INTERVAL: Duration = Duration::from_millis(100);

/// How long one greeting may take.
const GREETING_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a node does not join.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "node {node} is a member, but its data folder is empty: a node whose disk was wiped could vote twice; \
         remove it with `tvs cluster remove {node}`, and add this machine under a new id"
    )]
    Wiped { node: NodeId },
    /// Two nodes take the cluster to be something else.
    #[error(
        "node {other} has other settings: cluster.name, cluster.model and cluster.template_dims must be equal on all"
    )]
    OtherCluster { other: NodeId },
    #[error(transparent)]
    Coordinator(#[from] coordinator::Error),
}

/// This start of this node, as the others come to know it.
pub struct Presence {
    coordinator: Coordinator,
    links: PeerLinks,
    incarnation: Incarnation,
    fingerprint: u64,
    /// Whether calls of the raft group are answered. An empty store is kept out of the group until it is known that
    /// this node was never a member: one whose disk was wiped could vote a second time in one term.
    raft_open: AtomicBool,
}

impl Presence {
    /// A start whose settings have this `fingerprint`.
    pub fn new(coordinator: Coordinator, links: PeerLinks, incarnation: Incarnation, fingerprint: u64) -> Self {
        let raft_open = AtomicBool::new(coordinator.initialised());
        Self { coordinator, links, incarnation, fingerprint, raft_open }
    }

    /// Whether calls of the raft group are answered.
    pub fn is_raft_open(&self) -> bool {
        self.raft_open.load(Ordering::Acquire)
    }

    /// What this node says of itself to a node, which asks for itself whether it is known.
    pub fn hello_to(&self, node: NodeId) -> Hello {
        Hello { knows_you: self.has_belonged(node), ..self.hello() }
    }

    fn hello(&self) -> Hello {
        Hello {
            node: self.coordinator.node_id(),
            incarnation: self.incarnation,
            fingerprint: self.fingerprint,
            initialised: self.coordinator.initialised(),
            knows_you: false,
            version: Version::CURRENT,
        }
    }

    /// Whether a node has worked as a member, so that an empty disk of it is a wiped one: it has announced a start. A
    /// founder votes, and a learner is a member, before it has its first entry; neither knows anything of that yet.
    fn has_belonged(&self, node: NodeId) -> bool {
        let announced =
            |state: &State| state.members().get(node).is_some_and(|m| m.incarnation > Incarnation::default());
        self.coordinator.with_state(announced)
    }

    /// Asks a node who it is; absent where it does not answer.
    pub async fn greet(&self, node: &Member) -> Option<Hello> {
        let address = node.address.parse().ok()?;
        match self.links.greet(address, &Request::Hello(self.hello()), GREETING_TIMEOUT).await {
            Ok(Response::Hello(hello)) => Some(hello),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%error, "no greeting");
                None
            }
        }
    }

    /// Makes sure that this node belongs to the cluster: founds it together with the members of the configuration where
    /// none of them belongs to one yet, else waits to be added.
    ///
    /// # Errors
    /// [`Error`]: this node must not join.
    pub async fn join(&self, members: &[Member]) -> Result<(), Error> {
        let me = self.coordinator.node_id();
        let founds = members.iter().any(|member| member.id == me);
        let mut said = None;
        loop {
            let initialised = self.coordinator.initialised();
            let others = members.iter().filter(|member| member.id != me);
            let greetings = others.map(|member| self.greet(member));
            let answers: Vec<Option<Hello>> = futures::future::join_all(greetings).await;
            let present: Vec<&Hello> = answers.iter().flatten().collect();
            if let Some(other) = present.iter().find(|hello| hello.fingerprint != self.fingerprint) {
                return Err(Error::OtherCluster { other: other.node });
            }
            if initialised || self.coordinator.initialised() {
                return Ok(());
            }
            if present.iter().any(|hello| hello.knows_you) {
                return Err(Error::Wiped { node: me });
            }
            if present.iter().any(|hello| hello.initialised) {
                self.raft_open.store(true, Ordering::Release);
            }
            let nobody_belongs = present.iter().all(|hello| !hello.initialised);
            // The version in which the founders begin to write is one that all of them understand.
            let of_one_release = present.iter().all(|hello| hello.version == Version::CURRENT);
            if founds && nobody_belongs && of_one_release && present.len() + 1 == members.len() {
                self.raft_open.store(true, Ordering::Release);
                self.coordinator.initialise(members).await?;
                tracing::info!(node = %me, members = members.len(), "founded the cluster");
            } else {
                let answered: BTreeMap<NodeId, Version> = present.iter().map(|h| (h.node, h.version)).collect();
                if said.as_ref() != Some(&answered) {
                    waits(me, founds, &answered);
                    said = Some(answered);
                }
            }
            tokio::time::sleep(BOOTSTRAP_INTERVAL).await;
        }
    }
}

/// Says what this node waits for before it belongs to a cluster; `answered` are the members that do, with versions.
fn waits(me: NodeId, founds: bool, answered: &BTreeMap<NodeId, Version>) {
    let version = Version::CURRENT;
    if founds && answered.values().any(|other| *other != version) {
        let waits = "a cluster is founded by nodes of one release; start one on all";
        tracing::warn!(node = %me, %version, ?answered, "{waits}");
    } else {
        tracing::info!(node = %me, ?answered, founds, "waiting for the other members, or to be added");
    }
}
