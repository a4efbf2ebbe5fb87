//! `tvs bench match`: the matcher next to what this machine can do at best, in one run.
//! `shaders/benches/against_peers/run` puts it next to other libraries.

use std::hint::black_box;
use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use cluster_config::canary::Canaries;
use cluster_config::policy::Matching;
use indicatif::{ProgressBar, ProgressDrawTarget};
use node_core::decide;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;
use shaders::{Choice, Engine, Gallery, Job, Kernel, capacity};

use super::{Failure, output};

/// Numbers in a template, and hits wanted.
const DIMS: usize = 512;
const K: usize = 5;

/// How long a line is measured at least, and how often.
const SPELL: Duration = Duration::from_millis(600);
const REPETITIONS_MIN: usize = 3;

/// Galleries of the ragged lines, and their rows.
const GALLERIES: usize = 1_000;
const GALLERY_ROWS: usize = 400;

/// Rows of one gallery with all the bytes that the ragged lines choose from. As little of it stays in a cache, so their
/// rate is compared with its rate.
const ALL_IN_ONE: usize = GALLERIES * GALLERY_ROWS;

/// Galleries that get one template more: a flight's, and a cruise's.
const CHANGED_ROWS: [usize; 2] = [GALLERY_ROWS, 6_000];

/// What to measure.
#[derive(Args)]
pub struct Arguments {
    /// Also galleries of 1,000,000 and 2,000,000 templates (6 GB of memory)
    #[arg(long)]
    large: bool,
    /// Also the GPU engine, a software one too
    #[arg(long)]
    gpu: bool,
    /// Only lines whose name has this in it
    #[arg(long)]
    only: Option<String>,
    /// Only engines whose name, with the number of threads, has this in it, such as "int8 2"
    #[arg(long)]
    engine: Option<String>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// What the machine can do on so many threads.
#[derive(Debug, Clone, Copy, Serialize)]
struct Limits {
    threads: usize,
    int8_gops: Option<f64>,
    memory_gb_per_s: f64,
}

/// One line.
#[derive(Debug, Serialize)]
struct Row {
    work: String,
    rows: usize,
    probes: usize,
    engine: String,
    threads: usize,
    best_us: f64,
    median_us: f64,
    /// Billions of operations a second, a multiply-add counting two, top-k and exact scores included in the time.
    gops: f64,
    /// Share of the measured eight-bit multiply-adds.
    of_arithmetic: Option<f64>,
    /// Share of the measured memory read that the bytes of the pass make, where each is read once.
    of_memory: Option<f64>,
}

/// One template more in a gallery, made of the one before or packed anew; medians.
#[derive(Debug, Serialize)]
struct Change {
    rows: usize,
    one_more_us: f64,
    anew_us: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    limits: Vec<Limits>,
    rows: Vec<Row>,
    changes: Vec<Change>,
}

/// An engine on its line.
struct Bench {
    name: String,
    threads: usize,
    /// Scores on a device, or may: then the limits of the processor say nothing.
    on_device: bool,
    engine: Engine,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let limits: Vec<Limits> = [1, 2]
        .map(|threads| Limits {
            threads,
            int8_gops: capacity::int8_gops(threads),
            memory_gb_per_s: capacity::memory_gb_per_s(threads),
        })
        .to_vec();
    let mut report = Report { limits, rows: Vec::new(), changes: Vec::new() };
    let benches = benches(arguments)?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for (rows, probes) in [(GALLERY_ROWS, &[1, 64][..]), (10_000, &[1, 64, 1_024]), (ALL_IN_ONE, &[1])] {
        bar.set_message(format!("{rows} templates"));
        dense(arguments, &mut report, &benches, &mut random, rows, probes);
    }
    bar.set_message("ragged");
    ragged(arguments, &mut report, &benches, &mut random);
    bar.set_message("one template more");
    report.changes = CHANGED_ROWS.iter().filter_map(|rows| change(arguments, &mut random, *rows)).collect();
    if arguments.large {
        bar.set_message("1,000,000 templates and more");
        dense(arguments, &mut report, &benches, &mut random, 1_000_000, &[1, 1_024]);
        dense(arguments, &mut report, &benches, &mut random, 2_000_000, &[1, 300]);
    }
    bar.finish_and_clear();
    if arguments.json { output::json(&report) } else { output::print(&describe(&report)) }
}

fn benches(arguments: &Arguments) -> Result<Vec<Bench>, Failure> {
    let fastest = Kernel::available()[0];
    let mut benches = Vec::new();
    for threads in [1, 2] {
        let engine = Engine::start_with(fastest, threads)
            .map_err(|error| Failure::failure_of(&crate::engine::Error::from(error)))?;
        benches.push(Bench { name: format!("{} int8", fastest.name()), threads, on_device: false, engine });
    }
    if arguments.gpu {
        // Beside a device the host checks, packs and scores exactly, on all its threads.
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let engine = Engine::start(Choice::Gpu, threads)
            .map_err(|error| Failure::usage_of(&crate::engine::Error::from(error)))?;
        let description = engine.description();
        let name = format!("gpu {}", description.adapter.unwrap_or_default());
        benches.push(Bench { name, threads, on_device: true, engine });
        if !description.software {
            // What a node has: whichever of both is quicker.
            let engine = Engine::start(Choice::Auto, threads)
                .map_err(|error| Failure::usage_of(&crate::engine::Error::from(error)))?;
            benches.push(Bench { name: "auto".to_owned(), threads, on_device: true, engine });
        }
    }
    if let Some(part) = &arguments.engine {
        benches.retain(|bench| format!("{} {}", bench.name, bench.threads).contains(part.as_str()));
        if benches.is_empty() {
            return Err(Failure::usage(format!("no engine has {part:?} in its name; without --engine all are shown")));
        }
    }
    Ok(benches)
}

fn wanted(arguments: &Arguments, work: &str) -> bool {
    arguments.only.as_ref().is_none_or(|part| work.contains(part.as_str()))
}

/// The floor of a gate's search, whose answer has to hold only rows that can change the decision; and its words in a
/// name.
fn gates_floor() -> (f32, &'static str) {
    (decide::floor(&Matching::default(), GALLERY_ROWS as u64, Canaries::default()), ", a gate's floor")
}

/// Probes against one gallery; against one of a gate also as a gate asks.
fn dense(
    arguments: &Arguments,
    report: &mut Report,
    benches: &[Bench],
    random: &mut ChaCha8Rng,
    rows: usize,
    probes: &[usize],
) {
    let works = probes.iter().map(|probes| (*probes, (f32::NEG_INFINITY, "")));
    let works = works.chain((rows == GALLERY_ROWS).then(|| (1, gates_floor())));
    let works = works.map(|(probes, (floor, suffix))| (format!("{rows} x {probes}{suffix}"), probes, floor));
    let works: Vec<(String, usize, f32)> = works.filter(|(work, ..)| wanted(arguments, work)).collect();
    if works.is_empty() {
        return;
    }
    let gallery = gallery(random, rows);
    for (work, probes, floor) in works {
        let jobs = [Job { floor, ..Job::new(gallery.clone(), units(random, probes), K) }];
        for bench in benches {
            // One small gallery is never shared among a processor's threads.
            if bench.on_device || bench.threads == 1 || rows * probes >= 100_000 {
                report.rows.push(timed(report, bench, &work, rows, probes, rows, || &jobs));
            }
        }
    }
}

/// Probes that each go to another gallery; of the best rows of all, and of those that can change a gate's decision.
fn ragged(arguments: &Arguments, report: &mut Report, benches: &[Bench], random: &mut ChaCha8Rng) {
    let all_rows = [1, 4, 16, 64, 256, 1_024].map(|batch| (batch, (f32::NEG_INFINITY, "")));
    let works = all_rows.into_iter().chain([(256, gates_floor())]);
    let works = works.map(|(batch, (floor, suffix))| {
        (batch, floor, format!("ragged {batch} x (1 of {GALLERIES} x {GALLERY_ROWS}){suffix}"))
    });
    let works: Vec<(usize, f32, String)> = works.filter(|(_, _, name)| wanted(arguments, name)).collect();
    if works.is_empty() {
        return;
    }
    let galleries: Vec<Arc<Gallery>> = (0..GALLERIES).map(|_| gallery(random, GALLERY_ROWS)).collect();
    let all = galleries.len() as u32;
    for (batch, floor, name) in works {
        let job = |random: &mut ChaCha8Rng| {
            let gallery = galleries[(random.next_u32() % all) as usize].clone();
            Job { floor, ..Job::new(gallery, units(random, 1), K) }
        };
        // More batches than one, so that no gallery is still in a cache because of its own last time.
        let turns: Vec<Vec<Job>> =
            (0..(4_096 / batch).min(256)).map(|_| (0..batch).map(|_| job(random)).collect()).collect();
        for bench in benches {
            let rows = batch * GALLERY_ROWS;
            let mut turn = turns.iter().cycle();
            let next = || turn.next().map_or(&[][..], Vec::as_slice);
            report.rows.push(timed(report, bench, &name, GALLERY_ROWS, batch, rows, next));
        }
    }
}

/// A gallery that gets one template more, beside one that is packed anew with it.
fn change(arguments: &Arguments, random: &mut ChaCha8Rng, rows: usize) -> Option<Change> {
    if !wanted(arguments, &format!("{rows} and one more")) {
        return None;
    }
    let values = units(random, rows + 1);
    let before = Gallery::new(DIMS, values[..rows * DIMS].to_vec()).expect("unit rows are a gallery");
    let one_more = || black_box(before.turned_into(&values).expect("unit rows are a gallery")).0.rows();
    let anew = || black_box(Gallery::new(DIMS, values.clone()).expect("unit rows are a gallery")).rows();
    let (one_more, anew) = (times(one_more), times(anew));
    Some(Change { rows, one_more_us: one_more[one_more.len() / 2] * 1e6, anew_us: anew[anew.len() / 2] * 1e6 })
}

/// How long something takes each time, in seconds, the shortest first.
fn times<T>(mut what: impl FnMut() -> T) -> Vec<f64> {
    let begin = Instant::now();
    let mut times: Vec<f64> = Vec::new();
    while times.len() < REPETITIONS_MIN || (begin.elapsed() < SPELL && times.len() < 20_000) {
        let start = Instant::now();
        black_box(what());
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_unstable_by(f64::total_cmp);
    times
}

fn timed<'a>(
    report: &Report,
    bench: &Bench,
    work: &str,
    rows: usize,
    probes: usize,
    rows_read: usize,
    mut jobs: impl FnMut() -> &'a [Job],
) -> Row {
    // A device that was idle needs a while to be itself again.
    let warm_up = Instant::now();
    black_box(bench.engine.score(jobs()));
    while bench.on_device && warm_up.elapsed() < SPELL {
        black_box(bench.engine.score(jobs()));
    }
    let times = times(|| bench.engine.score(jobs()));
    let (best, median) = (times[0], times[times.len() / 2]);
    let limits = report.limits.iter().find(|limits| !bench.on_device && limits.threads == bench.threads).copied();
    let gops = 2.0 * (DIMS * rows * probes) as f64 / median / 1e9;
    let gb_per_s = (DIMS * rows_read) as f64 / median / 1e9;
    let peak = limits.and_then(|limits| limits.int8_gops);
    Row {
        work: work.to_owned(),
        rows,
        probes,
        engine: bench.name.clone(),
        threads: bench.threads,
        best_us: best * 1e6,
        median_us: median * 1e6,
        gops,
        of_arithmetic: peak.map(|peak| gops / peak),
        of_memory: limits.map(|limits| gb_per_s / limits.memory_gb_per_s),
    }
}

/// Unit-norm templates, evenly spread.
fn units(random: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    let mut units = Vec::with_capacity(count * DIMS);
    let mut bytes = [0u8; 2 * DIMS];
    for _ in 0..count {
        random.fill_bytes(&mut bytes);
        // Four bits four times over: near enough to a normal distribution.
        let value =
            |pair: &[u8]| (pair[0] & 15) as f32 + (pair[0] >> 4) as f32 + (pair[1] & 15) as f32 + (pair[1] >> 4) as f32;
        let start = units.len();
        units.extend(bytes.chunks_exact(2).map(|pair| value(pair) - 30.0));
        let norm = units[start..].iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        units[start..].iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
    }
    units
}

fn gallery(random: &mut ChaCha8Rng, rows: usize) -> Arc<Gallery> {
    Arc::new(Gallery::new(DIMS, units(random, rows)).expect("unit rows are a gallery"))
}

fn describe(report: &Report) -> String {
    let mut lines = Vec::new();
    for limits in &report.limits {
        let int8 = limits.int8_gops.map_or("-".to_owned(), |gops| format!("{gops:.0}"));
        lines.push(format!(
            "this machine, {} thread(s): int8 {int8} GOP/s, memory {:.1} GB/s",
            limits.threads, limits.memory_gb_per_s
        ));
    }
    let heads = ["work", "engine", "threads", "best us", "median us", "GOP/s", "of arithmetic", "of memory"];
    let heads = heads.map(str::to_owned).to_vec();
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let rows = report.rows.iter().map(|row| {
        vec![
            row.work.clone(),
            row.engine.clone(),
            row.threads.to_string(),
            format!("{:.1}", row.best_us),
            format!("{:.1}", row.median_us),
            format!("{:.1}", row.gops),
            row.of_arithmetic.map_or("-".to_owned(), percent),
            row.of_memory.map_or("-".to_owned(), percent),
        ]
    });
    lines.push(output::table(&std::iter::once(heads).chain(rows).collect::<Vec<_>>()));
    for Change { rows, one_more_us, anew_us } in &report.changes {
        let share = one_more_us / anew_us;
        lines.push(format!(
            "{rows} and one more: {one_more_us:.1} us, {share:.2} of the {anew_us:.0} us of packing all anew"
        ));
    }
    lines.join("\n")
}
