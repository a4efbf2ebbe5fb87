//! `tvs bench commit`.

use clap::Args;
use node_stage::bench::commit;

use super::options::Options;
use super::{Failure, output, until_interrupted};
use crate::cli::progress::Progress;

/// What to measure.
#[derive(Args)]
pub struct Arguments {
    /// Nodes of the cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// Galleries; everybody in them boards once, so their people bound what can be measured
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=4_000))]
    galleries: u64,
    #[command(flatten)]
    options: Options,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = arguments.options.for_stage()?;
    let progress = Progress::measurement();
    let measurement = commit::measure(&options, arguments.nodes, arguments.galleries as u32, &progress);
    let report = until_interrupted(async { Ok(measurement.await?) })?;
    drop(progress);
    if arguments.options.json { output::json(&report) } else { output::print(&report.describe(output::table)) }
}
