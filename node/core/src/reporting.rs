//! What a node tells the leader of itself: at once all that it holds where that has changed or the leader does not know
//! it, and now and then that it is as before.

use cluster_config::ids::{Incarnation, NodeId, UnixMs};
use cluster_config::limits::{NODE_LOST_AFTER_MS, REPORT_INTERVAL_MS};
use cluster_config::wire::peer::{Held, Report};

/// Looks between two reports of what is as before, where a node looks every
/// [`cluster_config::limits::REPORT_INTERVAL_MS`]: four in a row are missing before it counts as lost.
pub const LOOKS_A_REPORT: u32 = 4;

const _: () = assert!(NODE_LOST_AFTER_MS >= 4 * LOOKS_A_REPORT as u64 * REPORT_INTERVAL_MS);

/// A leader in the term in which it leads. In a new term it knows nothing of what it was told before.
pub type Led = (NodeId, u64);

#[derive(Debug)]
pub struct Reporting {
    looks_a_report: u32,
    /// Looks since the last report.
    looks: u32,
    held: Held,
    open: u32,
    /// Counts the changes of what is held.
    revision: u64,
    /// Who has been told of which revision, and knows it.
    told: Option<(Led, u64)>,
}

impl Reporting {
    /// A node that says after so many looks that all is as before.
    pub fn new(looks_a_report: u32) -> Self {
        Self { looks_a_report, looks: 0, held: Held::default(), open: 0, revision: 0, told: None }
    }

    /// The next report of this start of node `me` to the `leader`, where it is time for one: it has answers `open`.
    pub fn look(
        &mut self,
        leader: Led,
        (me, incarnation): (NodeId, Incarnation),
        held: Held,
        open: u32,
        clock: UnixMs,
    ) -> Option<Report> {
        if self.revision == 0 || held != self.held {
            (self.held, self.revision) = (held, self.revision + 1);
        }
        let is_known = self.told == Some((leader, self.revision));
        self.looks += 1;
        if is_known && open == self.open && self.looks < self.looks_a_report {
            return None;
        }
        (self.looks, self.open) = (0, open);
        let held = (!is_known).then(|| self.held.clone());
        Some(Report { node: me, incarnation, revision: self.revision, held, open, clock })
    }

    /// The leader has answered the report of a revision: it knows that one from now on, or does not.
    pub fn answered(&mut self, leader: Led, revision: u64, knows: bool) {
        if knows {
            self.told = Some((leader, revision)).max(self.told.filter(|(of, _)| *of == leader));
        } else {
            self.told = self.told.filter(|told| *told != (leader, revision));
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster_config::gallery::{GalleryId, Modality, ShardId};
    use cluster_config::ids::GalleryVersion;
    use cluster_config::limits::PEER_FRAME_BYTES_MAX;
    use cluster_config::wire::codec;
    use cluster_config::wire::peer::Request;
    use coordinator_core::placement::Inventory;

    use super::*;
    use crate::fixture;

    const ME: (NodeId, Incarnation) = (NodeId(2), Incarnation(7));
    const FIRST: Led = (NodeId(1), 7);

    fn held(shards: u16, version: u32) -> Held {
        let shard = |part| ShardId {
            gallery: GalleryId::passengers(fixture::capture().journey),
            modality: Modality::Face,
            model: fixture::model(),
            part,
        };
        let shards = (0..shards).map(|part| (shard(part), GalleryVersion(version))).collect();
        Held { shards, troubles: Vec::new() }
    }

    fn bytes(report: &Report) -> usize {
        codec::encode(&Request::Report(report.clone()), PEER_FRAME_BYTES_MAX).expect("encodes").len()
    }

    /// F37: a node of 3,000 galleries sent each leader 1.4 MB a second.
    #[test]
    fn what_has_not_changed_is_said_once_and_again_to_who_does_not_know_it() {
        let (mut node, mut first, mut second) = (Reporting::new(1), Inventory::default(), Inventory::default());
        let mut tell = |leader: u64, inventory: &mut Inventory, held: Held| {
            let report = node.look((NodeId(leader), 7), ME, held, 1, UnixMs(5)).expect("each look is a report");
            let (sent, revision) = (bytes(&report), report.revision);
            node.answered((NodeId(leader), 7), revision, inventory.take(report));
            sent
        };
        let version = |inventory: &Inventory| inventory.version(ME.0, held(3_000, 1).shards[2_999].0);
        let whole = tell(1, &mut first, held(3_000, 1));
        assert!(whole > 60_000, "{whole} bytes");
        for _ in 0..20 {
            let sent = tell(1, &mut first, held(3_000, 1));
            assert!(sent < 40, "{sent} bytes where nothing has changed");
        }
        assert_eq!(version(&first), GalleryVersion(1));
        assert!(tell(1, &mut first, held(3_000, 2)) >= whole, "news");
        assert_eq!(version(&first), GalleryVersion(2));
        assert!(tell(2, &mut second, held(3_000, 2)) >= whole, "another leader");
        assert!(tell(2, &mut second, held(3_000, 2)) < 40);
        // A leader that leads anew has forgotten what it knew: it says so, and is told.
        second = Inventory::default();
        assert!(tell(2, &mut second, held(3_000, 2)) < 40);
        assert_eq!(version(&second), GalleryVersion(0), "nothing is made up");
        assert!(!second.is_alive(ME.0), "what it holds is not known yet");
        assert!(tell(2, &mut second, held(3_000, 2)) >= whole);
        assert_eq!(version(&second), GalleryVersion(2));
    }

    /// F37: twenty reports a second said that nothing had changed.
    #[test]
    fn a_quiet_node_reports_now_and_then_and_news_at_once() {
        let mut node = Reporting::new(LOOKS_A_REPORT);
        let mut look = |version, open, knows: Option<bool>| {
            let report = node.look(FIRST, ME, held(1, version), open, UnixMs(0));
            if let (Some(report), Some(knows)) = (&report, knows) {
                node.answered(FIRST, report.revision, knows);
            }
            report.is_some()
        };
        assert!([1, 2, 3].iter().all(|_| look(1, 0, None)), "until the leader has it");
        assert!(look(1, 0, Some(true)));
        let sent: u32 = (0..100).map(|_| u32::from(look(1, 0, Some(true)))).sum();
        assert_eq!(sent, 100 / LOOKS_A_REPORT);
        assert!(look(2, 0, Some(true)), "news");
        assert!(!look(2, 0, Some(true)));
        assert!(look(2, 1, Some(true)), "an answer is open, for which an emptied node waits");
        assert!(!look(2, 1, Some(true)));
        while !look(2, 1, Some(false)) {}
        assert!(look(2, 1, Some(true)), "the leader does not know it");
    }

    #[test]
    fn a_late_answer_does_not_undo_a_later_one() {
        let mut node = Reporting::new(1);
        let next = |node: &mut Reporting, version| {
            node.look(FIRST, ME, held(1, version), 0, UnixMs(0)).expect("each look is a report")
        };
        let (old, new) = (next(&mut node, 1), next(&mut node, 2));
        node.answered(FIRST, new.revision, true);
        node.answered(FIRST, old.revision, true);
        assert_eq!(next(&mut node, 2).held, None);
        node.answered(FIRST, old.revision, false);
        assert_eq!(next(&mut node, 2).held, None);
        let again = node.look((NodeId(1), 8), ME, held(1, 2), 0, UnixMs(0)).expect("each look is a report");
        assert!(again.held.is_some(), "it leads in another term");
        node.answered(FIRST, new.revision, false);
        assert_eq!(next(&mut node, 2).held, Some(held(1, 2)));
    }
}
