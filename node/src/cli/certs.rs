//! `tvs certs`.

use std::path::PathBuf;

use clap::Subcommand;
use cluster_config::actor::Role;
use node_link::certificates::{Authority, Error, Validity};

use super::{Failure, output};

#[derive(Subcommand)]
pub enum Command {
    /// Make a certificate authority: ca.pem, which everybody needs, and ca.key, which stays here
    #[command(after_help = "Example: tvs certs init --dir certs")]
    Init {
        /// The folder
        #[arg(long, value_name = "DIR", default_value = "certs")]
        dir: PathBuf,
    },
    /// Issue a certificate for a gate, a node or an operator
    #[command(after_help = "Examples:\n  \
                      tvs certs issue --role node --name node-1\n  \
                      tvs certs issue --role gate --name JFK-T4-B32-1 --days 90\n  \
                      tvs certs issue --role operator --name operator")]
    Issue {
        /// Folder of the authority; the certificate goes there as NAME.pem and NAME.key
        #[arg(long, value_name = "DIR", default_value = "certs")]
        dir: PathBuf,
        /// gate, node or operator
        #[arg(long)]
        role: Role,
        /// Name of its holder; a node's is node-ID
        #[arg(long)]
        name: String,
        /// Days until it expires
        #[arg(long, default_value_t = 365)]
        days: u32,
    },
}

pub fn run(command: Command) -> Result<(), Failure> {
    let failed = |error: Error| Failure::usage_of(&error);
    match command {
        Command::Init { dir } => {
            let authority = Authority::create(&dir).map_err(failed)?;
            output::print(&format!("{} is the authority's certificate", authority.certificate().display()))
        }
        Command::Issue { dir, role, name, days } => {
            let authority = Authority::load(&dir).map_err(failed)?;
            let issued = authority.issue(role, &name, Validity::Days(days)).map_err(failed)?;
            output::print(&format!("{} and {}", issued.certificate.display(), issued.key.display()))
        }
    }
}
