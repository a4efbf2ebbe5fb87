//! A departure bank: flights that leave close together, with made-up travellers, as PAXLST manifests.

use cluster_config::calendar::yyyymmdd;
use cluster_config::ids::UnixMs;
use node_intake::{Date, Document, Leg, LocalDateTime, LocalTime, Manifest, Role, Sex, Traveller, compose};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const CARRIERS: [&str; 6] = ["AA", "BA", "DL", "LH", "UA", "VS"];
const DESTINATIONS: [&str; 8] = ["LHR", "CDG", "FRA", "AMS", "MAD", "DUB", "NRT", "GRU"];
const FAMILY_NAMES: [&str; 16] = [
    "ABARA",
    "BERGQVIST",
    "CASTELLANOS",
    "DUBOIS",
    "EJIOFOR",
    "FUJIMOTO",
    "GRUNWALD",
    "HAAKONSEN",
    "IVANOVA",
    "JANSEN",
    "KOWALCZYK",
    "LINDHOLM",
    "MORETTI",
    "NAKAGAWA",
    "OYELARAN",
    "PETROSYAN",
];
const GIVEN_NAMES: [&str; 16] = [
    "ALMA", "BORIS", "CLARA", "DIEGO", "ELENA", "FELIX", "GRETA", "HUGO", "INES", "JONAS", "KIRA", "LEON", "MARTA",
    "NOAH", "OLGA", "PAVEL",
];
const NATIONALITIES: [&str; 10] = ["USA", "USA", "USA", "USA", "GBR", "DEU", "FRA", "BRA", "JPN", "NGA"];

/// Minutes from now to the first departure: late enough that nothing departs while it boards, early enough that all
/// flights count as boarding.
const FIRST_DEPARTURE_MINUTES: u64 = 35;

/// Minutes between departures.
const DEPARTURE_GAP_MINUTES: u64 = 2;

/// The manifests of `flights` flights with about `travellers` people each, one file a flight; the same for the same
/// seed and minute.
pub fn manifests(seed: u64, flights: usize, travellers: usize, now: UnixMs) -> Vec<Vec<u8>> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..flights).map(|flight| compose(&manifest(&mut generator, seed, flight, travellers, now))).collect()
}

fn manifest(generator: &mut ChaCha8Rng, seed: u64, flight: usize, travellers: usize, now: UnixMs) -> Manifest {
    let minutes = FIRST_DEPARTURE_MINUTES + DEPARTURE_GAP_MINUTES * (flight as u64 % 12);
    let departs_at = UnixMs((now.0 / 60_000 + minutes) * 60_000);
    let leg = Leg {
        carrier: Some(CARRIERS[flight % CARRIERS.len()].to_owned()),
        flight_number: Some((100 + flight).to_string()),
        departure_port: "JFK".to_owned(),
        arrival_port: DESTINATIONS[flight % DESTINATIONS.len()].to_owned(),
        departure: local(departs_at),
        arrival: local(UnixMs(departs_at.0 + 7 * 3_600_000)),
    };
    let people = (1..=travellers as u32).map(|ordinal| traveller(generator, seed, flight, ordinal, &leg)).collect();
    Manifest::air_passenger_list(leg, people)
}

fn traveller(generator: &mut ChaCha8Rng, seed: u64, flight: usize, ordinal: u32, leg: &Leg) -> Traveller {
    let mut pick = |count: usize| generator.next_u32() as usize % count;
    let nationality = NATIONALITIES[pick(NATIONALITIES.len())].to_owned();
    let born = Date::new(1_940 + pick(80) as u16, 1 + pick(12) as u8, 1 + pick(28) as u8);
    let number = format!("{}{flight:03}{ordinal:04}", (b'A' + (seed % 26) as u8) as char);
    Traveller {
        ordinal,
        role: Role::from_code("FL"),
        family_name: FAMILY_NAMES[pick(FAMILY_NAMES.len())].to_owned(),
        given_names: vec![GIVEN_NAMES[pick(GIVEN_NAMES.len())].to_owned()],
        sex: Some(Sex::from_code(if pick(2) == 0 { "F" } else { "M" })),
        date_of_birth: born,
        nationality: Some(nationality.clone()),
        embarkation_port: Some(leg.departure_port.clone()),
        debarkation_port: Some(leg.arrival_port.clone()),
        record_locator: Some(format!("R{flight:02}{ordinal:03}")),
        seat: Some(format!("{:03}{}", 1 + (ordinal - 1) / 6, (b'A' + ((ordinal - 1) % 6) as u8) as char)),
        documents: vec![Document {
            type_code: Some("P".to_owned()),
            number: Some(number),
            issuing_state: Some(nationality),
            expiry: Date::new(2_031, 6, 30),
            issued: None,
        }],
        ..Traveller::default()
    }
}

fn local(at: UnixMs) -> Option<LocalDateTime> {
    let date = yyyymmdd(at);
    let date = Date::new((date / 10_000) as u16, (date / 100 % 100) as u8, (date % 100) as u8)?;
    let minutes = at.0 / 60_000 % 1_440;
    Some(LocalDateTime { date, time: LocalTime::new((minutes / 60) as u8, (minutes % 60) as u8) })
}
