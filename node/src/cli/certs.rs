//! `tvs certs`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use cluster_config::actor::{Actor, Holder, Names, Revoked, Role};
use cluster_config::calendar;
use cluster_config::ids::{CarrierCode, ContentHash, DeviceId, PortCode, UnixMs};
use cluster_config::wire::operator::{Request, Response, Revocation};
use node_link::certificates::{Authority, Error, Validity};
use node_link::{identity, limits::validity_days_max};

use serde::Serialize;

use super::connect::{Connection, out_of_turn};
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
    /// Issue a certificate for a gate, a node, an operator or another role
    #[command(after_help = "Examples:\n  \
                      tvs certs issue --role node --name node-1\n  \
                      tvs certs issue --role carrier --name aa-desk --carrier AA --days 90\n  \
                      tvs certs issue --role operator --name operator\n\n\
                      What each role may ask for is printed by `tvs rights`.")]
    Issue {
        /// Folder of the authority; the certificate goes there as NAME.pem and NAME.key
        #[arg(long, value_name = "DIR", default_value = "certs")]
        dir: PathBuf,
        /// node, operator, carrier, officer ...: `tvs rights` has all of them
        #[arg(long)]
        role: Role,
        /// Name of its holder; a node's is node-ID
        #[arg(long)]
        name: DeviceId,
        /// The port at which its holder acts: of gates, attendants and officers
        #[arg(long, value_name = "CODE")]
        port: Option<PortCode>,
        /// The carrier whose journeys are its holder's: of carriers
        #[arg(long, value_name = "CODE")]
        carrier: Option<CarrierCode>,
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
    /// Show what a certificate says, and its fingerprint
    #[command(after_help = "Example: tvs certs show certs/JFK-T4-B32-1.pem --json")]
    Show {
        /// The certificate, PEM
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a certificate or a name: whoever shows it is cut off by every node
    #[command(after_help = "Examples:\n  \
                      tvs certs revoke --node 127.0.0.1:7101 tvs://gate/JFK-T4-B32-1\n  \
                      tvs certs revoke --node 127.0.0.1:7101 FINGERPRINT\n  \
                      tvs certs revoke --node 127.0.0.1:7101 --undo tvs://gate/JFK-T4-B32-1\n\n\
                      `tvs certs show` prints the fingerprint of a certificate.")]
    Revoke {
        #[command(flatten)]
        connection: Connection,
        /// tvs://ROLE/NAME, for all of its certificates, or the SHA-256 of one
        what: Revoked,
        /// Take it back
        #[arg(long)]
        undo: bool,
    },
    /// List what is revoked
    #[command(after_help = "Example: tvs certs revoked --node 127.0.0.1:7101 --json")]
    Revoked {
        #[command(flatten)]
        connection: Connection,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Issue the certificate of a gate
    #[command(after_help = "Example: tvs certs gate --name JFK-T4-B32-1 --port JFK --days 90")]
    Gate {
        /// Folder of the authority; the certificate goes there as NAME.pem and NAME.key
        #[arg(long, value_name = "DIR", default_value = "certs")]
        dir: PathBuf,
        /// The device, as the ledger names it
        #[arg(long)]
        name: DeviceId,
        /// The port at which it stands
        #[arg(long, value_name = "CODE")]
        port: PortCode,
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
        Command::Issue { dir, role, name, port, carrier, days } => {
            issue(&dir, &Holder { actor: Actor { role, name }, port, carrier }, days)
        }
        Command::Renew { dir, name, days } => {
            let authority = Authority::load(&dir).map_err(failed)?;
            let role = authority.role_of(&name).map_err(failed)?;
            let validity = Validity::Days(days.unwrap_or_else(|| usual_days(role)));
            let issued = authority.renew(&name, validity).map_err(failed)?;
            output::print(&format!("{} and {}", issued.certificate.display(), issued.key.display()))
        }
        Command::Show { file, json } => show(&file, json),
        Command::Revoke { connection, what, undo } => {
            connection.ask(&Request::Revoke { what, revoked: !undo })?;
            output::print(if undo { "done" } else { "revoked; every node cuts it off within a second" })
        }
        Command::Revoked { connection, json } => {
            let Response::Revocations(all) = connection.ask(&Request::RevocationList)? else {
                return Err(out_of_turn());
            };
            if json { output::json(&all) } else { output::print(&table(&all)) }
        }
        Command::Gate { dir, name, port, days } => {
            let actor = Actor { role: Role::Gate, name };
            issue(&dir, &Holder { port: Some(port), ..actor.into() }, Some(days))
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

fn issue(dir: &Path, holder: &Holder, days: Option<u32>) -> Result<(), Failure> {
    if let Some(lacks) = holder.lacks() {
        let (what, option) = match lacks {
            Names::Carrier => ("carrier", "--carrier CODE"),
            Names::Port | Names::Nothing => ("port", "--port CODE"),
        };
        let Actor { role, name } = holder.actor;
        return Err(Failure::usage(format!("certificate {name}: role {role} needs a {what}; give {option}")));
    }
    if holder.actor.role == Role::Node && holder.actor.as_node().is_none() {
        let name = holder.actor.name;
        return Err(Failure::usage(format!("certificate {name}: a node is named by its id; give --name node-ID")));
    }
    let authority = Authority::load(dir).map_err(|error| Failure::usage_of(&error))?;
    let issued = authority
        .issue_to(holder, Validity::Days(days.unwrap_or_else(|| usual_days(holder.actor.role))))
        .map_err(|error| Failure::usage_of(&error))?;
    output::print(&format!("{} and {}", issued.certificate.display(), issued.key.display()))
}

/// What a certificate says.
#[derive(Serialize)]
struct Shown {
    holder: String,
    fingerprint: ContentHash,
    expires_at: UnixMs,
}

fn show(file: &Path, json: bool) -> Result<(), Failure> {
    let (caller, expires_at) = identity::inspect(file).map_err(|error| Failure::usage_of(&error))?;
    let expires_at = expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let shown = Shown { holder: caller.to_string(), fingerprint: caller.certificate, expires_at: UnixMs(expires_at) };
    if json {
        return output::json(&shown);
    }
    let Shown { holder, fingerprint, expires_at } = shown;
    let day = calendar::yyyymmdd(expires_at);
    output::print(&format!("{holder}\nfingerprint {fingerprint}\nexpires {day}"))
}

fn table(all: &[Revocation]) -> String {
    let mut rows = vec![["revoked", "since"].map(String::from).to_vec()];
    rows.extend(all.iter().map(|one| vec![one.what.to_string(), one.since.0.to_string()]));
    output::table(&rows)
}
