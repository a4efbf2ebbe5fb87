//! Nodes that join a live cluster and leave it, as operators do it.

use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use cluster_config::wire::operator::Request;

use crate::fault::Fault;
use crate::level::wait_for;
use crate::live::Live;
use crate::target::{LEVEL_DEADLINE, Target};

impl Live {
    /// Starts one more node and makes it a voter. Gives its id.
    ///
    /// # Panics
    /// Where it does not become one.
    pub async fn join(&mut self) -> NodeId {
        let newcomer = self.cluster.prepare_newcomer().expect("a newcomer's files");
        let id = newcomer.id;
        self.equip(id);
        self.strike(Fault::Start(id)).await;
        wait_for("the newcomer listens", LEVEL_DEADLINE, async || {
            self.status(id).await.map(|_| ()).map_err(|error| error.to_string())
        })
        .await;
        self.journal.write(format!("add node {id}"));
        self.change(Request::AddMember { member: newcomer, voter: true }).await;
        id
    }

    /// Drains a node, removes it and stops it.
    ///
    /// # Panics
    /// Where it does not go.
    pub async fn leave(&mut self, node: NodeId) {
        self.journal.write(format!("drain node {node}"));
        self.change(Request::Drain { node, draining: true }).await;
        wait_for("the drained node holds nothing and does not lead", LEVEL_DEADLINE, async || {
            let leader = self.leader().await;
            let status = self.status(leader).await.map_err(|error| error.to_string())?;
            let drained = status.members.iter().find(|member| member.member.id == node).ok_or("not a member")?;
            let empty = drained.owner_of + drained.standby_of == 0 && leader != node;
            if empty { Ok(()) } else { Err(format!("{drained:?}")) }
        })
        .await;
        self.remove(node).await;
        self.strike(Fault::Stop(node)).await;
    }

    /// Takes a node out of the cluster, whether it runs or not.
    ///
    /// # Panics
    /// Where it stays.
    pub async fn remove(&self, node: NodeId) {
        self.journal.write(format!("remove node {node}"));
        // A disk that is lost may have had the last copy of something: whoever strikes it knows.
        self.change(Request::RemoveMember { node, i_know: true }).await;
        self.operator().forget(self.address(node));
    }

    /// Waits until a node whose disk has suffered either works again or has ended by itself; in its place comes a new
    /// one then, as an operator would do it. Gives the new one, where there is one.
    ///
    /// # Panics
    /// Where it does neither.
    pub async fn settle(&mut self, node: NodeId) -> Option<NodeId> {
        let begun = Instant::now();
        loop {
            if self.cluster.ended(node).expect("a node of this cluster").is_some() {
                break;
            }
            let leader = self.leader().await;
            let status = self.status(node).await;
            if status.is_ok_and(|status| status.leader == Some(leader)) {
                return None;
            }
            assert!(begun.elapsed() < LEVEL_DEADLINE, "node {node} neither works nor ends");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.journal.write(format!("node {node} has ended by itself"));
        self.cluster.forget(node).expect("a node of this cluster");
        self.remove(node).await;
        // Whoever throws a disk away says so, or purges would wait for it.
        std::fs::remove_dir_all(&self.cluster.node(node).expect("a node of this cluster").data_dir).expect("its disk");
        self.change(Request::AttestDestruction(node)).await;
        Some(self.join().await)
    }

    /// Asks the leader for a change until it is done: a leader may go in the middle, and each of these changes may be
    /// asked for again.
    async fn change(&self, request: Request) {
        wait_for("a change of the members", LEVEL_DEADLINE, async || {
            let leader = self.leader().await;
            self.ask(leader, request.clone()).await.map(|_| ()).map_err(|error| error.to_string())
        })
        .await;
    }
}
