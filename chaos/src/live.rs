//! Faults on real processes, one node at a time, as promise P3 has it.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use cluster_config::ids::NodeId;
use harness::fault::Fault;
use harness::invariants::p4_epochs::Owners;
use harness::invariants::{p1_exactly_once, p3_no_failed_request, true_answers};
use harness::live::Live;
use harness::target::Target;
use harness::workload::{self, Bank};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Time between two travellers of one gate.
const INTERVAL: Duration = Duration::from_millis(60);

/// How long to run and on what.
#[derive(Args)]
pub struct Arguments {
    /// Clusters, one after the other
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Seed of the first round; the next ones count up
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Strikes in a round
    #[arg(long, default_value_t = 6)]
    strikes: u32,
    /// Nodes of a cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=9))]
    nodes: u64,
    /// Flights that board
    #[arg(long, default_value_t = 6)]
    flights: u32,
    /// Travellers on each
    #[arg(long, default_value_t = 400)]
    travellers: u32,
}

/// Runs all rounds.
///
/// # Panics
/// Where an invariant does not hold; what it saw, the seed and the command are printed.
pub async fn run(arguments: &Arguments) {
    for round in 0..arguments.rounds {
        let seed = arguments.seed + round;
        let told = OnPanic(format!(
            "cargo run -p chaos -- live --rounds 1 --seed {seed} --strikes {} --nodes {} --flights {} --travellers {}",
            arguments.strikes, arguments.nodes, arguments.flights, arguments.travellers
        ));
        println!("seed {seed}: {}", one_round(arguments, seed).await);
        drop(told);
    }
}

/// Prints the command that repeats the round, where the round panics.
struct OnPanic(String);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this round again: {}", self.0);
        }
    }
}

async fn one_round(arguments: &Arguments, seed: u64) -> String {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut live = Live::start_logging("chaos", arguments.nodes, "info,openraft=error", seed).await;
    let bank = Arc::new(Bank::new(seed, arguments.flights, arguments.travellers));
    bank.submit(&live).await;
    let gates = workload::gates(&live, &bank).await;
    let mut owners = Owners::default();
    let boarding = workload::board(&bank, gates, INTERVAL);
    let mut blows = Vec::new();
    for _ in 0..arguments.strikes {
        let victim = victim(&live, &bank, &mut generator).await;
        blows.push(strike(&mut live, victim, &mut generator).await);
        live.ready(arguments.nodes as usize).await;
        live.replicated().await;
        owners.look(&live).await;
    }
    let history = boarding.finish().await;
    p3_no_failed_request::check(&history);
    owners.check(&history);
    let counts = p1_exactly_once::check(&history, &live.same_ledger().await);
    format!("{}; {counts:?}; {}", blows.join(", "), true_answers::check(&history))
}

async fn victim(live: &Live, bank: &Bank, generator: &mut ChaCha8Rng) -> NodeId {
    match generator.next_u32() % 3 {
        0 => live.leader().await,
        1 => workload::first_owner(live, bank).await,
        _ => {
            let running = live.running();
            running[generator.next_u32() as usize % running.len()]
        }
    }
}

/// Strikes a node and lets it come back. Gives a word or two on what was done.
async fn strike(live: &mut Live, victim: NodeId, generator: &mut ChaCha8Rng) -> String {
    let (begin, end, longest_ms) = match generator.next_u32() % 3 {
        0 => (Fault::Kill(victim), Fault::Start(victim), 3_000),
        1 => (Fault::Stop(victim), Fault::Start(victim), 3_000),
        _ => (Fault::Pause(victim), Fault::Resume(victim), 2_000),
    };
    let down_ms = 100 + generator.next_u64() % (longest_ms - 100);
    live.strike(begin).await;
    tokio::time::sleep(Duration::from_millis(down_ms)).await;
    live.strike(end).await;
    format!("{begin} for {down_ms} ms")
}
