//! A replica's life: what this node does about one shard, given its orders and what it holds.

use std::time::Duration;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::ids::{ContentHash, Epoch, GalleryVersion, NodeId, UnixMs};
use coordinator_core::placement::Placement;

/// How long a segment may take to cross the network.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause before a source that failed is asked again, milliseconds; doubled with each round up to sixteen times.
const RETRY_MS: u64 = 50;

/// Pause before an owner begins again to build what is due, milliseconds: most builds are done by then.
const DUE_RETRY_MS: u64 = 2_000;

/// Contents that wait to be committed at most. More than two come only of an owner that builds again and again in vain.
const STAGED_MAX: usize = 4;

/// What the replicated state asks of this node for one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Where the shard lives; this node is among the replicas.
    pub placement: Placement,
    /// The committed version.
    pub version: GalleryVersion,
    /// Hash of the committed version.
    pub hash: ContentHash,
    /// Whether that version has people alone, and the time has come for their templates.
    pub is_due: bool,
}

/// One version of a shard's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    pub version: GalleryVersion,
    pub hash: ContentHash,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The replicated state changed.
    Ordered(Order),
    /// It is known what lies on the disk, and if it is of use it is staged: that need not be fetched.
    DiskRead,
    /// A segment stands ready in memory: read from disk, fetched, pushed by the owner, or built. The shell keeps it
    /// apart from the one that is searched until it is told to serve it.
    Staged(Content),
    /// The source did not give the segment.
    FetchFailed,
    /// The time that a [`Effect::Wake`] asked for has come.
    Woken,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Search this staged content from now on, in place of any earlier one.
    Serve(Content),
    /// Drop this staged content: it was never committed, or is older than what was.
    Unstage(Content),
    /// Get this version or a later one from that node, and say how it went.
    Fetch {
        from: NodeId,
        /// The oldest version of use.
        version_min: GalleryVersion,
    },
    /// Build the next version out of the people that roster holders keep: no other replica has the committed one.
    Rebuild,
    /// Build the templates of the committed version's people.
    BuildDue,
    /// Send [`Message::Woken`] at that time.
    Wake(UnixMs),
}

/// How the replica is doing, for status and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing is committed yet.
    Empty,
    /// The committed version is being fetched.
    Fetching,
    /// The committed version can be searched.
    Ready,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    me: NodeId,
    shard: ShardId,
    order: Order,
    /// The newest order that came before it was known what lies on the disk: it is obeyed then.
    early: Option<Order>,
    disk_read: bool,
    serving: Option<Content>,
    /// Of one version several may have been built, of which one will be committed.
    staged: Vec<Content>,
    fetching: bool,
    waiting: bool,
    failures: u32,
    /// When what is due is begun again.
    due_again: UnixMs,
    canaries: Canaries,
}

impl Replica {
    /// A replica that holds nothing yet, and does not know yet what lies on the disk.
    pub fn new(me: NodeId, shard: ShardId, order: Order, canaries: Canaries) -> Self {
        Self {
            me,
            shard,
            order,
            early: None,
            disk_read: false,
            serving: None,
            staged: Vec::new(),
            fetching: false,
            waiting: false,
            failures: 0,
            due_again: UnixMs::default(),
            canaries,
        }
    }

    pub fn node(&self) -> NodeId {
        self.me
    }

    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The order in force.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Generation of ownership, as this node knows it.
    pub fn epoch(&self) -> Epoch {
        self.order.placement.epoch
    }

    /// Whether it is known what lies on the disk.
    pub fn knows_its_disk(&self) -> bool {
        self.disk_read
    }

    /// Which of the kept versions, oldest first, to read from the disk: the one that the order asks for, or else the
    /// last one, where it may be committed yet.
    pub fn to_read(&self, kept: &[Content]) -> Option<Content> {
        let committed = kept.iter().find(|content| **content == self.committed());
        committed.or(kept.last().filter(|content| content.version > self.order.version)).copied()
    }

    /// Whether this node owns the shard.
    pub fn is_owner(&self) -> bool {
        self.order.placement.owner == self.me
    }

    /// The version that can be searched; 0 is none.
    pub fn version(&self) -> GalleryVersion {
        self.serving.map(|content| content.version).unwrap_or_default()
    }

    /// How the replica is doing.
    pub fn phase(&self) -> Phase {
        match self.order.version {
            GalleryVersion(0) => Phase::Empty,
            committed if self.version() >= committed => Phase::Ready,
            _ => Phase::Fetching,
        }
    }

    /// Whether every other replica was asked more than once in vain: then nobody has the committed version, and the
    /// owner may build anew from the sources.
    pub fn has_given_up(&self) -> bool {
        let sources = self.sources().len();
        sources == 0 || self.failures as usize > 2 * sources
    }

    /// Takes what happened at `now` and adds what is to be done.
    pub fn step(&mut self, now: UnixMs, message: Message, effects: &mut Vec<Effect>) {
        match message {
            Message::Ordered(order) if !self.disk_read => {
                self.early = Some(order);
                return;
            }
            Message::Ordered(order) => self.obey(order),
            Message::DiskRead => {
                self.disk_read = true;
                if let Some(order) = self.early.take() {
                    self.obey(order);
                }
            }
            Message::Staged(content) => {
                if !self.staged.contains(&content) {
                    self.staged.push(content);
                }
                let useful = content.version > self.order.version || content == self.committed();
                if std::mem::take(&mut self.fetching) && !useful {
                    // The source has something else: asking it again at once would give the same.
                    self.settle_staged(effects);
                    self.try_again_later(now, effects);
                    return;
                }
                self.failures = 0;
            }
            Message::FetchFailed => {
                self.fetching = false;
                self.try_again_later(now, effects);
                return;
            }
            Message::Woken => self.waiting = false,
        }
        self.settle_staged(effects);
        self.fetch_if_behind(now, effects);
        self.build_if_due(now, effects);
    }

    fn build_if_due(&mut self, now: UnixMs, effects: &mut Vec<Effect>) {
        let has_people = self.serving == Some(self.committed());
        if self.order.is_due && self.is_owner() && has_people && now >= self.due_again {
            self.due_again = UnixMs(now.0 + DUE_RETRY_MS);
            effects.extend([Effect::BuildDue, Effect::Wake(self.due_again)]);
        }
    }

    fn obey(&mut self, order: Order) {
        if order.placement.epoch >= self.order.placement.epoch && order.version >= self.order.version {
            self.order = order;
        }
    }

    fn committed(&self) -> Content {
        Content { version: self.order.version, hash: self.order.hash }
    }

    /// Only what is committed is searched: an answer must not depend on which replica gave it (P5).
    fn settle_staged(&mut self, effects: &mut Vec<Effect>) {
        let (committed, early) = (self.committed(), self.canaries.has(Canary::ServeUncommitted));
        let mut waiting = Vec::new();
        for staged in std::mem::take(&mut self.staged) {
            if staged == committed || early {
                self.serving = Some(staged);
                effects.push(Effect::Serve(staged));
            } else if staged.version > committed.version {
                waiting.push(staged);
            } else {
                effects.push(Effect::Unstage(staged));
            }
        }
        let surplus = waiting.len().saturating_sub(STAGED_MAX);
        effects.extend(waiting.drain(..surplus).map(Effect::Unstage));
        self.staged = waiting;
    }

    fn fetch_if_behind(&mut self, now: UnixMs, effects: &mut Vec<Effect>) {
        if self.fetching || !self.disk_read || self.phase() != Phase::Fetching {
            return;
        }
        let sources = self.sources();
        match sources.get(self.failures as usize % sources.len().max(1)) {
            Some(from) => {
                self.fetching = true;
                effects.push(Effect::Fetch { from: *from, version_min: self.order.version });
            }
            None if self.waiting => {}
            None => self.try_again_later(now, effects),
        }
    }

    /// An owner that nobody can give the committed version builds the next one, while it goes on asking.
    fn try_again_later(&mut self, now: UnixMs, effects: &mut Vec<Effect>) {
        self.failures = self.failures.saturating_add(1);
        if self.is_owner() && self.has_given_up() {
            effects.push(Effect::Rebuild);
        }
        self.waiting = true;
        if self.canaries.has(Canary::FetchedOnce) {
            return;
        }
        let rounds = self.failures / self.sources().len().max(1) as u32;
        effects.push(Effect::Wake(UnixMs(now.0 + (RETRY_MS << rounds.min(4)))));
    }

    /// The other replicas, owner first.
    fn sources(&self) -> Vec<NodeId> {
        self.order.placement.replicas().filter(|node| *node != self.me).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(version: u32, epoch: u64) -> Order {
        let placement =
            Placement { epoch: Epoch(epoch), owner: NodeId(1), standbys: vec![NodeId(2), NodeId(3)], rosters: vec![] };
        let hash = ContentHash([version as u8; 32]);
        Order { placement, version: GalleryVersion(version), hash, is_due: false }
    }

    fn replica() -> Replica {
        let shard = crate::fixture::shard(0);
        let mut replica = Replica::new(NodeId(2), shard, order(0, 1), Canaries::default());
        assert_eq!(step(&mut replica, Message::DiskRead), []);
        replica
    }

    fn content(version: u32, hash: u8) -> Content {
        Content { version: GalleryVersion(version), hash: ContentHash([hash; 32]) }
    }

    fn staged(version: u32, hash: u8) -> Message {
        Message::Staged(content(version, hash))
    }

    fn step(replica: &mut Replica, message: Message) -> Vec<Effect> {
        let mut effects = Vec::new();
        replica.step(UnixMs(1_000), message, &mut effects);
        effects
    }

    #[test]
    fn a_standby_that_is_behind_asks_each_survivor_in_turn_with_growing_pauses() {
        let mut replica = replica();
        let version_min = GalleryVersion(2);
        assert_eq!(step(&mut replica, Message::Ordered(order(2, 1))), [Effect::Fetch { from: NodeId(1), version_min }]);
        assert_eq!(step(&mut replica, Message::Ordered(order(2, 1))), [], "one fetch at a time");
        assert_eq!(step(&mut replica, Message::FetchFailed), [Effect::Wake(UnixMs(1_050))]);
        assert_eq!(step(&mut replica, Message::Woken), [Effect::Fetch { from: NodeId(3), version_min }]);
        assert_eq!(step(&mut replica, Message::FetchFailed), [Effect::Wake(UnixMs(1_100))]);
        assert_eq!(replica.phase(), Phase::Fetching);
        assert_eq!(step(&mut replica, staged(2, 2)), [Effect::Serve(content(2, 2))]);
        assert_eq!(replica.phase(), Phase::Ready);
    }

    /// R36.
    #[test]
    fn an_owner_builds_templates_when_they_are_due_and_tries_again_until_they_are_committed() {
        let mut owner = replica();
        owner.me = NodeId(1);
        step(&mut owner, staged(1, 1));
        assert_eq!(step(&mut owner, Message::Ordered(order(1, 1))), [Effect::Serve(content(1, 1))], "too early");
        let due = Order { is_due: true, ..order(1, 1) };
        let begins = [Effect::BuildDue, Effect::Wake(UnixMs(3_000))];
        assert_eq!(step(&mut owner, Message::Ordered(due.clone())), begins);
        assert_eq!(step(&mut owner, Message::Ordered(due.clone())), [], "it is under way");
        let mut again = Vec::new();
        owner.step(UnixMs(3_000), Message::Woken, &mut again);
        assert_eq!(again, [Effect::BuildDue, Effect::Wake(UnixMs(5_000))], "it came to nothing");
        step(&mut owner, staged(2, 2));
        assert_eq!(step(&mut owner, Message::Ordered(order(2, 1))), [Effect::Serve(content(2, 2))]);
        let mut done = Vec::new();
        owner.step(UnixMs(5_000), Message::Woken, &mut done);
        assert_eq!(done, []);

        let mut standby = replica();
        step(&mut standby, staged(1, 1));
        assert_eq!(step(&mut standby, Message::Ordered(due)), [Effect::Serve(content(1, 1))], "it is the owner's");
    }

    #[test]
    fn a_pushed_version_is_served_only_once_it_is_committed() {
        let mut replica = replica();
        assert_eq!(step(&mut replica, staged(1, 1)), [], "pushed before its commit");
        assert_eq!(replica.version(), GalleryVersion(0));
        assert_eq!(step(&mut replica, Message::Ordered(order(1, 1))), [Effect::Serve(content(1, 1))]);
        assert_eq!(replica.version(), GalleryVersion(1));
        assert_eq!(step(&mut replica, staged(2, 2)), []);
        assert_eq!(replica.version(), GalleryVersion(1), "the committed version goes on answering");
    }

    #[test]
    fn content_that_was_never_committed_is_dropped_and_the_committed_one_fetched() {
        let mut replica = replica();
        assert_eq!(step(&mut replica, staged(1, 99)), []);
        let fetch = Effect::Fetch { from: NodeId(1), version_min: GalleryVersion(1) };
        assert_eq!(step(&mut replica, Message::Ordered(order(1, 1))), [Effect::Unstage(content(1, 99)), fetch]);
        assert_eq!(replica.version(), GalleryVersion(0));
    }

    #[test]
    fn of_two_contents_of_one_version_the_committed_one_is_served_whichever_came_first() {
        for (one, other) in [(1, 99), (99, 1)] {
            let mut replica = replica();
            step(&mut replica, staged(1, one));
            assert_eq!(step(&mut replica, staged(1, other)), []);
            let effects = step(&mut replica, Message::Ordered(order(1, 1)));
            assert!(effects.contains(&Effect::Serve(content(1, 1))), "{effects:?}");
            assert!(effects.contains(&Effect::Unstage(content(1, 99))), "{effects:?}");
        }
        let mut replica = replica();
        for hash in 1..=9 {
            step(&mut replica, staged(1, hash));
        }
        assert_eq!(replica.staged.len(), STAGED_MAX, "no more are kept than that");
    }

    #[test]
    fn a_source_that_gives_something_else_is_not_asked_for_ever() {
        let mut owner = replica();
        owner.me = NodeId(1);
        step(&mut owner, Message::Ordered(order(2, 1)));
        for _ in 0..5 {
            assert!(!owner.has_given_up());
            let effects = step(&mut owner, staged(2, 77));
            assert!(
                matches!(effects[..], [Effect::Unstage(_), Effect::Wake(_)] | [_, Effect::Rebuild, _]),
                "{effects:?}"
            );
            step(&mut owner, Message::Woken);
        }
        assert!(owner.has_given_up());
    }

    #[test]
    fn an_owner_that_no_replica_can_give_the_committed_version_builds_it_again() {
        let mut owner = replica();
        owner.me = NodeId(1);
        let version_min = GalleryVersion(2);
        let fetch = |from| Effect::Fetch { from: NodeId(from), version_min };
        assert_eq!(step(&mut owner, Message::Ordered(order(2, 1))), [fetch(2)]);
        for (asked_next, wake) in [(3, 1_050), (2, 1_100), (3, 1_100), (2, 1_200)] {
            assert!(!owner.has_given_up());
            assert_eq!(step(&mut owner, Message::FetchFailed), [Effect::Wake(UnixMs(wake))]);
            assert_eq!(step(&mut owner, Message::Woken), [fetch(asked_next)]);
        }
        assert_eq!(step(&mut owner, Message::FetchFailed), [Effect::Rebuild, Effect::Wake(UnixMs(1_200))]);
        step(&mut owner, Message::Woken);
        assert_eq!(step(&mut owner, staged(3, 3)), [fetch(2)], "built, and not yet committed");
        assert_eq!(step(&mut owner, Message::Ordered(order(3, 1))), [Effect::Serve(content(3, 3))]);

        let mut standby = replica();
        step(&mut standby, Message::Ordered(order(2, 1)));
        for _ in 0..9 {
            let effects = step(&mut standby, Message::FetchFailed);
            assert!(!effects.contains(&Effect::Rebuild), "only the owner builds");
            step(&mut standby, Message::Woken);
        }
    }

    #[test]
    fn an_owner_without_standbys_asks_the_roster_holders_at_once_and_again() {
        let mut owner = replica();
        owner.me = NodeId(1);
        let mut alone = order(1, 1);
        alone.placement.standbys.clear();
        assert_eq!(step(&mut owner, Message::Ordered(alone.clone())), [Effect::Rebuild, Effect::Wake(UnixMs(1_100))]);
        assert_eq!(step(&mut owner, Message::Ordered(alone)), [], "it waits");
        assert_eq!(step(&mut owner, Message::Woken), [Effect::Rebuild, Effect::Wake(UnixMs(1_200))]);
    }

    #[test]
    fn nothing_is_fetched_before_it_is_known_what_lies_on_the_disk() {
        let shard = replica().shard();
        let early = || Replica::new(NodeId(2), shard, order(1, 1), Canaries::default());
        let mut replica = early();
        assert_eq!(step(&mut replica, Message::Ordered(order(2, 1))), []);
        assert_eq!(step(&mut replica, staged(1, 1)), [Effect::Serve(content(1, 1))], "it was committed when it began");
        let fetch = Effect::Fetch { from: NodeId(1), version_min: GalleryVersion(2) };
        assert_eq!(step(&mut replica, Message::DiskRead), [fetch]);
        let mut restarted = early();
        assert_eq!(step(&mut restarted, staged(1, 1)), [Effect::Serve(content(1, 1))]);
        assert_eq!(step(&mut restarted, Message::DiskRead), [], "all that is needed was on the disk");
    }

    #[test]
    fn the_committed_version_is_read_from_the_disk_or_else_one_that_may_be_committed_yet() {
        let shard = replica().shard();
        let replica = Replica::new(NodeId(2), shard, order(2, 1), Canaries::default());
        let kept = [content(1, 1), content(2, 2), content(2, 9), content(3, 3)];
        assert_eq!(replica.to_read(&kept), Some(content(2, 2)));
        assert_eq!(replica.to_read(&kept[2..]), Some(content(3, 3)));
        assert_eq!(replica.to_read(&kept[..1]), None, "what is out of date is fetched");
    }

    #[test]
    fn an_order_of_an_earlier_epoch_is_ignored() {
        let mut replica = replica();
        step(&mut replica, Message::Ordered(order(1, 5)));
        step(&mut replica, Message::Ordered(order(1, 4)));
        assert_eq!(replica.epoch(), Epoch(5));
    }
}
