//! `tvs gate`: what a gate does, from the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use cluster_config::device::{CaptureDetail, DeviceKind, ImageKind};
use cluster_config::ids::{EncounterId, JourneyId, ModelVersion};
use cluster_config::limits::GATE_DEADLINE_MS;
use cluster_config::policy::Matching;
use cluster_config::wire::gate::{Answer, Capture, Sample};
use node_link::{GateClient, GateClientOptions};

use super::connect::{Connection, block_on};
use super::{Failure, output};
use crate::clock;

#[derive(Subcommand)]
pub enum Command {
    /// Search the journey's gallery; nothing is recorded
    #[command(after_help = "Example: tvs gate identify --node 127.0.0.1:7101 --as JFK-T4-B32-1 \
                      --journey AA100-20261124-JFK --template probe.json")]
    Identify(Shot),
    /// Search the journey's gallery and record the boarding
    #[command(after_help = "Example: tvs gate board --node 127.0.0.1:7101 --as JFK-T4-B32-1 \
                      --journey AA100-20261124-JFK --template probe.json")]
    Board(Shot),
}

/// One capture.
#[derive(Args)]
pub struct Shot {
    #[command(flatten)]
    connection: Connection,
    /// The journey that boards
    #[arg(long)]
    journey: JourneyId,
    /// The probe: a JSON array of unit-norm numbers
    #[arg(long, value_name = "FILE")]
    template: PathBuf,
    /// The model that made the probe
    #[arg(long, default_value_t = Matching::default().model)]
    model: ModelVersion,
    /// Which capture of this traveller this is, from 1
    #[arg(long, default_value_t = 1)]
    attempt: u8,
    /// The encounter, 32 hexadecimal digits; a retry repeats it. A new one is made where it is left out
    #[arg(long)]
    encounter: Option<EncounterId>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(command: Command) -> Result<(), Failure> {
    let (shot, boards) = match &command {
        Command::Identify(shot) => (shot, false),
        Command::Board(shot) => (shot, true),
    };
    let bytes = super::manifest::read(&shot.template)?;
    let values: Vec<f32> = serde_json::from_slice(&bytes)
        .map_err(|error| format!("{}: {error}; give a JSON array of numbers", shot.template.display()))
        .map_err(Failure::usage)?;
    let encounter = match shot.encounter {
        Some(encounter) => encounter,
        None => EncounterId(clock::random_u128().map_err(|error| Failure::failure_of(&error))?),
    };
    let capture = Capture {
        encounter,
        journey: shot.journey,
        sample: Sample::Template { model: shot.model, values },
        detail: CaptureDetail {
            device_kind: DeviceKind::GateCamera,
            image_kind: ImageKind::VisibleStill,
            quality: None,
        },
        attempt: shot.attempt,
        captured_at: clock::now(),
        deadline_ms: GATE_DEADLINE_MS as u32,
    };
    let identity = shot.connection.identity()?;
    let answer = block_on(async {
        let client = GateClient::connect(GateClientOptions::new(shot.connection.nodes.clone(), identity)).await?;
        let answer = if boards { client.board(capture).await } else { client.identify(capture).await };
        answer.map_err(Failure::from)
    })?;
    if shot.json { output::json(&answer) } else { output::print(&describe(&answer)) }
}

fn describe(answer: &Answer) -> String {
    let who = answer.confirmed.map(|who| format!(", number {} on the manifest", who.manifest_ordinal));
    format!(
        "{:?} ({:?}){}; recording {:?}; encounter {}, gallery version {}, epoch {}, searched by node {}",
        answer.directive,
        answer.reason,
        who.unwrap_or_default(),
        answer.recording,
        answer.encounter,
        answer.gallery_version,
        answer.epoch,
        answer.searched_by,
    )
}
