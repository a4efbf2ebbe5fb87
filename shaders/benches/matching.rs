//! The matcher against this machine's measured multiply-add peak, in one run: `cargo bench -p shaders`; with
//! `-- avx512 "400 rows"` only the lines that hold all of these.
//!
//! `TVS_BENCH_GPU=1` adds the GPU engine. Top-5 of 512 dimensions on one thread, rescoring included; a query counts
//! 2 x 512 x rows operations. Rates are of the best repetition, as the limits are, so that a busy machine
//! distorts both alike; the median stands beside it. It is not a comparison with other libraries.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shaders::{Choice, Engine, Gallery, Job, Kernel};

const DIMS: usize = 512;
const K: usize = 5;

fn main() {
    let mut random = Random(1);
    let limits = Limits { multiply_add_gflops: fma_peak_gflops(), memory_read_gb_per_s: memory_read_gb_per_s() };
    println!("measured multiply-add peak, one thread: {:.0} GFLOP/s", limits.multiply_add_gflops);
    println!("measured memory read, one thread: {:.1} GB/s", limits.memory_read_gb_per_s);
    let mut engines: Vec<(&str, Engine)> = Vec::new();
    for kernel in Kernel::available() {
        match Engine::start_with(kernel, shaders::Pass::Auto, 1) {
            Ok(engine) => engines.push((kernel.name(), engine)),
            Err(error) => println!("{}: {error}", kernel.name()),
        }
    }
    if std::env::var_os("TVS_BENCH_GPU").is_some() {
        match Engine::start(Choice::Gpu, 1) {
            Ok(engine) => engines.push(("gpu", engine)),
            Err(error) => println!("gpu: {error}"),
        }
    }
    println!(
        "{:<32} {:>8} {:>10} {:>10} {:>8} {:>8} {:>7} {:>9}",
        "work", "kernel", "best us", "median us", "GFLOP/s", "of peak", "GB/s", "of memory"
    );

    for (rows, probes) in [(400, 1), (400, 4), (400, 64), (10_000, 1), (10_000, 64), (10_000, 1_024)] {
        let job = Job { gallery: random.gallery(rows), probes: random.units(probes), k: K };
        let work = Work { name: format!("{rows} rows x {probes} probes"), products: rows * probes, rows_read: rows };
        for (name, engine) in &engines {
            report(&work, name, &limits, || {
                black_box(engine.score(std::slice::from_ref(&job)));
            });
        }
    }

    // Its thousand galleries take seconds to draw, so not for nothing.
    let name = "ragged 256 x (1 of 1,000 x 400)".to_owned();
    let work = Work { name, products: 256 * 400, rows_read: 256 * 400 };
    if !engines.iter().any(|(name, _)| wanted(&work.name, name)) {
        return;
    }
    let galleries: Vec<Arc<Gallery>> = (0..1_000).map(|_| random.gallery(400)).collect();
    let jobs: Vec<Job> = (0..256)
        .map(|_| Job { gallery: galleries[random.below(1_000)].clone(), probes: random.units(1), k: K })
        .collect();
    for (name, engine) in &engines {
        report(&work, name, &limits, || {
            black_box(engine.score(&jobs));
        });
    }
}

/// Cargo passes `--bench`; any other argument is a part of the lines wanted.
fn wanted(work: &str, kernel: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|argument| argument != "--bench");
    parts.all(|part| work.contains(part.as_str()) || kernel == part)
}

/// What the physics of this machine allow, measured in this run.
struct Limits {
    multiply_add_gflops: f64,
    memory_read_gb_per_s: f64,
}

struct Work {
    name: String,
    /// Inner products in all.
    products: usize,
    /// Gallery rows that have to be read at least once.
    rows_read: usize,
}

fn report(work: &Work, kernel: &str, limits: &Limits, mut run: impl FnMut()) {
    if !wanted(&work.name, kernel) {
        return;
    }
    run();
    let begin = Instant::now();
    let mut times: Vec<Duration> = Vec::new();
    while times.len() < 3 || (begin.elapsed() < Duration::from_millis(500) && times.len() < 10_000) {
        let start = Instant::now();
        run();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let (best, median) = (times[0].as_secs_f64(), times[times.len() / 2].as_secs_f64());
    let gflops = 2.0 * (DIMS * work.products) as f64 / best / 1e9;
    let gb_per_s = (size_of::<f32>() * DIMS * work.rows_read) as f64 / best / 1e9;
    println!(
        "{:<32} {kernel:>8} {:>10.1} {:>10.1} {gflops:>8.1} {:>7.0}% {gb_per_s:>7.1} {:>8.0}%",
        work.name,
        best * 1e6,
        median * 1e6,
        100.0 * gflops / limits.multiply_add_gflops,
        100.0 * gb_per_s / limits.memory_read_gb_per_s
    );
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn units(&mut self, count: usize) -> Vec<f32> {
        let mut units = Vec::with_capacity(count * DIMS);
        for _ in 0..count {
            let values: Vec<f64> =
                (0..DIMS).map(|_| (0..4).map(|_| self.next() as f64 / u64::MAX as f64 - 0.5).sum()).collect();
            let norm = values.iter().map(|value: &f64| value * value).sum::<f64>().sqrt();
            units.extend(values.iter().map(|value| (value / norm) as f32));
        }
        units
    }

    fn gallery(&mut self, rows: usize) -> Arc<Gallery> {
        Arc::new(Gallery::new(DIMS, self.units(rows)).expect("random unit rows are a gallery"))
    }
}

/// The physical limit: independent multiply-adds in registers, the widest there are.
fn fma_peak_gflops() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F.
            return best_rate(|turns| unsafe { peak_avx512(turns) });
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA.
            return best_rate(|turns| unsafe { peak_avx2(turns) });
        }
    }
    best_rate(peak_portable)
}

/// The other limit, of single probes against galleries that are not in a cache: reading 512 MiB in order.
fn memory_read_gb_per_s() -> f64 {
    let values = vec![1u64; 64 << 20];
    (0..5)
        .map(|_| {
            let start = Instant::now();
            let mut sums = [0u64; 32];
            for chunk in black_box(values.as_slice()).as_chunks::<32>().0 {
                for lane in 0..32 {
                    sums[lane] ^= chunk[lane];
                }
            }
            black_box(sums);
            size_of_val(values.as_slice()) as f64 / start.elapsed().as_secs_f64() / 1e9
        })
        .fold(0.0, f64::max)
}

/// The best of some short runs, because a shared machine only ever slows a run down. `run` returns its operations.
fn best_rate(run: impl Fn(u64) -> f64) -> f64 {
    (0..20)
        .map(|_| {
            let start = Instant::now();
            let flops = run(1_000_000);
            flops / start.elapsed().as_secs_f64() / 1e9
        })
        .fold(0.0, f64::max)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn peak_avx512(turns: u64) -> f64 {
    use std::arch::x86_64::*;
    let mut sums = [_mm512_setzero_ps(); 24];
    let (a, b) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(0.25)));
    for _ in 0..turns {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(a, b, *sum);
        }
    }
    black_box(sums.map(|sum| _mm512_reduce_add_ps(sum)));
    turns as f64 * 24.0 * 16.0 * 2.0
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn peak_avx2(turns: u64) -> f64 {
    use std::arch::x86_64::*;
    let mut sums = [_mm256_setzero_ps(); 12];
    let (a, b) = (_mm256_set1_ps(black_box(0.5)), _mm256_set1_ps(black_box(0.25)));
    for _ in 0..turns {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(a, b, *sum);
        }
    }
    black_box(sums.map(|sum| _mm256_cvtss_f32(sum)));
    turns as f64 * 12.0 * 8.0 * 2.0
}

fn peak_portable(turns: u64) -> f64 {
    let mut sums = [[0.0f32; 4]; 12];
    let (a, b) = (black_box([0.5f32; 4]), black_box([0.25f32; 4]));
    for _ in 0..turns {
        for sum in &mut sums {
            for lane in 0..4 {
                sum[lane] += a[lane] * b[lane];
            }
        }
    }
    black_box(sums);
    turns as f64 * 12.0 * 4.0 * 2.0
}
