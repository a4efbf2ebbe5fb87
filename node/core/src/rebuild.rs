//! Building a gallery's next version: whose people it goes on from.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::ids::{GalleryVersion, NodeId, ShardId};
use cluster_config::wire::peer::Listing;
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::State;

/// Whether the people of the version before, at `known`, are those that a next version has to go on from: they keep
/// their subject ids then, by which the ledger knows who has boarded (P1).
pub fn goes_on_from(known: Option<GalleryVersion>, committed: GalleryVersion) -> bool {
    committed == GalleryVersion::default() || known.is_some_and(|known| known >= committed)
}

/// Whether the next version of a shard may be built although no node has given the people of the committed one, and the
/// `silent` ones have not said that they do not have them. Subject ids are new then, but for those that the ledger
/// gives by numbers on the manifest: so nobody must have boarded yet, or no member must be left that may know better.
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
    let place = format!("gallery {shard}: nobody gives the people of its committed version");
    if listing != Listing::Whole {
        return Err(Refusal::new(RefusalCode::Unavailable, place, "submit the whole manifest"));
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
    let fix = format!(
        "people have boarded: start the nodes that may have them ({}), or take them out with `tvs cluster remove`",
        members.join(", ")
    );
    Err(Refusal::new(RefusalCode::Unavailable, place, fix))
}
