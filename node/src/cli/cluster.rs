//! `tvs cluster`.

mod drain;

use clap::Subcommand;
use cluster_config::ids::{NodeId, Zone};
use cluster_config::member::Member;
use cluster_config::wire::operator::{ClusterStatus, Request, Response, Voters};

use super::connect::{Connection, out_of_turn};
use super::{Failure, output};

#[derive(Subcommand)]
pub enum Command {
    /// Show members, leader and shards, as the node that is asked sees them
    #[command(after_help = "Example: tvs cluster status --node 127.0.0.1:7101 --json")]
    Status {
        #[command(flatten)]
        connection: Connection,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a running node: it catches up as a learner, then votes
    #[command(after_help = "Example: tvs cluster add --node 127.0.0.1:7101 --id 4 --address 127.0.0.1:7104 --zone a")]
    Add {
        #[command(flatten)]
        connection: Connection,
        /// Id of the new node
        #[arg(long)]
        id: NodeId,
        /// Its QUIC endpoint
        #[arg(long, value_name = "IP:PORT")]
        address: std::net::SocketAddr,
        /// Its failure domain
        #[arg(long)]
        zone: Zone,
        /// Leave it a learner: it serves, but does not vote
        #[arg(long)]
        learner: bool,
    },
    /// Take a drained or lost node out of the cluster for good
    #[command(after_help = "Example: tvs cluster remove --node 127.0.0.1:7101 4")]
    Remove {
        #[command(flatten)]
        connection: Connection,
        /// The node
        id: NodeId,
        /// Do it though the quorum, or the last copy of a gallery, is lost by it
        #[arg(long)]
        i_know: bool,
    },
    /// Give a member another address or zone: stop it, move it, start it there
    #[command(after_help = "Example: tvs cluster move --node 127.0.0.1:7101 --id 4 --address 127.0.0.1:7204 --zone a")]
    Move {
        #[command(flatten)]
        connection: Connection,
        /// The node
        #[arg(long)]
        id: NodeId,
        /// Its QUIC endpoint from now on
        #[arg(long, value_name = "IP:PORT")]
        address: std::net::SocketAddr,
        /// Its failure domain from now on
        #[arg(long)]
        zone: Zone,
    },
    /// State that the disks of a node that was taken out are destroyed, so that no purge waits for its receipts
    #[command(after_help = "Example: tvs cluster attest-destruction --node 127.0.0.1:7101 4")]
    AttestDestruction {
        #[command(flatten)]
        connection: Connection,
        /// The node
        id: NodeId,
    },
    /// Move leadership and galleries off a node before a planned stop
    #[command(after_help = "Example: tvs cluster drain --node 127.0.0.1:7101 2")]
    Drain {
        #[command(flatten)]
        connection: Connection,
        /// The node
        id: NodeId,
        /// Let it take work again
        #[arg(long)]
        undo: bool,
        /// Only show what would go where, and what nobody takes
        #[arg(long, conflicts_with = "undo")]
        dry_run: bool,
        /// Only say that it is to be emptied, and do not wait until it is
        #[arg(long, conflicts_with_all = ["undo", "dry_run"])]
        no_wait: bool,
    },
    /// Hand leadership to a node
    #[command(after_help = "Example: tvs cluster lead --node 127.0.0.1:7101 3")]
    Lead {
        #[command(flatten)]
        connection: Connection,
        /// The node
        id: NodeId,
    },
    /// Print a node's metrics in the Prometheus text format
    #[command(after_help = "Example: tvs cluster metrics --node 127.0.0.1:7101")]
    Metrics {
        #[command(flatten)]
        connection: Connection,
        /// Print JSON: one string
        #[arg(long)]
        json: bool,
    },
}

pub fn run(command: Command) -> Result<(), Failure> {
    let (connection, request) = match command {
        Command::Status { connection, json } => {
            let Response::ClusterStatus(status) = connection.ask(&Request::ClusterStatus)? else {
                return Err(out_of_turn());
            };
            return if json { output::json(&status) } else { output::print(&describe(&status)) };
        }
        Command::Metrics { connection, json } => {
            let Response::Metrics(text) = connection.ask(&Request::Metrics)? else { return Err(out_of_turn()) };
            return if json { output::json(&text) } else { output::print(&text) };
        }
        Command::Add { connection, id, address, zone, learner } => {
            let member = Member { id, address: address.to_string(), zone };
            (connection, Request::AddMember { member, voter: !learner })
        }
        Command::Remove { connection, id, i_know } => (connection, Request::RemoveMember { node: id, i_know }),
        Command::Move { connection, id, address, zone } => {
            (connection, Request::MoveMember(Member { id, address: address.to_string(), zone }))
        }
        Command::AttestDestruction { connection, id } => (connection, Request::AttestDestruction(id)),
        Command::Drain { connection, id, dry_run: true, .. } => return drain::preview(&connection, id),
        Command::Drain { connection, id, undo, no_wait, .. } => {
            let draining = !undo;
            if draining && !no_wait {
                return drain::wait(&connection, id);
            }
            (connection, Request::Drain { node: id, draining })
        }
        Command::Lead { connection, id } => (connection, Request::TransferLeader(id)),
    };
    match connection.ask(&request)? {
        Response::Voters(change) => output::print(&tolerance(change)),
        _ => output::print("done"),
    }
}

/// What the group survives, before and after a change.
fn tolerance(Voters { before, after }: Voters) -> String {
    let tolerates = Voters::tolerated;
    format!("done: {before} voters, tolerates {} → {after} voters, tolerates {}", tolerates(before), tolerates(after))
}

fn describe(status: &ClusterStatus) -> String {
    let mut rows = vec![
        ["node", "address", "zone", "role", "version", "owns", "stands by", "silent ms"].map(String::from).to_vec(),
    ];
    for member in &status.members {
        let mut role = if member.voter { "voter" } else { "learner" }.to_owned();
        if status.leader == Some(member.member.id) {
            role = "leader".to_owned();
        }
        if member.draining {
            role.push_str(", draining");
        }
        rows.push(vec![
            member.member.id.to_string(),
            member.member.address.clone(),
            member.member.zone.to_string(),
            role,
            member.version.map_or("?".to_owned(), |version| version.to_string()),
            member.owner_of.to_string(),
            member.standby_of.to_string(),
            member.silent_ms.map_or("?".to_owned(), |ms| ms.to_string()),
        ]);
    }
    let troubles: Vec<String> = status
        .members
        .iter()
        .flat_map(|member| member.troubles.iter().map(|trouble| format!("node {} {trouble}\n", member.member.id)))
        .collect();
    let replicated = status.shards_replicated.map_or("?".to_owned(), |shards| shards.to_string());
    format!(
        "cluster {:?} as node {} sees it: leader {}, term {}, version {}, blueprint {}, engine {}\n\
         {} journeys open, {} shards ({replicated} with all replicas), {} ledger records\n{}{}",
        status.cluster,
        status.node,
        status.leader.map_or("unknown".to_owned(), |leader| leader.to_string()),
        status.term,
        status.version,
        status.generation,
        status.engine,
        status.journeys,
        status.shards,
        status.ledger_records,
        troubles.concat(),
        output::table(&rows),
    )
}
