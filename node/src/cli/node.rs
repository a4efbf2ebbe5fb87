//! `tvs node`.

use std::path::PathBuf;

use clap::Subcommand;
use cluster_config::file::Configuration;
use cluster_config::ids::NodeId;
use cluster_config::process::EngineChoice;

use super::Failure;
use crate::folder::aside::{self, Rejoined};
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
    /// Give a node that cannot come back as it was a new id: its data is set aside, its configuration changed
    #[command(after_help = "Example: tvs node rejoin --config node-3.toml --id 4")]
    Rejoin {
        /// The node's configuration, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// An id that no node of the cluster has had
        #[arg(long)]
        id: NodeId,
        /// Print JSON
        #[arg(long)]
        json: bool,
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
            process::run(&configuration).map_err(|error| failure(&error))
        }
        Command::Rejoin { config, id, json } => {
            let done = aside::rejoin(&config, id).map_err(|error| Failure::usage_of(&error))?;
            if json { super::output::json(&done) } else { super::output::print(&next_steps(&config, &done)?) }
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

/// What was done, and what there is to do.
fn next_steps(config: &std::path::Path, done: &Rejoined) -> Result<String, Failure> {
    let node = load(config)?.node;
    let Rejoined { before, now, aside } = done;
    let (config, address, zone) = (config.display(), node.address(), node.zone);
    let data = match aside {
        Some(aside) => format!(
            "the data of node {before} lies in {}\nonce it is destroyed:  tvs cluster attest-destruction {before}",
            aside.display()
        ),
        None => format!("there was no data of node {before}"),
    };
    Ok(format!(
        "{config} is the configuration of node {now} now\n\
         take the old id out:  tvs cluster remove {before}\n\
         start the node:  tvs node run --config {config}\n\
         add it:  tvs cluster add --id {now} --address {address} --zone {zone}\n{data}"
    ))
}

/// Whether the operator has to change something before a node can start, or something failed.
fn failure(error: &process::Error) -> Failure {
    match error {
        process::Error::Coordinator(_)
        | process::Error::Joining(presence::Error::Coordinator(_) | presence::Error::NoRandomness)
        | process::Error::Fault(_)
        | process::Error::Thread(_) => Failure::failure_of(error),
        _ => Failure::usage_of(error),
    }
}

fn load(config: &std::path::Path) -> Result<Configuration, Failure> {
    Configuration::load(config).map_err(|error| Failure::usage_of(&error))
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::*;

    #[test]
    fn what_fails_ends_with_1_and_what_the_operator_has_to_change_with_2() {
        let stopped = || coordinator::Error::Stopped("the disk".to_owned());
        let code = |error: process::Error| format!("{:?}", failure(&error).exit_code());
        let (failed, refused) = [1, 2].map(|code| format!("{:?}", ExitCode::from(code))).into();
        assert_eq!(code(process::Error::Joining(presence::Error::Coordinator(stopped()))), failed, "while founding");
        assert_eq!(code(process::Error::Coordinator(stopped())), failed);
        assert_eq!(
            code(process::Error::Joining(presence::Error::Twin { node: NodeId(1), address: String::new() })),
            refused
        );
        let folder = crate::folder::Error::InUse { path: "data".into() };
        assert_eq!(code(process::Error::Folder(folder)), refused);
    }
}
