//! What a process has in memory of records on their way into the log.

use cluster_config::canary::Canaries;
use cluster_config::wire::Refusal;
use coordinator_core::RecordOutcome;
use coordinator_core::ledger::batching::{self, Asked, Batching};
use futures::channel::oneshot;

/// One outcome for each record, in their order.
pub type Outcomes<E> = Result<Vec<RecordOutcome>, E>;

/// Who waits for them.
pub type Asker = oneshot::Sender<Outcomes<batching::Error<Refusal>>>;

/// Where batches of records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Into the log, at the leader.
    Log,
    Leader,
}

/// What a process has in memory of the records on one lane.
pub struct Batcher {
    /// Which go together.
    pub machine: Batching<Asker>,
    /// Asked for since the last turn.
    pub inbox: Vec<Asked<Asker>>,
}

impl Default for Batcher {
    fn default() -> Self {
        Self { machine: Batching::new(Canaries::of_process()), inbox: Vec::new() }
    }
}

impl Batcher {
    /// Records that wait.
    pub fn waiting(&self) -> usize {
        self.machine.waiting() + self.inbox.len()
    }
}
