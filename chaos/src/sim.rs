//! Runs seeds of the simulated world on every core, and makes a failure as small as it can.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;
use harness::binary::workspace;
use harness::world::{Report, Setup, run};

use crate::quiet;
use crate::results::{self, Run};
use crate::story::Story;

/// Runs that making a failure smaller may take.
const SHRINK_RUNS_MAX: usize = 200;

/// Failures after which no new seed is begun.
const FAILURES_MAX: usize = 8;

#[derive(Args, Clone)]
pub struct Seeds {
    /// How many seeds, or which, as A..B (B is not run)
    #[arg(long, default_value = "100")]
    seeds: String,
    /// The first seed, where --seeds is a number
    #[arg(long, default_value_t = 1)]
    from: u64,
}

impl Seeds {
    /// The first seed, and the one behind the last.
    ///
    /// # Errors
    /// Where they make no sense.
    pub fn range(&self) -> std::io::Result<(u64, u64)> {
        let bad = |_| std::io::Error::other(format!("--seeds {:?}: give a number, or A..B", self.seeds));
        match self.seeds.split_once("..") {
            Some((from, until)) => Ok((from.parse().map_err(bad)?, until.parse().map_err(bad)?)),
            None => {
                let count: u64 = self.seeds.parse().map_err(bad)?;
                Ok((self.from, self.from.saturating_add(count)))
            }
        }
    }
}

/// Which seeds, and how long each.
#[derive(Args, Clone)]
pub struct Arguments {
    #[command(flatten)]
    seeds: Seeds,
    /// Seconds of virtual time under faults in each run; healing and its end come on top
    #[arg(long, default_value_t = 90)]
    seconds: u64,
    /// Runs seeds until so many hours of virtual time have passed, instead of a number of them
    #[arg(long)]
    hours: Option<f64>,
    /// Threads [default: one for each core]
    #[arg(long)]
    threads: Option<usize>,
    /// Prints the result as JSON
    #[arg(long)]
    json: bool,
}

/// What all seeds came to.
#[derive(Debug, Default)]
pub struct Sum {
    /// Seeds that were run.
    pub seeds: u64,
    pub simulated_us: u64,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<String, u64>,
    /// How often each invariant looked.
    pub looked: BTreeMap<String, u64>,
    pub counts: BTreeMap<String, u64>,
    /// The seeds that failed, and how.
    pub failures: Vec<(u64, String)>,
}

impl Sum {
    fn add(&mut self, seed: u64, report: Report) {
        self.seeds += 1;
        self.simulated_us += report.simulated_us;
        let pour = |into: &mut BTreeMap<String, u64>, from: BTreeMap<String, u64>| {
            from.into_iter().for_each(|(name, count)| *into.entry(name).or_default() += count);
        };
        pour(&mut self.faults, report.faults);
        pour(&mut self.looked, report.looked);
        pour(&mut self.counts, report.counts);
        *self.counts.entry("events".to_owned()).or_default() += report.events;
        self.failures.extend(report.failure.map(|failure| (seed, failure)));
    }
}

/// Runs the seeds. Says whether all held.
///
/// # Errors
/// Where the arguments make no sense, or results cannot be written.
pub fn main(arguments: &Arguments) -> std::io::Result<bool> {
    let (from, until) = match arguments.hours {
        Some(_) => (arguments.seeds.from, u64::MAX),
        None => arguments.seeds.range()?,
    };
    let threads = arguments.threads.unwrap_or_else(threads);
    let begun = Instant::now();
    quiet::silence();
    let hours = arguments.hours.map(|hours| (hours * 3.6e9) as u64);
    let sum = seeds(from, until, arguments.seconds, hours, threads);
    let mut run = Run {
        kind: "sim".to_owned(),
        seed: from,
        rounds: sum.seeds,
        command: format!(
            "cargo run -p chaos -- sim --seeds {from}..{} --seconds {}",
            from + sum.seeds,
            arguments.seconds
        ),
        wall_s: begun.elapsed().as_secs_f64(),
        simulated_s: sum.simulated_us as f64 / 1e6,
        faults: sum.faults,
        invariants: sum.looked,
        counts: sum.counts,
        ..Run::default()
    };
    for (seed, failure) in &sum.failures {
        run.failures.push(format!("seed {seed}: {failure}"));
        if !arguments.json {
            println!("{}", explain(*seed, arguments.seconds, failure)?);
        }
    }
    run.figures.insert("simulated_hours_per_hour".to_owned(), run.simulated_s / run.wall_s);
    results::append(&run)?;
    if arguments.json {
        println!("{}", serde_json::to_string(&run)?);
    } else {
        println!(
            "{} seeds, {:.1} simulated hours in {:.0} s ({:.0} simulated hours an hour), {} events, {} failed",
            run.rounds,
            run.simulated_s / 3_600.0,
            run.wall_s,
            run.simulated_s / run.wall_s,
            run.counts.get("events").copied().unwrap_or_default(),
            run.failures.len()
        );
    }
    Ok(run.failures.is_empty())
}

/// A thread for each core.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs the seeds from `from` to `until`, or until so many microseconds of virtual time have passed.
pub fn seeds(from: u64, until: u64, seconds: u64, simulated_us_max: Option<u64>, threads: usize) -> Sum {
    let sum = Mutex::new(Sum::default());
    let next = AtomicU64::new(from);
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= until || enough.load(Ordering::Relaxed) {
                        return;
                    }
                    let report = run(&Setup::new(seed, seconds));
                    let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    sum.add(seed, report);
                    let full = simulated_us_max.is_some_and(|most| sum.simulated_us >= most);
                    if full || sum.failures.len() >= FAILURES_MAX {
                        enough.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    sum.failures.sort();
    sum
}

/// Makes a failure small, keeps its story in a journal, and says how to see it again.
fn explain(seed: u64, seconds: u64, failure: &str) -> std::io::Result<String> {
    let setup = shrink(seed, seconds);
    let report = run(&Setup { lines: true, ..setup.clone() });
    let left: Vec<String> = report
        .plan
        .iter()
        .enumerate()
        .filter(|(number, _)| !setup.without.contains(number))
        .map(|(number, fault)| format!("    {number}: {fault}"))
        .collect();
    let path = journal(seed);
    Story { setup, report: report.clone() }.save(&path)?;
    Ok(format!(
        "seed {seed} failed: {failure}\n  again: cargo run -p chaos -- sim --from {seed} --seeds 1 \
         --seconds {seconds}\n  enough are these {} of {} faults ({}):\n{}\n  \
         step through it: cargo run -p chaos -- replay {}",
        left.len(),
        report.plan.len(),
        report.failure.as_deref().unwrap_or("which hold by themselves"),
        left.join("\n"),
        path.display()
    ))
}

fn journal(seed: u64) -> PathBuf {
    workspace().join(format!("target/chaos/seed-{seed}.journal"))
}

/// The invariant that a failure breaks.
fn invariant(failure: &str) -> &str {
    failure.split([':', ' ']).next().unwrap_or(failure)
}

/// Leaves out faults for as long as the same invariant breaks: halves first, then smaller parts (delta debugging,
/// Zeller and Hildebrandt, 2002).
fn shrink(seed: u64, seconds: u64) -> Setup {
    let whole = Setup::new(seed, seconds);
    let report = run(&whole);
    let (count, broken) = (report.plan.len(), report.failure.as_deref().map(invariant).map(str::to_owned));
    let fails = |without: &BTreeSet<usize>| {
        let failure = run(&Setup { without: without.clone(), ..whole.clone() }).failure;
        failure.as_deref().map(invariant) == broken.as_deref()
    };
    let mut without = BTreeSet::new();
    let mut part = count.div_ceil(2).max(1);
    let mut runs = 0;
    loop {
        let left: Vec<usize> = (0..count).filter(|number| !without.contains(number)).collect();
        let mut smaller = false;
        for chunk in left.chunks(part) {
            let mut tried = without.clone();
            tried.extend(chunk);
            runs += 1;
            if runs > SHRINK_RUNS_MAX {
                return Setup { without, ..whole.clone() };
            }
            if fails(&tried) {
                without = tried;
                smaller = true;
                break;
            }
        }
        if !smaller {
            if part == 1 {
                return Setup { without, ..whole.clone() };
            }
            part = part.div_ceil(2);
        }
    }
}
