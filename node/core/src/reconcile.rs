//! The replicated state against what runs on this node: what to start, what to tell, what to destroy.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::ids::{GalleryVersion, NodeId};
use cluster_config::journey::JourneyStatus;
use cluster_config::wire::RefusalCode;
use coordinator_core::State;
use coordinator_core::galleries::{Gallery, Part};
use coordinator_core::placement::Placement;

use crate::shard::{Content, Order};

/// How often shards are reconciled even where nothing is known to have changed: the net below the notifications.
pub const RECONCILE_INTERVAL: Duration = Duration::from_millis(500);

/// Something that makes this node fit the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Hold a replica under this order: start it where it does not run, else tell it.
    Hold(ShardId, Order),
    /// Keep the people of the order's version, without their templates.
    KeepRoster(ShardId, Order),
    /// Destroy what is held of the shard, wherever it is, and answer with a receipt.
    Purge(ShardId),
    /// The same, once those who are to have it by now do: until then this may be the last copy (P1).
    Leave(ShardId, Order),
    /// The same, but for those who are no citizens, where this node has this version: they are kept apart.
    Reduce(ShardId, Content),
}

/// The actions that make node `me`, which keeps replicas of `kept` in memory or on disk, fit `state`.
///
/// What belongs to no known gallery is destroyed only where `caught_up` says that the state is not an old one, from
/// before the gallery: just after a start it may be.
pub fn reconcile(
    state: &State,
    me: NodeId,
    kept: &BTreeSet<ShardId>,
    caught_up: bool,
    canaries: Canaries,
) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut held = BTreeSet::new();
    for (shard, placement) in state.blueprint().iter() {
        if !placement.holders().any(|holder| holder == me) {
            continue;
        }
        if let Some(committed) = state.part(shard) {
            held.insert(shard);
            let order = order(state, shard, placement, committed);
            actions.push(match order.placement.has(me) {
                true => Action::Hold(shard, order),
                false => Action::KeepRoster(shard, order),
            });
        }
    }
    let keeps_all = canaries.has(Canary::KeptReplica);
    let mut purged = BTreeSet::new();
    for (id, gallery) in state.galleries().iter().filter(|_| !keeps_all) {
        let is_closed = gallery.status() == JourneyStatus::Closed;
        for (number, part) in (0..).zip(gallery.parts()) {
            let (owes, keeps) = (part.holders.contains(&me), part.keepers.contains(&me));
            if !owes && !keeps {
                continue;
            }
            let shard = ShardId { gallery: id, modality: gallery.modality(), model: gallery.model(), part: number };
            match shard.kept() {
                Some(apart) if is_closed && owes => {
                    actions.push(Action::Reduce(shard, Content { version: part.version, hash: part.hash }));
                    held.extend([shard, apart]);
                }
                Some(apart) if is_closed && !state.gives_up(me, part) => drop(held.insert(apart)),
                apart => {
                    purged.extend(Some(shard).filter(|shard| owes && !held.contains(shard)));
                    purged.extend(apart.filter(|_| keeps));
                }
            }
        }
    }
    let unknown = kept.difference(&held).filter(|_| caught_up && !keeps_all);
    purged.extend(unknown.copied());
    actions.extend(purged.into_iter().map(|shard| leave(state, shard)));
    actions
}

fn order(state: &State, shard: ShardId, placement: &Placement, committed: &Part) -> Order {
    let is_announced = state.galleries().get(shard.gallery).is_some_and(Gallery::is_announced);
    let is_due = !is_announced && committed.version.0 > 0 && !committed.is_built;
    Order { placement: placement.clone(), version: committed.version, hash: committed.hash, is_due }
}

/// What is done with a shard that others are to have: nothing of an open gallery is destroyed before they do.
fn leave(state: &State, shard: ShardId) -> Action {
    let built = state.part(shard).filter(|part| part.version > GalleryVersion::default());
    match (state.placement(shard), built) {
        (Some(placement), Some(committed)) => Action::Leave(shard, order(state, shard, placement, committed)),
        _ => Action::Purge(shard),
    }
}

/// Whether node `me` may keep content of the shard, a replica's or a roster's.
///
/// # Errors
/// `conflict` where the shard lives elsewhere by now: whoever wants it built asks its owner again. `not open` where its
/// journey is closed.
pub fn may_keep(state: &State, me: NodeId, shard: ShardId) -> Result<(), RefusalCode> {
    let placement = state.placement(shard);
    if placement.is_some_and(|placement| placement.holders().any(|holder| holder == me)) {
        return Ok(());
    }
    let open = state.galleries().get(shard.gallery).is_some_and(|gallery| gallery.is_open());
    Err(if open { RefusalCode::Conflict } else { RefusalCode::NotOpen })
}
