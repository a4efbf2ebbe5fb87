//! `tvs manifest`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use cluster_config::journey::JourneyStatus;
use cluster_config::wire::operator::{Request, Response, Submitted, SubmittedJourney, UnbuiltJourney};
use node_intake::Disposition;

use super::connect::{Connection, out_of_turn};
use super::{Failure, output};

#[derive(Subcommand)]
pub enum Command {
    /// Print what is understood of a manifest, with warnings and located errors; nothing is sent
    #[command(after_help = "Example: tvs manifest check node/intake/tests/fixtures/passenger-list.edi --json")]
    Check {
        /// PAXLST or JSON
        file: PathBuf,
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
    },
    /// Submit manifests: journeys are announced and their galleries built
    #[command(after_help = "Example: tvs manifest submit --node 127.0.0.1:7101 flight.edi")]
    Submit {
        #[command(flatten)]
        connection: Connection,
        /// PAXLST or JSON
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check { file, json } => check(&file, json),
        Command::Submit { connection, files, json } => {
            let (mut all, mut unbuilt) = (Vec::new(), None);
            for file in &files {
                let request = Request::SubmitManifest(read(file)?);
                let Response::Submitted(submitted) = connection.ask(&request)? else { return Err(out_of_turn()) };
                if !json {
                    output::print(&describe(&submitted))?;
                }
                unbuilt = unbuilt.or(submitted.unbuilt.first().map(|journey| journey.refusal.clone()));
                all.push(submitted);
            }
            if json {
                output::json(&all)?;
            }
            unbuilt.map_or(Ok(()), |refusal| Err(refusal.into()))
        }
    }
}

/// Reads a file that the caller named.
///
/// # Errors
/// The file and why.
pub fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed =
        |error| format!("{}: cannot be read: {error}; name a file that is there and may be read", file.display());
    std::fs::read(file).map_err(|error: std::io::Error| Failure::usage(failed(error)))
}

fn check(file: &Path, json: bool) -> Result<(), Failure> {
    let interchange = match node_intake::parse(&read(file)?) {
        Ok(interchange) => interchange,
        Err(error) => {
            if json {
                output::json(&serde_json::json!({ "error": error }))?;
            }
            return Err(Failure::usage(format!("{}: {error}", file.display())));
        }
    };
    if json {
        return output::json(&interchange);
    }
    let mut rows = vec![["journey", "from", "to", "departs", "people", ""].map(String::from).to_vec()];
    for message in &interchange.messages {
        let departures = message.departures();
        for journey in departures.iter().flatten() {
            rows.push(vec![
                format!("{}{}", journey.carrier, journey.flight_number),
                journey.departure_port.clone(),
                journey.arrival_port.clone(),
                journey.departure.to_string(),
                journey.travellers.len().to_string(),
                if message.disposition == Disposition::Remove { "taken off".to_owned() } else { String::new() },
            ]);
        }
        if let Err(refusal) = departures {
            output::print(&format!("{}: no journey: {refusal}", message.place))?;
        }
        for quarantine in &message.quarantined {
            let (place, ordinal) = (&quarantine.place, quarantine.ordinal);
            output::print(&format!("{place}: person {ordinal} is set aside: {}", quarantine.detail))?;
        }
    }
    for warning in &interchange.warnings {
        output::print(&format!("{}: {}", warning.place, warning.detail))?;
    }
    output::print(&output::table(&rows))
}

/// What else there is to say of a journey.
fn note(journey: &SubmittedJourney) -> String {
    let known = if journey.duplicate { "known already" } else { "" };
    match journey.next.filter(|_| journey.status == JourneyStatus::Announced) {
        Some(next) => format!("announced; its gallery is built from {} on {known}", output::time(next.at)),
        None => known.to_owned(),
    }
}

fn describe(submitted: &Submitted) -> String {
    let mut rows = vec![["journey", "version", "people", "templates", "no photo", ""].map(String::from).to_vec()];
    for journey in &submitted.journeys {
        rows.push(vec![
            journey.journey.to_string(),
            journey.version.to_string(),
            journey.people.to_string(),
            journey.templates.to_string(),
            journey.without_photo.to_string(),
            note(journey),
        ]);
    }
    for UnbuiltJourney { journey, refusal } in &submitted.unbuilt {
        rows.push(vec![
            journey.to_string(),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
            refusal.to_string(),
        ]);
    }
    let notes = submitted.warnings.iter().chain(&submitted.quarantined);
    notes.fold(output::table(&rows), |text, note| format!("{text}\n{note}"))
}
