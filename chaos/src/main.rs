//! What can go wrong: long runs of random faults, judged by the invariants of the tests' harness.
//!
//! `live` strikes real processes. It is not a test: it runs for as long as it is told to, and a failure prints the seed
//! and the command that repeats it.

mod live;

use clap::{Parser, Subcommand};

/// Random faults on a cluster that boards flights.
#[derive(Parser)]
#[command(name = "chaos", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Strike one node after the other, killed, stopped or paused, while flights board on real processes
    #[command(after_help = "Example: cargo build -p node --bin tvs && cargo run -p chaos -- live --rounds 3 --seed 7")]
    Live(live::Arguments),
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.command {
        Command::Live(arguments) => runtime.block_on(live::run(&arguments)),
    }
    Ok(())
}
