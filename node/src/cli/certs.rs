//! `tvs certs`.

use std::path::PathBuf;

use clap::Subcommand;
use cluster_config::actor::Role;
use node_link::certificates::{Authority, Error, Validity};
use node_link::limits::validity_days_max;

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
        /// Days until it expires [default: 365, and 90 for people]
        #[arg(long)]
        days: Option<u32>,
    },
    /// Issue a certificate again, with a new key, into the same files: running processes find it by themselves
    #[command(after_help = "Example: tvs certs renew --name node-1")]
    Renew {
        /// Folder of the authority and of the certificate
        #[arg(long, value_name = "DIR", default_value = "certs")]
        dir: PathBuf,
        /// Name of its holder
        #[arg(long)]
        name: String,
        /// Days until it expires [default: 365, and 90 for people]
        #[arg(long)]
        days: Option<u32>,
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
            let validity = Validity::Days(days.unwrap_or_else(|| usual_days(role)));
            let issued = authority.issue(role, &name, validity).map_err(failed)?;
            output::print(&format!("{} and {}", issued.certificate.display(), issued.key.display()))
        }
        Command::Renew { dir, name, days } => {
            let authority = Authority::load(&dir).map_err(failed)?;
            let role = authority.role_of(&name).map_err(failed)?;
            let validity = Validity::Days(days.unwrap_or_else(|| usual_days(role)));
            let issued = authority.renew(&name, validity).map_err(failed)?;
            output::print(&format!("{} and {}", issued.certificate.display(), issued.key.display()))
        }
    }
}

/// Days for which a certificate is issued where nobody says: a year for machines and three months for people, or the
/// most that their role may.
fn usual_days(role: Role) -> u32 {
    match validity_days_max(role) {
        most if most >= 365 => 365,
        most => most.min(90),
    }
}
