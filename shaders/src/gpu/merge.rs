//! From what a device gives back to proved candidates.

use crate::gallery::Gallery;
use crate::layout::Candidate;
use crate::quantise::Reach;
use crate::select::{self, Selection};

/// Gathers one probe's candidates over all tiles.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    gallery: &'a Gallery,
    selection: Selection,
    /// No row that a tile kept back has a higher upper bound than this.
    cut_upper_max: f32,
}

impl<'a> Merge<'a> {
    /// Starts with what the selection knows already.
    pub(super) fn new(gallery: &'a Gallery, selection: Selection) -> Merge<'a> {
        Merge { gallery, selection, cut_upper_max: f32::NEG_INFINITY }
    }

    /// Takes one sorted run of rows, the removed ones left out. Where it is cut, the tile has more rows, none of them above
    /// the run's last.
    pub(super) fn take_run(&mut self, candidates: &[Candidate], cut: bool) {
        for candidate in candidates {
            if candidate.upper < self.selection.threshold() {
                break;
            }
            self.take(candidate);
        }
        if let (true, Some(last)) = (cut, candidates.last()) {
            self.cut_upper_max = self.cut_upper_max.max(last.upper);
        }
    }

    /// Takes rows that reached the probe's floor, of `count` that did so. The selection's threshold must have been at the
    /// floor or above it from the start: then the rows that did not are excluded.
    pub(super) fn take_lot(&mut self, candidates: &[Candidate], count: usize) {
        for candidate in &candidates[..count.min(candidates.len())] {
            if candidate.upper >= self.selection.threshold() {
                self.take(candidate);
            }
        }
        if count > candidates.len() {
            self.cut_upper_max = f32::INFINITY;
        }
    }

    fn take(&mut self, candidate: &Candidate) {
        if let Some(error) = self.gallery.error(candidate.row) {
            self.selection.push(select::Candidate {
                lower: self.selection.reach().lower(error, candidate.upper),
                upper: f64::from(candidate.upper),
                row: candidate.row,
            });
        }
    }

    /// The upper bound below which no row of the gallery belongs to the top-k, whatever is still to come.
    pub(super) fn threshold(self) -> f32 {
        self.selection.finish_with_threshold().0
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

    fn merge(gallery: &Gallery, k: usize) -> Merge<'_> {
        let reach = Reach { scale: 0.001, reach: 700.0, margin: 7.0 };
        Merge::new(gallery, Selection::new(Wanted::best(k), reach))
    }

    #[test]
    fn a_cut_run_within_the_bound_overflows_and_one_below_it_does_not() {
        let run = |uppers: &[f32]| -> Vec<Candidate> {
            uppers.iter().enumerate().map(|(row, &upper)| Candidate { upper, row: row as u32 }).collect()
        };
        let rows =
            |merge: Merge<'_>| merge.finish().map(|(_, found)| found.iter().map(|c| c.row).collect::<Vec<u32>>());
        let gallery = gallery();
        let mut near = merge(&gallery, 1);
        near.take_run(&run(&[500.0, 499.99]), true);
        assert_eq!(rows(near), None, "a row kept back may tie with the best");

        let mut far = merge(&gallery, 1);
        far.take_run(&run(&[500.0, 400.0]), true);
        assert_eq!(rows(far), Some(vec![0]));

        let mut whole = merge(&gallery, 3);
        whole.take_run(&run(&[500.0, 500.0]), false);
        assert_eq!(rows(whole).map(|rows| rows.len()), Some(2), "fewer rows than k are all of them");

        let removed = gallery.with_removed(0).expect("it is there");
        let mut gap = merge(&removed, 3);
        gap.take_run(&run(&[500.0, 500.0]), false);
        assert_eq!(rows(gap), Some(vec![1]), "a removed row is nobody's answer");
    }

    #[test]
    fn a_lot_with_more_rows_than_room_proves_nothing() {
        let gallery = gallery();
        let lot = [Candidate { upper: 400.0, row: 1 }, Candidate { upper: 500.0, row: 0 }];
        for (count, proved) in [(2, true), (3, false)] {
            let mut merge = merge(&gallery, 1);
            merge.take_lot(&lot, count);
            let found = merge.finish().map(|(_, found)| found.iter().map(|c| c.row).collect::<Vec<u32>>());
            assert_eq!(found, proved.then(|| vec![0]));
        }
    }
}
