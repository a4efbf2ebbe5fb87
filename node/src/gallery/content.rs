//! Where a shard's content comes from and where it is kept: this node's disk, other nodes; galleries and rosters.

use std::sync::Arc;

use cluster_config::canary::Canaries;
use cluster_config::gallery::Segment;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{ContentHash, GalleryVersion, NodeId};
use cluster_config::person::Person;
use cluster_config::wire::{Refusal, RefusalCode, codec, peer};
use coordinator::Coordinator;
use futures::stream::{FuturesUnordered, StreamExt};
use node_core::build::seek::{Answer, Next, ROSTER_TIMEOUT, Seeking, is_wanted, not_kept};
use node_core::rebuild::committed_at_least;
use node_core::reconcile::may_keep;
use node_core::roster::scope::is_kept;
use node_core::shard::{Content, FETCH_TIMEOUT, Order, Replica};
use node_link::Lane;
use tokio::runtime::Handle;
use tokio::task::JoinError;

use super::directory::Directory;
use super::segment::{self, Loaded};
use super::store::{self, Kept, Kind, Store};
use crate::peers::links::{Links, out_of_turn};
use crate::peers::turns::Turns;

/// What this node has of shards, and how it gets more.
pub struct Contents {
    coordinator: Coordinator,
    links: Links,
    store: Store,
    directory: Arc<Directory>,
    turns: Turns,
    /// The network's runtime: an actor may ask, and connections live there.
    network: Handle,
}

impl Contents {
    /// The contents of a node that keeps them in `store`, and publishes in `directory` what it searches.
    pub fn new(
        coordinator: Coordinator,
        links: Links,
        store: Store,
        directory: Arc<Directory>,
        network: Handle,
    ) -> Self {
        Self { coordinator, links, store, directory, turns: Turns::default(), network }
    }

    /// Checks a segment and keeps it on disk as a gallery or a roster; `before` is what this node has of the version
    /// before.
    ///
    /// # Errors
    /// A refusal: the segment's fault, or this node's disk.
    pub async fn keep(
        self: &Arc<Self>,
        kind: Kind,
        segment: Segment,
        before: Option<Arc<Loaded>>,
    ) -> Result<Arc<Loaded>, Refusal> {
        let place = format!("node {}: segment {} version {}", self.me(), segment.shard, segment.version);
        let broken_off = place.clone();
        let keeper = self.clone();
        let kept = self.network.spawn_blocking(move || {
            let refuse = |code, fault: Fault| fault.refusal(code, place.clone());
            let decoded = segment::decode(&segment, before.as_deref());
            let loaded = decoded.map_err(|error| refuse(RefusalCode::BadValue, error.into()))?;
            let failed = |error: store::Error| refuse(RefusalCode::Internal, error.into());
            keeper.store.put(kind, &segment).map_err(failed)?;
            // The journey may have been closed, and its galleries destroyed, or the shard moved while this was being
            // written.
            if let Err(code) = keeper.coordinator.with_state(|state| may_keep(state, keeper.me(), segment.shard)) {
                keeper.store.destroy(segment.shard).map_err(failed)?;
                let fault = Fault::new("this node keeps nothing of it any more", "ask the owner again");
                return Err(refuse(code, fault));
            }
            Ok(Arc::new(loaded))
        });
        kept.await.map_err(|error| Fault::from(error).refusal(RefusalCode::Internal, broken_off))?
    }

    /// Has another node give a replica's content, and keeps it.
    ///
    /// # Errors
    /// A refusal: that node's, or this node's disk.
    pub async fn fetch_gallery(
        self: &Arc<Self>,
        from: NodeId,
        shard: ShardId,
        version_min: GalleryVersion,
        before: Option<Arc<Loaded>>,
    ) -> Result<Arc<Loaded>, Refusal> {
        let _turn = self.turns.at(from).await;
        let request = peer::Request::FetchSegment { shard, version_min };
        match self.links.ask(from, Lane::Bulk, &request, FETCH_TIMEOUT).await? {
            peer::Response::Segment(segment) if is_wanted(shard, version_min, &segment) => {
                self.keep(Kind::Gallery, segment, before).await
            }
            _ => Err(out_of_turn(from)),
        }
    }

    /// What lies on the disk and is of use to the replica.
    pub fn read_gallery(&self, replica: &Replica) -> Option<Arc<Loaded>> {
        let shard = replica.shard();
        let read = || -> Result<Option<Segment>, store::Error> {
            let versions = self.store.versions(Kind::Gallery, shard)?;
            let kept: Vec<Content> =
                versions.iter().map(|kept| Content { version: kept.version, hash: kept.hash }).collect();
            match replica.to_read(&kept) {
                Some(Content { version, hash }) => self.store.get(Kept { kind: Kind::Gallery, shard, version, hash }),
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
    pub async fn keep_roster(self: &Arc<Self>, shard: ShardId, order: &Order) -> Result<GalleryVersion, Refusal> {
        let seeking = Seeking::elsewhere(self.me(), shard, order.version, order.placement.replicas());
        let fetched = self.fetch_roster(seeking).await;
        let segment = fetched.map_err(|silent| {
            let problem = format!("no replica gives it, {} of them are silent", silent.len());
            let fix = "start the silent nodes; they are asked again";
            Refusal::new(RefusalCode::Unavailable, format!("roster of gallery {shard}"), problem, fix)
        })?;
        let version = self.keep(Kind::Roster, segment, None).await?.head.version;
        self.drop_before(Kind::Roster, shard, version).await;
        Ok(version)
    }

    /// How many of the other holders that the order names say that they keep its version.
    pub async fn kept_by(&self, shard: ShardId, order: &Order) -> usize {
        let request = peer::Request::Keeps { shard, version_min: order.version };
        let holders = order.placement.holders().filter(|holder| *holder != self.me());
        let asked = holders.map(|holder| self.links.ask(holder, Lane::Bulk, &request, ROSTER_TIMEOUT));
        futures::future::join_all(asked).await.iter().filter(|answer| answer.is_ok()).count()
    }

    /// The roster of a version, from whichever node gives it first.
    ///
    /// # Errors
    /// The nodes that have not said that they do not have it.
    async fn fetch_roster(self: &Arc<Self>, mut seeking: Seeking) -> Result<Segment, Vec<NodeId>> {
        let (shard, version_min) = (seeking.shard(), seeking.version_min());
        let ask = |node| async move { (node, self.ask_roster(node, shard, version_min).await) };
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
        self: &Arc<Self>,
        of: NodeId,
        shard: ShardId,
        version_min: GalleryVersion,
    ) -> (Answer, Option<Segment>) {
        let answered = if of == self.me() {
            self.roster_here(shard, version_min).await.map(peer::Response::Segment)
        } else {
            let request = peer::Request::FetchRoster { shard, version_min };
            self.links.ask(of, Lane::Bulk, &request, ROSTER_TIMEOUT).await
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
        self: &Arc<Self>,
        shard: ShardId,
        version_min: GalleryVersion,
    ) -> Result<Segment, Refusal> {
        let committed = self.coordinator.with_state(|state| committed_at_least(state, shard, version_min));
        let serving = self.directory.serving(shard);
        let here = self.clone();
        let read = self.network.spawn_blocking(move || -> Result<Option<Segment>, Fault> {
            if let Some(serving) = serving.filter(|serving| serving.loaded.head.version >= version_min) {
                return Ok(Some(segment::roster(&serving.loaded.head, here.coordinator.version())?));
            }
            let kept = here.store.versions(Kind::Roster, shard)?;
            match kept.last().filter(|kept| kept.version >= version_min) {
                Some(kept) => Ok(here.store.get(*kept)?),
                None => here.roster_of_committed(shard, committed),
            }
        });
        match read.await.map_err(Fault::from).and_then(|read| read) {
            Ok(Some(segment)) => Ok(segment),
            Ok(None) => Err(not_kept(self.me(), shard, committed.is_some())),
            Err(fault) => {
                let place = format!("node {}: roster of gallery {shard}", self.me());
                Err(fault.refusal(RefusalCode::Internal, place))
            }
        }
    }

    /// Whether galleries can be kept on the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn check_store(self: &Arc<Self>) -> Result<(), String> {
        let here = self.clone();
        let checked = self.network.spawn_blocking(move || here.store.check()).await;
        told(checked).map_err(|fault| fault.to_string())
    }

    fn me(&self) -> NodeId {
        self.coordinator.node_id()
    }

    /// Reads a version of a gallery that this node keeps; absent where it is not kept or does not open any more.
    ///
    /// # Errors
    /// `internal` at `place`: the disk.
    pub async fn kept(self: &Arc<Self>, kept: Kept, place: String) -> Result<Option<Segment>, Refusal> {
        let here = self.clone();
        let read = self.network.spawn_blocking(move || here.store.get(kept)).await;
        told(read).map_err(|fault| fault.refusal(RefusalCode::Internal, place))
    }

    /// Drops the versions of one kind before `keep_from`. What cannot be dropped stays, and the log says so.
    pub async fn drop_before(self: &Arc<Self>, kind: Kind, shard: ShardId, keep_from: GalleryVersion) {
        let here = self.clone();
        let dropped = self.network.spawn_blocking(move || here.store.drop_before(kind, shard, keep_from)).await;
        if let Err(error) = told(dropped) {
            tracing::error!(%shard, ?kind, before = %keep_from, %error, "older versions could not be dropped");
        }
    }

    /// Keeps those of a closed journey's shard who are no citizens, under a key of their own; whether they are kept. A
    /// node that does not have the committed version keeps nobody.
    ///
    /// # Errors
    /// `internal`: the disk.
    pub async fn put_apart(self: &Arc<Self>, shard: ShardId, content: Content) -> Result<bool, Refusal> {
        let Some(apart) = shard.kept() else { return Ok(false) };
        let here = self.clone();
        let put = self.network.spawn_blocking(move || -> Result<bool, Fault> {
            let Content { version, hash } = content;
            // After a crash the one may be done and the other not.
            let is_done = !here.store.versions(Kind::Gallery, apart)?.is_empty();
            let Some(segment) = here.store.get(Kept { kind: Kind::Gallery, shard, version, hash })? else {
                return Ok(is_done);
            };
            let loaded = segment::decode(&segment, None)?;
            let scope = here.coordinator.with_state(|state| state.policy().scope.clone());
            let stays = |person: &Person| is_kept(&scope, person, Canaries::of_process());
            here.store.put(Kind::Gallery, &segment::apart(&loaded, apart, stays, here.coordinator.version())?)?;
            Ok(true)
        });
        put.await.map_err(Fault::from).and_then(|put| put).map_err(|fault| {
            fault.refusal(RefusalCode::Internal, format!("node {}: what is kept of {shard}", self.me()))
        })
    }

    /// Destroys all that this node keeps of a shard: its key first.
    ///
    /// # Errors
    /// `internal`: the disk.
    pub async fn destroy(self: &Arc<Self>, shard: ShardId) -> Result<(), Refusal> {
        let here = self.clone();
        let destroyed = self.network.spawn_blocking(move || here.store.destroy(shard)).await;
        told(destroyed).map_err(|fault| {
            let place = format!("node {}: destruction of gallery {shard}", self.me());
            fault.refusal(RefusalCode::Internal, place)
        })
    }

    /// The roster of a gallery that lies on the disk and is committed, though nothing searches it yet.
    fn roster_of_committed(
        &self,
        shard: ShardId,
        committed: Option<(GalleryVersion, ContentHash)>,
    ) -> Result<Option<Segment>, Fault> {
        let Some((version, hash)) = committed else { return Ok(None) };
        let kept = Kept { kind: Kind::Gallery, shard, version, hash };
        let Some(segment) = self.store.get(kept)? else { return Ok(None) };
        let loaded = segment::decode(&segment, None)?;
        Ok(Some(segment::roster(&loaded.head, self.coordinator.version())?))
    }
}

/// What came of a call that blocks, or why nothing did.
fn told<T>(ended: Result<Result<T, store::Error>, JoinError>) -> Result<T, Fault> {
    Ok(ended??)
}

/// What failed on this node, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{problem}; {fix}")]
struct Fault {
    problem: String,
    fix: &'static str,
}

impl Fault {
    fn new(problem: impl Into<String>, fix: &'static str) -> Self {
        Self { problem: problem.into(), fix }
    }

    fn refusal(self, code: RefusalCode, place: String) -> Refusal {
        Refusal::new(code, place, self.problem, self.fix)
    }
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Self {
        Self::new(error.to_string(), error.fix())
    }
}

impl From<segment::Error> for Fault {
    fn from(error: segment::Error) -> Self {
        Self::new(error.to_string(), error.fix())
    }
}

impl From<codec::Error> for Fault {
    fn from(error: codec::Error) -> Self {
        Self::new(error.to_string(), "report this to who maintains the nodes")
    }
}

impl From<JoinError> for Fault {
    fn from(error: JoinError) -> Self {
        Self::new(error.to_string(), "look at that node's log")
    }
}
