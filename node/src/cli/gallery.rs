//! `tvs gallery`.

use clap::Subcommand;
use cluster_config::ids::{JourneyId, NodeId};
use cluster_config::journey::Ended;
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
    /// Build the gallery of an announced journey now, before its time
    #[command(after_help = "Example: tvs gallery build --node 127.0.0.1:7101 AA100-20261124-JFK")]
    Build {
        #[command(flatten)]
        connection: Connection,
        /// The journey
        journey: JourneyId,
    },
    /// Close a journey: nobody is searched any more, citizens' data are destroyed on every node, and others' later
    #[command(after_help = "Example: tvs gallery close --node 127.0.0.1:7101 AA100-20261124-JFK --purge")]
    Close {
        #[command(flatten)]
        connection: Connection,
        /// The journey
        journey: JourneyId,
        /// Destroy everything now, also of a journey that is closed already
        #[arg(long)]
        purge: bool,
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
        Command::Show { connection, journey, json } => match connection.ask(&Request::GalleryShow(journey))? {
            Response::Gallery(gallery) if json => output::json(&gallery),
            Response::Gallery(gallery) => output::print(&table(&[gallery])),
            Response::Ended(ended) if json => output::json(&ended),
            Response::Ended(ended) => output::print(&line(journey, &ended)),
            _ => Err(out_of_turn()),
        },
        Command::Build { connection, journey } => {
            connection.ask(&Request::BuildJourney(journey))?;
            output::print("its gallery is being built, see `tvs gallery show`")
        }
        Command::Close { connection, journey, purge } => {
            connection.ask(&Request::CloseJourney { journey, purge })?;
            output::print(match purge {
                true => "closed; everything of it is being destroyed, see `tvs gallery show` for the receipts",
                false => "closed; `tvs gallery show` says until when those are kept who are no citizens",
            })
        }
    }
}

/// What is left of a journey that has ended, in words.
fn line(journey: JourneyId, ended: &Ended) -> String {
    let Ended { departs_at, closed_at, purged_at, people, boarded, receipts, attested } = *ended;
    let [departs_at, closed_at, purged_at] = [departs_at, closed_at, purged_at].map(output::time);
    format!(
        "{journey} was to depart at {departs_at} with {people} people, of whom {boarded} boarded. It was closed at \
         {closed_at}, and all of it destroyed by {purged_at}: {receipts} nodes gave their receipts, {attested} of them \
         attested"
    )
}

fn table(galleries: &[Gallery]) -> String {
    let head = [
        "journey",
        "part",
        "status",
        "next",
        "version",
        "people",
        "boarded",
        "templates",
        "no photo",
        "epoch",
        "owner",
    ];
    let mut rows = vec![
        head.iter()
            .chain(&["standbys", "rosters", "kept by", "receipts", "MB here"])
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
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
                gallery.status.as_str().to_owned(),
                gallery
                    .next
                    .map_or("-".to_owned(), |next| format!("{} {}", next.status.as_str(), output::time(next.at))),
                shard.version.to_string(),
                shard.people.to_string(),
                gallery.boarded.to_string(),
                shard.rows.to_string(),
                shard.without_photo.to_string(),
                shard.epoch.to_string(),
                shard.owner.map_or("-".to_owned(), |owner| owner.to_string()),
                list(&shard.standbys),
                list(&shard.rosters),
                list(&shard.keepers),
                receipts.join("+"),
                shard.memory_bytes.map_or("-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1e6)),
            ]);
        }
    }
    output::table(&rows)
}
