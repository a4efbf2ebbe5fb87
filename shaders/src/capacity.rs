//! What this machine can do at best, for benchmarks only: its multiply-adds in eight bits and the rate of its memory.
//!
//! Benchmarks give their figures as shares of these. Each is the best of some short runs, because other work on a
//! shared machine only ever slows a run down.

use std::hint::black_box;
use std::time::Instant;

use crate::storage::Storage;

/// Runs; the best one counts.
const RUNS: usize = 12;

/// Turns of the innermost loop in a run: some milliseconds of work.
const TURNS: u64 = 400_000;

/// Bytes that are read to measure memory: far more than most caches hold.
const MEMORY_BYTES: usize = 512 << 20;

/// Billions of operations a second on codes of eight bits on `threads` threads; a multiply-add counts as two. By
/// AVX-512 VNNI, or by AVX2's `vpmaddubsw` without the additions that a sum needs beside it. None on other processors.
pub fn int8_gops(threads: usize) -> Option<f64> {
    int8_run().map(|run| rate(threads, run))
}

/// Billions of bytes a second that `threads` threads read from memory, each its own part from front to end. The memory
/// is that of galleries: on huge pages where the system has them.
pub fn memory_gb_per_s(threads: usize) -> f64 {
    let threads = threads.max(1);
    let mut storage = Storage::zeroed(MEMORY_BYTES);
    // The system maps all pages that were never written to one page of zeros.
    storage.bytes_mut().fill(1);
    let values: &[u64] = bytemuck::cast_slice(storage.bytes());
    let part = values.len() / threads;
    (0..5)
        .map(|_| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                for part in values.chunks(part) {
                    scope.spawn(move || black_box(read(black_box(part))));
                }
            });
            MEMORY_BYTES as f64 / start.elapsed().as_secs_f64() / 1e9
        })
        .fold(0.0, f64::max)
}

/// Reads all values, in the widest registers.
fn read(values: &[u64]) -> [u64; 32] {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, which is all that the function asks for.
            return unsafe { read_avx2(values) };
        }
    }
    read_portable(values)
}

/// The portable code, compiled for AVX2. Unsafe to call only for what the processor must have.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn read_avx2(values: &[u64]) -> [u64; 32] {
    read_portable(values)
}

#[inline(always)]
fn read_portable(values: &[u64]) -> [u64; 32] {
    let mut sums = [0; 32];
    for chunk in values.as_chunks::<32>().0 {
        for lane in 0..32 {
            sums[lane] ^= chunk[lane];
        }
    }
    sums
}

/// A run of a number of turns; gives its operations.
type Work = fn(u64) -> f64;

fn rate(threads: usize, run: Work) -> f64 {
    let once = || {
        let start = Instant::now();
        let operations: f64 = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(move || run(TURNS))).collect();
            running.into_iter().map(|thread| thread.join().unwrap_or(0.0)).sum()
        });
        operations / start.elapsed().as_secs_f64() / 1e9
    };
    (0..RUNS).map(|_| once()).fold(0.0, f64::max)
}

fn int8_run() -> Option<Work> {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the processor has AVX-512F and VNNI.
            return Some(|turns| unsafe { int8_vnni(turns) });
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return Some(|turns| unsafe { int8_avx2(turns) });
        }
    }
    None
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn int8_vnni(turns: u64) -> f64 {
    use std::arch::x86_64::*;
    let mut sums = [_mm512_setzero_si512(); 24];
    let (a, b) = (_mm512_set1_epi8(black_box(3)), _mm512_set1_epi8(black_box(5)));
    for _ in 0..turns {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, a, b);
        }
    }
    black_box(sums.map(|sum| _mm512_reduce_add_epi32(sum)));
    turns as f64 * 24.0 * 64.0 * 2.0
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn int8_avx2(turns: u64) -> f64 {
    use std::arch::x86_64::*;
    let mut sums = [_mm256_set1_epi8(black_box(3)); 12];
    let b = _mm256_set1_epi8(black_box(5));
    for _ in 0..turns {
        // Each product goes on from the one before, so that the compiler cannot compute it once and for all.
        for sum in &mut sums {
            *sum = _mm256_maddubs_epi16(*sum, b);
        }
    }
    black_box(sums.map(|sum| _mm256_cvtsi256_si32(sum)));
    turns as f64 * 12.0 * 32.0 * 2.0
}
