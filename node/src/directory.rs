//! The shards that run on this node: how to reach each one's actor, and what it has published for searching.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use actix::Recipient;
use cluster_config::canary::Canaries;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{Epoch, GalleryVersion};
use cluster_config::wire::peer::ShardSearch;
use node_core::search::may_answer;

use crate::actors::shard::{Build, Destroy, Fetch, Obey, Store};
use crate::segment::Loaded;

/// What can be searched of a shard at this moment.
#[derive(Clone)]
pub struct Serving {
    /// The content.
    pub loaded: Arc<Loaded>,
    /// Generation of ownership that the actor knows of.
    pub epoch: Epoch,
}

impl Serving {
    /// Whether it is new enough for this search.
    pub fn may_answer(&self, search: &ShardSearch) -> bool {
        may_answer(self.loaded.head.version, search.version_min, Canaries::of_process())
    }
}

/// Where one shard's actor, and nobody else, publishes what can be searched. A search reads it instead of asking the
/// actor: that, and scoring on the asking thread, took a third off an idle node's answer (`tvs bench gate`).
#[derive(Default)]
pub struct Published(RwLock<Option<Serving>>);

impl Published {
    /// Replaces what is published; absent withdraws it.
    pub fn set(&self, serving: Option<Serving>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = serving;
    }

    /// What is published.
    pub fn get(&self) -> Option<Serving> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn version(&self) -> GalleryVersion {
        let serving = self.0.read().unwrap_or_else(PoisonError::into_inner);
        serving.as_ref().map(|serving| serving.loaded.head.version).unwrap_or_default()
    }
}

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

impl ShardHandle {
    /// The version that can be searched; 0 is none.
    pub fn version(&self) -> GalleryVersion {
        self.published.version()
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
        shards.iter().map(|(shard, handle)| (*shard, handle.version())).collect()
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
