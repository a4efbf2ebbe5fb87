//! Shared by the suites: seeded data, the engines of this machine, the reference, and the comparison with it.

#![allow(dead_code, reason = "each suite uses a part of it")]

use std::sync::{Arc, OnceLock};

use shaders::{Choice, DevicePass, Engine, Gallery, Hit, Job, Kernel};

/// SplitMix64 (Steele, Lea and Flood 2014): small, seeded, the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A direction drawn evenly from the sphere: normalised sums of uniform values are near enough to normal.
    pub fn unit(&mut self, dims: usize) -> Vec<f32> {
        let values: Vec<f64> =
            (0..dims).map(|_| (0..4).map(|_| self.next() as f64 / u64::MAX as f64 - 0.5).sum()).collect();
        unit(values)
    }

    pub fn units(&mut self, count: usize, dims: usize) -> Vec<f32> {
        (0..count).flat_map(|_| self.unit(dims)).collect()
    }
}

/// A template with the direction of some values.
pub fn unit(values: Vec<f64>) -> Vec<f32> {
    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    values.into_iter().map(|value| (value / norm) as f32).collect()
}

/// The engines of this machine by name: each CPU kernel, and where there is any adapter each pass of the GPU. Opened
/// once a process. Miri, which takes a thousand times as long and knows no device, runs the fastest kernel alone.
pub fn engines() -> &'static [(String, Engine)] {
    static ENGINES: OnceLock<Vec<(String, Engine)>> = OnceLock::new();
    ENGINES.get_or_init(|| {
        let mut engines = Vec::new();
        for kernel in Kernel::available().into_iter().take(if cfg!(miri) { 1 } else { usize::MAX }) {
            let engine = Engine::start_with(kernel, 1).expect("an available kernel starts");
            engines.push((kernel.name().to_owned(), engine));
        }
        for pass in DevicePass::ALL.into_iter().filter(|_| !cfg!(miri)) {
            let engine = or_skip(&format!("the pass {pass:?}"), is_required(pass), Engine::start_on_device(pass));
            engines.extend(engine.map(|engine| (format!("gpu, {pass:?}"), engine)));
        }
        engines
    })
}

/// The GPU engine; without an adapter a failure where `TVS_GPU=required`, else a line that says what was skipped.
pub fn gpu() -> Option<Engine> {
    or_skip("the GPU", is_required(DevicePass::Auto), Engine::start(Choice::Gpu, 1))
}

/// With `TVS_GPU=required` the passes of every device must be there; with `TVS_GPU=every`, all passes.
fn is_required(pass: DevicePass) -> bool {
    std::env::var("TVS_GPU").is_ok_and(|value| value == "every" || value == "required" && pass.is_plain())
}

fn or_skip(name: &str, required: bool, started: Result<Engine, shaders::Error>) -> Option<Engine> {
    match started {
        Ok(engine) => Some(engine),
        Err(error) if required => panic!("{name} is required here (TVS_GPU), but {error}; {}", error.fix()),
        Err(error) => {
            println!("skipped: {name}: {error}");
            None
        }
    }
}

/// All rows that reach the floor, `f64` products summed as the crate defines a score, fully sorted.
pub fn reference(gallery: &Gallery, probe: &[f32], k: usize, floor: f32) -> Vec<Hit> {
    let rows = (0..gallery.rows()).filter(|row| gallery.contains(*row as u32));
    let mut scored: Vec<(f64, u32)> = rows
        .map(|row| {
            let mut lanes = [0.0f64; 16];
            for (index, (a, b)) in probe.iter().zip(gallery.row(row)).enumerate() {
                lanes[index % 16] += f64::from(*a) * f64::from(*b);
            }
            for width in [8, 4, 2, 1] {
                for lane in 0..width {
                    lanes[lane] += lanes[lane + width];
                }
            }
            (lanes[0], row as u32)
        })
        .collect();
    scored.retain(|(score, _)| *score >= f64::from(floor));
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().take(k).map(|(score, row)| Hit { row, score: score as f32 }).collect()
}

pub fn gallery(dims: usize, rows: Vec<f32>) -> Arc<Gallery> {
    Arc::new(Gallery::new(dims, rows).expect("a good gallery"))
}

/// A gallery with some of its rows taken out and others added behind them. Rows keep their numbers where a quarter of
/// them or less is taken out.
pub fn changed(gallery: &Gallery, leave: &[u32], added: &[f32]) -> Arc<Gallery> {
    Arc::new(gallery.turned_into(&wanted(gallery, leave, added)).expect("good templates").0)
}

/// The rows of a gallery as they are wanted: those it has but for some, in their order, and others behind them.
pub fn wanted(gallery: &Gallery, leave: &[u32], added: &[f32]) -> Vec<f32> {
    let there = (0..gallery.rows() as u32).filter(|row| gallery.contains(*row) && !leave.contains(row));
    there.flat_map(|row| gallery.row(row as usize)).chain(added).copied().collect()
}

/// Scores on every engine and compares each hit, bit by bit, with the reference; then again with a floor that cuts the
/// hits of each job's first probe in the middle.
pub fn agree(name: &str, jobs: &[Job]) {
    agree_on(name, jobs);
    let cut = |job: &Job| {
        let first = job.probes.chunks(job.gallery.dims()).next();
        let hits = first.map(|values| reference(&job.gallery, values, job.k, job.floor)).unwrap_or_default();
        let floor = hits.get(hits.len() / 2).map_or(job.floor, |hit| hit.score);
        Job { floor, ..job.clone() }
    };
    agree_on(&format!("{name}, with a floor"), &jobs.iter().map(cut).collect::<Vec<Job>>());
}

fn agree_on(name: &str, jobs: &[Job]) {
    for (engine_name, engine) in engines() {
        let results = engine.score(jobs);
        assert_eq!(results.len(), jobs.len());
        for (index, (job, result)) in jobs.iter().zip(results).enumerate() {
            let answers = result.unwrap_or_else(|error| panic!("{name} on {engine_name}: job {index}: {error}"));
            let probes: Vec<&[f32]> = job.probes.chunks(job.gallery.dims()).collect();
            assert_eq!(answers.len(), probes.len(), "{name} on {engine_name}: job {index}");
            for (probe, (values, hits)) in probes.iter().zip(answers).enumerate() {
                let expected = reference(&job.gallery, values, job.k, job.floor);
                assert!(
                    hits.len() == expected.len()
                        && hits
                            .iter()
                            .zip(&expected)
                            .all(|(a, b)| a.row == b.row && a.score.to_bits() == b.score.to_bits()),
                    "{name} on {engine_name}: job {index}, probe {probe}: got {hits:?}, expected {expected:?}"
                );
            }
        }
        assert_eq!(engine.description().engine, if engine_name.starts_with("gpu") { "gpu" } else { "cpu" });
    }
}
