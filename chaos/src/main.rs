//! What can go wrong: long runs of random faults, judged by the invariants of the tests' harness.
//!
//! `live` strikes real processes. `sim` strikes a simulated world, thousands of times as fast. `group` strikes the real
//! raft group in simulated time. `crash` cuts off the power of the store at its writes. They run for as long as they
//! are told to, and a failure prints the seed and the command that repeats it. `canary` plants faults in the product
//! itself: the others have to catch them.

#[cfg(debug_assertions)]
mod canary;
mod crash;
mod day;
mod group;
mod live;
#[cfg(debug_assertions)]
mod quiet;
mod replay;
mod report;
mod results;
mod sim;
mod story;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use harness::cables::Cables;

/// Random faults on a cluster that boards flights.
#[derive(Parser)]
#[command(name = "chaos", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Strike real processes, their links, disks and clocks, while flights board
    #[command(after_help = "Example: cargo build -p node --bin tvs && cargo run -p chaos -- live --rounds 3 --seed 7")]
    Live(live::Arguments),
    /// Board a national departure day, and kill the leader in its busiest hour
    #[command(after_help = "Example: cargo run --release -p chaos -- day --schedule \
        ../shared/inputs/flights/departure_day_2024-01.csv --speed 120 --svg target/chaos/day.svg")]
    Day(day::Arguments),
    /// Strike a simulated world, seed after seed
    #[command(after_help = "Example: cargo run -p chaos -- sim --seeds 1..1000")]
    Sim(sim::Arguments),
    /// Cut the store off at its writes, and open what is left
    #[command(after_help = "Example: cargo run --release -p chaos -- crash --images 1000")]
    Crash(crash::Arguments),
    /// Plant faults in the product, and see that each is caught
    #[cfg(debug_assertions)]
    #[command(after_help = "Example: cargo run -p chaos -- canary --only Fencing")]
    Canary(canary::Arguments),
    /// Strike the raft group, openraft and its log on sled for real, in simulated time
    #[command(after_help = "Example: cargo run -p chaos -- group --seeds 20")]
    Group(group::Arguments),
    /// Write chaos/REPORT.md out of the results of runs
    #[command(after_help = "Example: cargo run -p chaos -- report target/chaos/results.jsonl")]
    Report(report::Arguments),
    /// What `crash` records
    #[command(hide = true)]
    CrashWriter(crash::Writer),
    /// Step through a failure that `sim` has left in a journal
    #[command(after_help = "Example: cargo run -p chaos -- replay target/chaos/seed-7.journal --lines 50")]
    Replay(replay::Arguments),
}

fn main() -> std::io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let held = match arguments.command {
        Command::Live(arguments) => {
            if arguments.machines {
                // Each thread has its own namespace, so this comes before the runtime starts its threads.
                Cables::enter().map_err(std::io::Error::other)?;
            }
            live::run(&runtime()?, &arguments)
        }
        Command::Day(arguments) => runtime()?.block_on(day::run(&arguments)).unwrap_or_else(|problem| {
            eprintln!("chaos day: {problem}");
            false
        }),
        Command::Sim(arguments) => sim::main(&arguments)?,
        Command::Crash(arguments) => crash::main(&arguments)?,
        #[cfg(debug_assertions)]
        Command::Canary(arguments) => canary::main(&arguments)?,
        Command::Group(arguments) => group::main(&arguments)?,
        Command::CrashWriter(writer) => {
            crash::write(&writer);
            true
        }
        Command::Report(arguments) => report::main(&arguments)?,
        Command::Replay(arguments) => replay::main(&arguments)?,
    };
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
