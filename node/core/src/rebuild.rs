//! Building a gallery's next version: whose people it goes on from.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::ids::{ContentHash, GalleryVersion, NodeId};
use cluster_config::journey::Listing;
use cluster_config::wire::{Fix, Refusal, RefusalCode};
use coordinator_core::State;

/// Whether the people of the version before, at `known`, are those that a next version has to go on from: they keep
/// their subject ids then, by which the ledger knows who has boarded (P1).
pub fn goes_on_from(known: Option<GalleryVersion>, committed: GalleryVersion) -> bool {
    committed == GalleryVersion::default() || known.is_some_and(|known| known >= committed)
}

/// What is committed of a shard, where this node has heard of the wanted version or a later one. A node that has not
/// may well keep it: it must not say that it has none, since people whom nobody has count as lost.
pub fn committed_at_least(
    state: &State,
    shard: ShardId,
    version_min: GalleryVersion,
) -> Option<(GalleryVersion, ContentHash)> {
    state.part(shard).filter(|part| part.version >= version_min).map(|part| (part.version, part.hash))
}

/// Whether the next version of a shard may be built although no node has given the people of the committed version.
///
/// The `silent` nodes have not answered, so they may have these people. Such a build gives new subject ids, except
/// where the ledger knows the subject by its number on the manifest. So it may begin only if nobody has boarded yet,
/// or if no silent node is a member any more.
///
/// # Errors
/// A refusal that names the members to be waited for.
pub fn may_begin_anew(
    state: &State,
    shard: ShardId,
    silent: &[NodeId],
    listing: Listing,
    canaries: Canaries,
) -> Result<(), Refusal> {
    let (place, problem) = (format!("gallery {shard}"), "nobody gives the people of its committed version");
    if listing != Listing::Whole {
        return Err(Refusal::new(RefusalCode::Unavailable, place, problem, "submit the whole manifest"));
    }
    if shard.journey().is_none_or(|journey| state.ledger().boardings(journey) == 0) || canaries.has(Canary::NewSubjects)
    {
        return Ok(());
    }
    let members = silent.iter().filter(|node| state.members().contains(**node));
    let members: Vec<String> = members.map(ToString::to_string).collect();
    if members.is_empty() {
        return Ok(());
    }
    let problem = format!("{problem}, and people have boarded");
    let fix = Fix::with(format!(
        "start the nodes that may have them ({}), or take them out with `tvs cluster remove`",
        members.join(", ")
    ));
    Err(Refusal::new(RefusalCode::Unavailable, place, problem, fix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    /// P1: a node that lags behind once made people count as lost, who then stood in a second part of their gallery.
    #[test]
    fn a_node_that_has_not_heard_of_a_version_does_not_know_whether_it_is_kept() {
        let state = fixture::state(&fixture::placement(1, &[2], &[3]), 2);
        let asked = |version| committed_at_least(&state, fixture::shard(0), GalleryVersion(version));
        assert_eq!(asked(1), Some((GalleryVersion(2), ContentHash([2; 32]))), "a later one is as good");
        assert_eq!(asked(2).map(|(version, _)| version), Some(GalleryVersion(2)));
        assert_eq!(asked(3), None);
        assert_eq!(committed_at_least(&state, fixture::shard(1), GalleryVersion(1)), None, "an unknown part");
    }
}
