//! `tvs bench age`: what a long ledger costs a cluster of three nodes, next to an empty cluster in the same run.

mod fill;
mod gates;
mod report;
mod stand;

use std::time::{Duration, Instant};

use cluster_config::wire::operator::{Request, Response};
use coordinator_core::ledger::CHUNK_RECORDS;
use node_stage::Error;
use node_stage::level::wait_for;
use node_stage::show::Show;

use self::gates::{Boardings, Gates};
use self::report::{Report, Seconds};
use self::stand::{STEP_TIMEOUT, Stand};
use super::{Failure, output, until_interrupted};
use crate::cli::progress::Progress;

/// Spells of boarding in each cluster, in turn, so that a noisy moment hits both.
const SPELLS: u32 = 6;

/// Length of one spell.
const SPELL: Duration = Duration::from_secs(3);

/// How long gates board on after a node has come back, or a new one has come.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// What to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Encounters with which the ledger is filled: a tenth of open journeys, a third of standing galleries
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..=20_000_000))]
    encounters: u64,
    /// Seed of people and galleries
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let progress = Progress::measurement();
    let report = until_interrupted(async { Ok(measure(arguments, &progress).await?) })?;
    drop(progress);
    match arguments.json {
        true => output::json(&report)?,
        false => output::print(&report.describe(output::table))?,
    }
    match report.missed() {
        [] => Ok(()),
        missed => Err(Failure::failed(format!("missed: {}", missed.join("; ")))),
    }
}

async fn measure(arguments: &Arguments, show: &impl Show) -> Result<Report, Error> {
    let begun = Instant::now();
    show.step("starting two clusters of three nodes, and building the galleries that board");
    let (empty, mut aged) = (Stand::start(arguments.seed).await?, Stand::start(arguments.seed).await?);
    let mut side = Gates::new(empty.connect().await?, empty.bank.clone());
    let mut gates = Gates::new(aged.connect().await?, aged.bank.clone());
    let (term, filling) = (aged.status().await?.term, Instant::now());
    let shares = fill::fill(&aged, arguments.encounters, show).await?;
    show.step("waiting until the ledger has forgotten what has ended");
    let remembered = forgotten(&aged, shares.open).await?;
    let filled = aged.status().await?.term;
    let fill_s = filling.elapsed().as_secs_f64();
    show.step("boarding in both clusters in turn");
    let (mut beside, mut with_age) = (Boardings::default(), Boardings::default());
    for _ in 0..SPELLS {
        beside.add(side.board(SPELL).await?);
        with_age.add(gates.board(SPELL).await?);
    }
    let empty_bytes = empty.memory().into_iter().max().unwrap_or(0);
    let mut memory = aged.memory();
    drop(side);
    show.step("restarting a node while 20 gates board");
    let restarts = gates.open();
    let restart_s = restart(&mut aged).await?;
    tokio::time::sleep(AFTERWARDS).await;
    let restarts = restarts.close().await?;
    show.step("adding a fourth node while 20 gates board");
    let joins = gates.open();
    let join_s = join(&mut aged).await?;
    tokio::time::sleep(AFTERWARDS).await;
    let joins = joins.close().await?;
    memory.extend(aged.memory());
    let largest = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
    let failures = [&beside, &with_age, &restarts, &joins].into_iter().filter_map(Boardings::first_failure);
    failures.for_each(|failure| eprintln!("a boarding failed: {failure}"));
    let mut report = Report {
        encounters: aged.status().await?.ledger_records,
        open: shares.open,
        standing: shares.standing,
        ended: shares.ended,
        remembered,
        state_bytes: largest(aged.metric("tvs_snapshot_bytes").await?) as u64,
        snapshot_s: Seconds(largest(aged.metric("tvs_snapshot_seconds").await?)),
        memory_bytes: memory.into_iter().max().unwrap_or(0),
        empty_memory_bytes: empty_bytes,
        restart_s: Seconds(restart_s),
        join_s: Seconds(join_s),
        elections: aged.status().await?.term.saturating_sub(filled),
        elections_filling: filled.saturating_sub(term),
        fill_s: Seconds(fill_s),
        took_s: Seconds(begun.elapsed().as_secs_f64()),
        empty: beside.row(),
        aged: with_age.row(),
        restarting: restarts.row(),
        joining: joins.row(),
        missed: Vec::new(),
    };
    report.judge();
    Ok(report)
}

/// Waits until all nodes have forgotten what no retry can ask for any more; gives what the most of them remember.
async fn forgotten(stand: &Stand, open: u64) -> Result<u64, Error> {
    // What is not in a file yet is remembered besides, of whatever gallery it is.
    let most = open + 2 * CHUNK_RECORDS as u64;
    let forgotten = wait_for("what has ended is forgotten", 2 * STEP_TIMEOUT, async || {
        let remembered = stand.metric("tvs_ledger_remembered").await.map_err(|error| error.to_string())?;
        let largest = remembered.into_iter().fold(0.0, f64::max) as u64;
        if largest <= most { Ok(largest) } else { Err(format!("{largest} encounters are remembered")) }
    });
    Ok(forgotten.await?)
}

/// Restarts a node that does not lead; gives the seconds until it answers a gate again.
async fn restart(stand: &mut Stand) -> Result<f64, Error> {
    let id = stand.follower().await?;
    stand.cluster.stop(id)?;
    let begun = Instant::now();
    stand.cluster.restart(id)?;
    stand.serves(stand.cluster.node(id)?.address).await?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Adds a node; gives the seconds until it votes and answers a gate.
async fn join(stand: &mut Stand) -> Result<f64, Error> {
    let member = stand.cluster.prepare_newcomer()?;
    let address = stand.cluster.node(member.id)?.address;
    let begun = Instant::now();
    stand.cluster.restart(member.id)?;
    wait_for("the new node listens", STEP_TIMEOUT, async || {
        let asked = stand.operator.ask_at(vec![address], &Request::ClusterStatus).await;
        asked.map(|_| ()).map_err(|error| error.to_string())
    })
    .await?;
    let added = stand.operator.insist(&Request::AddMember { member, voter: true }).await?;
    if !matches!(added, Response::Voters(_)) {
        return Err(Error::OutOfTurn);
    }
    stand.serves(address).await?;
    Ok(begun.elapsed().as_secs_f64())
}
