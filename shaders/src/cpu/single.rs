//! The `f32` coarse pass, over the templates as they are, row after row: for galleries or probes whose eight-bit codes
//! leave out too much, so that their bound would exclude too little.
//!
//! A step scores eight rows against three probes. The eight rows stay in the first-level cache while all probes of a
//! stretch, which stay in the second, pass by.

use super::Kernel;
use crate::batch::Probe;
use crate::exact::Selection;
use crate::gallery::{Gallery, Part};
use crate::layout::PANEL_ROWS;

/// Rows of one step.
pub(super) const ROWS: usize = 8;

/// Probes of one step.
pub(super) const PROBES: usize = 3;

/// Probes that stay in the second-level cache while the rows pass, a multiple of [`PROBES`]: 384 KiB at 512 dimensions.
const STRETCH_PROBES: usize = 192;

/// Scores of one step.
pub(super) type Scores = [[f32; ROWS]; PROBES];

/// For each probe the rows that the bound of [`crate::exact::coarse_error_max`] cannot exclude.
pub(super) fn scan(kernel: Kernel, gallery: &Gallery, probes: &[Probe<'_>]) -> Vec<Vec<u32>> {
    let dims = gallery.dims();
    let mut selections: Vec<Selection> = probes.iter().map(|probe| Selection::new(probe.wanted, dims)).collect();
    let mut packed = vec![0.0; probes.len().next_multiple_of(PROBES) * dims];
    for (place, probe) in packed.chunks_exact_mut(dims).zip(probes) {
        place.copy_from_slice(probe.values);
    }
    let mut padded = vec![0.0; ROWS * dims];
    let stretches = packed.chunks(STRETCH_PROBES * dims).zip(selections.chunks_mut(STRETCH_PROBES));
    for (packed, selections) in stretches {
        for part in gallery.parts() {
            for (step, rows) in part.block.rows().chunks(ROWS * dims).enumerate() {
                let rows = if rows.len() == padded.len() {
                    rows
                } else {
                    padded[..rows.len()].copy_from_slice(rows);
                    padded.as_slice()
                };
                offer(kernel, part, step * ROWS, rows, packed, selections);
            }
        }
    }
    selections.into_iter().map(|selection| selection.finish().collect()).collect()
}

/// Scores eight rows from `row` of the part on against all probes and hands over what reaches a threshold.
fn offer(kernel: Kernel, part: &Part, row: usize, rows: &[f32], probes: &[f32], selections: &mut [Selection]) {
    let dims = rows.len() / ROWS;
    let live = part.live(row / PANEL_ROWS) >> (row % PANEL_ROWS) & 0xFF;
    let mut scores = [[0.0; ROWS]; PROBES];
    for (probes, selections) in probes.chunks_exact(PROBES * dims).zip(selections.chunks_mut(PROBES)) {
        let mut lowest = [f32::INFINITY; PROBES];
        for (lowest, selection) in lowest.iter_mut().zip(selections.iter()) {
            *lowest = selection.threshold();
        }
        let reached = kernel.score_single(rows, probes, &lowest, &mut scores);
        for ((selection, scores), reached) in selections.iter_mut().zip(&scores).zip(reached) {
            if reached & live != 0 {
                selection.insert(scores, part.first + row as u32, reached & live);
            }
        }
    }
}

/// Scores eight rows against three probes, `dims` values each. Returns for each probe the rows, as bits, whose score is
/// not below `lowest`; `scores` is written for all.
pub(super) fn score_portable(
    rows: &[f32],
    probes: &[f32],
    lowest: &[f32; PROBES],
    scores: &mut Scores,
) -> [u32; PROBES] {
    const LANES: usize = 16;
    let dims = rows.len() / ROWS;
    let mut reached = [0; PROBES];
    for (place, probe) in probes.chunks_exact(dims).take(PROBES).enumerate() {
        for (lane, row) in rows.chunks_exact(dims).take(ROWS).enumerate() {
            let (chunks, tail) = row.as_chunks::<LANES>();
            let (probe_chunks, probe_tail) = probe.as_chunks::<LANES>();
            let mut sums = [0.0; LANES];
            for (a, b) in chunks.iter().zip(probe_chunks) {
                for index in 0..LANES {
                    sums[index] += a[index] * b[index];
                }
            }
            let rest: f32 = tail.iter().zip(probe_tail).map(|(a, b)| a * b).sum();
            scores[place][lane] = sums.iter().sum::<f32>() + rest;
            reached[place] |= u32::from(scores[place][lane] >= lowest[place]) << lane;
        }
    }
    reached
}
