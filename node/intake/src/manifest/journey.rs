//! From a manifest to the departures its travellers board.

use serde::Serialize;

use crate::date::LocalDateTime;

use super::{Disposition, Manifest, PortCall, TransportMode, Traveller};

/// One leg: from one port to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leg {
    /// Carrier designator.
    pub carrier: Option<String>,
    /// Flight number without the carrier.
    pub flight_number: Option<String>,
    /// Port of departure as written.
    pub departure_port: String,
    /// Port of arrival as written.
    pub arrival_port: String,
    /// Scheduled departure, local to its port.
    pub departure: Option<LocalDateTime>,
    /// Scheduled arrival, local to its port.
    pub arrival: Option<LocalDateTime>,
}

impl Leg {
    /// Whether date and time of the departure are known, without which a leg is no journey.
    pub fn has_departure(&self) -> bool {
        self.departure.is_some_and(|departure| departure.time.is_some())
    }
}

/// One departure with those who board it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Journey {
    /// Mode of transport; anything but air only out of a JSON manifest.
    pub mode: TransportMode,
    /// Carrier designator.
    pub carrier: String,
    /// Flight number without the carrier and without leading zeros.
    pub flight_number: String,
    /// Port of departure as written.
    pub departure_port: String,
    /// Port of arrival as written.
    pub arrival_port: String,
    /// Scheduled departure, local to the port.
    pub departure: LocalDateTime,
    /// Scheduled arrival, local to the port.
    pub arrival: Option<LocalDateTime>,
    /// Indexes into [`Manifest::travellers`] (not ordinals) of the passengers on this leg.
    pub travellers: Vec<usize>,
}

/// Why a manifest makes no journey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[non_exhaustive]
pub enum Refusal {
    /// The message lists no passengers who board.
    #[error("the message brings no passengers who board ({disposition:?})")]
    NotBoarding {
        /// What the message is for instead.
        disposition: Disposition,
    },
    #[error("the message is about no flight; it is held, and no flight is made of it")]
    NotAir,
    /// There are people on it, but none of them is a passenger.
    #[error("everybody on the list is crew")]
    OnlyCrew,
    /// The carrier or the flight number is missing or cannot be read.
    #[error("carrier and flight number cannot be told")]
    NoFlight,
    /// No leg has both a departure and an arrival port.
    #[error("no leg has a port of departure and a port of arrival")]
    NoLeg,
    /// No leg has a scheduled departure.
    #[error("the departure from {port} has no date and time")]
    NoDeparture {
        /// The port of departure of the first leg.
        port: String,
    },
    /// The flight passes over without landing (TDT+34).
    #[error("the flight only passes over")]
    Overflight,
}

impl Manifest {
    /// The legs of all transports in their order, without overflights.
    ///
    /// Calls at the same port that end one leg and begin the next are taken as one stop.
    pub fn legs(&self) -> Vec<Leg> {
        let mut legs = Vec::new();
        for transport in &self.transports {
            if transport.stage.as_deref() == Some(OVERFLIGHT) {
                continue;
            }
            let mut calls: Vec<&PortCall> = transport.calls.iter().collect();
            // Some senders name the arrival first.
            if let [first, second] = calls[..]
                && first.function == ARRIVAL
                && second.function == LAST_DEPARTURE
            {
                calls.swap(0, 1);
            }
            for pair in calls.windows(2) {
                let [from, to] = pair else { continue };
                let ends_here = from.departure.is_none() && from.arrival.is_some();
                let begins_there = to.arrival.is_none() && to.departure.is_some();
                let (Some(departure_port), Some(arrival_port)) = (&from.port, &to.port) else {
                    continue;
                };
                if ends_here && begins_there {
                    continue;
                }
                legs.push(Leg {
                    carrier: transport.carrier.clone(),
                    flight_number: transport.flight_number.clone(),
                    departure_port: departure_port.clone(),
                    arrival_port: arrival_port.clone(),
                    departure: from.departure,
                    arrival: to.arrival,
                });
            }
        }
        legs
    }

    /// One record for each departure whose passengers this message expects to board or amends.
    ///
    /// A passenger is on the legs from the embarkation port to the debarkation port. If one of the ports is not on the
    /// flight, because the person connects, they are on it from the first leg, or to the last. Crew is never included.
    /// A leg without a scheduled departure makes no journey; see [`Leg::has_departure`].
    ///
    /// # Errors
    ///
    /// The message brings no boarding passengers, is about no flight, or does not say which flight leaves
    /// where and when.
    pub fn journeys(&self) -> Result<Vec<Journey>, Refusal> {
        match self.disposition() {
            Disposition::Board | Disposition::Amend => self.group(|traveller| traveller.role.is_passenger()),
            Disposition::NotAir => Err(Refusal::NotAir),
            disposition => Err(Refusal::NotBoarding { disposition }),
        }
    }

    /// The same grouping for messages that take people off or close a flight: the departures they are about.
    ///
    /// People without a role are included, but still no crew.
    ///
    /// # Errors
    ///
    /// As [`Manifest::journeys`], for any disposition. Crew lists are still refused.
    pub fn affected_journeys(&self) -> Result<Vec<Journey>, Refusal> {
        match self.disposition() {
            Disposition::Board | Disposition::Amend => self.journeys(),
            Disposition::Remove | Disposition::CloseOut | Disposition::FlightStatus => {
                self.group(|traveller| !traveller.role.is_crew())
            }
            Disposition::NotAir => Err(Refusal::NotAir),
            disposition => Err(Refusal::NotBoarding { disposition }),
        }
    }

    fn group(&self, included: impl Fn(&Traveller) -> bool) -> Result<Vec<Journey>, Refusal> {
        if !self.travellers.is_empty() && self.travellers.iter().all(|traveller| traveller.role.is_crew()) {
            return Err(Refusal::OnlyCrew);
        }
        let legs = self.legs();
        if legs.is_empty() {
            let passes_over = self.transports.iter().any(|transport| transport.stage.as_deref() == Some(OVERFLIGHT));
            return Err(if passes_over { Refusal::Overflight } else { Refusal::NoLeg });
        }
        let spans: Vec<(usize, usize, usize)> = self
            .travellers
            .iter()
            .enumerate()
            .filter(|(_, traveller)| included(traveller))
            .map(|(index, traveller)| {
                let (first, last) = span(traveller, &legs);
                (index, first, last)
            })
            .collect();
        let mut journeys = Vec::with_capacity(legs.len());
        let mut first_unplaced = None;
        for (position, leg) in legs.into_iter().enumerate() {
            let placed = leg.has_departure();
            let (Some(carrier), Some(flight_number)) = (leg.carrier, leg.flight_number) else {
                return Err(Refusal::NoFlight);
            };
            let Some(departure) = leg.departure.filter(|_| placed) else {
                first_unplaced.get_or_insert(leg.departure_port);
                continue;
            };
            let trimmed = flight_number.trim_start_matches('0');
            journeys.push(Journey {
                mode: self.mode,
                carrier,
                flight_number: if trimmed.is_empty() { flight_number.clone() } else { trimmed.to_owned() },
                departure_port: leg.departure_port,
                arrival_port: leg.arrival_port,
                departure,
                arrival: leg.arrival,
                travellers: spans
                    .iter()
                    .filter(|(_, first, last)| (*first..=*last).contains(&position))
                    .map(|(index, _, _)| *index)
                    .collect(),
            });
        }
        match first_unplaced {
            Some(port) if journeys.is_empty() => Err(Refusal::NoDeparture { port }),
            _ => Ok(journeys),
        }
    }
}

const OVERFLIGHT: &str = "34";
const LAST_DEPARTURE: &str = "125";
const ARRIVAL: &str = "87";

/// The first and last leg that a traveller is on.
fn span(traveller: &Traveller, legs: &[Leg]) -> (usize, usize) {
    let first = traveller
        .embarkation_port
        .as_ref()
        .and_then(|port| legs.iter().position(|leg| same_port(&leg.departure_port, port)))
        .unwrap_or(0);
    let last = traveller
        .debarkation_port
        .as_ref()
        .and_then(|port| legs.iter().skip(first).position(|leg| same_port(&leg.arrival_port, port)))
        .map_or(legs.len() - 1, |position| first + position);
    (first, last)
}

/// Ports are the same if their codes are; a UN/LOCODE also matches the three letters after its country.
fn same_port(one: &str, other: &str) -> bool {
    let location = |code: &str| match code.len() {
        5 => code.get(2..).unwrap_or(code).to_owned(),
        _ => code.to_owned(),
    };
    one == other || (one.len() != other.len() && location(one) == location(other))
}
