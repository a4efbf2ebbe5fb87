//! Finding the people of a version at the nodes that may keep them, and knowing who has not answered.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_config::gallery::ShardId;
use cluster_config::ids::{GalleryVersion, NodeId};
use cluster_config::wire::{Refusal, RefusalCode, peer};

/// How long a node may take to give a roster: there are others to ask.
pub const ROSTER_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether what a node gave is of the shard, and new enough.
pub fn is_wanted(shard: ShardId, version_min: GalleryVersion, given: &cluster_config::gallery::Segment) -> bool {
    given.shard == shard && given.version >= version_min
}

/// The refusal of a node that does not keep the wanted people. It says that it has none only where it has `heard` of
/// the version: what it has not heard of, it may have, or be about to be given. [`Answer::of`] reads it.
pub fn not_kept(by: NodeId, shard: ShardId, heard: bool) -> Refusal {
    let place = format!("node {by}: roster of gallery {shard}");
    if heard {
        return Refusal::new(RefusalCode::NotFound, place, "it is not kept here", "ask another holder");
    }
    Refusal::new(RefusalCode::Busy, place, "the node has not heard of that version yet", "ask again")
}

/// What a node said when it was asked for the people of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It gave those of this version, which is the wanted one or a later one.
    Gave(GalleryVersion),
    /// It does not have them.
    HasNone,
    /// It lives, and cannot say yet whether it has them.
    NotYet,
    /// It gave no answer, or one that says nothing: it may have them.
    Silent,
}

impl Answer {
    /// What a node's answer means.
    pub fn of(shard: ShardId, version_min: GalleryVersion, answered: &Result<peer::Response, Refusal>) -> Self {
        match answered {
            Ok(peer::Response::Segment(given)) if is_wanted(shard, version_min, given) => Self::Gave(given.version),
            Err(refusal) if refusal.code == RefusalCode::NotFound => Self::HasNone,
            Err(refusal) if refusal.code == RefusalCode::Busy => Self::NotYet,
            Ok(_) | Err(_) => Self::Silent,
        }
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask these nodes; where this node is among them, read its disk.
    Ask(Vec<NodeId>),
    /// Others have still to answer.
    Wait,
    /// This node gave the people, of this version.
    Found(NodeId, GalleryVersion),
    /// Nobody gives them. These nodes have not said that they do not have them.
    Nobody(Vec<NodeId>),
}

/// A search for the people of one version: first on this node, if it may have them, then at all others at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeking {
    shard: ShardId,
    version_min: GalleryVersion,
    here: Option<NodeId>,
    others: BTreeSet<NodeId>,
    asked: BTreeSet<NodeId>,
    silent: Vec<NodeId>,
    is_early: bool,
}

impl Seeking {
    /// A search at `others` alone; node `me` among them is left out.
    pub fn elsewhere(
        me: NodeId,
        shard: ShardId,
        version_min: GalleryVersion,
        others: impl Iterator<Item = NodeId>,
    ) -> Self {
        let others = others.filter(|node| *node != me).collect();
        let (asked, silent) = (BTreeSet::new(), Vec::new());
        Self { shard, version_min, here: None, others, asked, silent, is_early: false }
    }

    /// A search on this node first.
    pub fn here_and_elsewhere(
        me: NodeId,
        shard: ShardId,
        version_min: GalleryVersion,
        others: impl Iterator<Item = NodeId>,
    ) -> Self {
        Self { here: Some(me), ..Self::elsewhere(me, shard, version_min, others) }
    }

    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The oldest version of use.
    pub fn version_min(&self) -> GalleryVersion {
        self.version_min
    }

    /// Whether a node that lives could not say yet whether it has them: then nobody is lost, and it is asked again.
    pub fn is_early(&self) -> bool {
        self.is_early
    }

    pub fn begin(&mut self) -> Next {
        let first = match self.here {
            Some(me) => vec![me],
            None => std::mem::take(&mut self.others).into_iter().collect(),
        };
        self.ask(first)
    }

    fn ask(&mut self, nodes: Vec<NodeId>) -> Next {
        if nodes.is_empty() {
            return Next::Nobody(std::mem::take(&mut self.silent));
        }
        self.asked.extend(&nodes);
        Next::Ask(nodes)
    }

    /// Takes a node's answer. One that was not asked for changes nothing.
    pub fn answered(&mut self, by: NodeId, answer: Answer) -> Next {
        if !self.asked.remove(&by) {
            return Next::Wait;
        }
        match answer {
            Answer::Gave(version) => {
                self.asked.clear();
                return Next::Found(by, version);
            }
            Answer::NotYet | Answer::Silent if self.here != Some(by) => {
                self.is_early |= answer == Answer::NotYet;
                self.silent.push(by);
            }
            Answer::NotYet | Answer::Silent | Answer::HasNone => {}
        }
        if !self.asked.is_empty() {
            return Next::Wait;
        }
        let others = std::mem::take(&mut self.others).into_iter().collect();
        self.ask(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: GalleryVersion = GalleryVersion(2);

    fn shard() -> ShardId {
        crate::fixture::shard(0)
    }

    fn holders() -> impl Iterator<Item = NodeId> {
        [1, 2, 3].map(NodeId).into_iter()
    }

    #[test]
    fn a_node_looks_at_its_own_disk_before_it_asks_all_others_at_once() {
        let mut seeking = Seeking::here_and_elsewhere(NodeId(1), shard(), V2, holders());
        assert_eq!(seeking.begin(), Next::Ask(vec![NodeId(1)]));
        assert_eq!(seeking.answered(NodeId(1), Answer::HasNone), Next::Ask(vec![NodeId(2), NodeId(3)]));
        assert_eq!(seeking.answered(NodeId(3), Answer::Silent), Next::Wait);
        assert_eq!(seeking.answered(NodeId(2), Answer::Gave(V2)), Next::Found(NodeId(2), V2));
        assert_eq!(seeking.answered(NodeId(3), Answer::HasNone), Next::Wait, "it is over");
    }

    #[test]
    fn who_did_not_say_that_they_have_nothing_is_named_as_silent() {
        let mut seeking = Seeking::elsewhere(NodeId(1), shard(), V2, holders());
        assert_eq!(seeking.begin(), Next::Ask(vec![NodeId(2), NodeId(3)]), "this node is not asked");
        assert_eq!(seeking.answered(NodeId(2), Answer::HasNone), Next::Wait);
        assert_eq!(seeking.answered(NodeId(2), Answer::Silent), Next::Wait, "one answer each");
        assert_eq!(seeking.answered(NodeId(3), Answer::Silent), Next::Nobody(vec![NodeId(3)]));

        let mut alone = Seeking::here_and_elsewhere(NodeId(1), shard(), V2, [NodeId(1)].into_iter());
        assert_eq!(alone.begin(), Next::Ask(vec![NodeId(1)]));
        assert_eq!(alone.answered(NodeId(1), Answer::Silent), Next::Nobody(vec![]), "a node does not wait for itself");
    }

    #[test]
    fn an_older_version_or_another_gallery_is_no_answer() {
        let segment = |version, part| {
            let shard = ShardId { part, ..shard() };
            let (hash, bytes) = (Default::default(), Vec::new());
            Ok(peer::Response::Segment(cluster_config::gallery::Segment {
                shard,
                version: GalleryVersion(version),
                hash,
                bytes,
            }))
        };
        let refused = |code| Err(Refusal::new(code, "the roster", "it is not given", "ask another"));
        let of = |answered| Answer::of(shard(), V2, &answered);
        assert_eq!(of(segment(2, 0)), Answer::Gave(V2));
        assert_eq!(of(segment(3, 0)), Answer::Gave(GalleryVersion(3)));
        assert_eq!(of(segment(1, 0)), Answer::Silent);
        assert_eq!(of(segment(2, 1)), Answer::Silent);
        assert_eq!(of(Ok(peer::Response::Done)), Answer::Silent);
        assert_eq!(of(refused(RefusalCode::Unavailable)), Answer::Silent);
        assert_eq!(of(refused(RefusalCode::Busy)), Answer::NotYet);
    }

    /// P1: a build begins anew, with new subject ids, only where nobody may have the people.
    #[test]
    fn a_node_has_none_only_of_a_version_that_it_has_heard_of() {
        let of = |heard| Answer::of(shard(), V2, &Err(not_kept(NodeId(2), shard(), heard)));
        assert_eq!(of(true), Answer::HasNone);
        assert_eq!(of(false), Answer::NotYet);
        let mut seeking = Seeking::elsewhere(NodeId(1), shard(), V2, holders());
        seeking.begin();
        assert_eq!(seeking.answered(NodeId(2), Answer::Silent), Next::Wait);
        assert!(!seeking.is_early(), "it may be lost");
        assert_eq!(seeking.answered(NodeId(3), Answer::NotYet), Next::Nobody(vec![NodeId(2), NodeId(3)]));
        assert!(seeking.is_early());
    }
}
