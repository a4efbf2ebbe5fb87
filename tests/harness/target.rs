//! What scenarios need of the system under test, so that the same story can be told of real processes and of a
//! simulated world.

use std::time::Duration;

use cluster_config::ids::{JourneyId, NodeId};
use cluster_config::wire::operator::{ClusterStatus, Gallery, LedgerRecord, Request, Response, Submitted};
use node_link::GateClient;
use node_stage::Error;

use crate::fault::Fault;
use crate::level::wait_for;

/// How long a cluster gets to reach a level that follows from an election or a restart.
pub const LEVEL_DEADLINE: Duration = Duration::from_secs(30);

/// A cluster under test.
#[expect(async_fn_in_trait, reason = "the futures of a target never leave the scenario that awaits them")]
pub trait Target {
    /// The nodes that run now; a paused one runs.
    fn running(&self) -> Vec<NodeId>;

    /// A new gate that knows all nodes; the `nearest`th (from 0, in a circle) is its first choice.
    async fn gate(&self, nearest: usize) -> GateClient;

    /// A gate that knows this one node alone.
    async fn gate_at(&self, node: NodeId) -> GateClient;

    /// Asks one node as an operator.
    async fn ask(&self, node: NodeId, request: Request) -> Result<Response, Error>;

    /// The whole ledger, as a node has it.
    async fn ledger(&self, node: NodeId) -> Result<Vec<LedgerRecord>, Error>;

    async fn strike(&mut self, fault: Fault);

    /// The cluster as one node sees it.
    async fn status(&self, node: NodeId) -> Result<ClusterStatus, Error> {
        match self.ask(node, Request::ClusterStatus).await? {
            Response::ClusterStatus(status) => Ok(status),
            other => panic!("status answered by {other:?}"),
        }
    }

    /// Waits until every running node knows the same leader, which is one of them, and all `members` voters.
    async fn ready(&self, members: usize) {
        wait_for("one leader and all members on every node", LEVEL_DEADLINE, async || {
            let mut leaders = Vec::new();
            for node in self.running() {
                let status = self.status(node).await.map_err(|error| error.to_string())?;
                let voters = status.members.iter().filter(|member| member.voter).count();
                if voters != members {
                    return Err(format!("node {node} knows {voters} voters"));
                }
                leaders.push(status.leader.filter(|leader| self.running().contains(leader)));
            }
            let same = leaders.iter().all(|leader| leader.is_some() && *leader == leaders[0]);
            if same { Ok(()) } else { Err(format!("leaders {leaders:?}")) }
        })
        .await;
    }

    /// The leader, as soon as a running node knows a running one.
    async fn leader(&self) -> NodeId {
        wait_for("a leader", LEVEL_DEADLINE, async || {
            for node in self.running() {
                if let Ok(status) = self.status(node).await
                    && let Some(leader) = status.leader
                    && self.running().contains(&leader)
                {
                    return Ok(leader);
                }
            }
            Err("no node knows one".to_owned())
        })
        .await
    }

    /// Waits until every shard has all of its replicas at the committed version.
    async fn replicated(&self) {
        wait_for("all shards with all replicas", LEVEL_DEADLINE, async || {
            let leader = self.leader().await;
            let status = self.status(leader).await.map_err(|error| error.to_string())?;
            match status.shards_replicated {
                Some(replicated) if replicated == status.shards => Ok(()),
                other => Err(format!("{other:?} of {} shards", status.shards)),
            }
        })
        .await;
    }

    /// Submits a manifest to a node.
    async fn submit(&self, node: NodeId, manifest: &[u8]) -> Result<Submitted, Error> {
        match self.ask(node, Request::SubmitManifest(manifest.to_vec())).await? {
            Response::Submitted(submitted) => Ok(submitted),
            other => panic!("submission answered by {other:?}"),
        }
    }

    /// One journey, as a node sees it.
    async fn gallery(&self, node: NodeId, journey: JourneyId) -> Result<Gallery, Error> {
        match self.ask(node, Request::GalleryShow(journey)).await? {
            Response::Gallery(gallery) => Ok(gallery),
            other => panic!("gallery answered by {other:?}"),
        }
    }

    /// The owner of a journey's first shard, as soon as it is a running node.
    async fn owner(&self, journey: JourneyId) -> NodeId {
        wait_for("an owner that runs", LEVEL_DEADLINE, async || {
            let leader = self.leader().await;
            let gallery = self.gallery(leader, journey).await.map_err(|error| error.to_string())?;
            let owner = gallery.shards.first().and_then(|shard| shard.owner);
            owner.filter(|owner| self.running().contains(owner)).ok_or(format!("{owner:?}"))
        })
        .await
    }

    /// Waits until all running nodes have equally many records, and gives how many: for ledgers too long to be held.
    async fn same_ledger_length(&self) -> u64 {
        wait_for("ledgers of the same length on all nodes", LEVEL_DEADLINE, async || {
            let mut lengths = Vec::new();
            for node in self.running() {
                let status = self.status(node).await.map_err(|error| error.to_string())?;
                lengths.push(status.ledger_records);
            }
            let first = *lengths.first().ok_or("no node runs")?;
            if lengths.iter().all(|length| *length == first) { Ok(first) } else { Err(format!("{lengths:?}")) }
        })
        .await
    }

    /// Waits until all running nodes have the same ledger, and gives it.
    async fn same_ledger(&self) -> Vec<LedgerRecord> {
        wait_for("the same ledger on all nodes", LEVEL_DEADLINE, async || {
            let mut ledgers = Vec::new();
            for node in self.running() {
                ledgers.push(self.ledger(node).await.map_err(|error| error.to_string())?);
            }
            let lengths: Vec<usize> = ledgers.iter().map(Vec::len).collect();
            let first = ledgers.first().cloned().ok_or("no node runs")?;
            if ledgers.iter().all(|ledger| *ledger == first) { Ok(first) } else { Err(format!("lengths {lengths:?}")) }
        })
        .await
    }
}
