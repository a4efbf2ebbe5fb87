//! Identifications at random galleries, next to a bare QUIC echo of the same sizes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster_config::ids::EncounterId;
use cluster_config::wire::gate::{Capture, Request, Response};
use cluster_config::wire::{Channel, FRAME_HEADER_BYTES, codec};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;

use super::echo::{self, Echo};
use super::load::{Row, Tally, table as rows};
use super::scene::{Options, Scene, Setting};
use crate::Error;
use crate::show::Show;

/// Captures made beforehand and asked in turn: enough that none finds its gallery still in a cache because of its
/// own last time.
const CAPTURES: usize = 4_096;

/// How long one side is measured before the other has its turn, so that a noisy moment hits both.
const SPELL: Duration = Duration::from_secs(1);

/// How long connections and caches are warmed up.
const WARM_UP: Duration = Duration::from_millis(500);

/// The goals: the median alone against the echo's, and the rate of one node with 32 in flight.
const P50_RATIO_GOAL: f64 = 3.0;
/// See [`P50_RATIO_GOAL`].
const RATE_GOAL: f64 = 50_000.0;

/// One number in flight.
#[derive(Debug, Serialize)]
struct Level {
    in_flight: usize,
    identify: Row,
    echo: Row,
    /// The cluster's median over the echo's.
    p50_ratio: f64,
    /// The cluster's rate over the echo's.
    rate_ratio: f64,
}

impl Level {
    fn sides(&self) -> (usize, [(&str, &Row); 2]) {
        (self.in_flight, [("identify", &self.identify), ("bare quinn echo", &self.echo)])
    }
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    setting: Setting,
    request_bytes: usize,
    answer_bytes: usize,
    levels: Vec<Level>,
}

/// Measures so many nodes with so many galleries.
///
/// # Errors
/// Where it cannot be carried through.
pub async fn measure(options: &Options, nodes: u64, galleries: u32, show: &impl Show) -> Result<Report, Error> {
    let scene = Scene::set(options, nodes, galleries, show).await?;
    let gate = scene.cluster.gate("GATE-ECHO", scene.bank.flights[0].port)?;
    let mut generator = ChaCha8Rng::seed_from_u64(options.seed);
    let mut pick = |count: usize| generator.next_u32() as usize % count;
    let mut people = Vec::with_capacity(CAPTURES);
    for _ in 0..CAPTURES {
        let flight = pick(scene.bank.flights.len());
        people.push((flight, pick(scene.bank.flights[flight].guests.len())));
    }
    show.step(&format!("taking {} captures", people.len()));
    let captures = Arc::new(scene.captures(people).await?);
    let gates = scene.gates().await?;
    let first = gates.next(0, 0).identify(captures[0].clone()).await?;
    let request_bytes = frame_bytes(&Request::Identify(captures[0].clone()))?;
    let answer_bytes = frame_bytes(&Response::Answer(first))?;
    let echo = Echo::start(&scene, &gate, usize::from(options.connections), answer_bytes).await?;
    let connections = Arc::new(echo.connections());
    let request = Arc::new(vec![7; request_bytes]);
    let next = Arc::new(AtomicU64::new(0));
    let identify = {
        let captures = captures.clone();
        move |number: usize| {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let (client, captures) = (gates.next(number, place), captures.clone());
            async move {
                let encounter = EncounterId(u128::from(place) + 1);
                let capture = Capture { encounter, ..captures[place as usize % captures.len()].clone() };
                Some(client.identify(capture).await.map(|_| ()).map_err(|error| error.to_string()))
            }
        }
    };
    let ask_echo = move |number: usize| {
        let (connection, request) = (connections[number % connections.len()].clone(), request.clone());
        async move { Some(echo::call(&connection, &request).await) }
    };
    let servers = scene.processes();
    let mut levels = Vec::new();
    for &in_flight in &options.in_flight {
        show.step(&format!("{in_flight} in flight"));
        Tally::new()?.run(in_flight, WARM_UP, &[], identify.clone()).await?;
        Tally::new()?.run(in_flight, WARM_UP, &[], ask_echo.clone()).await?;
        let (mut of_cluster, mut of_echo) = (Tally::new()?, Tally::new()?);
        for _ in 0..options.seconds {
            of_cluster.run(in_flight, SPELL, &servers, identify.clone()).await?;
            of_echo.run(in_flight, SPELL, &[echo.process()], ask_echo.clone()).await?;
        }
        let (identify, echo) = (of_cluster.row(), of_echo.row());
        levels.push(Level {
            in_flight,
            p50_ratio: identify.p50_us / echo.p50_us,
            rate_ratio: identify.rate_per_second / echo.rate_per_second,
            identify,
            echo,
        });
    }
    Ok(Report { setting: scene.setting.clone(), request_bytes, answer_bytes, levels })
}

fn frame_bytes(message: &impl Serialize) -> Result<usize, Error> {
    let body = codec::encode(message, Channel::Gate.body_bytes_max()).map_err(Error::failed)?;
    Ok(FRAME_HEADER_BYTES + body.len())
}

impl Report {
    /// What was measured, as a person reads it; `table` sets rows of cells, the head first.
    pub fn describe(&self, table: impl Fn(&[Vec<String>]) -> String) -> String {
        let mut ratios = Vec::new();
        for level in &self.levels {
            let mut line = format!(
                "{} in flight: p50 {:.2} x the echo's, rate {:.2} x the echo's",
                level.in_flight, level.p50_ratio, level.rate_ratio
            );
            match level.in_flight {
                1 => line.push_str(&format!(" (goal: p50 at most {P50_RATIO_GOAL:.0} x)")),
                32 if self.setting.nodes() == 1 => line.push_str(&format!(" (goal: {RATE_GOAL:.0} requests/s)")),
                _ => {}
            }
            ratios.push(line);
        }
        format!(
            "{}; {} bytes there, {} back\n{}\n{}",
            self.setting.describe(),
            self.request_bytes,
            self.answer_bytes,
            table(&rows(self.levels.iter().map(Level::sides))),
            ratios.join("\n"),
        )
    }
}
