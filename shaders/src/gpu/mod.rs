//! The GPU engine's coarse pass, in eight bits like the CPU's and over the same panels, and the only folder that knows
//! wgpu.
//!
//! Galleries stay on the device in slabs, uploaded at their first use. A call becomes a round of work: one submission
//! with one read-back. It becomes several rounds where the candidates of a huge call would not fit, or where a round
//! would take long; then the device scores one round while the host reads back the one before and scores its rows
//! exactly. [`plan`] tells what a round does. Of each probe only those rows come back that its bounds cannot exclude.
//!
//! Calls overlap: while the device scores one, the next uploads its galleries and submits, and the one before is read
//! back. A gallery that a call uses stays on the device until the call ends.

mod arena;
mod block_on;
mod buffers;
mod cache;
mod device;
mod kernel_set;
mod kernels;
mod plan;
mod proof;
mod submit;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ask::{Group, Hit, Probe};
use crate::bound::Reach;
use crate::cpu::Cpu;
use crate::exact;
use crate::gallery::Gallery;
use crate::layout::{self, Found, Task};
use crate::select::Candidate;
use arena::Arena;
use buffers::Stage;
use device::Device;
use kernel_set::{Gathering, KernelSet};
use plan::{Asked, Placed, Plan, SHARE_PROBES};
use proof::{Proof, prove};
use submit::Submitted;

/// A device that has not finished a round by then is given up. A round takes milliseconds on a GPU, and at most seconds
/// on a software one.
const ROUND_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the thread that waits for a round stays awake. To sleep and be woken takes as long as a device takes for
/// the rounds of a gate.
const AWAKE: Duration = Duration::from_micros(500);

/// The most products of codes in a round: some milliseconds of a fast device, so that the host works on the answers of
/// one round while the next is scored, and a fraction of a second of a slow one.
const ROUND_PRODUCTS_MAX: usize = 1 << 37;
/// As [`ROUND_PRODUCTS_MAX`], for a software device.
const ROUND_PRODUCTS_IN_SOFTWARE_MAX: usize = 1 << 33;

/// Pairs of stages that are kept for later calls: more calls are seldom under way side by side.
const SPARE_MAX: usize = 4;

/// How a device searches, for tests and benchmarks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DevicePass {
    /// Whichever pass was quicker at the start.
    #[default]
    Auto,
    /// With the features that every device has.
    Plain,
    /// As `Plain`, but the invocations of a subgroup gather their results among themselves.
    Subgroups,
    /// As `Subgroups`, but by cooperative matrices, even for one probe.
    Matrices,
}

impl DevicePass {
    /// The passes there are, without the choice between them.
    pub const ALL: [DevicePass; 3] = [DevicePass::Plain, DevicePass::Subgroups, DevicePass::Matrices];

    /// Whether every device has the features that it needs.
    pub fn is_plain(self) -> bool {
        matches!(self, DevicePass::Auto | DevicePass::Plain)
    }
}

/// The device is lost, hung or refused something: it is not used any more.
#[derive(Debug)]
pub(crate) struct Lost;

/// An open device and the galleries on it.
pub(crate) struct Gpu {
    device: Device,
    /// The special kernels that may be used.
    special: KernelSet,
    /// The kernels that are used where there is a choice.
    chosen: KernelSet,
    state: Mutex<State>,
    /// Signals that a call has ended.
    ended: Condvar,
}

struct State {
    arena: Arena,
    /// Buffers that no call uses.
    spare: Vec<[Stage; 2]>,
}

/// A device's answer to a probe: the probe's reach, and the rows that may belong to its top-k, the highest upper bound
/// first. None where the device cannot prove that these are all, or where the gallery does not fit on it.
pub(crate) type Coarse = Option<(Reach, Vec<Candidate>)>;

/// What a call holds on the device until it ends.
struct Call<'a> {
    gpu: &'a Gpu,
    /// The slabs' buffers when the call began.
    slabs: Vec<wgpu::Buffer>,
    held: Vec<arena::Key>,
    /// Rounds take turns with them.
    stages: [Stage; 2],
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut state = self.gpu.lock();
        state.arena.let_go(&self.held);
        // A call that panicked may have left a buffer mapped.
        if !std::thread::panicking() && state.spare.len() < SPARE_MAX {
            state.spare.push(std::mem::replace(&mut self.stages, Stage::two()));
        }
        drop(state);
        self.gpu.ended.notify_all();
    }
}

impl Gpu {
    /// Opens the best adapter; a software one only where `software_too` says so. `with_special` asks for special
    /// kernels, where the adapter has the features for them. `cache` is a folder for compiled pipelines. The error says
    /// in words why there is none.
    pub(crate) fn open(software_too: bool, with_special: bool, cache: Option<&Path>) -> Result<Gpu, String> {
        let device = device::open(software_too, with_special, cache)?;
        let state = State { arena: Arena::new(device.device.clone(), device.queue.clone()), spare: Vec::new() };
        Ok(Gpu {
            special: device.fullest(),
            device,
            chosen: KernelSet::default(),
            state: Mutex::new(state),
            ended: Condvar::new(),
        })
    }

    /// Whether the device can search by this pass.
    pub(crate) fn has(&self, pass: DevicePass) -> bool {
        match pass {
            DevicePass::Subgroups => self.special.gathering == Gathering::Subgroups,
            DevicePass::Matrices => self.special.matrices.is_some(),
            DevicePass::Auto | DevicePass::Plain => true,
        }
    }

    /// Stops using a special pass.
    pub(crate) fn leave_out(&mut self, pass: DevicePass) {
        match pass {
            DevicePass::Subgroups => self.special.gathering = Gathering::Atomics,
            DevicePass::Matrices => self.special.matrices = None,
            DevicePass::Auto | DevicePass::Plain => {}
        }
    }

    /// Uses a special pass wherever there is a choice.
    pub(crate) fn choose(&mut self, pass: DevicePass) {
        match pass {
            DevicePass::Subgroups => self.chosen.gathering = self.special.gathering,
            DevicePass::Matrices => self.chosen.matrices = self.special.matrices,
            DevicePass::Auto | DevicePass::Plain => {}
        }
    }

    /// Which special passes are used, in words.
    pub(crate) fn choices(&self) -> &'static str {
        match (self.chosen.gathering, self.chosen.matrices) {
            (Gathering::Atomics, None) => "",
            (Gathering::Subgroups, None) => ", with subgroups",
            (Gathering::Atomics, Some(_)) => ", with matrices",
            (Gathering::Subgroups, Some(_)) => ", with subgroups and matrices",
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

    /// Wipes and frees the blocks that only this gallery has on the device, once the calls that use them have ended.
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

    /// For each group, and in it for each probe, what `finish` makes of the device's answer. `finish` is called on all
    /// of the CPU's threads while the device works on.
    ///
    /// # Errors
    /// [`Lost`]: the CPU then has to answer the whole call.
    pub(crate) fn coarse<T: Send + Sync>(
        &self,
        cpu: &Cpu,
        groups: &[Group<'_>],
        pass: DevicePass,
        finish: impl Fn(&Group<'_>, &Probe<'_>, Coarse) -> T + Sync,
    ) -> Result<Vec<Vec<T>>, Lost> {
        self.check_alive()?;
        let kernels = match pass {
            DevicePass::Auto => self.chosen,
            DevicePass::Plain => KernelSet::default(),
            DevicePass::Subgroups => KernelSet { matrices: None, ..self.special },
            DevicePass::Matrices => KernelSet { for_few: true, ..self.special },
        };
        let products_max = if self.is_software() { ROUND_PRODUCTS_IN_SOFTWARE_MAX } else { ROUND_PRODUCTS_MAX };
        let (mut call, placed) = self.begin(groups);
        let mut results: Vec<Vec<Option<T>>> =
            groups.iter().map(|group| group.probes.iter().map(|_| None).collect()).collect();
        let all = |group: usize| {
            let asked = move |probe| Asked { group, probe, floor: f32::MIN, sampled: true };
            (0..groups[group].probes.len()).map(asked).collect::<Vec<Asked>>()
        };
        let mut asked: Vec<Asked> = (0..groups.len()).flat_map(all).collect();
        // Probes whose rows had no room the first time have a better floor the second time.
        for _ in 0..2 {
            let mut plan = Plan::new(groups, kernels, products_max);
            for asked in asked.chunk_by(|a, b| a.group == b.group) {
                if let Some(placed) = &placed[asked[0].group] {
                    plan.add(placed, asked);
                }
            }
            asked = call.run(cpu, groups, plan, &finish, &mut results)?;
        }
        let finish = |(group, results): (&Group<'_>, Vec<Option<T>>)| {
            let results = group.probes.iter().zip(results);
            results.map(|(probe, result)| result.unwrap_or_else(|| finish(group, probe, None))).collect()
        };
        Ok(groups.iter().zip(results).map(finish).collect())
    }

    /// Uploads the groups' galleries where they are not on the device, and holds them there. Returns where each lies;
    /// none where the device has no room for it.
    fn begin<'a>(&self, groups: &[Group<'a>]) -> (Call<'_>, Vec<Option<Placed<'a>>>) {
        let mut state = self.lock();
        state.arena.release_dropped();
        let place = |group: &Group<'a>| {
            let parts = group.gallery.parts().iter();
            parts.map(|part| Some((part, state.arena.segments(&part.block)?.to_vec()))).collect()
        };
        let placed: Vec<Option<Placed<'a>>> = groups.iter().map(place).collect();
        let parts = placed.iter().flatten().flatten();
        let held = parts.map(|(part, _)| state.arena.hold(&part.block)).collect();
        let stages = state.spare.pop().unwrap_or_else(Stage::two);
        (Call { gpu: self, slabs: state.arena.buffers(), held, stages }, placed)
    }

    /// Waits for a round and finishes the probes whose answers it proves. Returns the probes that are to be asked
    /// again.
    fn collect<T: Send + Sync>(
        &self,
        cpu: &Cpu,
        groups: &[Group<'_>],
        submitted: Submitted,
        finish: &(impl Fn(&Group<'_>, &Probe<'_>, Coarse) -> T + Sync),
        results: &mut [Vec<Option<T>>],
    ) -> Result<Vec<Asked>, Lost> {
        let Submitted { round, reaches, submission, read_back, mapped } = submitted;
        let mut is_mapped = None;
        let begun = Instant::now();
        while is_mapped.is_none() && !self.is_software() && begun.elapsed() < AWAKE {
            // An error shows again below.
            let _ = self.device.device.poll(wgpu::PollType::Poll);
            is_mapped = mapped.try_recv().ok();
            std::hint::spin_loop();
        }
        if is_mapped.is_none() {
            let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(ROUND_TIMEOUT) };
            // Another call's poll may be the one that runs this one's callback.
            let waited = self.device.device.poll(wait);
            is_mapped = waited.ok().and_then(|_| mapped.recv_timeout(ROUND_TIMEOUT).ok());
        }
        if is_mapped != Some(true) {
            self.device.failed.store(true, Ordering::Release);
        }
        self.check_alive()?;
        let view = read_back.get_mapped_range(0..(round.found_words * size_of::<u32>()) as u64).map_err(|_| Lost)?;
        let found: &[u32] = bytemuck::try_cast_slice(&view).map_err(|_| Lost)?;
        let answer = |(index, (asked, task)): (usize, (&Asked, &Task))| {
            let group = &groups[asked.group];
            let probe = &group.probes[asked.probe];
            let (head, rows) = found[task.found_start as usize..].split_at(size_of::<Found>() / size_of::<u32>());
            let head: &Found = bytemuck::from_bytes(bytemuck::cast_slice(head));
            let rows = &rows[..(head.left.min(task.keep) as usize) * size_of::<layout::Candidate>() / size_of::<u32>()];
            let proof = prove(
                group.gallery,
                probe.wanted,
                reaches[index],
                head,
                bytemuck::cast_slice(rows),
                task.room as usize,
            );
            match proof {
                Proof::Whole(candidates) => Ok(finish(group, probe, Some((reaches[index], candidates)))),
                Proof::Floor(floor) => Err(Some(floor)),
                Proof::None => Err(None),
            }
        };
        let shares = round.asked.len().div_ceil(SHARE_PROBES);
        let answers = cpu.map(shares, |share| {
            let tasks = round.asked.iter().zip(&round.tasks).enumerate();
            tasks.skip(share * SHARE_PROBES).take(SHARE_PROBES).map(answer).collect::<Vec<_>>()
        });
        drop(view);
        read_back.unmap();
        let mut again = Vec::new();
        for (asked, answer) in round.asked.iter().zip(answers.into_iter().flatten()) {
            match answer {
                Ok(finished) => results[asked.group][asked.probe] = Some(finished),
                Err(Some(floor)) => again.push(Asked { floor, sampled: false, ..*asked }),
                Err(None) => {}
            }
        }
        Ok(again)
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.device.failed.load(Ordering::Acquire)
    }

    fn check_alive(&self) -> Result<(), Lost> {
        if self.is_alive() { Ok(()) } else { Err(Lost) }
    }

    /// A poisoned lock is taken all the same: a call that panicked changed nothing by halves here, and its buffers are
    /// gone with it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// Runs a plan: the device scores one round while the host reads back and finishes the one before. Returns the
    /// probes that are to be asked again.
    fn run<T: Send + Sync>(
        &mut self,
        cpu: &Cpu,
        groups: &[Group<'_>],
        plan: Plan<'_, '_>,
        finish: &(impl Fn(&Group<'_>, &Probe<'_>, Coarse) -> T + Sync),
        results: &mut [Vec<Option<T>>],
    ) -> Result<Vec<Asked>, Lost> {
        let Plan { kernels, rounds, .. } = plan;
        let mut again = Vec::new();
        let mut before: Option<Submitted> = None;
        for (index, round) in rounds.into_iter().enumerate() {
            let stage = &mut self.stages[index % 2];
            let submitted = submit::submit(&self.gpu.device, cpu, stage, &self.slabs, groups, kernels, round);
            if let Some(submitted) = before.replace(submitted) {
                again.extend(self.gpu.collect(cpu, groups, submitted, finish, results)?);
            }
        }
        if let Some(submitted) = before {
            again.extend(self.gpu.collect(cpu, groups, submitted, finish, results)?);
        }
        Ok(again)
    }
}

/// The exact hits of a probe, where the device proved which rows may be among them.
pub(crate) fn rescore(group: &Group<'_>, probe: &Probe<'_>, coarse: Coarse) -> Option<Vec<Hit>> {
    let (reach, candidates) = coarse?;
    Some(exact::rescore_bounded(group.gallery, probe.values, &reach, &candidates, probe.wanted))
}
