//! Whether this node belongs to the cluster, and how it comes to: by greetings of the other members. What their answers
//! mean is decided in `node_core::joining`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster_config::canary::Canaries;
use cluster_config::cluster::{Agreed, ClusterSettings};
use cluster_config::ids::{ClusterId, NodeId};
use cluster_config::member::{Member, Past};
use cluster_config::versions::Version;
use cluster_config::wire::peer::{Hello, Request, Response};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator::Coordinator;
use coordinator_core::membership::{Evidence, Started};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use node_core::joining::{self, Answer, Home, Own, Remark, Step};
use node_link::PeerLinks;

use crate::clock;
use crate::folder::{self, Bond, Start};
use crate::peers::said::Said;

/// How often members are asked whether the cluster exists, while this node does not belong to one.
const BOOTSTRAP_INTERVAL: Duration = Duration::from_millis(100);

/// How long one greeting may take.
const GREETING_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a node does not join.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not the node that the cluster knows.
    #[error(transparent)]
    Refused(Refusal),
    #[error(
        "node {node}: it runs already, at {address}; where this is a copy of its data folder, end it, or run \
         `tvs node rejoin` on it"
    )]
    Twin { node: NodeId, address: String },
    #[error(transparent)]
    Foreign(joining::Foreign),
    #[error(transparent)]
    Folder(#[from] folder::Error),
    #[error("the operating system gives no randomness for the id of a cluster; look at its log")]
    NoRandomness,
    /// The raft group.
    #[error(transparent)]
    Coordinator(#[from] coordinator::Error),
}

/// This start of this node, as the others come to know it.
pub struct Presence {
    coordinator: Coordinator,
    links: PeerLinks,
    bond: Arc<Bond>,
    start: Start,
    member: Member,
    /// The settings that have to be equal on all nodes.
    agreed: Agreed,
    members: Vec<Member>,
    said: Said,
}

impl Presence {
    /// A start of this node with these settings.
    pub fn new(
        coordinator: Coordinator,
        links: PeerLinks,
        bond: Arc<Bond>,
        start: Start,
        (member, settings): (Member, &ClusterSettings),
    ) -> Self {
        let (agreed, members, said) = (settings.agreed(), settings.members.clone(), Said::default());
        Self { coordinator, links, bond, start, member, agreed, members, said }
    }

    pub fn bond(&self) -> &Bond {
        &self.bond
    }

    /// Answers the greeting of another node.
    ///
    /// # Errors
    /// Where it belongs to another cluster.
    pub fn greeted(&self, hello: &Hello) -> Result<Hello, Refusal> {
        if let Some(theirs) = hello.cluster {
            self.check_cluster(hello.node(), theirs)?;
        }
        let (node, mut ours) = (hello.node(), self.hello());
        if node == self.member.id {
            return Ok(ours);
        }
        let evidence = Evidence {
            in_group: self.coordinator.members().contains_key(&node),
            applied: ours.applied,
            acknowledged: self.coordinator.acknowledged().get(&node).copied().unwrap_or_default(),
        };
        let (member, incarnation, past) = (&hello.member, hello.incarnation, hello.past);
        let started = Started { member, incarnation, past, initialised: hello.initialised };
        let canaries = Canaries::of_process();
        ours.doubt = self.coordinator.with_state(|state| state.members().doubt(started, evidence, canaries));
        if let Some(doubt) = &ours.doubt
            && let Some(times) = self.said.is_due(node, &doubt.problem)
        {
            tracing::warn!(refusal = %doubt, times, "refused a node that is not the member that is known");
        }
        Ok(ours)
    }

    /// Refuses a node of another cluster than this node's, and says so in the log.
    ///
    /// # Errors
    /// Where it is one.
    pub fn check_cluster(&self, node: NodeId, theirs: ClusterId) -> Result<(), Refusal> {
        let Some(ours) = self.bond.cluster().filter(|ours| *ours != theirs) else { return Ok(()) };
        let problem = format!("it belongs to cluster {theirs}, this is {ours}");
        let fix = "give each node the data folder and the cluster.members of its own cluster";
        let refusal = Refusal::new(RefusalCode::Conflict, format!("node {node}"), problem, fix);
        if let Some(times) = self.said.is_due(node, &refusal.problem) {
            tracing::warn!(%refusal, times, "refused a node of another cluster");
        }
        Err(refusal)
    }

    /// What the replicated state says of the cluster is what this node's folder says.
    ///
    /// # Errors
    /// [`Error::Folder`] where it is not.
    pub fn check_state(&self) -> Result<(), Error> {
        Ok(self.coordinator.with_state(|state| self.bond.check_state(state.members().founding()))?)
    }

    fn hello(&self) -> Hello {
        Hello {
            member: self.member.clone(),
            incarnation: self.start.incarnation,
            past: Past {
                folder: self.start.folder,
                started: self.start.before,
                last_entry: self.coordinator.last_entry().unwrap_or(0),
            },
            cluster: self.bond.cluster(),
            agreed: self.agreed.clone(),
            members: self.members.clone(),
            initialised: self.coordinator.initialised(),
            doubt: None,
            applied: self.coordinator.applied_index().unwrap_or(0),
            leader: self.coordinator.leader(),
            version: Version::CURRENT,
        }
    }

    /// What this node says of its past, with its announcement.
    pub fn past(&self) -> Past {
        self.hello().past
    }

    /// Asks a node who it is; absent where it does not answer.
    pub async fn greet(&self, address: &str) -> Option<Answer> {
        let address = address.parse().ok()?;
        match self.links.greet(address, &Request::Hello(self.hello()), GREETING_TIMEOUT).await {
            Ok(Response::Hello(hello)) => Some(Answer::Hello(Box::new(hello))),
            Ok(Response::Refused(refusal)) => Some(Answer::Refused(refusal)),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%error, "no greeting");
                None
            }
        }
    }

    /// Makes sure that this node belongs to the cluster: founds it, or waits until another one has or it is added.
    ///
    /// # Errors
    /// [`Error`]: this node must not join.
    pub async fn join(&self) -> Result<(), Error> {
        let mut said = Vec::new();
        for tries in 0.. {
            let last_entry = self.coordinator.last_entry();
            let mut asked = self.ask_all();
            let (mut answers, mut home) = (BTreeMap::new(), Home::Silent);
            let (mut step, mut remarks) = self.look(&answers, home, tries);
            while let Some((listed, answer)) = asked.next().await {
                match answer {
                    Some(Answer::Hello(hello)) if listed == self.member.id => {
                        home = Home::Node(hello.node(), hello.incarnation);
                    }
                    Some(answer) => {
                        answers.entry(listed).or_insert(answer);
                    }
                    None => continue,
                }
                (step, remarks) = self.look(&answers, home, tries);
                if step == Step::Belongs {
                    // The group waits for it. What the others say of it, or it of them, still counts.
                    self.bond.open_to_its_own();
                }
            }
            if said != remarks {
                remarks.iter().for_each(|remark| say(self.member.id, remark));
                said = remarks;
            }
            // A group that works already gives it entries meanwhile: it acknowledges more than it has said to have.
            let is_late = matches!(step, Step::IsRefused(_)) && self.coordinator.last_entry() > last_entry;
            if !is_late && self.take(step).await? {
                return Ok(());
            }
            tokio::time::sleep(BOOTSTRAP_INTERVAL).await;
        }
        Ok(())
    }

    /// Greets this node itself, the members of its raft group, and those that its configuration lists.
    fn ask_all(&self) -> FuturesUnordered<impl Future<Output = (NodeId, Option<Answer>)>> {
        let group = self.coordinator.members().into_iter().map(|(id, peer)| (id, peer.address));
        let listed = self.members.iter().map(|member| (member.id, member.address.clone()));
        let others = group.chain(listed).filter(|(id, _)| *id != self.member.id);
        let home = (self.member.id, self.member.address.clone());
        let all: BTreeSet<(NodeId, String)> = others.chain([home]).collect();
        all.into_iter().map(|(id, address)| async move { (id, self.greet(&address).await) }).collect()
    }

    fn look(&self, answers: &BTreeMap<NodeId, Answer>, home: Home, tries: u32) -> (Step, Vec<Remark>) {
        let voters = self.coordinator.initialised().then(|| self.coordinator.voters());
        let own = Own {
            node: self.member.id,
            incarnation: self.start.incarnation,
            agreed: &self.agreed,
            members: &self.members,
            cluster: self.bond.cluster(),
            voters: voters.as_ref(),
            home,
            tries,
        };
        joining::next(&own, answers, Canaries::of_process())
    }

    /// Does what is to be done next, and gives whether this node belongs to the cluster.
    async fn take(&self, step: Step) -> Result<bool, Error> {
        let node = self.member.id;
        match step {
            Step::Belongs => {
                self.bond.open_to_its_own();
                return Ok(true);
            }
            Step::Opens(cluster) => self.bond.open_to(cluster),
            Step::Founds => self.found(self.bond.cluster()).await?,
            Step::FoundsToo(cluster) => self.found(Some(cluster)).await?,
            Step::Waits => {}
            Step::IsRefused(refusal) => return Err(Error::Refused(refusal)),
            Step::IsTwin(_) => return Err(Error::Twin { node, address: self.member.address.clone() }),
            Step::IsForeign(remark) => return Err(Error::Foreign(joining::Foreign(remark))),
        }
        Ok(false)
    }

    /// Founds the cluster. After a crash in the middle it is the same cluster that is founded.
    async fn found(&self, begun: Option<ClusterId>) -> Result<(), Error> {
        let cluster = match begun {
            Some(cluster) => cluster,
            None => ClusterId(clock::random_u128().map_err(|_| Error::NoRandomness)?),
        };
        self.bond.bind(cluster)?;
        self.bond.open_to(cluster);
        self.coordinator.initialise(&self.members).await?;
        let (node, members) = (self.coordinator.node_id(), self.members.len());
        tracing::info!(%node, %cluster, members, "founded the cluster");
        Ok(())
    }
}

fn say(me: NodeId, remark: &Remark) {
    if remark.is_fault() {
        tracing::warn!(node = %me, "{remark}");
    } else {
        tracing::info!(node = %me, "{remark}");
    }
}
