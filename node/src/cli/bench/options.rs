//! What `tvs bench gate` and `tvs bench commit` are both told.

use clap::Args;
use cluster_config::process::EngineChoice;
use node_link::limits::GATE_REQUESTS_IN_FLIGHT_MAX;
use node_stage::bench;

use super::Failure;
use crate::observe::NODE_LOGS;

#[derive(Args)]
pub struct Options {
    /// People on each journey; they have about 1.8 photographs each, so that 222 make a gallery of 400 templates
    #[arg(long, default_value_t = 222, value_parser = clap::value_parser!(u64).range(1..=2_000))]
    pub people: u64,
    /// Requests in flight, one level after the other
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 256], value_parser = in_flight)]
    pub in_flight: Vec<usize>,
    /// QUIC connections that the requests share
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub connections: u16,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Seed of people and galleries
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What computes scores: auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    pub engine: EngineChoice,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

fn in_flight(text: &str) -> Result<usize, String> {
    // One connection takes 1,024 streams; more in flight would measure the waiting for one.
    text.parse().ok().filter(|count| (1..=1_024).contains(count)).ok_or_else(|| "give 1 to 1024".to_owned())
}

impl Options {
    /// As the stage wants them, for nodes of this very binary.
    ///
    /// # Errors
    /// Where more is asked of one connection than its certificate may, or the system does not say which binary that is.
    pub fn for_stage(&self) -> Result<bench::Options, Failure> {
        let in_flight_max = usize::from(self.connections) * GATE_REQUESTS_IN_FLIGHT_MAX;
        if let Some(over) = self.in_flight.iter().find(|count| **count > in_flight_max) {
            return Err(Failure::usage(format!(
                "--in-flight {over}: a certificate has {GATE_REQUESTS_IN_FLIGHT_MAX} requests under way at most; give \
                 --connections {}",
                over.div_ceil(GATE_REQUESTS_IN_FLIGHT_MAX)
            )));
        }
        Ok(bench::Options {
            binary: std::env::current_exe().map_err(|error| Failure::failure_of(&error))?,
            log: NODE_LOGS.to_owned(),
            people: self.people as u32,
            in_flight: self.in_flight.clone(),
            connections: self.connections,
            seconds: self.seconds,
            seed: self.seed,
            engine: self.engine,
        })
    }
}
