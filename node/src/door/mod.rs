//! The door: every request comes in here, of gates, of other nodes and of operators. Each is judged by the table of
//! rights before anything else.

pub mod entry;
pub mod operators;
mod pages;
pub mod peers;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cluster_config::actor::Caller;
use cluster_config::canary::Canaries;
use cluster_config::rights::Ask;
use cluster_config::wire::{Refusal, gate, operator, peer};
use node_core::reach::{Reach, reach};
use node_link::Handler;

use entry::Entry;
use operators::Operators;
use peers::Peers;

/// All answers of this node.
pub struct Service {
    /// Gates.
    pub entry: Entry,
    /// Other nodes.
    pub peers: Peers,
    pub operators: Operators,
    /// Answers that gates wait for.
    pub open: Arc<AtomicU32>,
}

/// One answer that a gate waits for, until this is dropped.
struct Open<'a>(&'a AtomicU32);

impl<'a> Open<'a> {
    fn begin(open: &'a AtomicU32) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Handler for Service {
    fn turns_away(&self, from: &Caller) -> Option<String> {
        let canaries = Canaries::of_process();
        let judged = self.operators.coordinator.with_state(|state| state.revocations().judge(from, canaries));
        judged.err().map(|refusal| refusal.to_string())
    }

    async fn gate(&self, from: &Caller, request: gate::Request) -> gate::Response {
        let _open = Open::begin(&self.open);
        match self.try_gate(from, request).await {
            Ok(response) => response,
            Err(refusal) => {
                metrics::counter!("tvs_gate_refusals_total", "code" => refusal.code.as_str()).increment(1);
                gate::Response::Refused(refusal)
            }
        }
    }

    async fn peer(&self, from: &Caller, request: peer::Request) -> peer::Response {
        let answered = match self.judge(from, Ask::from(&request)) {
            Ok(_) => self.peers.answer(from.actor(), request).await,
            Err(refusal) => Err(refusal),
        };
        match answered {
            Ok(response) => response,
            Err(refusal) => peer::Response::Refused(refusal),
        }
    }

    async fn operator(&self, from: &Caller, request: operator::Request) -> operator::Response {
        match self.judge(from, Ask::from(&request)) {
            Ok(reach) => self.operators.answer(*from.actor(), reach, request).await,
            Err(refusal) => operator::Response::Refused(refusal),
        }
    }
}

impl Service {
    /// Judges who asks by what is revoked, and what is asked for by the table of rights.
    fn judge(&self, from: &Caller, ask: Ask) -> Result<Reach, Refusal> {
        let canaries = Canaries::of_process();
        self.operators.coordinator.with_state(|state| state.revocations().judge(from, canaries))?;
        reach(&from.holder, ask)
    }

    async fn try_gate(&self, from: &Caller, request: gate::Request) -> Result<gate::Response, Refusal> {
        let ask = Ask::from(&request);
        let reach = self.judge(from, ask)?;
        self.entry.judge(&from.holder, ask).await?;
        Ok(match request {
            gate::Request::Hello => gate::Response::Welcome(self.entry.welcome()),
            gate::Request::Identify(capture) => gate::Response::Answer(self.entry.identify(capture, reach).await?),
            gate::Request::Board(capture) => {
                gate::Response::Answer(self.entry.board(capture, reach, from.actor().name).await?)
            }
        })
    }
}
