//! The shards that run on this node: how to reach each one's actor, and which version it can search.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};

use actix::Recipient;
use cluster_config::ids::{GalleryVersion, ShardId};

use crate::actors::shard::{Build, Destroy, Fetch, Obey, Search, Store};

/// How to reach one shard's actor.
#[derive(Clone)]
pub struct ShardHandle {
    /// Searches.
    pub search: Recipient<Search>,
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
    /// The version that can be searched; 0 is none. The actor writes it.
    pub serving: Arc<AtomicU32>,
}

impl ShardHandle {
    /// The version that can be searched; 0 is none.
    pub fn version(&self) -> GalleryVersion {
        GalleryVersion(self.serving.load(Ordering::Acquire))
    }
}

/// All shards of this node.
#[derive(Default)]
pub struct Directory {
    shards: RwLock<BTreeMap<ShardId, ShardHandle>>,
}

impl Directory {
    /// The shard's handle, where it runs here.
    pub fn find(&self, shard: ShardId) -> Option<ShardHandle> {
        self.shards.read().unwrap_or_else(|poisoned| poisoned.into_inner()).get(&shard).cloned()
    }

    /// The version that the shard can be searched at here; 0 is none.
    pub fn version(&self, shard: ShardId) -> GalleryVersion {
        let shards = self.shards.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        shards.get(&shard).map(ShardHandle::version).unwrap_or_default()
    }

    /// Every shard with the version that can be searched.
    pub fn versions(&self) -> Vec<(ShardId, GalleryVersion)> {
        let shards = self.shards.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        shards.iter().map(|(shard, handle)| (*shard, handle.version())).collect()
    }

    /// Adds or replaces a shard.
    pub fn insert(&self, shard: ShardId, handle: ShardHandle) {
        self.shards.write().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(shard, handle);
    }

    /// Takes a shard out.
    pub fn remove(&self, shard: ShardId) -> Option<ShardHandle> {
        self.shards.write().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&shard)
    }
}
