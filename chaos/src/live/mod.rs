//! Strikes real processes, one blow after the other, while they board flights.

mod account;
mod blows;
mod impostors;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use clap::Args;
use cluster_config::process::EngineChoice;
use harness::invariants::p4_epochs::Owners;
use harness::invariants::p9_memory::Memory;
use harness::invariants::{p1_exactly_once, p3_no_failed_request, p6_purged, true_answers};
use harness::live::{Live, Setting};
use harness::target::Target;
use node_stage::airport::{Airport, Closed, Plan};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio::runtime::Runtime;

use crate::results::{self, Run};
use account::Account;
use blows::Kind;

/// How long after a blow it may still show in the answers to gates.
const AFTERMATH: Duration = p3_no_failed_request::FAILOVER;

const GATES_OF_A_FLIGHT: u32 = 2;

/// How long to run and on what.
#[derive(Args)]
pub struct Arguments {
    /// Clusters, one after the other
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Seed of the first round; the next ones count up
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Blows in a round
    #[arg(long, default_value_t = 12)]
    strikes: u32,
    /// Nodes of a cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=9))]
    nodes: u64,
    /// Gates, two for each flight
    #[arg(long, default_value_t = 200)]
    gates: u32,
    /// Travellers of the fullest flights; the first of each does not come
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(2..=999))]
    travellers: u32,
    /// Time between two travellers of one gate, milliseconds
    #[arg(long, default_value_t = 3_000)]
    interval_ms: u64,
    /// The longest blow, seconds; as many are shorter than a tenth of it as are longer
    #[arg(long, default_value_t = 10)]
    longest_s: u64,
    /// Kinds of blows, separated by commas, one named twice as often as another; all where absent
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Nodes score on a GPU, a software one too
    #[arg(long)]
    gpu: bool,
    /// Each node runs on a machine of its own, a network namespace, with a cable to a switch; for root only
    #[arg(long)]
    pub machines: bool,
    /// Fail where a latency of promise P3 was exceeded; without it that is written down and counted
    #[arg(long)]
    strict: bool,
}

/// Runs all rounds and says whether everything held.
pub fn run(runtime: &Runtime, arguments: &Arguments) -> bool {
    let mut held = true;
    for round in 0..arguments.rounds {
        let seed = arguments.seed + round;
        let command = command(arguments, seed);
        let begun = Instant::now();
        // A round that fails has said why and where its logs are. The next ones run all the same.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(one_round(arguments, seed))));
        let mut run = outcome.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            let failure = format!("seed {seed}: {}", said.unwrap_or_else(|| "a panic".to_owned()));
            Run { failures: vec![failure], ..Run::default() }
        });
        run.kind = "live".to_owned();
        (run.seed, run.rounds, run.command, run.wall_s) = (seed, 1, command, begun.elapsed().as_secs_f64());
        held &= run.failures.is_empty();
        if !run.failures.is_empty() {
            eprintln!("seed {seed} FAILED; this round again: {}\n{}", run.command, run.failures.join("\n"));
        }
        if let Err(error) = results::append(&run) {
            eprintln!("{}: {error}", results::path().display());
        }
    }
    held
}

fn command(arguments: &Arguments, seed: u64) -> String {
    let Arguments { strikes, nodes, gates, travellers, interval_ms, longest_s, faults, strict, gpu, machines, .. } =
        arguments;
    let names: Vec<String> = faults.iter().map(|kind| kind.name()).collect();
    let faults = if names.is_empty() { String::new() } else { format!(" --faults {}", names.join(",")) };
    let strict = if *strict { " --strict" } else { "" };
    let gpu = if *gpu { " --gpu" } else { "" };
    let machines = if *machines { " --machines" } else { "" };
    format!(
        "cargo run -p chaos -- live --rounds 1 --seed {seed} --strikes {strikes} --nodes {nodes} --gates {gates} \
         --travellers {travellers} --interval-ms {interval_ms} --longest-s {longest_s}{faults}{gpu}{machines}{strict}"
    )
}

async fn one_round(arguments: &Arguments, seed: u64) -> Run {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut live = Live::start_as(Setting {
        log: "info,openraft=error".to_owned(),
        seed,
        network: true,
        machine: true,
        cables: arguments.machines,
        engine: if arguments.gpu { EngineChoice::Gpu } else { EngineChoice::Auto },
        again: command(arguments, seed),
        ..Setting::new("chaos", arguments.nodes)
    })
    .await;
    let plan = Plan {
        seed,
        gates: GATES_OF_A_FLIGHT,
        travellers: arguments.travellers,
        interval: Duration::from_millis(arguments.interval_ms),
    };
    let mut gates = Vec::new();
    for gate in 0..arguments.gates.next_multiple_of(GATES_OF_A_FLIGHT) {
        gates.push(live.gate(gate as usize).await);
    }
    let airport = Airport::open(live.operator().clone(), gates, plan);
    airport.board(u64::from(arguments.gates)).await.expect("boarding begins");
    println!("seed {seed}: {} gates board on {} nodes", arguments.gates, arguments.nodes);
    let all: &[Kind] = clap::ValueEnum::value_variants();
    let possible = all.iter().copied().filter(|kind| match kind {
        Kind::Gpu => arguments.gpu,
        Kind::Cable | Kind::Card => arguments.machines,
        _ => true,
    });
    let kinds: Vec<Kind> = if arguments.faults.is_empty() { possible.collect() } else { arguments.faults.clone() };
    let mut owners = Owners::default();
    owners.look(&live).await;
    let mut account = Account::default();
    let mut memory = Memory::default();
    let longest = Duration::from_secs(arguments.longest_s);
    let founders = arguments.nodes as usize;
    for number in 1..=arguments.strikes {
        // Every kind comes once, in random order, before any comes again.
        let kind = account.next(&kinds, dice.next_u32());
        let blow = blows::strike(&mut live, kind, founders, longest, &mut dice).await;
        live.ready(live.running().len()).await;
        live.replicated().await;
        let recovered = blow.ended.elapsed();
        owners.look(&live).await;
        memory.look(&live);
        println!("  {number}: {}; well again {recovered:.1?} after its end", blow.text);
        account.struck(blow, recovered);
        // People must board when the next blow comes.
        airport.board(u64::from(arguments.gates) / 8).await.expect("boarding goes on");
    }
    let Closed { history, journeys: closed, progress } = airport.close().await.expect("every change was taken");

    let mut run = Run::default();
    p3_no_failed_request::check(&history.outside(&account.excused()));
    owners.check(&live, &history).await;
    let ledger = live.same_ledger().await;
    let counts = p1_exactly_once::check(&history, &ledger);
    let decisions = true_answers::check(&history);
    let purged = p6_purged::check(&live, &closed).await;
    account.measure(&history, &mut run, arguments.strict);
    for (name, looked) in [
        ("P1 exactly once", ledger.len()),
        ("P3 no failed request", history.entries().len()),
        ("P4 epochs", owners.seen()),
        ("P6 purged", purged),
        ("P9 memory", memory.looks() as usize),
        ("true answers", history.entries().len()),
    ] {
        run.invariants.insert(name.to_owned(), looked as u64);
    }
    run.figures.insert("resident_mib".to_owned(), memory.largest_mib());
    let packets = live.emulator().counts();
    for (name, count) in [
        ("requests", history.entries().len() as u64),
        ("travellers", progress.travellers),
        ("journeys_closed", closed.len() as u64),
        ("promised", counts.promised as u64),
        ("crossings", counts.crossings as u64),
        ("unknown", counts.unknown as u64),
        ("shard_moves", owners.moves() as u64),
        ("packets_cut", packets.cut),
        ("packets_lost", packets.lost),
        ("packets_repeated", packets.repeated),
        ("packets_overtaken", packets.overtaken),
    ] {
        run.counts.insert(name.to_owned(), count);
    }
    println!("  {counts:?}; {decisions}; {} journeys purged, {} shard moves", purged, owners.moves());
    run
}
