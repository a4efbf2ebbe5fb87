//! Runs the real raft group in simulated time, seed after seed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;
use harness::group;

use crate::results::{self, Run};
use crate::sim;

/// Which seeds, and how long each.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    seeds: sim::Seeds,
    /// Seconds of simulated time under faults in each run; healing comes on top
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs the seeds. Says whether all held.
///
/// # Errors
/// Where the arguments make no sense, or results cannot be written.
pub fn main(arguments: &Arguments) -> std::io::Result<bool> {
    let (from, until) = arguments.seeds.range()?;
    let begun = Instant::now();
    let seconds = arguments.seconds;
    let command = format!("cargo run -p chaos -- group --seeds {from}..{until} --seconds {seconds}");
    let sum = Mutex::new(Run { kind: "group".to_owned(), seed: from, command, ..Run::default() });
    let next = AtomicU64::new(from);
    std::thread::scope(|scope| {
        for _ in 0..sim::threads() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= until {
                        return;
                    }
                    let report = std::panic::catch_unwind(|| group::run(seed, seconds)).unwrap_or_else(|_| {
                        group::Report { failures: vec!["it panicked".to_owned()], ..group::Report::default() }
                    });
                    let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    add(&mut sum, seed, report);
                }
            });
        }
    });
    let mut run = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    run.wall_s = begun.elapsed().as_secs_f64();
    for invariant in ["P1: the ledger", "agreement", "election safety", "liveness"] {
        run.invariants.insert(invariant.to_owned(), run.rounds);
    }
    results::append(&run)?;
    println!(
        "{} seeds, {:.1} simulated hours in {:.0} s: {} faults, {} records promised, {} terms; {} failures",
        run.rounds,
        run.simulated_s / 3_600.0,
        run.wall_s,
        run.faults.values().sum::<u64>(),
        run.counts.get("promised").copied().unwrap_or_default(),
        run.counts.get("terms with a leader").copied().unwrap_or_default(),
        run.failures.len()
    );
    Ok(run.failures.is_empty())
}

fn add(sum: &mut Run, seed: u64, report: group::Report) {
    sum.rounds += 1;
    sum.simulated_s += report.simulated.as_secs_f64();
    report.faults.into_iter().for_each(|(name, count)| *sum.faults.entry(name).or_default() += count);
    report.counts.into_iter().for_each(|(name, count)| *sum.counts.entry(name).or_default() += count);
    if report.failures.is_empty() {
        return;
    }
    println!("seed {seed} failed:\n  {}\n{}", report.failures.join("\n  "), report.story.join("\n"));
    println!("  again: cargo run -p chaos -- group --from {seed} --seeds 1");
    sum.failures.extend(report.failures.into_iter().map(|failure| format!("seed {seed}: {failure}")));
}
