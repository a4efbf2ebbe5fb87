//! The shards that run on this node: how to reach each one's actor, and what it has published for searching.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use actix::Recipient;
use cluster_config::gallery::ShardId;
use cluster_config::ids::GalleryVersion;

use super::messages::{Build, Destroy, Fetch, Obey, Store};
use super::serving::{Published, Serving};

/// How to reach one shard's actor.
#[derive(Clone)]
pub struct ShardHandle {
    /// Segments pushed by the owner.
    pub store: Recipient<Store>,
    /// Requests for the segment.
    pub fetch: Recipient<Fetch>,
    /// Orders to build.
    pub build: Recipient<Build>,
    /// New orders of the replicated state.
    pub obey: Recipient<Obey>,
    /// The end of the replica.
    pub destroy: Recipient<Destroy>,
    /// What can be searched.
    pub published: Arc<Published>,
}

/// All shards of this node.
#[derive(Default)]
pub struct Directory {
    shards: RwLock<BTreeMap<ShardId, ShardHandle>>,
}

impl Directory {
    /// The shard's handle, where it runs here.
    pub fn find(&self, shard: ShardId) -> Option<ShardHandle> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    /// What can be searched of the shard here.
    pub fn serving(&self, shard: ShardId) -> Option<Serving> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.get(&shard)?.published.get()
    }

    /// Memory of all templates that can be searched here, bytes.
    pub fn memory_bytes(&self) -> usize {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let serving = shards.values().filter_map(|handle| handle.published.get());
        serving.map(|serving| serving.loaded.gallery.bytes_resident()).sum()
    }

    /// Every shard with the version that can be searched.
    pub fn versions(&self) -> Vec<(ShardId, GalleryVersion)> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.iter().map(|(shard, handle)| (*shard, handle.published.version())).collect()
    }

    /// Adds or replaces a shard.
    pub fn insert(&self, shard: ShardId, handle: ShardHandle) {
        self.shards.write().unwrap_or_else(PoisonError::into_inner).insert(shard, handle);
    }

    /// Takes a shard out.
    pub fn remove(&self, shard: ShardId) -> Option<ShardHandle> {
        self.shards.write().unwrap_or_else(PoisonError::into_inner).remove(&shard)
    }
}
