//! The replicated state against what runs on this node: what to start, what to tell, what to destroy.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::ids::{GalleryVersion, NodeId};
use cluster_config::wire::RefusalCode;
use coordinator_core::State;
use coordinator_core::galleries::Part;
use coordinator_core::placement::Placement;

use crate::shard::Order;

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
            let order = order(placement, committed);
            actions.push(match placement.has(me) {
                true => Action::Hold(shard, order),
                false => Action::KeepRoster(shard, order),
            });
        }
    }
    let unknown = kept.difference(&held).filter(|_| caught_up && !canaries.has(Canary::KeptReplica));
    let mut purged: BTreeSet<ShardId> = unknown.copied().collect();
    for (shard, part) in state.galleries().all_shards() {
        if part.holders.contains(&me) && !held.contains(&shard) && !canaries.has(Canary::KeptReplica) {
            purged.insert(shard);
        }
    }
    actions.extend(purged.into_iter().map(|shard| leave(state, shard)));
    actions
}

fn order(placement: &Placement, committed: &Part) -> Order {
    Order { placement: placement.clone(), version: committed.version, hash: committed.hash }
}

/// What is done with a shard that others are to have: nothing of an open gallery is destroyed before they do.
fn leave(state: &State, shard: ShardId) -> Action {
    let built = state.part(shard).filter(|part| part.version > GalleryVersion::default());
    match (state.placement(shard), built) {
        (Some(placement), Some(committed)) => Action::Leave(shard, order(placement, committed)),
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
