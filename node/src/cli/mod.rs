//! The command line of `tvs`.
//!
//! Exit codes: 0 done; 1 it failed (the cluster, the network, a disk, a broken promise); 2 the caller has to change
//! something (arguments, files, requests that are refused).

#[cfg(feature = "demo")]
mod bench;
mod certs;
mod cluster;
mod connect;
#[cfg(feature = "demo")]
mod demo;
mod device;
mod gallery;
mod gate;
mod ledger;
mod manifest;
mod node;
mod output;
mod policy;
#[cfg(feature = "demo")]
mod progress;
mod rights;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use output::Failure;

/// Traveller verification: galleries of faces for one journey, searched by any node, gone after it.
#[derive(Parser)]
#[command(name = "tvs", version, arg_required_else_help = true, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the whole service at work: three nodes, a bank of flights, two kills, no gate that notices
    #[cfg(feature = "demo")]
    #[command(after_help = "Example: tvs demo --flights 12 --travellers 60 --seed 7")]
    Demo(demo::Arguments),
    /// Run a node
    #[command(subcommand)]
    Node(node::Command),
    /// Make a certificate authority and certificates
    #[command(subcommand)]
    Certs(certs::Command),
    /// Say what each role may ask for
    Rights(rights::Arguments),
    /// Look at the cluster and change its members
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Check and submit passenger manifests
    #[command(subcommand)]
    Manifest(manifest::Command),
    /// Look at galleries, and close journeys
    #[command(subcommand)]
    Gallery(gallery::Command),
    /// Register capture devices, look at them and retire them
    #[command(subcommand)]
    Device(device::Command),
    /// Do what a gate does: identify and board
    #[command(subcommand)]
    Gate(gate::Command),
    /// Read the ledger
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Read and replace the policy
    #[command(subcommand)]
    Policy(policy::Command),
    /// Measure how fast a healthy cluster is on this machine
    #[cfg(feature = "demo")]
    #[command(subcommand)]
    Bench(bench::Command),
    /// Print a completion script for a shell
    #[command(after_help = "Example: tvs completions bash > /etc/bash_completion.d/tvs")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::run(arguments),
        Command::Node(command) => node::run(command),
        Command::Certs(command) => certs::run(command),
        Command::Rights(arguments) => rights::run(&arguments),
        Command::Cluster(command) => cluster::run(command),
        Command::Manifest(command) => manifest::run(command),
        Command::Gallery(command) => gallery::run(command),
        Command::Device(command) => device::run(command),
        Command::Gate(command) => gate::run(command),
        Command::Ledger(command) => ledger::run(command),
        Command::Policy(command) => policy::run(command),
        #[cfg(feature = "demo")]
        Command::Bench(command) => bench::run(command),
        Command::Completions { shell } => {
            // Written at once: whoever reads may stop in the middle, and generating panics then.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tvs", &mut script);
            output::print(String::from_utf8_lossy(&script).trim_end())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tvs: {failure}");
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_an_example_in_its_help() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            if command.get_subcommands().next().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{path} has no example");
            }
            command.get_subcommands().for_each(|sub| check(sub, &path));
        }
        let command = Arguments::command();
        command.clone().debug_assert();
        check(&command, "");
    }
}
