//! What can be searched of a shard, and where its actor publishes it.

use std::sync::{Arc, PoisonError, RwLock};

use cluster_config::canary::Canaries;
use cluster_config::ids::{Epoch, GalleryVersion};
use cluster_config::wire::peer::ShardSearch;
use node_core::search::may_answer;

use super::segment::Loaded;

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

    /// The version that can be searched; 0 is none.
    pub fn version(&self) -> GalleryVersion {
        let serving = self.0.read().unwrap_or_else(PoisonError::into_inner);
        serving.as_ref().map(|serving| serving.loaded.head.version).unwrap_or_default()
    }
}
