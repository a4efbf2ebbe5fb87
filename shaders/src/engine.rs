//! The one door: chooses an engine, keeps its promise when the device goes away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::batch::{Coarse, Group, Hit, Job, Probe, group_by_gallery};
use crate::cpu::{Cpu, Kernel, Pass};
use crate::error::Error;
use crate::exact;
use crate::gallery::Gallery;
use crate::gpu::{Gpu, Lost};

/// Which engine is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A GPU where there is a real one, else the CPU. A software adapter is slower than the CPU engine, so it does not count.
    Auto,
    /// Any adapter, a software one too; an error where there is none.
    Gpu,
    /// The CPU, with the fastest kernel that it can run.
    Cpu,
}

/// What scores, for logs, metrics and status pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `"gpu"` or `"cpu"`.
    pub engine: &'static str,
    /// The adapter's name, where one is in use.
    pub adapter: Option<String>,
    /// The graphics interface, `"vulkan"`, `"metal"` or `"dx12"`, where one is in use.
    pub backend: Option<String>,
    /// Whether the adapter computes on the CPU.
    pub software: bool,
    /// The CPU kernel in use, or the one that stands by: `"avx512"`, `"avx2"`, `"neon"` or `"portable"`.
    pub kernel: &'static str,
    /// One sentence for the log: what scores and why.
    pub note: String,
}

/// Scores jobs. Shared by reference between threads; on the CPU calls run side by side, each on its caller's thread
/// (large ones share the engine's helping threads), on a GPU one after the other.
pub struct Engine {
    cpu: Cpu,
    gpu: Option<Gpu>,
    gpu_lost: AtomicBool,
    probes_unproved: AtomicU64,
    description: Description,
    description_gpu_lost: Description,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Engine").field(self.description()).finish()
    }
}

impl Engine {
    /// Starts an engine. Opening a GPU takes up to seconds, and it has to answer a small known job correctly first.
    ///
    /// `threads` score on the CPU, the calling one included: the others are started here, once, and help only with calls
    /// so large that sharing them pays. 1 (or 0) starts none.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], for [`Choice::Gpu`] only.
    pub fn start(choice: Choice, threads: usize) -> Result<Engine, Error> {
        let cpu = Cpu::new(Kernel::available()[0], Pass::Auto, threads)?;
        let gpu = match choice {
            Choice::Cpu => return Engine::with(cpu, None, "scoring on the CPU, as configured"),
            Choice::Auto => open_gpu(false),
            Choice::Gpu => open_gpu(true),
        };
        match (gpu, choice) {
            (Ok(gpu), _) => Engine::with(cpu, Some(gpu), ""),
            (Err(detail), Choice::Gpu) => Err(Error::NoAdapter { detail }),
            (Err(detail), _) => {
                Engine::with(cpu, None, &format!("scoring on the CPU, because no GPU adapter is usable: {detail}"))
            }
        }
    }

    /// Starts the CPU engine with one certain kernel and coarse pass, for tests and benchmarks.
    ///
    /// # Errors
    /// [`Error::Kernel`] where this processor cannot run it.
    pub fn start_with(kernel: Kernel, pass: Pass, threads: usize) -> Result<Engine, Error> {
        Engine::with(Cpu::new(kernel, pass, threads)?, None, "scoring on the CPU, as configured")
    }

    fn with(cpu: Cpu, gpu: Option<Gpu>, cpu_reason: &str) -> Result<Engine, Error> {
        let kernel = cpu.kernel().name();
        let on_cpu = |reason: &str| Description {
            engine: "cpu",
            adapter: None,
            backend: None,
            software: false,
            kernel,
            note: format!("{reason} ({kernel} kernel)"),
        };
        let description = match &gpu {
            None => on_cpu(cpu_reason),
            Some(gpu) => Description {
                engine: "gpu",
                adapter: Some(gpu.adapter()),
                backend: Some(gpu.backend()),
                software: gpu.is_software(),
                kernel,
                note: format!(
                    "scoring on the {}GPU adapter {} by {}",
                    if gpu.is_software() { "software " } else { "" },
                    gpu.adapter(),
                    gpu.backend()
                ),
            },
        };
        let description_gpu_lost = on_cpu("scoring on the CPU, because the GPU device was lost");
        Ok(Engine {
            cpu,
            gpu,
            gpu_lost: AtomicBool::new(false),
            probes_unproved: AtomicU64::new(0),
            description,
            description_gpu_lost,
        })
    }

    /// What scores now. It changes once at most, from GPU to CPU, when the device is lost.
    pub fn description(&self) -> &Description {
        if self.gpu_lost.load(Ordering::Acquire) { &self.description_gpu_lost } else { &self.description }
    }

    /// Threads that score a large call on the CPU, the calling one included.
    pub fn threads(&self) -> usize {
        self.cpu.threads()
    }

    /// Whether a device scores now; where not, the CPU does, on the calling thread.
    pub fn uses_gpu(&self) -> bool {
        self.usable_gpu().is_some()
    }

    /// Scores all jobs in one pass. One result a job, in order: for each probe the best `k` of the rows that
    /// reach its floor (all of them where they are fewer), exact `f64` score descending, then the lower row.
    ///
    /// # Errors
    /// A bad job fails alone, with an error that names its index.
    pub fn score(&self, jobs: &[Job]) -> Vec<Result<Vec<Vec<Hit>>, Error>> {
        let (mut results, groups) = group_by_gallery(jobs);
        let coarse = self.usable_gpu().map(|gpu| gpu.coarse(&groups));
        if let Some(Err(Lost)) = coarse {
            self.gpu_lost.store(true, Ordering::Release);
        }
        let hits = match coarse {
            Some(Ok(coarse)) => groups.iter().zip(coarse).map(|(group, coarse)| self.rescore(group, coarse)).collect(),
            _ => self.cpu.search(&groups),
        };
        for (group, hits) in groups.iter().zip(hits) {
            for (probe, hits) in group.probes.iter().zip(hits) {
                if let Ok(answers) = &mut results[probe.job] {
                    answers[probe.index] = hits;
                }
            }
        }
        results
    }

    /// Wipes and drops what the device holds of a gallery, apart from what galleries share that it was made of or that were
    /// made of it: that goes with the last of them. The host's copy goes when its last `Arc` goes.
    pub fn release(&self, gallery: &Gallery) {
        if let Some(gpu) = self.usable_gpu() {
            gpu.release(gallery);
        }
    }

    /// Bytes of galleries on the device; 0 without one.
    pub fn device_bytes_resident(&self) -> u64 {
        self.usable_gpu().map_or(0, Gpu::bytes_resident)
    }

    /// Probes so far that the device answered without proof and the CPU scanned again: more rows than a tile returns
    /// were within the error bound of the k-th, or the gallery did not fit on the device. A metric; answers are exact anyway.
    pub fn probes_unproved(&self) -> u64 {
        self.probes_unproved.load(Ordering::Relaxed)
    }

    /// Takes the device away, as a driver reset or a pulled card would; for chaos tests. Later calls are answered by the CPU.
    pub fn lose_device(&self) {
        if let Some(gpu) = self.usable_gpu() {
            gpu.lose();
        }
    }

    fn usable_gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref().filter(|_| !self.gpu_lost.load(Ordering::Acquire))
    }

    /// Scores a device's candidates again; probes for which it could not prove any are searched by the CPU.
    fn rescore(&self, group: &Group<'_>, coarse: Coarse) -> Vec<Vec<Hit>> {
        let unproved: Vec<Probe<'_>> =
            group.probes.iter().zip(&coarse).filter(|(_, found)| found.is_none()).map(|(probe, _)| *probe).collect();
        self.probes_unproved.fetch_add(unproved.len() as u64, Ordering::Relaxed);
        let searched = match unproved.is_empty() {
            true => Vec::new(),
            false => self.cpu.search(&[Group { gallery: group.gallery, probes: unproved }]).swap_remove(0),
        };
        let mut searched = searched.into_iter();
        let hits = group.probes.iter().zip(coarse).map(|(probe, found)| match found {
            Some((reach, candidates)) => {
                exact::rescore_bounded(group.gallery, probe.values, &reach, &candidates, probe.wanted)
            }
            None => searched.next().unwrap_or_default(),
        });
        hits.collect()
    }
}

/// Opens a GPU and lets it answer a known job: a driver that miscompiles the kernels is not used.
fn open_gpu(software_too: bool) -> Result<Gpu, String> {
    let gpu = Gpu::open(software_too)?;
    let jobs = self_test_jobs().map_err(|error| error.to_string())?;
    let (_, groups) = group_by_gallery(&jobs);
    let coarse = gpu.coarse(&groups).map_err(|Lost| format!("{} fails its self-test", gpu.adapter()))?;
    for (group, coarse) in groups.iter().zip(coarse) {
        for (probe, candidates) in group.probes.iter().zip(coarse) {
            let best = exact::rescore(group.gallery, probe.values, 0..group.gallery.rows() as u32, probe.wanted);
            let found = candidates.map(|(reach, candidates)| {
                exact::rescore_bounded(group.gallery, probe.values, &reach, &candidates, probe.wanted)
            });
            if found.as_ref() != Some(&best) {
                return Err(format!("{} computes wrong scores in its self-test", gpu.adapter()));
            }
        }
        gpu.release(group.gallery);
    }
    Ok(gpu)
}

/// Three hundred well-spread rows (more than one tile) against one probe and against five, so that both kernels run.
fn self_test_jobs() -> Result<Vec<Job>, Error> {
    const DIMS: usize = 132;
    const ROWS: usize = 300;
    let mut state = 1u32;
    let mut row = || -> Vec<f32> {
        let values: Vec<f64> = (0..DIMS)
            .map(|_| {
                // Numerical Recipes' linear congruential generator: any spread will do.
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f64::from(state) / f64::from(u32::MAX) - 0.5
            })
            .collect();
        let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        values.iter().map(|value| (value / norm) as f32).collect()
    };
    let mut jobs = Vec::new();
    for probes in [1, 5] {
        let rows: Vec<f32> = (0..ROWS).flat_map(|_| row()).collect();
        let gallery = std::sync::Arc::new(Gallery::new(DIMS, rows)?);
        jobs.push(Job::new(gallery, (0..probes).flat_map(|_| row()).collect(), 5));
    }
    Ok(jobs)
}
