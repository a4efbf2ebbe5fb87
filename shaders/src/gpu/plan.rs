//! From groups of probes to rounds of work for the device. Nothing here knows wgpu.
//!
//! A round is one submission. In a large gallery a sample of the tiles comes first: it gives each probe its peaks, the
//! highest lower bound of each tile, and the k-th highest peak gives a floor that the best k rows reach. Then all rows
//! are sieved. The rows that reach their probe's floor make its list, and the rows of the list that its own bounds
//! exclude are dropped. How many rows reach a floor cannot be known before: where there is no room for all of them, the
//! probe is asked again with the floor that they prove.

use std::collections::BTreeMap;
use std::ops::Range;

use super::kernel_set::{KernelSet, Sweeping, Width};
use crate::ask::{Group, Probe};
use crate::bound::{DEVICE_MARGIN_SLACK, Reach};
use crate::gallery::Part;
use crate::layout::{Candidate, Found, NO_MASK, PANEL_ROWS, Sweep, Task};
use crate::panel::GROUP;
use crate::quantise::quantise;

/// The largest gallery, in rows, all of which go into each probe's list. To look at a sample first takes longer.
const ROWS_WHOLE_MAX: usize = 2_048;

/// The fewest tiles in a sample.
const SAMPLE_TILES_MIN: usize = 16;
/// The fewest tiles in a sample for each hit. With four the k-th highest peak is nearly the k-th highest bound of the
/// sample.
const SAMPLE_TILES_A_HIT: usize = 4;
/// A sample has at least one tile in so many.
const STRIDE_MAX: usize = 32;

/// The most candidates of a round: 96 MB of them, which every adapter can bind.
const ROUND_CANDIDATES_MAX: usize = 8 << 20;

/// The most tasks of a round: every adapter allows so many workgroups in one dimension.
const ROUND_TASKS_MAX: usize = 65_535;

/// The most words of codes of a round, 32 MiB.
const ROUND_WORDS_MAX: usize = 8 << 20;

/// Probes that one thread packs, or whose answers it reads, at a time: about as much work as waking a thread costs.
pub(super) const SHARE_PROBES: usize = 16;

/// Room for the rows of one probe that reach a floor from a sample of one tile in `stride`. On average `k * stride`
/// rows reach the k-th highest score of a sample, give or take one in the square root of k of them. Some times as many
/// are within the error bound below it.
fn room(k: usize, stride: usize) -> usize {
    1_024 + (8 * k + 216) * stride
}

/// The most rows of one probe that come back. On random data some times as many rows as wanted lie within the error
/// bound of the k-th score: for the best five of 400 about twenty, and of a million from thirty to two hundred.
fn kept(k: usize, rows: usize) -> usize {
    if rows <= ROWS_SMALL_MAX { 10 * k + 80 } else { 16 * k + 304 }
}

/// The largest gallery that counts as a small one there, in rows.
const ROWS_SMALL_MAX: usize = 1 << 16;

/// Successive panels of one block that lie one behind the other in one slab.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) slab: usize,
    /// Position in the slab, in words.
    pub(super) start: u32,
    /// The first panel, counted within the block.
    pub(super) panel_first: usize,
    pub(super) panels: usize,
}

/// Where the parts of a gallery lie.
pub(super) type Placed<'a> = Vec<(&'a Part, Vec<Segment>)>;

/// A probe of a call, as the device is asked about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) group: usize,
    pub(super) probe: usize,
    /// The upper bound that a row has to reach, as far as it is known beforehand.
    pub(super) floor: f32,
    /// Whether the device looks at a sample for a floor.
    pub(super) sampled: bool,
}

/// Probes that are packed together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set {
    pub(super) width: Width,
    /// The tasks of its probes.
    pub(super) tasks: Range<usize>,
    /// Where its codes go, in words.
    pub(super) start: usize,
}

/// One submission.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) asked: Vec<Asked>,
    pub(super) tasks: Vec<Task>,
    pub(super) sets: Vec<Set>,
    /// Masks of rows, and where each goes, in words.
    pub(super) masks: Vec<(usize, Vec<u32>)>,
    /// Words of codes and masks.
    pub(super) words: usize,
    /// The sweeps, by purpose, slab and width.
    pub(super) sweeps: BTreeMap<(Sweeping, usize, Width), Vec<Sweep>>,
    pub(super) candidates: usize,
    pub(super) found_words: usize,
    products: usize,
}

impl Round {
    /// Adds sets of probes. Returns where their codes go, in words.
    fn add_sets(&mut self, asked: &[Asked], dims: usize, width: Width) -> usize {
        let start = self.words;
        for set in asked.chunks(width.probes()) {
            let tasks = self.asked.len()..self.asked.len() + set.len();
            self.sets.push(Set { width, tasks, start: self.words });
            self.asked.extend_from_slice(set);
            self.words += width.words(dims);
        }
        start
    }

    /// Adds the sweeps over all segments; `of_all` has what they have in common. Returns the peaks that each probe
    /// gets.
    fn add_sweeps(&mut self, placed: &Placed<'_>, of_all: Sweep, width: Width, sample_stride: Option<usize>) -> u32 {
        let mut peaks = 0;
        for (part, segment) in placed.iter().flat_map(|(part, segments)| segments.iter().map(move |s| (part, s))) {
            let row_first = segment.panel_first * PANEL_ROWS;
            let sweep = Sweep {
                panel_start: segment.start,
                row_first: part.first + row_first as u32,
                rows: (segment.panels * PANEL_ROWS).min(part.block.row_count() - row_first) as u32,
                mask_start: self.add_mask(part, segment),
                ..of_all
            };
            let mut push = |sweeping: Sweeping, sweep: Sweep| {
                let list = self.sweeps.entry((sweeping, segment.slab, width)).or_default();
                list.push(Sweep { group_first: Round::groups(list, width), ..sweep });
            };
            push(Sweeping::Sieve, sweep);
            if let Some(stride) = sample_stride {
                push(Sweeping::Peaks, Sweep { stride: stride as u32, peak_first: peaks, ..sweep });
                peaks += groups(&sweep, width).div_ceil(sweep.sets).div_ceil(stride as u32);
            }
        }
        peaks
    }

    /// Adds the mask of a segment's rows. Returns where it goes, in groups of four words.
    fn add_mask(&mut self, part: &Part, segment: &Segment) -> u32 {
        if !part.has_removed() {
            return NO_MASK;
        }
        let start = self.words;
        let panels = segment.panel_first..segment.panel_first + segment.panels;
        self.masks.push((start, panels.map(|panel| part.live(panel)).collect()));
        self.words += segment.panels.next_multiple_of(4);
        (start / 4) as u32
    }

    /// Workgroups of a list of sweeps.
    pub(super) fn groups(sweeps: &[Sweep], width: Width) -> u32 {
        sweeps.last().map_or(0, |sweep| sweep.group_first + groups(sweep, width))
    }

    /// The codes of some of its sets, side by side as the kernels read them and one set behind the other; and the reach
    /// of each probe.
    pub(super) fn pack(&self, sets: Range<usize>, groups: &[Group<'_>]) -> (Vec<u32>, Vec<Reach>) {
        let sets = &self.sets[sets];
        let (Some(first), Some(last)) = (sets.first(), sets.last()) else {
            return (Vec::new(), Vec::new());
        };
        let words_of = |set: &Set| set.width.words(self.probe(set.tasks.start, groups).0);
        let mut words = vec![0; last.start + words_of(last) - first.start];
        let mut reaches = Vec::with_capacity(last.tasks.end - first.tasks.start);
        let mut codes = Vec::new();
        for set in sets {
            let dims = self.probe(set.tasks.start, groups).0;
            codes.resize(dims * set.tasks.len(), 0i8);
            for (task, codes) in set.tasks.clone().zip(codes.chunks_exact_mut(dims)) {
                reaches.push(Reach::new(&quantise(self.probe(task, groups).1.values, codes), dims));
            }
            let side_by_side = words[set.start - first.start..].chunks_mut(set.width.probes());
            for (group, slots) in side_by_side.take(dims / GROUP).enumerate() {
                for (slot, codes) in slots.iter_mut().zip(codes.chunks_exact(dims)) {
                    let code = |index: usize| codes[group * GROUP + index] as u8;
                    *slot = u32::from_le_bytes([code(0), code(1), code(2), code(3)]);
                }
            }
        }
        (words, reaches)
    }

    /// A task's probe, with its dimensions.
    fn probe<'p, 'a>(&self, task: usize, groups: &'p [Group<'a>]) -> (usize, &'p Probe<'a>) {
        let Asked { group, probe, .. } = self.asked[task];
        (groups[group].gallery.dims(), &groups[group].probes[probe])
    }

    /// The tasks, completed with the reaches of their probes.
    pub(super) fn tasks(&self, reaches: &[Reach], groups: &[Group<'_>]) -> Vec<Task> {
        let task = |(index, (task, reach)): (usize, (&Task, &Reach))| {
            let wanted = self.probe(index, groups).1.wanted;
            Task {
                reach: reach.reach,
                margin: ((2.0 * reach.margin + f64::from(reach.reach) * DEVICE_MARGIN_SLACK) as f32).next_up(),
                // WGSL lets an implementation assume that there are no infinities.
                floor: reach.lowest_upper(wanted.floor).max(self.asked[index].floor).clamp(f32::MIN, f32::MAX),
                ..*task
            }
        };
        self.tasks.iter().zip(reaches).enumerate().map(task).collect()
    }
}

/// Workgroups of a sweep.
fn groups(sweep: &Sweep, width: Width) -> u32 {
    (sweep.rows as usize).div_ceil(width.tile_rows()).div_ceil(sweep.stride as usize) as u32 * sweep.sets
}

/// Work for the device.
pub(super) struct Plan<'p, 'a> {
    groups: &'p [Group<'a>],
    pub(super) kernels: KernelSet,
    products_max: usize,
    pub(super) rounds: Vec<Round>,
}

impl<'p, 'a> Plan<'p, 'a> {
    /// An empty plan. A round has at most `products_max` products of codes, but always one whole set of probes.
    pub(super) fn new(groups: &'p [Group<'a>], kernels: KernelSet, products_max: usize) -> Plan<'p, 'a> {
        Plan { groups, kernels, products_max, rounds: Vec::new() }
    }

    /// Adds some probes of one group, whose gallery's parts lie in `placed`.
    pub(super) fn add(&mut self, placed: &Placed<'a>, mut asked: &[Asked]) {
        while let Some(first) = asked.first() {
            let group = &self.groups[first.group];
            let (rows, dims) = (group.gallery.rows(), group.gallery.dims());
            let width = self.kernels.width(asked.len(), rows);
            let k = asked.iter().map(|asked| group.probes[asked.probe].wanted.k).max().unwrap_or(1);
            let tile_count = tiles(placed, width, 1);
            let sampled = first.sampled && rows > ROWS_WHOLE_MAX && tile_count >= SAMPLE_TILES_A_HIT * k;
            let stride = (tile_count / SAMPLE_TILES_MIN.max(SAMPLE_TILES_A_HIT * k)).clamp(1, STRIDE_MAX);
            let room = match first.sampled {
                true if !sampled => rows,
                true => room(k, stride).min(rows),
                false => room(k, 1).min(rows),
            };
            let sets_max = (self.products_max / (rows * dims))
                .min(ROUND_CANDIDATES_MAX / room.max(1))
                .min(ROUND_TASKS_MAX)
                .min(ROUND_WORDS_MAX / (dims / GROUP))
                / width.probes();
            // All sets but the last one are full. Another width may be better for the probes that are left then.
            let full = (asked.len() / width.probes()).clamp(1, sets_max.max(1)) * width.probes();
            let (own, others) = asked.split_at(full.min(asked.len()));
            let room = room.max(tiles(placed, width, stride));
            self.add_together(placed, own, width, sampled.then_some(stride), room, kept(k, rows).min(room));
            asked = others;
        }
    }

    /// Adds some sets of probes.
    fn add_together(
        &mut self,
        placed: &Placed<'a>,
        asked: &[Asked],
        width: Width,
        sample_stride: Option<usize>,
        room: usize,
        keep: usize,
    ) {
        let group = &self.groups[asked[0].group];
        let dims = group.gallery.dims();
        let products = group.gallery.rows() * dims * asked.len();
        let words = asked.len().div_ceil(width.probes()) * width.words(dims);
        let full = |round: &Round| {
            round.products + products > self.products_max
                || round.candidates + asked.len() * room > ROUND_CANDIDATES_MAX
                || round.tasks.len() + asked.len() > ROUND_TASKS_MAX
                || round.words + words > ROUND_WORDS_MAX
        };
        if self.rounds.last().is_none_or(full) {
            self.rounds.push(Round::default());
        }
        let Some(round) = self.rounds.last_mut() else { return };
        let of_all = Sweep {
            dims: dims as u32,
            probe_start: (round.add_sets(asked, dims, width) / 4) as u32,
            task_first: round.tasks.len() as u32,
            probes: asked.len() as u32,
            sets: asked.len().div_ceil(width.probes()) as u32,
            stride: 1,
            ..Sweep::default()
        };
        let peaks = round.add_sweeps(placed, of_all, width, sample_stride);
        for asked in asked {
            round.tasks.push(Task {
                k: group.probes[asked.probe].wanted.k as u32,
                list_start: round.candidates as u32,
                room: room as u32,
                peaks,
                found_start: round.found_words as u32,
                keep: keep as u32,
                ..Task::default()
            });
            round.candidates += room;
            round.found_words += (size_of::<Found>() + keep * size_of::<Candidate>()) / size_of::<u32>();
        }
        round.products += products;
    }
}

/// Tiles of a placed gallery, of each segment one in `stride`.
fn tiles(placed: &Placed<'_>, width: Width, stride: usize) -> usize {
    let segments = placed.iter().flat_map(|(_, segments)| segments);
    segments.map(|segment| (segment.panels * PANEL_ROWS).div_ceil(width.tile_rows()).div_ceil(stride)).sum()
}

const _: () = assert!(ROUND_CANDIDATES_MAX * size_of::<Candidate>() <= 128 << 20);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ask::Wanted;
    use crate::gallery::Gallery;

    /// What the suite's call of several rounds relies on.
    #[test]
    fn a_call_with_more_candidates_than_a_round_has_room_for_becomes_several() {
        let values = vec![128f32.sqrt().recip(); 2_048 * 128];
        let gallery = Arc::new(Gallery::new(128, values.clone()).expect("a good gallery"));
        let probe = |index| Probe { job: 0, index, values: &values[..128], wanted: Wanted::best(5) };
        let groups = [Group { gallery: &gallery, probes: (0..8_200).map(probe).collect() }];
        let segment = Segment { slab: 0, start: 0, panel_first: 0, panels: 64 };
        let placed = vec![(&gallery.parts()[0], vec![segment])];
        let asked: Vec<Asked> =
            (0..8_200).map(|probe| Asked { group: 0, probe, floor: f32::MIN, sampled: true }).collect();
        let mut plan = Plan::new(&groups, KernelSet::default(), usize::MAX);
        plan.add(&placed, &asked);
        assert_eq!(plan.rounds.iter().map(|round| round.asked.len()).collect::<Vec<_>>(), [4_096, 4_096, 8]);
        for round in &plan.rounds {
            let ends = round.tasks.iter().map(|task| (task.list_start + task.room) as usize);
            let next = round.tasks.iter().skip(1).map(|task| task.list_start as usize).chain([round.candidates]);
            assert!(ends.eq(next), "lists lie one behind the other");
        }
        assert_eq!(plan.rounds.iter().flat_map(|round| &round.asked).copied().collect::<Vec<_>>(), asked);
    }
}
