//! The door: every request comes in here, of gates, of other nodes and of operators.

pub mod entry;
pub mod operators;
mod pages;
pub mod peers;
mod status;

use cluster_config::actor::Actor;
use cluster_config::rights::{Ask, Right};
use cluster_config::wire::{Refusal, RefusalCode, gate, operator, peer};
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
}

impl Handler for Service {
    async fn gate(&self, from: &Actor, request: gate::Request) -> gate::Response {
        if let Err(refusal) = allowed(from, Ask::from(&request)) {
            return gate::Response::Refused(refusal);
        }
        let answered = match request {
            gate::Request::Hello => return gate::Response::Welcome(self.entry.welcome()),
            gate::Request::Identify(capture) => self.entry.identify(capture).await,
            gate::Request::Board(capture) => self.entry.board(capture, from.name).await,
        };
        match answered {
            Ok(answer) => gate::Response::Answer(answer),
            Err(refusal) => {
                metrics::counter!("tvs_gate_refusals_total", "code" => refusal.code.as_str()).increment(1);
                gate::Response::Refused(refusal)
            }
        }
    }

    async fn peer(&self, from: &Actor, request: peer::Request) -> peer::Response {
        let allowed = allowed(from, Ask::from(&request));
        let answered = match allowed {
            Ok(()) => self.peers.answer(from, request).await,
            Err(refusal) => Err(refusal),
        };
        match answered {
            Ok(response) => response,
            Err(refusal) => peer::Response::Refused(refusal),
        }
    }

    async fn operator(&self, from: &Actor, request: operator::Request) -> operator::Response {
        match allowed(from, Ask::from(&request)) {
            Ok(()) => self.operators.answer(*from, request).await,
            Err(refusal) => operator::Response::Refused(refusal),
        }
    }
}

/// Asks the table of rights: the one door through which every request comes.
fn allowed(from: &Actor, ask: Ask) -> Result<(), Refusal> {
    match ask.right_of(from.role) {
        Right::Yes => Ok(()),
        Right::No => {
            let (place, problem) = (format!("{ask:?} from {from}"), format!("role {} may not ask for it", from.role));
            Err(Refusal::new(RefusalCode::WrongRole, place, problem, "use a certificate of a role that may"))
        }
    }
}
