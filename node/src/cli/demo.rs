//! `tvs demo`.

use std::path::{Path, PathBuf};

use clap::Args;
use cluster_config::journey::Listing;
use cluster_config::process::EngineChoice;
use node_stage::demo::{Announced, Given, Options, demonstrate};

use super::connect::block_on;
use super::progress::Progress;
use super::{Failure, output};
use crate::manifest::read;
use crate::{clock, observe};

/// What to show.
#[derive(Args)]
pub struct Arguments {
    /// Nodes of the cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// Flights that board at once
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=200))]
    flights: u64,
    /// Travellers on each flight
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=2_000))]
    travellers: u64,
    /// Seed of people, captures and their order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Manifest files in place of made-up flights
    #[arg(long, value_name = "FILE", num_args = 1..)]
    manifest: Vec<PathBuf>,
    /// Kill no node
    #[arg(long)]
    no_kill: bool,
    /// Keep the folder with configurations, certificates, data and logs
    #[arg(long)]
    keep: bool,
    /// What computes scores: auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    engine: EngineChoice,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    observe::install_logs("warn");
    let binary = std::env::current_exe().map_err(|error| Failure::failure_of(&error))?;
    let number = clock::random_u128().map_err(|error| Failure::failure_of(&error))? as u32;
    let folder = std::env::temp_dir().join(format!("tvs-demo-{number:08x}"));
    let manifests = arguments.manifest.iter().map(|file| given(file)).collect::<Result<_, _>>()?;
    let options = Options {
        nodes: arguments.nodes,
        flights: arguments.flights as u32,
        travellers: arguments.travellers as u32,
        seed: arguments.seed,
        manifests,
        kills: !arguments.no_kill,
        engine: arguments.engine,
        folder: folder.clone(),
        binary,
        log: std::env::var("TVS_LOG").unwrap_or_else(|_| observe::NODE_LOGS.to_owned()),
    };
    let progress = Progress::story();
    let report = block_on(async {
        tokio::select! {
            report = demonstrate(options, &progress) => Ok(report?),
            _ = tokio::signal::ctrl_c() => Err(Failure::failed("interrupted")),
        }
    });
    drop(progress);
    let failed = report.as_ref().map_or(true, |report| !report.broken.is_empty());
    if arguments.keep || failed {
        eprintln!("configurations, certificates, data and logs are in {}", folder.display());
    } else if let Err(error) = std::fs::remove_dir_all(&folder) {
        eprintln!("{} could not be removed: {error}", folder.display());
    }
    let report = report?;
    if arguments.json {
        output::json(&report)?;
    } else {
        output::print(&report.describe(output::table))?;
    }
    if report.broken.is_empty() { Ok(()) } else { Err(Failure::failed("a promise was broken; see the report")) }
}

/// A manifest file of the caller, as a node reads it.
fn given(file: &Path) -> Result<Given, Failure> {
    let bytes = super::manifest::read(file)?;
    let announced = read::read(&bytes, node_population::model()).map(|announced| {
        let journeys = announced.journeys.into_iter().map(|one| Announced {
            journey: one.plan.id,
            port: one.plan.departure_port,
            departs_at: one.plan.departs_at,
            people: one.people,
            is_removal: one.listing == Listing::Removed,
        });
        journeys.collect()
    });
    Ok(Given { name: file.display().to_string(), bytes, announced })
}
