//! The GPU engine's coarse pass, in eight bits like the CPU's and over the same panels, and the only folder that knows wgpu.
//!
//! Galleries stay on the device in slabs, uploaded at their first use. A call becomes one work list, cut by
//! slab and kernel, in one submission with one read-back (more only where the candidates of a huge call would not
//! fit: then one round is scored while the one before is read back and merged); per tile only the best candidates come
//! back. One call at a time uses the device.

mod arena;
mod cache;
mod device;
mod plan;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use crate::batch::{Coarse, Group};
use crate::gallery::Gallery;
use crate::layout::{Candidate, TILE_PROBES, WorkItem};
use crate::panel::GROUP;
use arena::Arena;
use device::Device;
use plan::{DeviceKernel, Plan, Round};

/// A device that has not finished a round by then is given up. A round takes milliseconds on a GPU and at most
/// seconds on a software one.
const ROUND_TIMEOUT: Duration = Duration::from_secs(30);

/// Work lists are bound at offsets of this many items: 256 bytes, the strictest alignment WebGPU allows.
const WORK_ALIGNMENT: usize = 256 / size_of::<WorkItem>();

/// Smallest size of the buffers that are kept between calls.
const BUFFER_BYTES_MIN: u64 = 64 << 10;

/// The device is lost, hung or refused something; nothing can be expected of it any more.
#[derive(Debug)]
pub(crate) struct Lost;

/// The open device and what is on it.
pub(crate) struct Gpu {
    device: Device,
    state: Mutex<State>,
}

struct State {
    arena: Arena,
    probes: Buffer,
    /// Rounds take turns with them.
    stages: [Stage; 2],
}

/// The buffers of one round.
struct Stage {
    work: Buffer,
    results: Buffer,
    read_back: Buffer,
}

/// A round that the device works on.
struct Submitted {
    submission: wgpu::SubmissionIndex,
    read_back: wgpu::Buffer,
    bytes: u64,
    mapped: mpsc::Receiver<bool>,
}

/// A buffer that is kept between calls and replaced by a larger one when needed.
struct Buffer {
    label: &'static str,
    usage: wgpu::BufferUsages,
    buffer: Option<wgpu::Buffer>,
}

impl Buffer {
    fn new(label: &'static str, usage: wgpu::BufferUsages) -> Buffer {
        Buffer { label, usage, buffer: None }
    }

    fn of_size(&mut self, device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
        match &self.buffer {
            Some(buffer) if buffer.size() >= bytes => buffer.clone(),
            _ => {
                let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(self.label),
                    size: bytes.max(BUFFER_BYTES_MIN).next_power_of_two(),
                    usage: self.usage,
                    mapped_at_creation: false,
                });
                self.buffer = Some(buffer.clone());
                buffer
            }
        }
    }
}

impl Gpu {
    /// Opens the best adapter, a software one only where `software_too` says so; the error says in words why not.
    /// `cache` is a folder for compiled pipelines.
    pub(crate) fn open(software_too: bool, cache: Option<&Path>) -> Result<Gpu, String> {
        use wgpu::BufferUsages as Usage;
        let device = device::open(software_too, cache)?;
        let stage = || Stage {
            work: Buffer::new("work", Usage::STORAGE | Usage::COPY_DST),
            results: Buffer::new("results", Usage::STORAGE | Usage::COPY_SRC),
            read_back: Buffer::new("read back", Usage::MAP_READ | Usage::COPY_DST),
        };
        let state = State {
            arena: Arena::new(device.device.clone(), device.queue.clone()),
            probes: Buffer::new("probes", Usage::STORAGE | Usage::COPY_DST),
            stages: [stage(), stage()],
        };
        Ok(Gpu { device, state: Mutex::new(state) })
    }

    pub(crate) fn adapter(&self) -> String {
        self.device.info.name.clone()
    }

    pub(crate) fn backend(&self) -> String {
        self.device.info.backend.to_string()
    }

    pub(crate) fn is_software(&self) -> bool {
        device::is_software(&self.device.info)
    }

    /// Bytes of galleries on the device.
    pub(crate) fn bytes_resident(&self) -> u64 {
        self.lock().arena.bytes_resident()
    }

    /// Wipes and frees what only this gallery has on the device.
    pub(crate) fn release(&self, gallery: &Gallery) {
        let mut state = self.lock();
        for part in gallery.parts().iter().filter(|part| Arc::strong_count(&part.block) == 1) {
            state.arena.release(&part.block);
        }
        state.arena.release_dropped();
    }

    /// Takes the device away, as a driver reset or a pulled card does.
    pub(crate) fn lose(&self) {
        self.device.device.destroy();
        self.device.failed.store(true, Ordering::Release);
    }

    /// For each group, and in it for each probe, the candidates that the error bound cannot exclude.
    ///
    /// # Errors
    /// [`Lost`]; the whole call is then to be answered by the CPU.
    pub(crate) fn coarse(&self, groups: &[Group<'_>]) -> Result<Vec<Coarse>, Lost> {
        let mut state = self.lock();
        self.alive()?;
        state.arena.release_dropped();
        let binding_bytes_max = self.device.device.limits().max_storage_buffer_binding_size;
        let mut plan = Plan::default();
        let mut planned = vec![false; groups.len()];
        for (planned, group) in planned.iter_mut().zip(groups) {
            // Four words in front of each four probes or one, and at most four probes' codes.
            let tiles = group.probes.len().div_ceil(TILE_PROBES);
            let probe_words = plan.probes.len() + tiles * TILE_PROBES * (1 + group.gallery.dims() / GROUP);
            if ((probe_words * size_of::<u32>()) as u64).next_power_of_two() > binding_bytes_max {
                continue;
            }
            let parts = group.gallery.parts().iter();
            let segments: Option<Vec<_>> =
                parts.map(|part| Some((part, state.arena.segments(&part.block)?.to_vec()))).collect();
            if let Some(segments) = segments {
                plan.add(group, &segments);
                *planned = true;
            }
        }
        let on_device = groups.iter().zip(&planned).filter(|(_, planned)| **planned);
        let galleries: Vec<&Gallery> =
            on_device.flat_map(|(group, _)| group.probes.iter().map(|_| group.gallery.as_ref())).collect();
        let probes = state.probes.of_size(&self.device.device, size_of_val(plan.probes.as_slice()) as u64);
        self.device.queue.write_buffer(&probes, 0, bytemuck::cast_slice(&plan.probes));
        let mut merge = |round: &Round, candidates: &[Candidate]| {
            for piece in &round.pieces {
                let run = &candidates[piece.start..piece.start + piece.length];
                plan.merges[piece.probe].take(galleries[piece.probe], run, piece.cut);
            }
        };
        let mut before: Option<(&Round, Submitted)> = None;
        for (index, round) in plan.rounds.iter().enumerate() {
            let last = index + 1 == plan.rounds.len();
            let submitted = self.submit(&mut state, index, &probes, round, last);
            if let Some((round, submitted)) = before.replace((round, submitted)) {
                merge(round, &self.collect(submitted)?);
            }
        }
        if let Some((round, submitted)) = before {
            merge(round, &self.collect(submitted)?);
        }
        let mut merged = plan.merges.into_iter().map(plan::Merge::finish);
        let coarse = groups.iter().zip(planned).map(|(group, planned)| {
            let of_probe = |_| if planned { merged.next().flatten() } else { None };
            group.probes.iter().map(of_probe).collect()
        });
        Ok(coarse.collect())
    }

    /// Submits one round. The last one also wipes the probes from the device.
    fn submit(&self, state: &mut State, index: usize, probes: &wgpu::Buffer, round: &Round, last: bool) -> Submitted {
        let stage = &mut state.stages[index % 2];
        let Device { device, queue, .. } = &self.device;
        let (work_items, dispatches) = lay_out_work(&round.work, device.limits().max_compute_workgroups_per_dimension);
        let work = stage.work.of_size(device, size_of_val(work_items.as_slice()) as u64);
        queue.write_buffer(&work, 0, bytemuck::cast_slice(&work_items));
        let bytes = (round.candidates * size_of::<Candidate>()) as u64;
        let results = stage.results.of_size(device, bytes);
        let read_back = stage.read_back.of_size(device, bytes);

        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("score") });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for dispatch in &dispatches {
            let work_binding = wgpu::BufferBinding {
                buffer: &work,
                offset: (dispatch.item_first * size_of::<WorkItem>()) as u64,
                size: std::num::NonZero::new((dispatch.item_count * size_of::<WorkItem>()) as u64),
            };
            let slab = state.arena.slab_buffer(dispatch.slab);
            let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
            let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("score"),
                layout: &self.device.layout,
                entries: &[
                    entry(0, slab.as_entire_binding()),
                    entry(1, probes.as_entire_binding()),
                    entry(2, wgpu::BindingResource::Buffer(work_binding)),
                    entry(3, results.as_entire_binding()),
                ],
            });
            pass.set_pipeline(match dispatch.kernel {
                DeviceKernel::ScoreOne => &self.device.score_one,
                DeviceKernel::ScoreFour => &self.device.score_four,
            });
            pass.set_bind_group(0, &bind_group, &[]);
            pass.dispatch_workgroups(dispatch.grid.0, dispatch.grid.1, 1);
        }
        drop(pass);
        encoder.copy_buffer_to_buffer(&results, 0, &read_back, 0, bytes);
        if last {
            encoder.clear_buffer(probes, 0, None);
        }
        let submission = queue.submit([encoder.finish()]);

        let (sender, mapped) = mpsc::channel();
        read_back.map_async(wgpu::MapMode::Read, 0..bytes, move |mapped| {
            // The receiver is gone only where this round was already given up.
            let _ = sender.send(mapped.is_ok());
        });
        Submitted { submission, read_back, bytes, mapped }
    }

    /// Waits for a round's candidates.
    fn collect(&self, submitted: Submitted) -> Result<Vec<Candidate>, Lost> {
        let Submitted { submission, read_back, bytes, mapped } = submitted;
        let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(ROUND_TIMEOUT) };
        if self.device.device.poll(wait).is_err() || mapped.try_recv() != Ok(true) {
            self.device.failed.store(true, Ordering::Release);
        }
        self.alive()?;
        let candidates = match read_back.get_mapped_range(0..bytes) {
            Ok(bytes) => bytemuck::pod_collect_to_vec(&bytes),
            Err(_) => return Err(Lost),
        };
        read_back.unmap();
        Ok(candidates)
    }

    fn alive(&self) -> Result<(), Lost> {
        if self.device.failed.load(Ordering::Acquire) { Err(Lost) } else { Ok(()) }
    }

    /// A call that panicked leaves at worst a buffer mapped, which the next call's submission reports as a failure.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Dispatch {
    slab: usize,
    kernel: DeviceKernel,
    item_first: usize,
    item_count: usize,
    grid: (u32, u32),
}

/// Puts all work lists one behind the other, each padded with idle items to a full grid and to the alignment of a binding.
fn lay_out_work(
    work: &BTreeMap<(usize, DeviceKernel), Vec<WorkItem>>,
    groups_max: u32,
) -> (Vec<WorkItem>, Vec<Dispatch>) {
    let mut items: Vec<WorkItem> = Vec::new();
    let mut dispatches = Vec::new();
    for (&(slab, kernel), list) in work {
        let item_first = items.len();
        let count = list.len() as u32;
        let height = count.div_ceil(groups_max);
        let width = count.div_ceil(height);
        items.extend_from_slice(list);
        let item_count = (width * height) as usize;
        items.resize((item_first + item_count).next_multiple_of(WORK_ALIGNMENT), WorkItem::default());
        dispatches.push(Dispatch { slab, kernel, item_first, item_count, grid: (width, height) });
    }
    (items, dispatches)
}

/// Runs a future of wgpu to its end. On native backends they are ready at once; parking covers those that are not.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
