//! `tvs gallery`.

use clap::Subcommand;
use cluster_config::ids::{JourneyId, NodeId};
use cluster_config::wire::operator::{Gallery, Request, Response};

use super::connect::{Connection, out_of_turn};
use super::{Failure, output};

#[derive(Subcommand)]
pub enum Command {
    /// List all journeys with state, counts, versions, owners and standbys
    #[command(after_help = "Example: tvs gallery list --node 127.0.0.1:7101")]
    List {
        #[command(flatten)]
        connection: Connection,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one journey and its shards
    #[command(after_help = "Example: tvs gallery show --node 127.0.0.1:7101 AA100-20261124-JFK --json")]
    Show {
        #[command(flatten)]
        connection: Connection,
        /// The journey
        journey: JourneyId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Close a journey: nobody boards any more, and its galleries are destroyed on every node
    #[command(after_help = "Example: tvs gallery close --node 127.0.0.1:7101 AA100-20261124-JFK")]
    Close {
        #[command(flatten)]
        connection: Connection,
        /// The journey
        journey: JourneyId,
    },
}

pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { connection, json } => {
            let Response::Galleries(galleries) = connection.ask(&Request::GalleryList)? else {
                return Err(out_of_turn());
            };
            if json { output::json(&galleries) } else { output::print(&table(&galleries)) }
        }
        Command::Show { connection, journey, json } => {
            let Response::Gallery(gallery) = connection.ask(&Request::GalleryShow(journey))? else {
                return Err(out_of_turn());
            };
            if json { output::json(&gallery) } else { output::print(&table(&[gallery])) }
        }
        Command::Close { connection, journey } => {
            connection.ask(&Request::CloseJourney(journey))?;
            output::print("closed; its galleries are being destroyed, see `tvs gallery show` for the receipts")
        }
    }
}

fn table(galleries: &[Gallery]) -> String {
    let head = ["journey", "part", "status", "version", "people", "boarded", "templates", "no photo", "epoch", "owner"];
    let mut rows = vec![
        head.iter().chain(&["standbys", "rosters", "receipts", "MB here"]).map(ToString::to_string).collect::<Vec<_>>(),
    ];
    let list = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
    for gallery in galleries {
        for shard in &gallery.shards {
            let receipts: Vec<String> = shard
                .receipts
                .iter()
                .map(|receipt| format!("{}{}", receipt.node, if receipt.attested { " (attested)" } else { "" }))
                .collect();
            rows.push(vec![
                gallery.journey.to_string(),
                shard.shard.part.to_string(),
                format!("{:?}", gallery.status).to_lowercase(),
                shard.version.to_string(),
                shard.people.to_string(),
                gallery.boarded.to_string(),
                shard.rows.to_string(),
                shard.without_photo.to_string(),
                shard.epoch.to_string(),
                shard.owner.map_or("-".to_owned(), |owner| owner.to_string()),
                list(&shard.standbys),
                list(&shard.rosters),
                receipts.join("+"),
                shard.memory_bytes.map_or("-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1e6)),
            ]);
        }
    }
    output::table(&rows)
}
