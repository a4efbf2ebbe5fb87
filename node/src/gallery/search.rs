//! Searches of the shards that run on this node.

use std::sync::Arc;

use cluster_config::ids::NodeId;
use cluster_config::wire::Refusal;
use cluster_config::wire::peer::{ShardFound, ShardSearch};
use node_core::search::not_here;

use super::directory::Directory;
use super::serving::Serving;
use crate::engine::{EngineHandle, Found};

/// What this node searches itself. A cheap handle.
#[derive(Clone)]
pub struct Searches {
    me: NodeId,
    directory: Arc<Directory>,
    engine: EngineHandle,
}

impl Searches {
    /// Searches of what the `directory` has published, by this engine.
    pub fn new(me: NodeId, directory: Arc<Directory>, engine: EngineHandle) -> Self {
        Self { me, directory, engine }
    }

    /// Searches a shard that runs here.
    ///
    /// # Errors
    /// `unavailable` where it does not run here or is behind, and the engine's.
    pub async fn search(&self, search: ShardSearch) -> Result<ShardFound, Refusal> {
        match self.serving(&search) {
            Some(serving) => self.engine.search(serving, search).await,
            None => Err(not_here(self.me, search.shard)),
        }
    }

    /// Searches a shard that runs here where that is quicker done than handed on; else says whether the shard could be
    /// searched.
    pub fn search_at_once(&self, search: &ShardSearch) -> Result<Found, bool> {
        let Some(serving) = self.serving(search) else { return Err(false) };
        self.engine.search_at_once(&serving, search).ok_or(true)
    }

    fn serving(&self, search: &ShardSearch) -> Option<Serving> {
        self.directory.serving(search.shard).filter(|serving| serving.may_answer(search))
    }
}
