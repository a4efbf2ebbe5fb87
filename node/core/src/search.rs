//! Where a search goes, and how the answers of several shards become one.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::decision::Candidate;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{Epoch, GalleryVersion, NodeId};
use cluster_config::limits::CANDIDATES;
use cluster_config::wire::peer::ShardFound;
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::placement::Placement;

/// The replicas in the order in which they are asked: this node's own where it can answer (that saves a hop), then
/// the owner, then the standbys, those that are silent last. The next one is asked when the one before fails, or is not
/// there by the hedge delay.
pub fn route(placement: &Placement, local: NodeId, local_ready: bool, silent: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
    let own = (local_ready && placement.has(local)).then_some(local);
    let mut others: Vec<NodeId> = placement.replicas().filter(|node| *node != local).collect();
    others.sort_by_key(|node| silent(*node));
    own.into_iter().chain(others).collect()
}

/// Whether a replica that serves this version may answer a search that asks for `version_min` at least: an older one
/// would not know of a person added since.
pub fn may_answer(serving: GalleryVersion, version_min: GalleryVersion, canaries: Canaries) -> bool {
    serving.0 > 0 && (serving >= version_min || canaries.has(Canary::StaleRoute))
}

/// The refusal of a node that serves nothing that may answer.
pub fn not_here(node: NodeId, shard: ShardId) -> Refusal {
    let (place, problem) = (format!("node {node}: gallery {shard}"), "it is not here at the version asked");
    Refusal::new(RefusalCode::Unavailable, place, problem, "ask another replica")
}

/// The answers of all shards of a gallery, taken together.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The best templates of the gallery, best score first, ties by subject and then by manifest number.
    pub candidates: Vec<Candidate>,
    /// Templates in the gallery.
    pub templates: u64,
    /// Highest generation of ownership among the shards.
    pub epoch: Epoch,
    /// Lowest version among the shards.
    pub version: GalleryVersion,
    /// The node that searched the first shard.
    pub searched_by: NodeId,
}

/// Merges the answers of a gallery's shards; absent where there is none. What it gives does not depend on the order in
/// which equals come (promise P5).
pub fn merge(parts: Vec<ShardFound>, canaries: Canaries) -> Option<Merged> {
    let first = parts.first()?;
    let mut merged = Merged {
        candidates: Vec::with_capacity(parts.len() * CANDIDATES),
        templates: 0,
        epoch: first.epoch,
        version: first.version,
        searched_by: first.node,
    };
    let counted = if canaries.has(Canary::LostPart) { 1 } else { parts.len() };
    for part in parts.into_iter().take(counted) {
        merged.templates += u64::from(part.rows);
        merged.epoch = merged.epoch.max(part.epoch);
        merged.version = merged.version.min(part.version);
        merged.candidates.extend(part.candidates);
    }
    let named = |candidate: &Candidate| (candidate.subject, candidate.manifest_ordinal);
    merged.candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| named(a).cmp(&named(b))));
    merged.candidates.truncate(CANDIDATES);
    Some(merged)
}

#[cfg(test)]
mod tests {
    use cluster_config::ids::{PersonMark, SubjectId};

    use super::*;

    fn merge(parts: Vec<ShardFound>) -> Option<Merged> {
        super::merge(parts, Canaries::default())
    }

    fn part(node: u64, rows: u32, candidates: Vec<Candidate>) -> ShardFound {
        let (epoch, version) = (Epoch(node), GalleryVersion(node as u32));
        ShardFound { node: NodeId(node), epoch, version, rows, candidates }
    }

    #[test]
    fn the_own_replica_is_asked_first_only_where_it_can_answer() {
        let placement =
            Placement { epoch: Epoch(1), owner: NodeId(1), standbys: vec![NodeId(2), NodeId(3)], rosters: vec![] };
        let route =
            |local, ready, silent: &[u64]| route(&placement, NodeId(local), ready, |node| silent.contains(&node.0));
        assert_eq!(route(2, true, &[]), [NodeId(2), NodeId(1), NodeId(3)]);
        assert_eq!(route(2, false, &[]), [NodeId(1), NodeId(3)]);
        assert_eq!(route(9, true, &[]), [NodeId(1), NodeId(2), NodeId(3)]);
        assert_eq!(route(9, true, &[1]), [NodeId(2), NodeId(3), NodeId(1)]);
        assert_eq!(route(9, true, &[1, 2, 3]), [NodeId(1), NodeId(2), NodeId(3)]);
    }

    #[test]
    fn parts_are_merged_by_score_whatever_their_order() {
        let candidate = |subject, score| Candidate {
            subject: SubjectId(subject),
            mark: PersonMark::default(),
            manifest_ordinal: subject as u32,
            score,
            in_scope: true,
        };
        let one = part(1, 10, vec![candidate(5, 0.5), candidate(1, 0.1)]);
        let two = part(2, 20, vec![candidate(4, 0.5), candidate(2, 0.3)]);
        let merged = merge(vec![one.clone(), two.clone()]).expect("parts");
        assert_eq!(merged.candidates, merge(vec![two, one]).expect("parts").candidates);
        assert_eq!(merged.candidates.iter().map(|c| c.subject.0).collect::<Vec<_>>(), [4, 5, 2, 1]);
        assert_eq!((merged.templates, merged.epoch, merged.version), (30, Epoch(2), GalleryVersion(1)));
    }

    #[test]
    fn equals_are_told_apart_by_subject_and_then_by_manifest_number() {
        let candidate = |subject, manifest_ordinal| Candidate {
            subject: SubjectId(subject),
            mark: PersonMark::default(),
            manifest_ordinal,
            score: 0.5,
            in_scope: true,
        };
        let one = part(1, 10, vec![candidate(7, 9), candidate(3, 4)]);
        let two = part(2, 10, vec![candidate(7, 2), candidate(3, 5)]);
        let merged = merge(vec![one.clone(), two.clone()]).expect("parts");
        let named: Vec<_> = merged.candidates.iter().map(|c| (c.subject.0, c.manifest_ordinal)).collect();
        assert_eq!(named, [(3, 4), (3, 5), (7, 2), (7, 9)]);
        assert_eq!(merged.candidates, merge(vec![two, one]).expect("parts").candidates);
    }
}
