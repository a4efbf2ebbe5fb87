//! From groups of probes to lists of work for the device, and from what comes back to proved candidates.
//! Nothing here knows wgpu.

use std::collections::BTreeMap;

use crate::batch::{Group, K_MAX, Probe};
use crate::gallery::{Gallery, Part};
use crate::layout::{Candidate, PANEL_ROWS, TILE_PANELS, TILE_PROBES, WorkItem};
use crate::panel::{GROUP, panel_bytes};
use crate::quantise::{Reach, quantise};
use crate::select::{self, Selection};

/// Candidates kept of each tile: on random data as many rows again as wanted lie within the error bound of the k-th score,
/// and some more where few are wanted. A tile that has more of them makes its probe overflow, which costs one CPU pass.
const fn kept(k: usize) -> usize {
    2 * k + 16
}

const _: () = assert!(kept(K_MAX) <= TILE_PANELS * PANEL_ROWS);

/// Candidates that come back in one round, 8 MiB of them: enough to fill any device with work, little enough
/// for every adapter's limits and for a software device to finish a round within seconds.
const ROUND_CANDIDATES_MAX: usize = 1 << 20;

/// Some panels of one block that lie one behind the other in one slab.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) slab: usize,
    /// Position in the slab, in words.
    pub(super) start: u32,
    /// The first panel, counted within the block.
    pub(super) panel_first: usize,
    pub(super) panels: usize,
}

/// The two kernels of the shader, by the names of their entry points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DeviceKernel {
    ScoreOne,
    ScoreFour,
}

/// A sorted run of candidates of one probe within a round's results.
#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    /// Which probe, counted over all groups of the call.
    pub(super) probe: usize,
    pub(super) start: usize,
    pub(super) length: usize,
    /// Whether the tile has rows that did not come back.
    pub(super) cut: bool,
}

/// One submission: work by slab and kernel, and where each probe's candidates will be found.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) work: BTreeMap<(usize, DeviceKernel), Vec<WorkItem>>,
    pub(super) pieces: Vec<Piece>,
    pub(super) candidates: usize,
}

/// Everything one call asks of the device.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The probes as the kernels read them; see the comments at the entry points of the shader.
    pub(super) probes: Vec<u32>,
    pub(super) rounds: Vec<Round>,
    /// For each probe, counted over all groups, what gathers its candidates.
    pub(super) merges: Vec<Merge>,
}

impl Plan {
    /// Adds one group, whose gallery's parts lie in `segments`.
    pub(super) fn add(&mut self, group: &Group<'_>, segments: &[(&Part, Vec<Segment>)]) {
        let dims = group.gallery.dims();
        let panel_words = panel_bytes(dims) / size_of::<u32>();
        for probes in group.probes.chunks(TILE_PROBES) {
            let probe_first = self.merges.len();
            let probe_start = self.pack(dims, probes);
            let keep = kept(probes.iter().map(|probe| probe.wanted.k).max().unwrap_or(0));
            for (part, segment) in segments.iter().flat_map(|(part, all)| all.iter().map(move |one| (part, one))) {
                for panel in (0..segment.panels).step_by(TILE_PANELS) {
                    let panels = TILE_PANELS.min(segment.panels - panel);
                    let row_first = (segment.panel_first + panel) * PANEL_ROWS;
                    let rows = (panels * PANEL_ROWS).min(part.block.row_count() - row_first);
                    let item = WorkItem {
                        panel_start: segment.start + (panel * panel_words) as u32,
                        dims: dims as u32,
                        row_first: part.first + row_first as u32,
                        rows: rows as u32,
                        probe_start,
                        keep: keep as u32,
                        result_start: 0,
                        padding: 0,
                    };
                    self.push_item(segment.slab, item, probe_first, probes.len());
                }
            }
        }
    }

    /// Quantises and packs up to four probes; returns where they start, in groups of four words.
    fn pack(&mut self, dims: usize, probes: &[Probe<'_>]) -> u32 {
        let start = self.probes.len();
        // One probe's groups lie one behind the other, those of four side by side.
        let (width, words) = match probes {
            [_] => (1, (dims / GROUP).next_multiple_of(TILE_PROBES)),
            _ => (TILE_PROBES, dims / GROUP * TILE_PROBES),
        };
        self.probes.resize(start + TILE_PROBES + words, 0);
        let mut codes = vec![0i8; dims];
        for (place, probe) in probes.iter().enumerate() {
            let quantised = quantise(probe.values, &mut codes);
            let reach = Reach::new(&quantised, dims);
            self.probes[start + place] = reach.reach.to_bits();
            let slots = self.probes[start + TILE_PROBES + place..].iter_mut().step_by(width);
            for (slot, group) in slots.zip(codes.as_chunks::<GROUP>().0) {
                *slot = u32::from_le_bytes(group.map(|code| code as u8));
            }
            let selection = Selection::new(probe.wanted, reach);
            self.merges.push(Merge { selection, cut_upper_max: f32::NEG_INFINITY });
        }
        (start / TILE_PROBES) as u32
    }

    fn push_item(&mut self, slab: usize, mut item: WorkItem, probe_first: usize, probe_count: usize) {
        let keep = item.keep as usize;
        let (kernel, width) = match probe_count {
            1 => (DeviceKernel::ScoreOne, 1),
            _ => (DeviceKernel::ScoreFour, TILE_PROBES),
        };
        if self.rounds.last().is_none_or(|round| round.candidates + width * keep > ROUND_CANDIDATES_MAX) {
            self.rounds.push(Round::default());
        }
        let Some(round) = self.rounds.last_mut() else {
            return;
        };
        item.result_start = round.candidates as u32;
        for place in 0..probe_count {
            round.pieces.push(Piece {
                probe: probe_first + place,
                start: round.candidates + place * keep,
                length: keep.min(item.rows as usize),
                cut: item.rows as usize > keep,
            });
        }
        round.candidates += width * keep;
        round.work.entry((slab, kernel)).or_default().push(item);
    }
}

/// Gathers one probe's candidates over all tiles.
#[derive(Debug)]
pub(super) struct Merge {
    selection: Selection,
    /// No row that a tile kept back has a higher upper bound than this.
    cut_upper_max: f32,
}

impl Merge {
    /// Takes one sorted run of rows of `gallery`, the removed ones left out.
    pub(super) fn take(&mut self, gallery: &Gallery, candidates: &[Candidate], cut: bool) {
        for candidate in candidates {
            if candidate.upper < self.selection.threshold() {
                break;
            }
            if let Some(error) = gallery.error(candidate.row) {
                self.selection.push(select::Candidate {
                    lower: self.selection.reach().lower(error, candidate.upper),
                    upper: f64::from(candidate.upper),
                    row: candidate.row,
                });
            }
        }
        if let (true, Some(last)) = (cut, candidates.last()) {
            self.cut_upper_max = self.cut_upper_max.max(last.upper);
        }
    }

    /// The candidates and what bounds them, or none where a row that a tile kept back might belong to them.
    ///
    /// A row kept back has at most the upper bound of the last row that its tile gave; below the threshold it is excluded
    /// like any other.
    pub(super) fn finish(self) -> Option<(Reach, Vec<select::Candidate>)> {
        let reach = *self.selection.reach();
        let (threshold, candidates) = self.selection.finish_with_threshold();
        (self.cut_upper_max < threshold || self.cut_upper_max == f32::NEG_INFINITY).then_some((reach, candidates))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Wanted;

    /// Two equal templates of 128 dimensions: the rows 0 and 1.
    fn gallery() -> Gallery {
        Gallery::new(128, vec![128f32.sqrt().recip(); 256]).expect("a good gallery")
    }

    fn merge(k: usize) -> Merge {
        let reach = Reach { scale: 0.001, reach: 700.0, margin: 7.0 };
        Merge { selection: Selection::new(Wanted::best(k), reach), cut_upper_max: f32::NEG_INFINITY }
    }

    #[test]
    fn a_cut_run_within_the_bound_overflows_and_one_below_it_does_not() {
        let run = |uppers: &[f32]| -> Vec<Candidate> {
            uppers.iter().enumerate().map(|(row, &upper)| Candidate { upper, row: row as u32 }).collect()
        };
        let rows = |merge: Merge| merge.finish().map(|(_, found)| found.iter().map(|c| c.row).collect::<Vec<u32>>());
        let gallery = gallery();
        let mut near = merge(1);
        near.take(&gallery, &run(&[500.0, 499.99]), true);
        assert_eq!(rows(near), None, "a row kept back may tie with the best");

        let mut far = merge(1);
        far.take(&gallery, &run(&[500.0, 400.0]), true);
        assert_eq!(rows(far), Some(vec![0]));

        let mut whole = merge(3);
        whole.take(&gallery, &run(&[500.0, 500.0]), false);
        assert_eq!(rows(whole).map(|rows| rows.len()), Some(2), "fewer rows than k are all of them");

        let mut gap = merge(3);
        gap.take(&gallery.with_removed(0).expect("it is there"), &run(&[500.0, 500.0]), false);
        assert_eq!(rows(gap), Some(vec![1]), "a removed row is nobody's answer");
    }
}
