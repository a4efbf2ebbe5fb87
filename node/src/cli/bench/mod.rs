//! `tvs bench`: how fast a healthy cluster and the matcher are, next to what their parts can do at best in the same
//! run.

mod age;
mod commit;
mod echo;
mod gate;
mod matching;
mod options;

use clap::Subcommand;

use super::connect::block_on;
use super::{Failure, output};

#[derive(Subcommand)]
pub enum Command {
    /// Identifications at random galleries, next to a bare QUIC echo of the same sizes
    #[command(after_help = "Example: tvs bench gate --nodes 1 --in-flight 1,32,256 --json")]
    Gate(gate::Arguments),
    /// Boardings with their ledger commit, next to a bare append with fdatasync on the same disk
    #[command(after_help = "Example: tvs bench commit --nodes 3 --in-flight 1,32,256 --json")]
    Commit(commit::Arguments),
    /// A cluster with a long ledger, next to an empty one: memory, snapshots, starts, boardings; exits 1 where it
    /// misses a goal
    #[command(after_help = "Example: tvs bench age --encounters 1000000 --json")]
    Age(age::Arguments),
    /// The matcher, next to this machine's measured multiply-adds and memory
    #[command(after_help = "Example: tvs bench match --only \"10000 x\" --json")]
    Match(matching::Arguments),
    /// Answer bare QUIC streams: the other side of `tvs bench gate`, which starts it
    #[command(hide = true, after_help = "Example: tvs bench echo --certs certs --as node-1 --answer-bytes 60")]
    Echo(echo::Arguments),
}

pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Gate(arguments) => gate::run(&arguments),
        Command::Commit(arguments) => commit::run(&arguments),
        Command::Age(arguments) => age::run(&arguments),
        Command::Match(arguments) => matching::run(&arguments),
        Command::Echo(arguments) => echo::run(&arguments),
    }
}

/// Waits for a measurement, whose processes and files go with it also where somebody interrupts it.
fn until_interrupted<T>(measurement: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    block_on(async {
        tokio::select! {
            report = measurement => report,
            _ = tokio::signal::ctrl_c() => Err(Failure::failed("interrupted")),
        }
    })
}
