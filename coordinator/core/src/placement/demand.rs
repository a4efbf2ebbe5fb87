//! How much work a shard will be, and when: what placement is decided by.

use cluster_config::gallery::GalleryId;
use cluster_config::gallery::ShardId;
use cluster_config::ids::UnixMs;

use crate::galleries::Gallery;
use crate::state::State;

/// What one shard of a gallery asks for.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// When its journey departs; a standing gallery is searched at any time.
    pub departs_at: Option<UnixMs>,
    /// People in the shard, as announced, or as committed where nothing is announced.
    pub people: u64,
}

impl Demand {
    /// The demand of each shard of this gallery.
    pub fn of(state: &State, id: GalleryId, gallery: &Gallery) -> Self {
        let plan = id.journey().and_then(|journey| state.journeys.get(journey));
        let people = plan.map_or(gallery.counts().people, |plan| plan.people);
        let parts = gallery.parts().len().max(1) as u64;
        Self { departs_at: plan.map(|plan| plan.departs_at), people: u64::from(people) / parts }
    }

    /// The demand of one shard; absent where its gallery is not known.
    pub fn of_shard(state: &State, shard: ShardId) -> Option<Self> {
        state.galleries.get(shard.gallery).map(|gallery| Self::of(state, shard.gallery, gallery))
    }
}
