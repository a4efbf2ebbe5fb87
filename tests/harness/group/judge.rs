//! What must hold of the group once all is well: P1, P13, and Raft's own promises.

use cluster_config::limits::PEER_FRAME_BYTES_MAX;
use cluster_config::wire::codec;
use coordinator::Error;
use coordinator::machine::snapshot::Snapshots;
use coordinator_core::State;
use tokio::time::Instant;

use super::{Group, HEALING};
use crate::invariants::p1_real_time::{Append, wrong_way_round};

impl Group {
    /// Waits until the group is one again, and looks.
    pub(super) async fn judge(&self) {
        let Some(members) = self.settled(Instant::now() + HEALING).await else {
            self.fail(format!("liveness: the group is not one again {HEALING:?} after all is well"));
            return;
        };
        let states: Vec<_> = members.iter().map(|node| node.with_state(Clone::clone)).collect();
        if let Some(place) = states.iter().position(|state| *state != states[0]) {
            let (one, other) = (members[0].node_id(), members[place].node_id());
            self.fail(format!("agreement: nodes {one} and {other} have applied the same entries to other states"));
        }
        let ledger = states[0].ledger();
        let mut positions = std::collections::BTreeMap::new();
        for position in 0..ledger.len() {
            let Some(record) = ledger.get(position) else { continue };
            if positions.insert(record.encounter, position).is_some() {
                self.fail(format!("P1: encounter {} stands in the ledger twice", record.encounter));
            }
        }
        let mut appends = Vec::new();
        let mut promised = 0;
        for seen in self.seen.borrow().values() {
            let encounter = seen.record.encounter;
            promised += u64::from(seen.answered.is_some());
            match (ledger.find(encounter), seen.answered) {
                (None, Some(_)) => {
                    self.fail(format!("P1: encounter {encounter} was promised and is not in the ledger"))
                }
                (Some(found), _) if *found != seen.record => {
                    self.fail(format!("P1: encounter {encounter} stands in the ledger as something else"));
                }
                _ => {}
            }
            if let Some(position) = positions.get(&encounter) {
                appends.push(Append {
                    encounter,
                    position: *position,
                    asked: seen.asked.into_std(),
                    answered: seen.answered.map(Instant::into_std),
                });
            }
        }
        wrong_way_round(appends).into_iter().for_each(|wrong| self.fail(format!("P1: {wrong}")));
        self.snapshots_decode();
        let leaders = self.leaders.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        // A vote is a term and a node, and the greater one wins (openraft's `leader_id_adv`): a second leader of a term
        // has a greater id than the first, which can commit nothing from then on.
        for (term, leaders) in leaders.iter().filter(|(_, leaders)| !leaders.is_sorted_by(|one, next| one < next)) {
            self.fail(format!("election safety: {leaders:?} led in term {term}, one after the other"));
        }
        let faults = self.storage_faults.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        faults.into_iter().for_each(|fault| self.fail(format!("storage: {fault}")));
        let mut report = self.report.borrow_mut();
        report.counts.insert("promised".to_owned(), promised);
        report.counts.insert("in the ledger".to_owned(), ledger.len());
        report.counts.insert("terms with a leader".to_owned(), leaders.len() as u64);
    }
    /// P13: every snapshot that was kept can be read by whoever starts on it.
    fn snapshots_decode(&self) {
        for id in self.members.borrow().keys() {
            let folder = self.folder.path().join(id.to_string()).join("snapshots");
            let decode = |data: &[u8]| {
                codec::decode_stamped::<State>(data, PEER_FRAME_BYTES_MAX).map(|_| ()).map_err(Error::from)
            };
            match Snapshots::open(&folder).and_then(|snapshots| snapshots.newest(decode)) {
                Ok(newest) => {
                    newest.problems.iter().for_each(|(_, problem)| self.fail(format!("P13: node {id}: {problem}")));
                }
                Err(error) => self.fail(format!("P13: node {id}: {error}")),
            }
        }
    }
}
