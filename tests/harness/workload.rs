//! A bank of departures on a target: its manifests are submitted, its gates are connected, and everybody boards.

use std::sync::Arc;
use std::time::Duration;

use cluster_config::ids::NodeId;
use node_link::GateClient;
pub use node_stage::bank::Bank;
use node_stage::boarding::Boarding;
pub use node_stage::boarding::board;

use crate::target::Target;

/// Submits all manifests of a bank, each to another node, and waits until every shard has all of its replicas.
///
/// # Panics
/// Where one is refused, or understood otherwise than as the flight that it was made of.
pub async fn submit(target: &impl Target, bank: &Bank) {
    let nodes = target.running();
    for (flight, node) in bank.flights.iter().zip(nodes.iter().cycle()) {
        let submitted = target.submit(*node, &flight.manifest).await;
        let submitted = submitted.unwrap_or_else(|error| panic!("{}: {error}", flight.journey));
        assert!(submitted.quarantined.is_empty(), "{:?}", submitted.quarantined);
        let journey = &submitted.journeys[0];
        assert_eq!((journey.journey, journey.duplicate), (flight.journey, false));
        assert_eq!(journey.people as usize, flight.guests.len(), "{}", flight.journey);
    }
    target.replicated().await;
}

/// Submits the manifests of a bank of flights with so many people on each, and boards them all, one after the other at
/// each gate with `interval` between.
pub async fn begin(target: &impl Target, flights: u32, people: u32, interval: Duration) -> (Arc<Bank>, Boarding) {
    let bank = Arc::new(Bank::new(crate::seed(), flights, people));
    submit(target, &bank).await;
    let gates = gates(target, &bank).await;
    let boarding = board(&bank, gates, interval);
    (bank, boarding)
}

/// One gate for each flight, each with another node as its first choice.
pub async fn gates(target: &impl Target, bank: &Bank) -> Vec<GateClient> {
    let mut gates = Vec::new();
    for nearest in 0..bank.flights.len() {
        gates.push(target.gate(nearest).await);
    }
    gates
}

/// The node that owns the bank's first flight.
pub async fn first_owner(target: &impl Target, bank: &Bank) -> NodeId {
    target.owner(bank.flights[0].journey).await
}
