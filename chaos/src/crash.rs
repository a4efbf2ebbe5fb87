//! Crash images of the real store, seed after seed.

use std::process::Command;
use std::time::Instant;

use clap::Args;
use harness::crash::image::Mode;
use harness::crash::{Images, images};

use crate::quiet;
use crate::results::{self, Run};

/// Steps that the writer makes before the store is cut off.
pub const STEPS: usize = 120;

/// How many images.
#[derive(Args)]
pub struct Arguments {
    /// Images to open
    #[arg(long, default_value_t = 300)]
    images: u64,
    /// The first seed; each gives about 150 images
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What the process writes whose writes are recorded.
#[derive(Args)]
pub struct Writer {
    folder: std::path::PathBuf,
    seed: u64,
    steps: usize,
}

/// Writes a store, in the process whose writes are recorded.
pub fn write(writer: &Writer) {
    #[cfg(debug_assertions)]
    cluster_config::canary::plant_as_told();
    harness::crash::workload::write(&writer.folder, writer.seed, writer.steps);
}

/// Opens about 150 images of one seed.
pub fn one(seed: u64, environment: &[(&str, String)]) -> Images {
    let mut writer = Command::new(std::env::current_exe().expect("this program has a path"));
    writer.arg("crash-writer").envs(environment.iter().map(|(name, value)| (name, value)));
    images(writer, seed, STEPS, 150, Mode::Honest)
}

/// Opens the images and says whether all held.
///
/// # Errors
/// Where the results cannot be written.
pub fn main(arguments: &Arguments) -> std::io::Result<bool> {
    let begun = Instant::now();
    // A store that a crash has damaged may panic while it is opened. That is judged, not printed.
    quiet::silence();
    let mut run = Run { kind: "crash".to_owned(), seed: arguments.seed, ..Run::default() };
    let mut sum = Images::default();
    let mut seed = arguments.seed;
    while sum.opened < arguments.images {
        let images = one(seed, &[]);
        sum.opened += images.opened;
        sum.operations += images.operations;
        sum.torn += images.torn;
        run.failures.extend(images.failures);
        seed += 1;
    }
    run.rounds = seed - arguments.seed;
    run.command = format!("cargo run -p chaos -- crash --images {} --seed {}", arguments.images, arguments.seed);
    run.wall_s = begun.elapsed().as_secs_f64();
    run.faults.insert("power loss at a write".to_owned(), sum.opened);
    run.invariants.insert("P1 on one disk".to_owned(), sum.opened);
    for (name, count) in [("images", sum.opened), ("operations", sum.operations), ("torn_writes", sum.torn)] {
        run.counts.insert(name.to_owned(), count);
    }
    results::append(&run)?;
    println!(
        "{} images of {} stores, cut among {} operations, {} writes torn: {} failed ({:.0} s)",
        sum.opened,
        run.rounds,
        sum.operations,
        sum.torn,
        run.failures.len(),
        run.wall_s
    );
    run.failures.iter().for_each(|failure| println!("  {failure}"));
    Ok(run.failures.is_empty())
}
