//! Where a shard's content comes from and where it is kept: this node's disk, other nodes; galleries and rosters.

use std::sync::Arc;

use cluster_config::gallery::Segment;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{ContentHash, GalleryVersion, NodeId};
use cluster_config::wire::peer;
use cluster_config::wire::{Refusal, RefusalCode};
use futures::stream::{FuturesUnordered, StreamExt};
use node_core::build::seek::{Answer, Next, ROSTER_TIMEOUT, Seeking, is_wanted, not_kept};
use node_core::rebuild::committed_at_least;
use node_core::reconcile::may_keep;
use node_core::shard::{Content, FETCH_TIMEOUT, Order, Replica};
use node_link::Lane;

use crate::context::{Context as Shared, out_of_turn};
use crate::segment::{self, Loaded};
use crate::store::{Kept, Kind};

/// Checks a segment and keeps it on disk as a gallery or a roster; `before` is what this node has of the version
/// before.
///
/// # Errors
/// A refusal: the segment's fault, or this node's disk.
pub async fn keep(
    shared: &Arc<Shared>,
    kind: Kind,
    segment: Segment,
    before: Option<Arc<Loaded>>,
) -> Result<Arc<Loaded>, Refusal> {
    let place = format!("node {}: segment {} version {}", shared.me, segment.shard, segment.version);
    let keeper = shared.clone();
    let kept = shared.network.spawn_blocking(move || {
        let loaded =
            segment::decode(&segment, before.as_deref()).map_err(|error| (RefusalCode::BadValue, error.to_string()))?;
        let failed = |error: crate::store::Error| (RefusalCode::Internal, error.to_string());
        keeper.store.put(kind, &segment).map_err(failed)?;
        // The journey may have been closed, and its galleries destroyed, or the shard moved while this was being
        // written.
        if let Err(code) = keeper.coordinator.with_state(|state| may_keep(state, keeper.me, segment.shard)) {
            keeper.store.destroy(segment.shard).map_err(failed)?;
            return Err((code, "this node keeps nothing of it any more".to_owned()));
        }
        Ok(Arc::new(loaded))
    });
    match kept.await {
        Ok(Ok(loaded)) => Ok(loaded),
        Ok(Err((code, problem))) => Err(Refusal::new(code, place, problem)),
        Err(error) => Err(Refusal::new(RefusalCode::Internal, place, error.to_string())),
    }
}

/// Has another node give a replica's content, and keeps it.
///
/// # Errors
/// A refusal: that node's, or this node's disk.
pub async fn fetch_gallery(
    shared: &Arc<Shared>,
    from: NodeId,
    shard: ShardId,
    version_min: GalleryVersion,
    before: Option<Arc<Loaded>>,
) -> Result<Arc<Loaded>, Refusal> {
    let _turn = shared.turns.at(from).await;
    let request = peer::Request::FetchSegment { shard, version_min };
    match shared.ask(from, Lane::Bulk, &request, FETCH_TIMEOUT).await? {
        peer::Response::Segment(segment) if is_wanted(shard, version_min, &segment) => {
            keep(shared, Kind::Gallery, segment, before).await
        }
        _ => Err(out_of_turn(from)),
    }
}

/// What lies on the disk and is of use to the replica.
pub fn read_gallery(shared: &Shared, replica: &Replica) -> Option<Arc<Loaded>> {
    let shard = replica.shard();
    let read = || -> Result<Option<Segment>, crate::store::Error> {
        let versions = shared.store.versions(Kind::Gallery, shard)?;
        let kept: Vec<Content> =
            versions.iter().map(|kept| Content { version: kept.version, hash: kept.hash }).collect();
        match replica.to_read(&kept) {
            Some(Content { version, hash }) => shared.store.get(Kept { kind: Kind::Gallery, shard, version, hash }),
            None => Ok(None),
        }
    };
    let loaded = read().map_err(|error| error.to_string()).and_then(|segment| {
        segment.map(|segment| segment::decode(&segment, None).map_err(|error| error.to_string())).transpose()
    });
    match loaded {
        Ok(loaded) => loaded.map(Arc::new),
        Err(error) => {
            tracing::warn!(%shard, %error, "what is kept cannot be used; it is fetched again");
            None
        }
    }
}

/// Keeps the people of the order's version: those of the first replica that gives them.
///
/// # Errors
/// The last replica's refusal, or this node's.
pub async fn keep_roster(shared: &Arc<Shared>, shard: ShardId, order: &Order) -> Result<GalleryVersion, Refusal> {
    let seeking = Seeking::elsewhere(shared.me, shard, order.version, order.placement.replicas());
    let fetched = fetch_roster(shared, seeking).await;
    let segment = fetched.map_err(|silent| {
        let place = format!("roster of gallery {shard}: no replica gives it, {} of them are silent", silent.len());
        Refusal::new(RefusalCode::Unavailable, place, "it is asked for again")
    })?;
    let version = keep(shared, Kind::Roster, segment, None).await?.head.version;
    let store = shared.clone();
    let dropped = shared.network.spawn_blocking(move || store.store.drop_before(Kind::Roster, shard, version)).await;
    if let Err(error) = dropped.map_err(|e| e.to_string()).and_then(|dropped| dropped.map_err(|e| e.to_string())) {
        tracing::error!(%shard, %error, "older rosters could not be dropped");
    }
    Ok(version)
}

/// The roster of a version, from whichever node gives it first.
///
/// # Errors
/// The nodes that have not said that they do not have it.
async fn fetch_roster(shared: &Arc<Shared>, mut seeking: Seeking) -> Result<Segment, Vec<NodeId>> {
    let (shard, version_min) = (seeking.shard(), seeking.version_min());
    let ask = |node| async move { (node, ask_roster(shared, node, shard, version_min).await) };
    let mut asked = FuturesUnordered::new();
    let (mut next, mut given) = (seeking.begin(), None);
    loop {
        match (next, given) {
            (Next::Found(..), Some(segment)) => return Ok(segment),
            (Next::Nobody(silent), _) => return Err(silent),
            (Next::Ask(nodes), _) => asked.extend(nodes.into_iter().map(ask)),
            (Next::Found(..), None) | (Next::Wait, _) => {}
        }
        let Some((node, (answer, segment))) = asked.next().await else { return Err(Vec::new()) };
        (next, given) = (seeking.answered(node, answer), segment);
    }
}

/// Asks a node for the roster of a version or a later one; where it is this node, looks at its disk.
pub async fn ask_roster(
    shared: &Arc<Shared>,
    of: NodeId,
    shard: ShardId,
    version_min: GalleryVersion,
) -> (Answer, Option<Segment>) {
    let answered = if of == shared.me {
        roster_here(shared, shard, version_min).await.map(peer::Response::Segment)
    } else {
        let request = peer::Request::FetchRoster { shard, version_min };
        shared.ask(of, Lane::Bulk, &request, ROSTER_TIMEOUT).await
    };
    let answer = Answer::of(shard, version_min, &answered);
    match answered {
        Ok(peer::Response::Segment(segment)) => (answer, Some(segment)),
        Ok(_) | Err(_) => (answer, None),
    }
}

/// The people of a shard as this node has them, of a replica or a roster.
///
/// # Errors
/// Not here, or not at this version; or the disk's failure.
pub async fn roster_here(
    shared: &Arc<Shared>,
    shard: ShardId,
    version_min: GalleryVersion,
) -> Result<Segment, Refusal> {
    let committed = shared.coordinator.with_state(|state| committed_at_least(state, shard, version_min));
    let serving = shared.directory.find(shard).and_then(|handle| handle.published.get());
    let store = shared.clone();
    let read = shared.network.spawn_blocking(move || -> Result<Option<Segment>, String> {
        if let Some(serving) = serving.filter(|serving| serving.loaded.head.version >= version_min) {
            return segment::roster(&serving.loaded.head).map(Some).map_err(|error| error.to_string());
        }
        let kept = store.store.versions(Kind::Roster, shard).map_err(|error| error.to_string())?;
        match kept.last().filter(|kept| kept.version >= version_min) {
            Some(kept) => store.store.get(*kept).map_err(|error| error.to_string()),
            None => roster_of_committed(&store, shard, committed),
        }
    });
    match read.await.map_err(|error| error.to_string()).and_then(|read| read) {
        Ok(Some(segment)) => Ok(segment),
        Ok(None) => Err(not_kept(shared.me, shard, committed.is_some())),
        Err(problem) => {
            let place = format!("node {}: roster of gallery {shard}", shared.me);
            Err(Refusal::new(RefusalCode::Internal, place, problem))
        }
    }
}

/// The roster of a gallery that lies on the disk and is committed, though nothing searches it yet.
fn roster_of_committed(
    shared: &Shared,
    shard: ShardId,
    committed: Option<(GalleryVersion, ContentHash)>,
) -> Result<Option<Segment>, String> {
    let Some((version, hash)) = committed else { return Ok(None) };
    let kept = Kept { kind: Kind::Gallery, shard, version, hash };
    let Some(segment) = shared.store.get(kept).map_err(|error| error.to_string())? else { return Ok(None) };
    let loaded = segment::decode(&segment, None).map_err(|error| error.to_string())?;
    segment::roster(&loaded.head).map(Some).map_err(|error| error.to_string())
}
