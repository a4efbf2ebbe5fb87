//! `tvs node`.

use std::path::PathBuf;

use clap::Subcommand;
use cluster_config::file::Configuration;
use cluster_config::process::EngineChoice;

use super::Failure;
use crate::group::presence;
use crate::{observe, process};

#[derive(Subcommand)]
pub enum Command {
    /// Run a node until it is told to stop (SIGTERM)
    #[command(after_help = "Example: tvs node run --config cluster-config/examples/three-nodes-loopback-1.toml")]
    Run {
        /// The node's configuration, TOML; see cluster-config/examples
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// What computes scores, in place of what the configuration says: auto, gpu or cpu
        #[arg(long)]
        engine: Option<EngineChoice>,
    },
    /// Check a configuration and say what it means
    #[command(after_help = "Example: tvs node check --config node.toml")]
    Check {
        /// The node's configuration, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print the configuration with all defaults as JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run { config, engine } => {
            observe::install_logs(observe::NODE_LOGS);
            let mut configuration = load(&config)?;
            if let Some(engine) = engine {
                configuration.node.engine = engine;
            }
            process::run(&configuration).map_err(|error| match error {
                process::Error::Coordinator(_)
                | process::Error::Joining(presence::Error::Coordinator(_))
                | process::Error::Fault(_)
                | process::Error::Thread(_) => Failure::failure_of(&error),
                _ => Failure::usage_of(&error),
            })
        }
        Command::Check { config, json } => {
            let configuration = load(&config)?;
            if json {
                return super::output::json(&configuration);
            }
            let cluster = &configuration.cluster;
            super::output::print(&format!(
                "node {} of cluster {:?} listens on {}; {} founding members, templates of {} numbers by {}",
                configuration.node.id,
                cluster.name,
                configuration.node.listen,
                cluster.members.len(),
                cluster.template_dims,
                cluster.model,
            ))
        }
    }
}

fn load(config: &std::path::Path) -> Result<Configuration, Failure> {
    Configuration::load(config).map_err(|error| Failure::usage_of(&error))
}
