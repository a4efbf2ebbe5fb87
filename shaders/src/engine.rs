//! The one door: chooses the CPU or a device for each call, and answers also when the device is lost.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::accelerator::{Accelerator, Open};
use crate::ask::{Group, Hit, Job, Probe};
use crate::batch::group_by_gallery;
use crate::cpu::Cpu;
use crate::cpu::kernel::Kernel;
use crate::error::Error;
use crate::gallery::Gallery;
use crate::gpu::{self, DevicePass, Lost};

/// Which engine is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A GPU where there is a real one, else the CPU. A software adapter is slower than the CPU engine, so it is left
    /// out.
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
    /// One sentence for the log: which engine scores, and why.
    pub note: String,
}

/// Scores jobs. Threads share it by reference. On the CPU calls run side by side, each on its caller's thread; large
/// ones share the engine's helping threads. A GPU scores one call after the other; meanwhile the next call is uploaded
/// and the one before is read back.
pub struct Engine {
    cpu: Arc<Cpu>,
    accelerator: Option<Arc<Accelerator>>,
    device_pass: DevicePass,
    probes_unproved: AtomicU64,
    /// Why the CPU scores, where no device was opened.
    cpu_reason: String,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Engine").field(&self.description()).finish()
    }
}

impl Engine {
    /// Starts an engine. Opening a GPU takes up to seconds, and it has to answer small known jobs correctly first.
    ///
    /// `threads` score on the CPU, the calling one included. The others are started here, once, and help only with
    /// calls so large that sharing them pays. 1 (or 0) starts none.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], for [`Choice::Gpu`] only.
    pub fn start(choice: Choice, threads: usize) -> Result<Engine, Error> {
        Engine::start_in(choice, threads, None)
    }

    /// As [`Engine::start`]. Compiled pipelines are kept in the folder `cache`, so that the next start is quicker.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start_in(choice: Choice, threads: usize, cache: Option<PathBuf>) -> Result<Engine, Error> {
        Engine::start_pass(choice, threads, cache, DevicePass::Auto)
    }

    /// Starts an engine on any adapter with the given device pass, for tests and benchmarks.
    ///
    /// # Errors
    /// [`Error::NoAdapter`].
    pub fn start_on_device(pass: DevicePass) -> Result<Engine, Error> {
        Engine::start_pass(Choice::Gpu, 1, None, pass)
    }

    fn start_pass(
        choice: Choice,
        threads: usize,
        cache: Option<PathBuf>,
        device_pass: DevicePass,
    ) -> Result<Engine, Error> {
        let cpu = Cpu::new(Kernel::available()[0], threads)?;
        if choice == Choice::Cpu {
            return Ok(Engine::on_cpu(cpu, "as configured"));
        }
        let cpu = Arc::new(cpu);
        let (accelerator, cpu_reason) = match Accelerator::start(choice == Choice::Gpu, device_pass, cache, cpu.clone())
        {
            Ok(accelerator) => (Some(accelerator), String::new()),
            Err(detail) if choice == Choice::Gpu => return Err(Error::NoAdapter { detail }),
            Err(detail) => (None, format!("because no GPU adapter is usable: {detail}")),
        };
        Ok(Engine { cpu, accelerator, device_pass, probes_unproved: AtomicU64::new(0), cpu_reason })
    }

    /// Starts the CPU engine with the given kernel, for tests and benchmarks.
    ///
    /// # Errors
    /// [`Error::Kernel`] where this processor cannot run it.
    pub fn start_with(kernel: Kernel, threads: usize) -> Result<Engine, Error> {
        Ok(Engine::on_cpu(Cpu::new(kernel, threads)?, "as configured"))
    }

    fn on_cpu(cpu: Cpu, reason: &str) -> Engine {
        Engine {
            cpu: Arc::new(cpu),
            accelerator: None,
            device_pass: DevicePass::Auto,
            probes_unproved: AtomicU64::new(0),
            cpu_reason: reason.to_owned(),
        }
    }

    /// Which engine scores now. It changes when a device is lost, and when it is back.
    pub fn description(&self) -> Description {
        let kernel = self.cpu.kernel().name();
        let Some(open) = self.usable_gpu() else {
            let lost = "because the GPU device was lost; it is opened again as soon as it can be";
            let reason = if self.accelerator.is_some() { lost } else { &self.cpu_reason };
            return Description {
                engine: "cpu",
                adapter: None,
                backend: None,
                software: false,
                kernel,
                note: format!("scoring on the CPU, {reason} ({kernel} kernel)"),
            };
        };
        let (adapter, backend, software) = (open.gpu.adapter(), open.gpu.backend(), open.gpu.is_software());
        let kind = if software { "software " } else { "" };
        Description {
            engine: "gpu",
            note: format!("scoring on the {kind}GPU adapter {adapter} by {backend}{}", open.gpu.choices()),
            adapter: Some(adapter),
            backend: Some(backend),
            software,
            kernel,
        }
    }

    /// Whether a device would score one probe against this gallery now. Otherwise the CPU does, on the calling thread.
    pub fn device_scores(&self, gallery: &Gallery) -> bool {
        self.usable_gpu().is_some_and(|open| open.pays_for_one(gallery))
    }

    /// Scores all jobs in one pass. The results are in the order of the jobs: for each probe the best `k` of the rows
    /// that reach its floor (all of them where they are fewer), exact `f64` score descending, then the lower row.
    ///
    /// # Errors
    /// A bad job fails alone, with an error that names its index.
    pub fn score(&self, jobs: &[Job]) -> Vec<Result<Vec<Vec<Hit>>, Error>> {
        let (mut results, groups) = group_by_gallery(jobs, &self.cpu);
        let device = self.usable_gpu().filter(|open| open.pays(&groups));
        let proved = device.as_ref().map(|open| open.gpu.coarse(&self.cpu, &groups, self.device_pass, gpu::rescore));
        if let (Some(accelerator), Some(open), Some(Err(Lost))) = (&self.accelerator, &device, &proved) {
            accelerator.lost(open);
        }
        let hits = match proved {
            Some(Ok(proved)) => groups.iter().zip(proved).map(|(group, proved)| self.complete(group, proved)).collect(),
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

    /// Wipes and drops the device's copy of a gallery. Blocks that it shares with other galleries stay until the last
    /// of these is released. The host's copy goes when its last `Arc` goes.
    pub fn release(&self, gallery: &Gallery) {
        if let Some(open) = self.usable_gpu() {
            open.gpu.release(gallery);
        }
    }

    /// Bytes of galleries on the device; 0 without one.
    pub fn device_bytes_resident(&self) -> u64 {
        self.usable_gpu().map_or(0, |open| open.gpu.bytes_resident())
    }

    /// Probes so far that the CPU scanned again because the device could not prove its answer: more rows than come back
    /// were within the error bound of the k-th, or the gallery did not fit on the device. Answers are exact either way.
    pub fn probes_unproved(&self) -> u64 {
        self.probes_unproved.load(Ordering::Relaxed)
    }

    /// Takes the device away, as a driver reset or a pulled card would, for tests. The CPU answers calls until the
    /// device is open again.
    pub fn lose_device(&self) {
        if let Some(open) = self.usable_gpu() {
            open.gpu.lose();
        }
    }

    fn usable_gpu(&self) -> Option<Arc<Open>> {
        self.accelerator.as_ref()?.usable()
    }

    /// A group's hits: those that the device proved, and the CPU's for the other probes.
    fn complete(&self, group: &Group<'_>, proved: Vec<Option<Vec<Hit>>>) -> Vec<Vec<Hit>> {
        let unproved: Vec<Probe<'_>> =
            group.probes.iter().zip(&proved).filter(|(_, hits)| hits.is_none()).map(|(probe, _)| *probe).collect();
        self.probes_unproved.fetch_add(unproved.len() as u64, Ordering::Relaxed);
        let searched = match unproved.is_empty() {
            true => Vec::new(),
            false => self.cpu.search(&[Group { gallery: group.gallery, probes: unproved }]).swap_remove(0),
        };
        let mut searched = searched.into_iter();
        proved.into_iter().map(|hits| hits.or_else(|| searched.next()).unwrap_or_default()).collect()
    }
}
