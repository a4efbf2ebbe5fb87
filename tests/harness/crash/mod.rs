//! Crash images of the real store: what may lie on a disk after the power went, cut at every write.
//!
//! A process of its own writes a log and snapshots ([`workload`]) under a preloaded library that records every
//! operation on its files, in order ([`recording`]). Cutting the record anywhere and deciding of each write that no
//! sync has covered whether it reached the disk, in whole, in part or not at all, gives an image ([`image`]). The store
//! is opened on the image and must have all that was acknowledged by then, and nothing that was never asked for
//! ([`verdict`]).

pub mod image;
pub mod recording;
pub mod verdict;
pub mod workload;

use std::process::Command;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use image::{Disk, Mode};
use recording::Operation;
use workload::{Model, steps};

/// What came of the images of one record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// Images that were opened.
    pub opened: u64,
    /// Writes and other operations that the record has.
    pub operations: u64,
    /// Steps that were acknowledged before the cuts, summed over the images.
    pub acknowledged: u64,
    /// Unsynced writes that did not wholly reach the disk, summed over the images.
    pub torn: u64,
    /// What was wrong with an image: the seed, the cut, and how.
    pub failures: Vec<String>,
}

/// Records a run of `writer`, a command that calls [`workload::write`] on the folder, seed and number of steps that its
/// last three arguments name, and opens about `count` images of it, spread evenly over its operations.
///
/// # Panics
/// Where the record cannot be made.
pub fn images(writer: Command, seed: u64, steps_count: usize, count: usize, mode: Mode) -> Images {
    let root = tempfile::tempdir().expect("a folder");
    let operations = match recording::record(writer, root.path(), seed, steps_count) {
        Ok(operations) => operations,
        Err(failure) => return Images { failures: vec![failure], ..Images::default() },
    };
    let plan = steps(seed, steps_count);
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut disk = Disk::new(mode);
    let (mut issued, mut done) = (Model::default(), Model::default());
    let mut images = Images { operations: operations.len() as u64, ..Images::default() };
    let every = (operations.len() / count.max(1)).max(1);
    for (number, operation) in operations.iter().enumerate() {
        disk.apply(operation);
        match operation {
            Operation::Issued(step) => issued.apply(&plan[*step]),
            Operation::Done(step) => {
                done.apply(&plan[*step]);
                images.acknowledged += 1;
            }
            _ => {}
        }
        // A place of its own within each stretch, so that seeds differ in where they cut.
        if number % every != (seed as usize).wrapping_mul(7_919) % every {
            continue;
        }
        let folder = root.path().join("image");
        images.torn += disk.crash(&folder, &mut dice);
        images.opened += 1;
        if let Err(problem) = verdict::judge(&folder, &done, &issued) {
            let what = format!("seed {seed}, cut behind operation {number} of {}: {problem}", operations.len());
            images.failures.push(what);
        }
        std::fs::remove_dir_all(&folder).expect("the image is removed");
    }
    images
}

/// A draw between 0 and `bound`, which is left out.
fn below(dice: &mut ChaCha8Rng, bound: u64) -> u64 {
    dice.next_u64() % bound.max(1)
}
