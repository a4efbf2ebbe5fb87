//! `tvs demo`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use cluster_config::process::EngineChoice;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::connect::block_on;
use super::{Failure, output};
use crate::demo::run::{Options, Show, demonstrate};
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
    let mut manifests = Vec::new();
    for file in &arguments.manifest {
        manifests.push((file.display().to_string(), super::manifest::read(file)?));
    }
    let options = Options {
        nodes: arguments.nodes,
        flights: arguments.flights as usize,
        travellers: arguments.travellers as usize,
        seed: arguments.seed,
        manifests,
        kills: !arguments.no_kill,
        engine: arguments.engine,
        folder: folder.clone(),
        binary,
    };
    let progress = Progress::new();
    let report = block_on(async {
        tokio::select! {
            report = demonstrate(options, &progress) => report,
            _ = tokio::signal::ctrl_c() => Err(Failure::failed("interrupted")),
        }
    });
    progress.bar.finish_and_clear();
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
        output::print(&report.describe())?;
    }
    if report.broken.is_empty() { Ok(()) } else { Err(Failure::failed("a promise was broken; see the report")) }
}

/// The live display: a bar on a terminal, a line for each step elsewhere.
struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_bar} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, terminal }
    }
}

impl Show for Progress {
    fn step(&self, text: &str) {
        if self.terminal {
            self.bar.println(text);
        } else {
            eprintln!("{text}");
        }
    }

    fn boarded(&self, done: u64, all: u64, text: &str) {
        self.bar.set_length(all);
        self.bar.set_position(done);
        self.bar.set_message(text.to_owned());
    }
}
