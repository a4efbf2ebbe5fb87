//! P6: when a journey is closed, every node that ever held a replica says that it is destroyed, and has no file of it.

use std::collections::BTreeSet;

use cluster_config::ids::JourneyId;
use cluster_config::journey::JourneyStatus;
use cluster_config::wire::operator::{Request, Response};

use crate::binary::visit;
use crate::level::wait_for;
use crate::live::Live;
use crate::target::{LEVEL_DEADLINE, Target};

/// Waits until all journeys are purged, and looks for files of theirs on all nodes. Gives how many there were.
///
/// # Panics
/// With a journey that is not purged, or a file that is left.
pub async fn check(live: &Live, journeys: &[JourneyId]) -> usize {
    wait_for("every closed journey is purged", LEVEL_DEADLINE, async || {
        let listed =
            live.ask(live.leader().await, Request::GalleryList).await.map_err(|failure| failure.to_string())?;
        let Response::Galleries(galleries) = listed else { return Err(format!("{listed:?}")) };
        let left = |journey: &&JourneyId| {
            !galleries.iter().any(|g| g.journey == **journey && g.status == JourneyStatus::Purged)
        };
        match journeys.iter().find(left) {
            None => Ok(()),
            Some(first) => Err(format!("{first}: {:?}", galleries.iter().find(|gallery| gallery.journey == *first))),
        }
    })
    .await;
    let closed: BTreeSet<String> = journeys.iter().map(ToString::to_string).collect();
    for node in live.running() {
        let folder = live.cluster.node(node).expect("a node").data_dir.parent().expect("the folder of the node");
        visit(folder, &mut |path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let left = closed.iter().find(|journey| name.starts_with(journey.as_str()));
            assert!(left.is_none(), "P6 is broken: {} is left", path.display());
        });
    }
    journeys.len()
}
