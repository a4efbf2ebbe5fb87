//! The GPU engine's coarse pass, in eight bits like the CPU's and over the same panels, and the only folder that knows wgpu.
//!
//! Galleries stay on the device in slabs, uploaded at their first use. A call becomes one work list, cut by
//! slab and kernel, in one submission with one read-back (more only where the candidates of a huge call would not
//! fit: then one round is scored while the one before is read back and merged); per tile only the best candidates come
//! back, and of large galleries only the rows that reach a floor, for which a sample is ranked before.
//!
//! Calls overlap: while the device scores for one, the next uploads its galleries and submits, and the one before is read
//! back. What a call uses stays on the device until it ends.

mod arena;
mod cache;
mod device;
mod kernels;
mod merge;
mod plan;
mod sieve;

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use crate::batch::{Coarse, Group};
use crate::gallery::Gallery;
use crate::layout::{Candidate, WorkItem};
use arena::Arena;
use device::Device;
use merge::Merge;
use plan::{DeviceKernel, Placed, Plan, Ranking, Round, SET_PROBES_MAX, Sieve, Ways};

/// A device that has not finished a round by then is given up. A round takes milliseconds on a GPU and at most
/// seconds on a software one.
const ROUND_TIMEOUT: Duration = Duration::from_secs(30);

/// Work lists are bound at offsets of this many items: 256 bytes, the strictest alignment WebGPU allows.
const WORK_ALIGNMENT: usize = 256 / size_of::<WorkItem>();

/// Smallest size of the buffers that are kept between calls.
const BUFFER_BYTES_MIN: u64 = 64 << 10;

/// How a device searches, for tests and benchmarks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DevicePass {
    /// Whichever is quicker for the gallery.
    #[default]
    Auto,
    /// The rows of each tile are ranked, and the best of each come back.
    Rank,
    /// As `Rank`, where the rows of a subgroup are ranked among themselves first.
    RankBySubgroups,
    /// A sample is ranked, and of all rows those come back that reach the floor that it gives.
    Sieve,
    /// As `Sieve`, where cooperative matrices are multiplied for many probes.
    SieveByMatrices,
}

impl DevicePass {
    /// The passes there are, without the choice between them.
    pub const ALL: [DevicePass; 4] =
        [DevicePass::Rank, DevicePass::RankBySubgroups, DevicePass::Sieve, DevicePass::SieveByMatrices];

    /// Whether every device has what it needs.
    pub fn is_plain(self) -> bool {
        matches!(self, DevicePass::Auto | DevicePass::Rank | DevicePass::Sieve)
    }
}

/// The device is lost, hung or refused something; nothing can be expected of it any more.
#[derive(Debug)]
pub(crate) struct Lost;

/// The open device and what is on it.
pub(crate) struct Gpu {
    device: Device,
    /// What of the device's special kernels may be used.
    special: Ways,
    /// What is used where there is a choice.
    chosen: Ways,
    state: Mutex<State>,
    /// Calls have ended.
    ended: Condvar,
}

struct State {
    arena: Arena,
    /// Buffers that no call uses.
    spare: Vec<Buffers>,
}

/// The buffers of one call.
struct Buffers {
    probes: Buffer,
    /// Rounds take turns with them.
    stages: [Stage; 2],
}

/// What a call uses of the device until it ends.
struct Call<'a> {
    gpu: &'a Gpu,
    /// Each slab's buffer as it was when the call began.
    slabs: Vec<wgpu::Buffer>,
    held: Vec<arena::Key>,
    buffers: Buffers,
}

/// The buffers of one round.
struct Stage {
    work: Buffer,
    results: Buffer,
    counts: Buffer,
    read_back: Buffer,
}

/// A round that the device works on.
struct Submitted {
    submission: wgpu::SubmissionIndex,
    read_back: wgpu::Buffer,
    /// Of the candidates, behind which the counts stand.
    result_bytes: u64,
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

impl Buffers {
    fn new() -> Buffers {
        use wgpu::BufferUsages as Usage;
        let stage = || Stage {
            work: Buffer::new("work", Usage::STORAGE | Usage::COPY_DST),
            results: Buffer::new("results", Usage::STORAGE | Usage::COPY_SRC),
            counts: Buffer::new("counts", Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST),
            read_back: Buffer::new("read back", Usage::MAP_READ | Usage::COPY_DST),
        };
        Buffers { probes: Buffer::new("probes", Usage::STORAGE | Usage::COPY_DST), stages: [stage(), stage()] }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut state = self.gpu.lock();
        state.arena.let_go(&self.held);
        // A call that panicked may have left a buffer mapped.
        if !std::thread::panicking() {
            state.spare.push(std::mem::replace(&mut self.buffers, Buffers::new()));
        }
        drop(state);
        self.gpu.ended.notify_all();
    }
}

impl Gpu {
    /// Opens the best adapter, a software one only where `software_too` says so, `with_special` kernels where it has what they
    /// need; the error says in words why not. `cache` is a folder for compiled pipelines.
    pub(crate) fn open(software_too: bool, with_special: bool, cache: Option<&Path>) -> Result<Gpu, String> {
        let device = device::open(software_too, with_special, cache)?;
        let state = State { arena: Arena::new(device.device.clone(), device.queue.clone()), spare: Vec::new() };
        Ok(Gpu {
            special: device.fullest(),
            device,
            chosen: Ways::default(),
            state: Mutex::new(state),
            ended: Condvar::new(),
        })
    }

    /// Whether it can search so.
    pub(crate) fn has(&self, pass: DevicePass) -> bool {
        match pass {
            DevicePass::RankBySubgroups => self.special.ranking == Ranking::Subgroups,
            DevicePass::SieveByMatrices => self.special.matrices.is_some(),
            DevicePass::Auto | DevicePass::Rank | DevicePass::Sieve => true,
        }
    }

    /// Leaves a special pass out.
    pub(crate) fn leave_out(&mut self, pass: DevicePass) {
        match pass {
            DevicePass::RankBySubgroups => self.special.ranking = Ranking::Counting,
            DevicePass::SieveByMatrices => self.special.matrices = None,
            DevicePass::Auto | DevicePass::Rank | DevicePass::Sieve => {}
        }
    }

    /// Takes a special pass that it has wherever there is a choice.
    pub(crate) fn choose(&mut self, pass: DevicePass) {
        match pass {
            DevicePass::RankBySubgroups => self.chosen.ranking = self.special.ranking,
            DevicePass::SieveByMatrices => self.chosen.matrices = self.special.matrices,
            DevicePass::Auto | DevicePass::Rank | DevicePass::Sieve => {}
        }
    }

    /// In words, which special passes are taken.
    pub(crate) fn choices(&self) -> &'static str {
        match (self.chosen.ranking, self.chosen.matrices) {
            (Ranking::Counting, None) => "",
            (Ranking::Subgroups, None) => ", with subgroups",
            (Ranking::Counting, Some(_)) => ", with matrices",
            (Ranking::Subgroups, Some(_)) => ", with subgroups and matrices",
        }
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

    /// Wipes and frees what only this gallery has on the device, once the calls that use it have ended.
    pub(crate) fn release(&self, gallery: &Gallery) {
        let mut state = self.lock();
        for part in gallery.parts() {
            let is_alone = || Arc::strong_count(&part.block) == 1;
            while is_alone() && state.arena.is_held(&part.block) {
                state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if is_alone() {
                state.arena.release(&part.block);
            }
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
    pub(crate) fn coarse(&self, groups: &[Group<'_>], pass: DevicePass) -> Result<Vec<Coarse>, Lost> {
        self.check_alive()?;
        let (mut call, placed) = self.begin(groups);
        let sieved = |placed: &Placed<'_>| match pass {
            DevicePass::Auto => sieve::pays(sieve::tiles(placed)),
            DevicePass::Rank | DevicePass::RankBySubgroups => false,
            DevicePass::Sieve | DevicePass::SieveByMatrices => true,
        };
        let ways = match pass {
            DevicePass::Auto => self.chosen,
            DevicePass::Rank | DevicePass::Sieve => Ways::default(),
            DevicePass::RankBySubgroups => Ways { matrices: None, ..self.special },
            DevicePass::SieveByMatrices => Ways { ranking: Ranking::Counting, ..self.special },
        };
        let there = || groups.iter().zip(&placed).filter_map(|(group, placed)| Some((group, placed.as_ref()?)));
        let stride = |placed: &Placed<'_>| sieve::stride(sieve::tiles(placed));
        // The samples of the large galleries, and the small ones as a whole.
        let mut plan = Plan::new(ways);
        for (group, placed) in there().filter(|(_, placed)| sieved(placed)) {
            plan.rank(group, placed, stride(placed));
        }
        for (group, placed) in there().filter(|(_, placed)| !sieved(placed)) {
            plan.rank(group, placed, 1);
        }
        let mut small = call.run(plan)?.into_iter();
        let mut plan = Plan::new(ways);
        for (group, placed) in there().filter(|(_, placed)| sieved(placed)) {
            let floors: Vec<f32> = small.by_ref().take(group.probes.len()).map(Merge::threshold).collect();
            plan.sieve(group, placed, stride(placed), &floors);
        }
        let mut large = call.run(plan)?.into_iter();
        let coarse = groups.iter().zip(&placed).map(|(group, placed)| {
            let merges = match placed {
                Some(placed) if sieved(placed) => &mut large,
                Some(_) => &mut small,
                None => return group.probes.iter().map(|_| None).collect(),
            };
            merges.take(group.probes.len()).map(Merge::finish).collect()
        });
        Ok(coarse.collect())
    }

    /// Brings the groups' galleries to the device and holds them there, and says where each lies; none where it, or its
    /// probes, have no room.
    fn begin<'a>(&self, groups: &[Group<'a>]) -> (Call<'_>, Vec<Option<Placed<'a>>>) {
        let mut state = self.lock();
        state.arena.release_dropped();
        let placed = self.place(&mut state, groups);
        let parts = placed.iter().flatten().flatten();
        let held = parts.map(|(part, _)| state.arena.hold(&part.block)).collect();
        let buffers = state.spare.pop().unwrap_or_else(Buffers::new);
        (Call { gpu: self, slabs: state.arena.buffers(), held, buffers }, placed)
    }

    /// Where each group's gallery lies, uploaded where it was not there yet.
    fn place<'a>(&self, state: &mut State, groups: &[Group<'a>]) -> Vec<Option<Placed<'a>>> {
        let binding_bytes_max = self.device.device.limits().max_storage_buffer_binding_size;
        let mut probe_words = 0;
        let mut place = |group: &Group<'a>| {
            let probes = group.probes.len().next_multiple_of(SET_PROBES_MAX);
            let words = probe_words + sieve::words(group.gallery.dims(), probes);
            if ((words * size_of::<u32>()) as u64).next_power_of_two() > binding_bytes_max {
                return None;
            }
            let parts = group.gallery.parts().iter();
            let placed = parts.map(|part| Some((part, state.arena.segments(&part.block)?.to_vec()))).collect();
            probe_words = words;
            placed
        };
        groups.iter().map(&mut place).collect()
    }

    /// Submits one round. The last one also wipes the probes from the device.
    fn submit(
        &self,
        stage: &mut Stage,
        slabs: &[wgpu::Buffer],
        probes: &wgpu::Buffer,
        round: &Round,
        last: bool,
    ) -> Submitted {
        let Device { device, queue, .. } = &self.device;
        let (work_items, dispatches) = lay_out_work(round, device.limits().max_compute_workgroups_per_dimension);
        let work = stage.work.of_size(device, size_of_val(work_items.as_slice()) as u64);
        queue.write_buffer(&work, 0, bytemuck::cast_slice(&work_items));
        let result_bytes = (round.candidates * size_of::<Candidate>()) as u64;
        let count_bytes = (round.lots.len() * size_of::<u32>()) as u64;
        let results = stage.results.of_size(device, result_bytes);
        let counts = stage.counts.of_size(device, count_bytes);
        let read_back = stage.read_back.of_size(device, result_bytes + count_bytes);

        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("score") });
        if count_bytes > 0 {
            encoder.clear_buffer(&counts, 0, Some(count_bytes));
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for dispatch in &dispatches {
            let work_binding = wgpu::BufferBinding {
                buffer: &work,
                offset: (dispatch.item_first * size_of::<WorkItem>()) as u64,
                size: std::num::NonZero::new((dispatch.item_count * size_of::<WorkItem>()) as u64),
            };
            let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
            let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("score"),
                layout: &self.device.layout,
                entries: &[
                    entry(0, slabs[dispatch.slab].as_entire_binding()),
                    entry(1, probes.as_entire_binding()),
                    entry(2, wgpu::BindingResource::Buffer(work_binding)),
                    entry(3, results.as_entire_binding()),
                    entry(4, counts.as_entire_binding()),
                ],
            });
            pass.set_pipeline(self.device.pipeline(dispatch.kernel));
            pass.set_bind_group(0, &bind_group, &[]);
            pass.dispatch_workgroups(dispatch.grid.0, dispatch.grid.1, 1);
        }
        drop(pass);
        encoder.copy_buffer_to_buffer(&results, 0, &read_back, 0, result_bytes);
        if count_bytes > 0 {
            encoder.copy_buffer_to_buffer(&counts, 0, &read_back, result_bytes, count_bytes);
        }
        if last {
            encoder.clear_buffer(probes, 0, None);
        }
        let submission = queue.submit([encoder.finish()]);

        let bytes = result_bytes + count_bytes;
        let (sender, mapped) = mpsc::channel();
        read_back.map_async(wgpu::MapMode::Read, 0..bytes, move |mapped| {
            // The receiver is gone only where this round was already given up.
            let _ = sender.send(mapped.is_ok());
        });
        Submitted { submission, read_back, result_bytes, bytes, mapped }
    }

    /// Waits for a round's candidates and hands them to their probes.
    fn collect(&self, submitted: Submitted, round: &Round, merges: &mut [Merge<'_>]) -> Result<(), Lost> {
        let Submitted { submission, read_back, result_bytes, bytes, mapped } = submitted;
        let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(ROUND_TIMEOUT) };
        // Another call that polls may be the one that passes on what this one waits for.
        if self.device.device.poll(wait).is_err() || mapped.recv_timeout(ROUND_TIMEOUT) != Ok(true) {
            self.device.failed.store(true, Ordering::Release);
        }
        self.check_alive()?;
        let view = read_back.get_mapped_range(0..bytes).map_err(|_| Lost)?;
        let (results, counts) = view.split_at(result_bytes as usize);
        let candidates: &[Candidate] = bytemuck::try_cast_slice(results).map_err(|_| Lost)?;
        let counts: &[u32] = bytemuck::try_cast_slice(counts).map_err(|_| Lost)?;
        for piece in &round.pieces {
            merges[piece.probe].take_run(&candidates[piece.start..piece.start + piece.length], piece.cut);
        }
        for (lot, count) in round.lots.iter().zip(counts) {
            merges[lot.probe].take_lot(&candidates[lot.start..lot.start + lot.length], *count as usize);
        }
        drop(view);
        read_back.unmap();
        Ok(())
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.device.failed.load(Ordering::Acquire)
    }

    fn check_alive(&self) -> Result<(), Lost> {
        if self.is_alive() { Ok(()) } else { Err(Lost) }
    }

    /// A call that panicked has changed nothing by halves here, and takes its buffers with it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// Lets the device do what is planned: one round is scored while the one before is read back and merged.
    fn run<'a>(&mut self, plan: Plan<'a>) -> Result<Vec<Merge<'a>>, Lost> {
        let Plan { probes, rounds, mut merges, .. } = plan;
        let Some(last) = rounds.len().checked_sub(1) else {
            return Ok(merges);
        };
        let Device { device, queue, .. } = &self.gpu.device;
        let buffer = self.buffers.probes.of_size(device, size_of_val(probes.as_slice()) as u64);
        queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&probes));
        let mut before: Option<(&Round, Submitted)> = None;
        for (index, round) in rounds.iter().enumerate() {
            let stage = &mut self.buffers.stages[index % 2];
            let submitted = self.gpu.submit(stage, &self.slabs, &buffer, round, index == last);
            if let Some((round, submitted)) = before.replace((round, submitted)) {
                self.gpu.collect(submitted, round, &mut merges)?;
            }
        }
        if let Some((round, submitted)) = before {
            self.gpu.collect(submitted, round, &mut merges)?;
        }
        Ok(merges)
    }
}

struct Dispatch {
    slab: usize,
    kernel: DeviceKernel,
    item_first: usize,
    item_count: usize,
    grid: (u32, u32),
}

/// Puts all work one behind the other, each dispatch's padded with idle items to a full grid and to the alignment of a
/// binding.
fn lay_out_work(round: &Round, groups_max: u32) -> (Vec<WorkItem>, Vec<Dispatch>) {
    let mut items: Vec<WorkItem> = Vec::new();
    let mut dispatches = Vec::new();
    for (&(slab, kernel), list) in &round.work {
        let item_first = items.len();
        let count = list.len() as u32;
        let height = count.div_ceil(groups_max);
        let width = count.div_ceil(height);
        items.extend_from_slice(list);
        let item_count = (width * height) as usize;
        items.resize((item_first + item_count).next_multiple_of(WORK_ALIGNMENT), WorkItem::default());
        dispatches.push(Dispatch { slab, kernel, item_first, item_count, grid: (width, height) });
    }
    for &Sieve { slab, kernel, item, sets, tiles } in &round.sieves {
        let item_first = items.len();
        items.push(item);
        items.resize((item_first + 1).next_multiple_of(WORK_ALIGNMENT), WorkItem::default());
        dispatches.push(Dispatch { slab, kernel, item_first, item_count: 1, grid: (sets, tiles) });
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
