//! Turns a planned round into a submission.

use std::num::NonZero;
use std::ops::Range;
use std::sync::mpsc;

use super::buffers::{Input, Stage};
use super::device::Device;
use super::kernel_set::{DeviceKernel, KernelSet, Sweeping};
use super::plan::{Round, SHARE_PROBES};
use crate::ask::Group;
use crate::bound::Reach;
use crate::cpu::Cpu;
use crate::layout::{Candidate, Task};

/// A round that the device works on.
pub(super) struct Submitted {
    pub(super) round: Round,
    /// The reach of each of its probes.
    pub(super) reaches: Vec<Reach>,
    pub(super) submission: wgpu::SubmissionIndex,
    pub(super) read_back: wgpu::Buffer,
    pub(super) mapped: mpsc::Receiver<bool>,
}

/// The buffers that a round's kernels read and write.
struct Bound<'a> {
    slabs: &'a [wgpu::Buffer],
    /// Tasks, sweeps, and words of codes and masks. Each list of sweeps has a part of its own.
    input: wgpu::Buffer,
    tasks: Range<u64>,
    sweeps: Vec<Range<u64>>,
    words: Range<u64>,
    lists: wgpu::Buffer,
    state: wgpu::Buffer,
    found: wgpu::Buffer,
}

/// Submits one round. Behind it the device wipes the probes' codes.
pub(super) fn submit(
    opened: &Device,
    cpu: &Cpu,
    stage: &mut Stage,
    slabs: &[wgpu::Buffer],
    groups: &[Group<'_>],
    kernels: KernelSet,
    round: Round,
) -> Submitted {
    let Device { device, queue, .. } = opened;
    let shares = shares(&round);
    let packed = cpu.map(shares.len(), |share| round.pack(shares[share].clone(), groups));
    let reaches: Vec<Reach> = packed.iter().flat_map(|(_, reaches)| reaches).copied().collect();
    let tasks = round.tasks(&reaches, groups);
    let words = shares.iter().zip(&packed).map(|(share, (words, _))| (round.sets[share.start].start, words.as_slice()));
    let bound = Bound::new(opened, stage, slabs, &round, &tasks, words);

    let found_bytes = (round.found_words * size_of::<u32>()) as u64;
    let read_back = stage.read_back.of_size(device, found_bytes);
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("score") });
    dispatch(opened, &mut encoder, &bound, kernels, &round);
    encoder.copy_buffer_to_buffer(&bound.found, 0, &read_back, 0, found_bytes);
    encoder.clear_buffer(&bound.input, 0, Some(bound.words.end));
    let submission = queue.submit([encoder.finish()]);

    let (sender, mapped) = mpsc::channel();
    read_back.map_async(wgpu::MapMode::Read, 0..found_bytes, move |mapped| {
        // The receiver is gone only where the call already gave this round up.
        let _ = sender.send(mapped.is_ok());
    });
    Submitted { round, reaches, submission, read_back, mapped }
}

impl<'a> Bound<'a> {
    /// Uploads a round's input and makes room for its answers. `words` are runs of codes, each with the place where it
    /// starts.
    fn new<'w>(
        opened: &Device,
        stage: &mut Stage,
        slabs: &'a [wgpu::Buffer],
        round: &'w Round,
        tasks: &[Task],
        words: impl Iterator<Item = (usize, &'w [u32])>,
    ) -> Bound<'a> {
        let Device { device, queue, .. } = opened;
        let bytes = |words: usize| (words * size_of::<u32>()) as u64;
        let mut input = Input::default();
        let bound = Bound {
            slabs,
            tasks: input.part(size_of_val(tasks)),
            sweeps: round.sweeps.values().map(|sweeps| input.part(size_of_val(sweeps.as_slice()))).collect(),
            words: input.part(bytes(round.words) as usize),
            input: stage.input.of_size(device, input.bytes),
            lists: stage.lists.of_size(device, (round.candidates * size_of::<Candidate>()) as u64),
            state: stage.state.of_size(device, bytes(2 * round.tasks.len())),
            found: stage.found.of_size(device, bytes(round.found_words)),
        };
        let view = NonZero::new(input.bytes).and_then(|bytes| queue.write_buffer_with(&bound.input, 0, bytes));
        if let Some(mut view) = view {
            let mut put = |start: u64, bytes: &[u8]| {
                view.slice(start as usize..start as usize + bytes.len()).copy_from_slice(bytes)
            };
            put(bound.tasks.start, bytemuck::cast_slice(tasks));
            for (part, sweeps) in bound.sweeps.iter().zip(round.sweeps.values()) {
                put(part.start, bytemuck::cast_slice(sweeps));
            }
            let masks = round.masks.iter().map(|(start, mask)| (*start, mask.as_slice()));
            for (start, words) in words.chain(masks) {
                put(bound.words.start + bytes(start), bytemuck::cast_slice(words));
            }
        }
        bound
    }

    /// The bindings for one list of sweeps, whose panels lie in one slab.
    fn group(&self, opened: &Device, slab: usize, sweeps: &Range<u64>) -> wgpu::BindGroup {
        let part = |range: &Range<u64>| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &self.input,
                offset: range.start,
                size: NonZero::new(range.end - range.start),
            })
        };
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        opened.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("score"),
            layout: &opened.layout,
            entries: &[
                entry(0, self.slabs[slab].as_entire_binding()),
                entry(1, part(&self.words)),
                entry(2, part(sweeps)),
                entry(3, part(&self.tasks)),
                entry(4, self.lists.as_entire_binding()),
                entry(5, self.state.as_entire_binding()),
                entry(6, self.found.as_entire_binding()),
            ],
        })
    }
}

/// Encodes a round's kernels: the peaks of the samples, the floors, the sieves, and the culling of the lists.
fn dispatch(opened: &Device, encoder: &mut wgpu::CommandEncoder, bound: &Bound<'_>, kernels: KernelSet, round: &Round) {
    let groups_max = opened.device.limits().max_compute_workgroups_per_dimension;
    let lists = round.sweeps.iter().zip(&bound.sweeps);
    let lists: Vec<_> = lists
        .map(|((&(sweeping, slab, width), sweeps), part)| {
            let grid = grid(Round::groups(sweeps, width), groups_max);
            (sweeping, kernels.kernel(sweeping, width), grid, bound.group(opened, slab, part))
        })
        .collect();
    let Some((.., any)) = lists.first() else { return };
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    let mut dispatch = |kernel, grid: (u32, u32), bind_group: &wgpu::BindGroup| {
        pass.set_pipeline(opened.pipeline(kernel));
        pass.set_bind_group(0, bind_group, &[]);
        pass.dispatch_workgroups(grid.0, grid.1, 1);
    };
    let by_task = (round.tasks.len() as u32, 1);
    for (sweeping, by_all) in [
        (Sweeping::Peaks, DeviceKernel::SetFloor(kernels.gathering)),
        (Sweeping::Sieve, DeviceKernel::Cull(kernels.gathering)),
    ] {
        for (_, kernel, grid, bind_group) in lists.iter().filter(|list| list.0 == sweeping) {
            dispatch(*kernel, *grid, bind_group);
        }
        dispatch(by_all, by_task, any);
    }
}

/// Cuts a round's sets into shares of [`SHARE_PROBES`] probes or more.
fn shares(round: &Round) -> Vec<Range<usize>> {
    let mut shares: Vec<Range<usize>> = Vec::new();
    let mut probes = SHARE_PROBES;
    for (index, set) in round.sets.iter().enumerate() {
        match shares.last_mut().filter(|_| probes < SHARE_PROBES) {
            Some(share) => share.end = index + 1,
            None => {
                shares.push(index..index + 1);
                probes = 0;
            }
        }
        probes += set.tasks.len();
    }
    shares
}

/// A grid of so many workgroups, or a few more that find nothing to do.
fn grid(groups: u32, groups_max: u32) -> (u32, u32) {
    let height = groups.div_ceil(groups_max).max(1);
    (groups.div_ceil(height), height)
}
