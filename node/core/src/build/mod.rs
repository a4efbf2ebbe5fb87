//! Building a gallery's next version: whose people it goes on from, build, keep, push to the standbys, commit.
//!
//! [`job`] is what an owner does with an order to build, [`order`] how an order finds the owner, [`seek`] how the
//! people of a version are found at those who keep them, [`push`] how long standbys are waited for. Segments never come
//! here: an effect names what is to be done, and the shell has the bytes. Times are those of any clock that does not go
//! back.

pub mod job;
pub mod order;
pub mod push;
pub mod seek;

use cluster_config::wire::{Refusal, RefusalCode};

use crate::shard::{Phase, Replica};

/// Whether a replica may begin a build now; `building` says that one is under way.
///
/// # Errors
/// `unavailable`: who wants it built asks again, here or at the owner.
pub fn may_begin(replica: &Replica, building: bool) -> Result<(), Refusal> {
    let (problem, fix) = if !replica.is_owner() {
        ("another node owns it", "ask the owner")
    } else if !replica.knows_its_disk() || (replica.phase() == Phase::Fetching && !replica.has_given_up()) {
        ("the committed version is being fetched", "ask again")
    } else if building {
        ("another build is under way", "ask again when it is done")
    } else {
        return Ok(());
    };
    let place = format!("node {}: gallery {}", replica.node(), replica.shard());
    Err(Refusal::new(RefusalCode::Unavailable, place, problem, fix))
}
