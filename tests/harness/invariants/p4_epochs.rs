//! P4: two nodes never both act as owner of one shard in the same epoch, and epochs only rise.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::gallery::ShardId;
use cluster_config::ids::{Epoch, JourneyId, NodeId};
use cluster_config::wire::operator::{Gallery, Request, Response};

use crate::target::Target;
use node_stage::oracle::History;

/// What has been seen of ownership. Look often: while something happens, and afterwards at every node.
#[derive(Debug, Default)]
pub struct Owners {
    owners: BTreeMap<(ShardId, Epoch), NodeId>,
    newest: BTreeMap<(NodeId, ShardId), Epoch>,
    /// Journeys that are seen to be closed. What owners their shards had between the last look and the closing is not
    /// known, so that nothing can be said of the epochs that answers about them name.
    closed: BTreeSet<JourneyId>,
}

impl Owners {
    /// The owners as they are now.
    ///
    /// # Panics
    /// As [`Owners::look`].
    pub async fn of(target: &impl Target) -> Self {
        let mut owners = Self::default();
        owners.look(target).await;
        owners
    }

    /// Looks at the placements as every running node knows them now. Nodes that do not answer are passed over.
    ///
    /// # Panics
    /// Where an epoch has two owners, or a node's epoch has gone down.
    pub async fn look(&mut self, target: &impl Target) {
        for node in target.running() {
            if let Ok(Response::Galleries(galleries)) = target.ask(node, Request::GalleryList).await {
                self.see(node, &galleries);
            }
        }
    }

    /// Owners of shards in epochs that have been seen.
    pub fn seen(&self) -> usize {
        self.owners.len()
    }

    /// How often a shard has gone to another owner.
    pub fn moves(&self) -> usize {
        let owners: Vec<(&(ShardId, Epoch), &NodeId)> = self.owners.iter().collect();
        owners.windows(2).filter(|pair| pair[0].0.0 == pair[1].0.0 && pair[0].1 != pair[1].1).count()
    }

    fn see(&mut self, node: NodeId, galleries: &[Gallery]) {
        for shard in galleries.iter().flat_map(|gallery| &gallery.shards) {
            let Some(owner) = shard.owner else {
                self.closed.extend(shard.shard.journey());
                continue;
            };
            let known = *self.owners.entry((shard.shard, shard.epoch)).or_insert(owner);
            let (id, epoch) = (shard.shard, shard.epoch);
            assert_eq!(known, owner, "P4 is broken: {id} in epoch {epoch} is owned by both");
            let newest = self.newest.entry((node, id)).or_default();
            assert!(epoch >= *newest, "P4 is broken: {id} went from epoch {newest} back to {epoch} at node {node}");
            *newest = epoch;
        }
    }

    /// No answer of a history that has ended names an epoch that never was. It looks once more before: a shard may have
    /// moved since the last look, and the answers that came after that name its new epoch.
    ///
    /// # Panics
    /// Where one does, and as [`Owners::look`].
    pub async fn check(&mut self, target: &impl Target, history: &History) {
        self.look(target).await;
        let highest = |journey: JourneyId| {
            self.owners.keys().filter(|(shard, _)| shard.journey() == Some(journey)).map(|(_, epoch)| *epoch).max()
        };
        for entry in history.entries() {
            let Some(answer) = entry.outcome.answer().filter(|_| !self.closed.contains(&entry.journey)) else {
                continue;
            };
            let epoch = answer.epoch;
            assert!(Some(epoch) <= highest(entry.journey), "P4 is broken: {} in epoch {epoch}", entry.journey);
        }
    }
}
