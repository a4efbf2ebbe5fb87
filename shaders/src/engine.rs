//! The one door: chooses an engine, keeps its promise when the device goes away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::batch::{Coarse, Group, Hit, Job, Probe, Results, group_by_gallery};
use crate::cpu::{Cpu, Kernel};
use crate::error::Error;
use crate::exact;
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

/// Scores jobs. Shared by reference between threads; on the CPU calls run side by side, each on its caller's thread,
/// on a GPU one after the other.
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
    /// # Errors
    /// [`Error::NoAdapter`], for [`Choice::Gpu`] only.
    pub fn start(choice: Choice) -> Result<Engine, Error> {
        let kernel = Kernel::available()[0];
        let gpu = match choice {
            Choice::Cpu => return Engine::with(kernel, None, "scoring on the CPU, as configured"),
            Choice::Auto => open_gpu(false),
            Choice::Gpu => open_gpu(true),
        };
        match (gpu, choice) {
            (Ok(gpu), _) => Engine::with(kernel, Some(gpu), ""),
            (Err(detail), Choice::Gpu) => Err(Error::NoAdapter { detail }),
            (Err(detail), _) => {
                Engine::with(kernel, None, &format!("scoring on the CPU, because no GPU adapter is usable: {detail}"))
            }
        }
    }

    /// Starts the CPU engine with one certain kernel, for tests and benchmarks.
    ///
    /// # Errors
    /// [`Error::Kernel`] where this processor cannot run it.
    pub fn start_with_kernel(kernel: Kernel) -> Result<Engine, Error> {
        Engine::with(kernel, None, "scoring on the CPU, as configured")
    }

    fn with(kernel: Kernel, gpu: Option<Gpu>, cpu_reason: &str) -> Result<Engine, Error> {
        let cpu = Cpu::new(kernel)?;
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

    /// Whether a device scores now; where not, the CPU does, on the calling thread.
    pub fn uses_gpu(&self) -> bool {
        self.usable_gpu().is_some()
    }

    /// Scores all jobs in one pass. One result a job, in order: for each probe its best `k` hits (all rows where the
    /// gallery has fewer), exact `f64` score descending, then the lower row.
    ///
    /// # Errors
    /// A bad job fails alone, with [`Error::JobProbe`] or [`Error::JobK`] naming its index.
    pub fn score(&self, jobs: &[Job]) -> Vec<Result<Vec<Vec<Hit>>, Error>> {
        let (mut results, groups) = group_by_gallery(jobs);
        let coarse = match self.usable_gpu().map(|gpu| gpu.coarse(&groups)) {
            Some(Ok(coarse)) => coarse,
            Some(Err(Lost)) => {
                self.gpu_lost.store(true, Ordering::Release);
                self.coarse_on_cpu(&groups)
            }
            None => self.coarse_on_cpu(&groups),
        };
        for (group, coarse) in groups.iter().zip(coarse) {
            self.answer(group, coarse, &mut results);
        }
        results
    }

    /// Wipes and drops what the device holds of a gallery. The host's copy goes when its last `Arc` goes.
    pub fn release(&self, gallery_id: u64) {
        if let Some(gpu) = self.usable_gpu() {
            gpu.release(gallery_id);
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

    fn coarse_on_cpu(&self, groups: &[Group<'_>]) -> Vec<Coarse> {
        let of_group =
            |group: &Group<'_>| self.cpu.coarse(group.gallery, &group.probes).into_iter().map(Some).collect();
        groups.iter().map(of_group).collect()
    }

    /// Scores the candidates again and files the hits; probes without candidates take the CPU's coarse pass first.
    fn answer(&self, group: &Group<'_>, mut coarse: Coarse, results: &mut Results) {
        let unproved: Vec<usize> = (0..coarse.len()).filter(|&index| coarse[index].is_none()).collect();
        if !unproved.is_empty() {
            self.probes_unproved.fetch_add(unproved.len() as u64, Ordering::Relaxed);
            let probes: Vec<Probe<'_>> = unproved.iter().map(|&index| group.probes[index]).collect();
            for (index, candidates) in unproved.into_iter().zip(self.cpu.coarse(group.gallery, &probes)) {
                coarse[index] = Some(candidates);
            }
        }
        for (probe, candidates) in group.probes.iter().zip(coarse) {
            let rows = candidates.into_iter().flatten().map(|candidate| candidate.row);
            let hits = exact::rescore(group.gallery, probe.values, rows, probe.k);
            if let Ok(answers) = &mut results[probe.job] {
                answers[probe.index] = hits;
            }
        }
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
            let best = exact::rescore(group.gallery, probe.values, 0..group.gallery.rows() as u32, probe.k);
            let rows = candidates.unwrap_or_default().into_iter().map(|candidate| candidate.row);
            if exact::rescore(group.gallery, probe.values, rows, probe.k) != best {
                return Err(format!("{} computes wrong scores in its self-test", gpu.adapter()));
            }
        }
        gpu.release(group.gallery.id());
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
        let gallery = std::sync::Arc::new(crate::Gallery::new(DIMS, rows)?);
        jobs.push(Job { gallery, probes: (0..probes).flat_map(|_| row()).collect(), k: 5 });
    }
    Ok(jobs)
}
