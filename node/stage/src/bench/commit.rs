//! Boardings with their ledger commit, next to a bare append with fdatasync on the same disk.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster_config::decision::Recording;
use cluster_config::ids::EncounterId;
use cluster_config::wire::gate::Capture;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;

use super::load::{Row, Tally, table as rows};
use super::scene::{Options, Scene, Setting};
use crate::Error;
use crate::show::Show;

/// Bytes of one bare append: about one record in its log entry.
const APPEND_BYTES: usize = 256;

/// How long the disk alone is measured before and after each level: noise of the disk hits both.
const DISK_SPELL: Duration = Duration::from_millis(1_000);

/// How long connections are warmed up.
const WARM_UP: Duration = Duration::from_millis(300);

/// The goals: the median alone, and the rate with 256 in flight.
const P50_US_GOAL: f64 = 500.0;
/// See [`P50_US_GOAL`].
const RATE_GOAL: f64 = 25_000.0;

/// One number in flight.
#[derive(Debug, Serialize)]
struct Level {
    in_flight: usize,
    board: Row,
    /// The same disk, one append with one fdatasync after the other, right before and after.
    disk: Row,
    /// The cluster's median over the disk's.
    p50_ratio: f64,
    /// The cluster's rate over the disk's.
    rate_ratio: f64,
}

impl Level {
    fn sides(&self) -> (usize, [(&str, &Row); 2]) {
        (self.in_flight, [("board", &self.board), ("append + fdatasync", &self.disk)])
    }
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    setting: Setting,
    /// Travellers left when the last level ended; 0 means that a level ended early.
    travellers_left: usize,
    levels: Vec<Level>,
}

/// Measures so many nodes with so many galleries. Everybody in them boards once, so that their people bound what can be
/// measured.
///
/// # Errors
/// Where it cannot be carried through.
pub async fn measure(options: &Options, nodes: u64, galleries: u32, show: &impl Show) -> Result<Report, Error> {
    let scene = Scene::set(options, nodes, galleries, show).await?;
    let mut people: Vec<(usize, usize)> = Vec::new();
    for (number, flight) in scene.bank.flights.iter().enumerate() {
        people.extend((0..flight.guests.len()).map(|place| (number, place)));
    }
    let mut generator = ChaCha8Rng::seed_from_u64(options.seed);
    for index in (1..people.len()).rev() {
        people.swap(index, generator.next_u32() as usize % (index + 1));
    }
    show.step(&format!("taking {} captures", people.len()));
    let captures = Arc::new(scene.captures(people).await?);
    let gates = scene.gates().await?;
    let next = Arc::new(AtomicU64::new(0));
    let board = {
        let (captures, next) = (captures.clone(), next.clone());
        move |number: usize| {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let (client, captures) = (gates.next(number, place), captures.clone());
            async move {
                let encounter = EncounterId(u128::from(place) + 1);
                let capture = Capture { encounter, ..captures.get(place as usize)?.clone() };
                Some(match client.board(capture).await {
                    Ok(answer) if answer.recording == Recording::Committed => Ok(()),
                    Ok(answer) => Err(format!("answered without a commit: {answer:?}")),
                    Err(error) => Err(error.to_string()),
                })
            }
        }
    };
    let servers = scene.processes();
    let mut levels = Vec::new();
    for &in_flight in &options.in_flight {
        show.step(&format!("{in_flight} in flight"));
        Tally::new()?.run(in_flight, WARM_UP, &[], board.clone()).await?;
        let (mut of_cluster, mut of_disk) = (Tally::new()?, Tally::new()?);
        append(scene.cluster.folder(), &mut of_disk)?;
        of_cluster.run(in_flight, Duration::from_secs(options.seconds), &servers, board.clone()).await?;
        append(scene.cluster.folder(), &mut of_disk)?;
        let (board, disk) = (of_cluster.row(), of_disk.row());
        levels.push(Level {
            in_flight,
            p50_ratio: board.p50_us / disk.p50_us,
            rate_ratio: board.rate_per_second / disk.rate_per_second,
            board,
            disk,
        });
    }
    Ok(Report {
        setting: scene.setting.clone(),
        travellers_left: captures.len().saturating_sub(next.load(Ordering::Relaxed) as usize),
        levels,
    })
}

/// Appends and syncs, one after the other, on the disk of the nodes' data.
fn append(folder: &Path, tally: &mut Tally) -> Result<(), Error> {
    let mut file = File::create(folder.join("bare-append")).map_err(Error::failed)?;
    let begun = Instant::now();
    while begun.elapsed() < DISK_SPELL {
        let appending = Instant::now();
        file.write_all(&[7; APPEND_BYTES]).map_err(Error::failed)?;
        file.sync_data().map_err(Error::failed)?;
        tally.record(appending.elapsed());
    }
    Ok(())
}

impl Report {
    /// What was measured, as a person reads it; `table` sets rows of cells, the head first.
    pub fn describe(&self, table: impl Fn(&[Vec<String>]) -> String) -> String {
        let mut ratios = Vec::new();
        for level in &self.levels {
            let mut line = format!(
                "{} in flight: p50 {:.2} x the disk's, rate {:.1} x the disk's",
                level.in_flight, level.p50_ratio, level.rate_ratio
            );
            match level.in_flight {
                1 => line.push_str(&format!(" (goal: p50 at most {P50_US_GOAL:.0} us)")),
                256 => line.push_str(&format!(" (goal: {RATE_GOAL:.0} boardings/s)")),
                _ => {}
            }
            ratios.push(line);
        }
        let table = table(&rows(self.levels.iter().map(Level::sides)));
        let mut text = format!("{}\n{table}\n{}", self.setting.describe(), ratios.join("\n"));
        if self.travellers_left == 0 {
            text.push_str("\nall travellers have boarded, so the last level ended early; give more --galleries");
        }
        text
    }
}
