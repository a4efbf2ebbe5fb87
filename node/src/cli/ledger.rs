//! `tvs ledger`.

use clap::Subcommand;
use cluster_config::ids::JourneyId;
use cluster_config::wire::operator::{LedgerRecord, Request, Response};

use super::connect::{Connection, out_of_turn};
use super::{Failure, output};

/// Records asked for at once.
const PAGE_RECORDS: u32 = 10_000;

#[derive(Subcommand)]
pub enum Command {
    /// Print the crossings, one for each boarding by a person in scope
    #[command(after_help = "Example: tvs ledger export --node 127.0.0.1:7101 --json > crossings.json")]
    Export {
        #[command(flatten)]
        connection: Connection,
        /// Print every encounter, not only the crossings
        #[arg(long)]
        encounters: bool,
        /// Only those of this journey
        #[arg(long)]
        journey: Option<JourneyId>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Correct how often the traveller of a record was captured
    #[cfg(feature = "next")]
    #[command(after_help = "Example: tvs ledger amend --node 127.0.0.1:7101 \
                      --encounter 0102030405060708090a0b0c0d0e0f10 --attempt 2")]
    Amend {
        #[command(flatten)]
        connection: Connection,
        /// The record's encounter
        #[arg(long)]
        encounter: cluster_config::ids::EncounterId,
        /// Which capture of the traveller it was, from 1
        #[arg(long)]
        attempt: u8,
    },
}

pub fn run(command: Command) -> Result<(), Failure> {
    let (connection, encounters, journey, json) = match command {
        Command::Export { connection, encounters, journey, json } => (connection, encounters, journey, json),
        #[cfg(feature = "next")]
        Command::Amend { connection, encounter, attempt } => {
            let amendment = cluster_config::decision::Amendment { encounter, attempt };
            let Response::Amended(_) = connection.ask(&Request::Amend(amendment))? else { return Err(out_of_turn()) };
            return output::print("done");
        }
    };
    let mut records: Vec<LedgerRecord> = Vec::new();
    let mut from = Some(0);
    while let Some(position) = from {
        let request = Request::LedgerPage { from: position, limit: PAGE_RECORDS };
        let Response::LedgerPage(page) = connection.ask(&request)? else { return Err(out_of_turn()) };
        from = page.next;
        records.extend(page.records);
    }
    records.retain(|record| (encounters || record.crossing) && (journey.is_none() || journey == record.journey));
    if json {
        return output::json(&records);
    }
    let head = ["position", "journey or gallery", "encounter", "device", "at", "directive", "reason", "manifest no"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for record in &records {
        rows.push(vec![
            record.position.to_string(),
            gallery_of(record),
            record.encounter.to_string(),
            record.device.to_string(),
            record.at.0.to_string(),
            format!("{:?}", record.directive).to_lowercase(),
            format!("{:?}", record.reason).to_lowercase(),
            record.manifest_ordinal.map_or("-".to_owned(), |ordinal| ordinal.to_string()),
        ]);
    }
    output::print(&output::table(&rows))
}

/// The journey, or the gallery that stands beyond any.
fn gallery_of(record: &LedgerRecord) -> String {
    let standing = || record.standing.map_or_else(|| "-".to_owned(), |standing| standing.to_string());
    record.journey.map_or_else(standing, |journey| journey.to_string())
}
