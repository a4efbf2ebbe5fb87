//! From groups of probes to lists of work for the device, and from what comes back to proved candidates.
//! Nothing here knows wgpu.

use std::collections::BTreeMap;

use crate::batch::{Group, K_MAX, Wanted};
use crate::exact::Selection;
use crate::layout::{Candidate, PANEL_ROWS, TILE_PANELS, TILE_PROBES, WorkItem};

/// Candidates kept of each tile beyond k. On random data less than one row a gallery lies within the
/// error bound of the k-th score; a tile that has more of them makes its probe overflow, which costs one CPU pass.
const KEEP_SLACK: usize = 16;

/// Most candidates of one probe in one tile.
const KEEP_MAX: usize = 80;

const _: () = assert!(K_MAX + KEEP_SLACK <= KEEP_MAX && KEEP_MAX <= TILE_PANELS * PANEL_ROWS);

/// Candidates that come back in one round, 8 MiB of them: enough to fill any device with work, little enough
/// for every adapter's limits and for a software device to finish a round within seconds.
const ROUND_CANDIDATES_MAX: usize = 1 << 20;

/// Some panels of one gallery that lie one behind the other in one slab.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) slab: usize,
    /// Position in the slab, in values.
    pub(super) start: u32,
    /// The first panel, counted within the gallery.
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
    pub(super) probes: Vec<f32>,
    pub(super) rounds: Vec<Round>,
    /// For each probe, counted over all groups: k and dimensions.
    shapes: Vec<(Wanted, usize)>,
}

impl Plan {
    /// Adds one group, whose gallery lies in `segments`.
    pub(super) fn add(&mut self, group: &Group<'_>, segments: &[Segment]) {
        let dims = group.gallery.dims();
        for probes in group.probes.chunks(TILE_PROBES) {
            let probe_first = self.shapes.len();
            self.shapes.extend(probes.iter().map(|probe| (probe.wanted, dims)));
            let values: Vec<&[f32]> = probes.iter().map(|probe| probe.values).collect();
            let probe_start = self.pack(dims, &values);
            let keep = probes.iter().map(|probe| probe.wanted.k).max().unwrap_or(0) + KEEP_SLACK;
            for segment in segments {
                for panel in (0..segment.panels).step_by(TILE_PANELS) {
                    let panels = TILE_PANELS.min(segment.panels - panel);
                    let row_first = (segment.panel_first + panel) * PANEL_ROWS;
                    let rows = (panels * PANEL_ROWS).min(group.gallery.rows_live() - row_first);
                    let item = WorkItem {
                        panel_start: segment.start + (panel * PANEL_ROWS * dims) as u32,
                        dims: dims as u32,
                        row_first: row_first as u32,
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

    /// Packs up to four probes; returns where they start, in groups of four values.
    fn pack(&mut self, dims: usize, probes: &[&[f32]]) -> u32 {
        let start = self.probes.len();
        if let [probe] = probes {
            self.probes.extend_from_slice(probe);
        } else {
            self.probes.resize(start + dims * TILE_PROBES, 0.0);
            for (place, probe) in probes.iter().enumerate() {
                for (slot, value) in self.probes[start + place..].iter_mut().step_by(TILE_PROBES).zip(*probe) {
                    *slot = *value;
                }
            }
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

    /// An empty merge for each probe.
    pub(super) fn merges(&self) -> Vec<Merge> {
        self.shapes
            .iter()
            .map(|&(wanted, dims)| Merge { selection: Selection::new(wanted, dims), cut_score_max: f32::NEG_INFINITY })
            .collect()
    }
}

/// Gathers one probe's candidates over all tiles.
pub(super) struct Merge {
    selection: Selection,
    /// No row that a tile kept back has a higher coarse score than this.
    cut_score_max: f32,
}

impl Merge {
    /// Takes one sorted run.
    pub(super) fn take(&mut self, candidates: &[Candidate], cut: bool) {
        for candidate in candidates {
            if candidate.score < self.selection.threshold() {
                break;
            }
            self.selection.push(*candidate);
        }
        if let (true, Some(last)) = (cut, candidates.last()) {
            self.cut_score_max = self.cut_score_max.max(last.score);
        }
    }

    /// The candidates, or none where a row that a tile kept back might belong to them.
    ///
    /// Each tile keeps more than k rows, so the k best coarse scores of the gallery are all here and
    /// the threshold is the one that a full list would give. A row kept back scores at most what the last
    /// kept row of its tile scores; below the threshold it is excluded like any other.
    pub(super) fn finish(self) -> Option<Vec<Candidate>> {
        let (threshold, candidates) = self.selection.finish();
        (self.cut_score_max < threshold || self.cut_score_max == f32::NEG_INFINITY).then_some(candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(k: usize) -> Merge {
        Merge { selection: Selection::new(Wanted::best(k), 512), cut_score_max: f32::NEG_INFINITY }
    }

    #[test]
    fn a_cut_run_within_the_bound_overflows_and_one_below_it_does_not() {
        let run = |scores: &[f32]| -> Vec<Candidate> {
            scores.iter().enumerate().map(|(row, &score)| Candidate { score, row: row as u32 }).collect()
        };
        let mut near = merge(1);
        near.take(&run(&[0.5, 0.499_99]), true);
        assert_eq!(near.finish(), None, "a row kept back may tie with the best");

        let mut far = merge(1);
        far.take(&run(&[0.5, 0.4]), true);
        assert_eq!(far.finish().map(|candidates| candidates.len()), Some(1));

        let mut whole = merge(3);
        whole.take(&run(&[0.5, 0.5]), false);
        assert_eq!(whole.finish().map(|candidates| candidates.len()), Some(2), "fewer rows than k are all of them");
    }
}
