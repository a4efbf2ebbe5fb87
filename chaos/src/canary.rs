//! Canaries: faults planted in the product. The checks have to catch each of them within a stated number of seeds.

use std::time::Instant;

use clap::Args;
use cluster_config::canary::{Canaries, Canary, VARIABLE, name, plant};
use harness::invariants::p11_authority;
use harness::{doubles, emptied, lost, planted};

use crate::crash;
use crate::quiet;
use crate::results::{self, Run};
use crate::sim::{self, threads};

/// Seeds of the world that are run at once. Then their failures are read.
const SEEDS_AT_ONCE: u64 = 32;

/// Seconds of virtual time under faults.
const SECONDS: u64 = 60;

/// Where a fault is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the simulated world.
    World,
    /// In crash images of the store.
    Disk,
    /// In the walk over all requests by the rules of authority.
    Walk,
    /// In the real raft group, in simulated time.
    Group,
    /// On the real store of one node, whose ledger leaves the state.
    Chunks,
    /// In a task that is watched.
    Task,
    /// In a node's own process.
    Process,
    /// Among data folders that are copied and put back.
    Folders,
    /// At a node that is emptied.
    Emptied,
    /// Among the lists of a journey whose people are lost.
    Lost,
}

/// A fault, and how it has to be caught.
struct Case {
    canary: Canary,
    place: Place,
    /// Words, one of which has to stand in the failure: it was the right check that caught the fault.
    told_by: &'static [&'static str],
    seeds_max: u64,
    /// The first seed. It is 1, except for a fault that shows only after a rare chain of events.
    from: u64,
}

const fn world(canary: Canary, told_by: &'static [&'static str], seeds_max: u64) -> Case {
    Case { canary, place: Place::World, told_by, seeds_max, from: 1 }
}

const fn folders(canary: Canary, told_by: &'static [&'static str], seeds_max: u64) -> Case {
    Case { canary, place: Place::Folders, told_by, seeds_max, from: 1 }
}

const fn disk(canary: Canary, told_by: &'static [&'static str], seeds_max: u64) -> Case {
    Case { canary, place: Place::Disk, told_by, seeds_max, from: 1 }
}

const fn walk(canary: Canary, told_by: &'static [&'static str]) -> Case {
    Case { canary, place: Place::Walk, told_by, seeds_max: 1, from: 1 }
}

const fn group(canary: Canary, told_by: &'static [&'static str], seeds_max: u64) -> Case {
    Case { canary, place: Place::Group, told_by, seeds_max, from: 1 }
}

const fn other(canary: Canary, place: Place, told_by: &'static [&'static str]) -> Case {
    Case { canary, place, told_by, seeds_max: 1, from: 1 }
}

const CASES: [Case; Canary::ALL.len()] = [
    world(Canary::ApplyTwice, &["P1"], 20),
    world(Canary::SecondCrossing, &["P1"], 20),
    world(Canary::AnswerBeforeCommit, &["P1"], 20),
    world(Canary::RecordAfterClose, &["P1"], 200),
    world(Canary::NoFencing, &["P4"], 500),
    world(Canary::SameEpoch, &["P4"], 20),
    world(Canary::StaleRoute, &["P5"], 1_000),
    world(Canary::ServeUncommitted, &["P5"], 200),
    world(Canary::IgnoredSecond, &["P5"], 200),
    world(Canary::ThresholdOfOne, &["P5"], 20),
    world(Canary::LostPart, &["P5"], 20),
    world(Canary::ForgottenHolder, &["P6", "liveness"], 20),
    world(Canary::EarlyPurge, &["P6"], 20),
    world(Canary::KeptReplica, &["P6", "liveness"], 20),
    Case { place: Place::Lost, ..folders(Canary::LossForgotten, &["crossed twice"], 100) },
    world(Canary::LastCopyPurged, &["P1: node"], 200),
    Case { place: Place::Lost, ..folders(Canary::NewSubjects, &["crossed twice"], 100) },
    world(Canary::OneZone, &["placement"], 200),
    world(Canary::FetchedOnce, &["liveness", "P3"], 1_000),
    world(Canary::NoHedge, &["P3"], 1_000),
    world(Canary::OldRoute, &["P3"], 1_000),
    world(Canary::PushNotAwaited, &["P3"], 20),
    world(Canary::BatchDropped, &["P1"], 100),
    world(Canary::StaleLeader, &["P3"], 500),
    world(Canary::OutcomeOfAnother, &["P1"], 200),
    world(Canary::NewSubjectOnReturn, &["crossed twice"], 200),
    world(Canary::PartByNumber, &["crossed twice"], 200),
    world(Canary::CancelsNamesakes, &["P15"], 200),
    folders(Canary::TwinAccepted, &["P14"], 20),
    folders(Canary::RollbackAccepted, &["P14"], 20),
    Case { place: Place::Emptied, ..folders(Canary::DrainDoneEarly, &["P3"], 20) },
    disk(Canary::AcknowledgeBeforeSync, &["acknowledged", "refused"], 3),
    disk(Canary::UncheckedFrame, &["refused"], 6),
    disk(Canary::NoArchive, &["refused", "acknowledged", "the writer failed"], 9),
    disk(Canary::RenameBeforeSync, &["refused", "acknowledged"], 6),
    world(Canary::KeyWithoutDigest, &["P12"], 20),
    walk(Canary::AnyNodeCommands, &["P11"]),
    group(Canary::UndecodableSnapshot, &["P13"], 5),
    walk(Canary::RevokedServed, &["P11"]),
    other(Canary::ChunkFileLost, Place::Chunks, &["P1"]),
    other(Canary::SealedForgotten, Place::Chunks, &["P12"]),
    world(Canary::OldVersionRecorded, &["P4"], 500),
    world(Canary::HalfAppliedList, &["P10"], 20),
    other(Canary::SilentEnd, Place::Task, &["nobody was told"]),
    other(Canary::LoopPanics, Place::Process, &["the reporting loop has panicked"]),
    world(Canary::CitizensKept, &["R117"], 20),
    world(Canary::PurgedEarly, &["R116"], 20),
];

/// Which canaries.
#[derive(Args)]
pub struct Arguments {
    /// Only those whose name has this in it
    #[arg(long)]
    only: Option<String>,
    /// Prints the result as JSON
    #[arg(long)]
    json: bool,
}

/// Plants each fault and says whether all were caught.
///
/// # Errors
/// Where the results cannot be written.
pub fn main(arguments: &Arguments) -> std::io::Result<bool> {
    let begun = Instant::now();
    quiet::silence();
    let mut result = Run { kind: "canary".to_owned(), seed: 1, ..Run::default() };
    let wanted = |case: &&Case| arguments.only.as_ref().is_none_or(|part| name(case.canary).contains(part));
    for case in CASES.iter().filter(wanted) {
        let (name, since) = (name(case.canary), Instant::now());
        result.rounds += 1;
        let line = match caught(case) {
            Some((seed, said)) => {
                let seed = seed + 1 - case.from;
                result.counts.insert(format!("{name}_seeds"), seed);
                *result.counts.entry("caught".to_owned()).or_default() += 1;
                let said: String = said.chars().take(110).collect();
                format!(
                    "{name:<24} seed {seed:>3} of {:>3}  {:>5.1} s  {said}",
                    case.seeds_max,
                    since.elapsed().as_secs_f64()
                )
            }
            None => {
                let failure = format!("{name} was planted and not caught within {} seeds", case.seeds_max);
                result.failures.push(failure.clone());
                failure
            }
        };
        if !arguments.json {
            println!("{line}");
        }
    }
    plant(None);
    let only = arguments.only.as_ref().map_or(String::new(), |part| format!(" --only {part}"));
    result.command = format!("cargo run -p chaos -- canary{only}");
    result.wall_s = begun.elapsed().as_secs_f64();
    results::append(&result)?;
    if arguments.json {
        println!("{}", serde_json::to_string(&result)?);
    } else {
        let caught = result.counts.get("caught").copied().unwrap_or_default();
        println!("{caught} of {} canaries caught ({:.0} s)", result.rounds, result.wall_s);
    }
    Ok(result.failures.is_empty() && result.rounds > 0)
}

/// The first seed that catches the fault, and its failure.
fn caught(case: &Case) -> Option<(u64, String)> {
    let told = |said: &str| case.told_by.iter().any(|words| says(said, words));
    let step = if case.place == Place::World { SEEDS_AT_ONCE } else { 1 };
    let end = case.from + case.seeds_max;
    for from in (case.from..end).step_by(step as usize) {
        let failures = match case.place {
            Place::World => {
                plant(Some(case.canary));
                sim::seeds(from, end.min(from + step), SECONDS, None, threads()).failures
            }
            Place::Walk => {
                plant(Some(case.canary));
                p11_authority::walk(Canaries::of_process()).err().map(|said| (from, said)).into_iter().collect()
            }
            Place::Group => {
                plant(Some(case.canary));
                harness::group::run(from, SECONDS).failures.into_iter().map(|failure| (from, failure)).collect()
            }
            Place::Chunks => {
                plant(Some(case.canary));
                harness::chunks::run().into_iter().map(|failure| (from, failure)).collect()
            }
            Place::Task => {
                plant(Some(case.canary));
                planted::silent_end().into_iter().map(|failure| (from, failure)).collect()
            }
            Place::Process => {
                let runtime = tokio::runtime::Runtime::new().ok()?;
                runtime.block_on(planted::end_of_node(case.canary)).into_iter().map(|said| (from, said)).collect()
            }
            Place::Folders => {
                plant(Some(case.canary));
                let (_, failure) = doubles::run(from);
                failure.into_iter().map(|failure| (from, failure)).collect()
            }
            Place::Emptied => {
                plant(Some(case.canary));
                emptied::run(from).err().map(|said| (from, said)).into_iter().collect()
            }
            Place::Lost => {
                plant(Some(case.canary));
                lost::run(from).err().map(|said| (from, said)).into_iter().collect()
            }
            Place::Disk => {
                // The fault is planted in the writer. The fault in reading frames is needed where the image is opened.
                plant(Some(case.canary).filter(|canary| *canary == Canary::UncheckedFrame));
                let images = crash::one(from, &[(VARIABLE, name(case.canary))]);
                images.failures.into_iter().map(|failure| (from, failure)).collect()
            }
        };
        if let Some(caught) = failures.into_iter().find(|(_, said)| told(said)) {
            return Some(caught);
        }
    }
    None
}

/// Whether a failure has these words in it: the whole words, since P15 is not P1.
fn says(said: &str, words: &str) -> bool {
    let is_end = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric());
    said.match_indices(words).any(|(at, _)| is_end(&said[at + words.len()..]))
}
