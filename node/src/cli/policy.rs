//! `tvs policy`.

use std::path::PathBuf;

use clap::Subcommand;
use cluster_config::policy::Policy;
use cluster_config::wire::operator::{Request, Response};

use super::connect::{Connection, out_of_turn};
use super::{Failure, output};

#[derive(Subcommand)]
pub enum Command {
    /// Print the policy in force, as the JSON that `policy set` takes
    #[command(after_help = "Example: tvs policy show --node 127.0.0.1:7101 > policy.json")]
    Show {
        #[command(flatten)]
        connection: Connection,
        /// Print JSON (it always does)
        #[arg(long)]
        json: bool,
    },
    /// Replace the policy; its version must be one more than that of the one in force
    #[command(after_help = "Example: tvs policy set --node 127.0.0.1:7101 policy.json")]
    Set {
        #[command(flatten)]
        connection: Connection,
        /// The policy, JSON
        file: PathBuf,
    },
}

pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show { connection, json: _ } => {
            let Response::Policy(policy) = connection.ask(&Request::PolicyShow)? else { return Err(out_of_turn()) };
            output::json(&policy)
        }
        Command::Set { connection, file } => {
            let bytes = super::manifest::read(&file)?;
            let policy: Policy = serde_json::from_slice(&bytes)
                .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
            policy.check().map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
            connection.ask(&Request::PolicySet(policy))?;
            output::print("done")
        }
    }
}
