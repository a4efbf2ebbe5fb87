//! What boards in the demonstration: made-up flights, or the manifests of the caller.

use std::net::SocketAddr;
use std::time::Duration;

use cluster_config::wire::operator::Request;
use node_population::{Population, TEMPLATE_DIMS};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::given::Given;
use super::options::Options;
use crate::bank::Bank;
use crate::flight::Flight;
use crate::local::LocalCluster;
use crate::operator::Operator;
use crate::show::Show;
use crate::{Error, clock};

/// How long galleries may take that are built before their time.
const LEVEL_TIMEOUT: Duration = Duration::from_secs(45);

/// Submits the manifests, made-up or given, and gives the bank of those who board.
///
/// # Errors
/// Where a manifest is refused, or none announces anybody.
pub async fn bank(
    options: &Options,
    cluster: &LocalCluster,
    operator: &Operator,
    show: &impl Show,
) -> Result<Bank, Error> {
    let nodes = cluster.addresses();
    let mut flights = match &options.manifests[..] {
        [] => made_up(options, nodes, operator).await?,
        given => given_by_caller(given, options.seed, nodes, operator, show).await?,
    };
    for (number, flight) in (0..).zip(&mut flights) {
        shuffle(flight, options.seed.wrapping_add(number));
    }
    Ok(Bank::of(options.seed, flights))
}

/// Submits made-up flights, each to another node.
async fn made_up(options: &Options, mut nodes: Vec<SocketAddr>, operator: &Operator) -> Result<Vec<Flight>, Error> {
    let bank = Bank::national(options.seed, options.flights, options.travellers, clock::now());
    for flight in &bank.flights {
        nodes.rotate_left(1);
        operator.ask_at(nodes.clone(), &Request::SubmitManifest(flight.manifest.clone())).await?;
    }
    Ok(bank.flights)
}

/// Submits every file to another node; files that cannot be read, or that take people off, are set aside.
async fn given_by_caller(
    files: &[Given],
    seed: u64,
    mut nodes: Vec<SocketAddr>,
    operator: &Operator,
    show: &impl Show,
) -> Result<Vec<Flight>, Error> {
    let population = Population::new(seed, TEMPLATE_DIMS);
    let mut flights: Vec<Flight> = Vec::new();
    for Given { name, bytes, announced } in files {
        let announced = match announced {
            Ok(announced) => announced,
            Err(refusal) => {
                show.step(&format!("{name} is set aside: {refusal}"));
                continue;
            }
        };
        if announced.iter().any(|one| one.is_removal) {
            show.step(&format!("{name} is set aside: it takes people off, and here everybody is boarded"));
            continue;
        }
        nodes.rotate_left(1);
        let submitted = operator.ask_at(nodes.clone(), &Request::SubmitManifest(bytes.clone())).await?;
        operator.build_early(&submitted, LEVEL_TIMEOUT).await?;
        for one in announced {
            let is_known = flights.iter().any(|flight| flight.journey == one.journey);
            if !is_known && !one.people.is_empty() {
                flights.push(one.clone().flight(&population, bytes.clone()));
            }
        }
    }
    if flights.is_empty() {
        let problem = "no manifest announces a journey with people; see `tvs manifest check FILE`";
        return Err(Error::Usage(problem.to_owned()));
    }
    Ok(flights)
}

/// Puts the guests of a flight into the order in which they come to the gate.
fn shuffle(flight: &mut Flight, seed: u64) {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    for index in (1..flight.guests.len()).rev() {
        flight.guests.swap(index, generator.next_u32() as usize % (index + 1));
    }
}
