//! Which rows a coarse pass hands over: those that the bound of [`crate::bound`] cannot exclude.

use crate::ask::Wanted;
use crate::bound::Reach;
use crate::layout::PANEL_ROWS;
use crate::panel::Panel;

/// Free places for candidates beyond k before the list is sieved for the first time.
const SIEVE_SLACK: usize = 16;

/// A row that may belong to the exact top-k, with bounds of its score in units of the probe's scale, without the
/// margin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) row: u32,
}

/// The candidates of one probe while a gallery streams past.
///
/// Nothing is ever dropped without proof. So memory is bounded by what the bound cannot exclude: with many equal
/// scores, or with codes that leave much out, that may be the whole gallery, and then the rescoring is an exact scan.
#[derive(Debug)]
pub(crate) struct Selection {
    wanted: Wanted,
    reach: Reach,
    /// Rows whose upper bound is below it are excluded for good. It only rises.
    threshold: f32,
    /// The highest lower bounds so far, at most k, in descending order.
    best: Vec<f64>,
    /// Number of candidates at which the next sieving pays.
    sieve_at: usize,
    candidates: Vec<Candidate>,
}

impl Selection {
    /// Starts with no candidate, and excludes the rows that cannot reach the wanted floor.
    pub(crate) fn new(wanted: Wanted, reach: Reach) -> Selection {
        let sieve_at = wanted.k + SIEVE_SLACK;
        let threshold = reach.lowest_upper(wanted.floor);
        let (best, candidates) = (Vec::with_capacity(wanted.k), Vec::with_capacity(sieve_at));
        Selection { wanted, reach, threshold, best, sieve_at, candidates }
    }

    /// Starts with some candidates.
    pub(crate) fn of(wanted: Wanted, reach: Reach, candidates: impl Iterator<Item = Candidate>) -> Selection {
        let mut selection = Selection::new(wanted, reach);
        candidates.for_each(|candidate| selection.push(candidate));
        selection
    }

    pub(crate) fn wanted(&self) -> Wanted {
        self.wanted
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The upper bound below which no row matters any more.
    pub(crate) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// The exact score below which no row matters any more.
    pub(crate) fn lowest_score(&self) -> f64 {
        self.reach.lowest_score(self.threshold)
    }

    /// Accepts a threshold that was proved on other rows of the same gallery.
    pub(crate) fn raise(&mut self, threshold: f32) {
        self.threshold = self.threshold.max(threshold);
    }

    /// Takes those rows of a panel whose bit in `reached` is set: a kernel found them not below the threshold that it
    /// knew. `row_first` is the number of the panel's first row.
    pub(crate) fn insert(&mut self, panel: &Panel<'_>, sums: &[i32; PANEL_ROWS], row_first: u32, mut reached: u32) {
        while reached != 0 {
            let lane = reached.trailing_zeros() as usize;
            reached &= reached - 1;
            let (lower, upper) = self.reach.bounds(panel.scales[lane], panel.errors[lane], sums[lane]);
            if upper < f64::from(self.threshold) {
                continue;
            }
            self.push(Candidate { lower, upper, row: row_first + lane as u32 });
        }
    }

    fn push(&mut self, candidate: Candidate) {
        self.prove(candidate.lower);
        self.candidates.push(candidate);
        if self.candidates.len() >= self.sieve_at {
            self.sieve();
        }
    }

    /// Raises the threshold to what the lower bound of one more row proves, if it proves more.
    fn prove(&mut self, lower: f64) {
        if lower - 2.0 * self.reach.margin <= f64::from(self.threshold) {
            return;
        }
        let k = self.wanted.k;
        match self.best.get_mut(k - 1) {
            Some(kth) => *kth = lower,
            None => self.best.push(lower),
        }
        let mut place = self.best.len() - 1;
        while place > 0 && self.best[place - 1] < self.best[place] {
            self.best.swap(place - 1, place);
            place -= 1;
        }
        if let Some(kth) = self.best.get(k - 1) {
            self.raise(self.reach.threshold(*kth));
        }
    }

    /// Drops the candidates below the threshold.
    fn sieve(&mut self) {
        let lowest = f64::from(self.threshold);
        self.candidates.retain(|candidate| candidate.upper >= lowest);
        // Doubling keeps the total cost linear where nothing can be excluded.
        self.sieve_at = (self.wanted.k + SIEVE_SLACK).max(2 * self.candidates.len());
    }

    /// Adds the candidates of another selection, for the same probe and other rows of the gallery.
    pub(crate) fn merge(&mut self, other: Selection) {
        self.raise(other.threshold);
        other.best.iter().for_each(|lower| self.prove(*lower));
        let lowest = f64::from(self.threshold);
        self.candidates.extend(other.candidates.into_iter().filter(|candidate| candidate.upper >= lowest));
        if self.candidates.len() >= self.sieve_at {
            self.sieve();
        }
    }

    /// The candidates, the highest upper bound first.
    pub(crate) fn finish(self) -> Vec<Candidate> {
        self.finish_with_threshold().1
    }

    /// The final threshold and the candidates.
    pub(crate) fn finish_with_threshold(mut self) -> (f32, Vec<Candidate>) {
        self.sieve();
        self.candidates.sort_unstable_by(|a, b| b.upper.total_cmp(&a.upper));
        (self.threshold, self.candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REACH: Reach = Reach { scale: 0.001, reach: 700.0, margin: 7.0 };

    fn panel_of(scales: &[f32; PANEL_ROWS]) -> Panel<'_> {
        Panel { codes: &[], scales, errors: &[0.007; PANEL_ROWS] }
    }

    #[test]
    fn a_row_leaves_only_where_k_others_are_proved_better() {
        let scales = [0.001; PANEL_ROWS];
        let panel = panel_of(&scales);
        // Radius 4.9 and margin 7 on either side: the centres of two rows have to be more than 23.8 apart.
        let sums = |best: i32, other: i32| {
            let mut sums = [other; PANEL_ROWS];
            sums[3] = best;
            sums[9] = best;
            sums
        };
        for (gap, left) in [(23_700, 32), (23_900, 2)] {
            let mut selection = Selection::new(Wanted::best(2), REACH);
            selection.insert(&panel, &sums(100_000, 100_000 - gap), 64, u32::MAX);
            let candidates = selection.finish();
            assert_eq!(candidates.len(), left);
            assert_eq!((candidates[0].row.min(candidates[1].row), candidates[0].row.max(candidates[1].row)), (67, 73));
        }
    }

    #[test]
    fn a_threshold_rises_as_soon_as_k_rows_prove_more_and_never_falls() {
        let scales = [0.001; PANEL_ROWS];
        let panel = panel_of(&scales);
        let mut selection = Selection::new(Wanted::best(2), REACH);
        let offer = |selection: &mut Selection, sum: i32| {
            selection.insert(&panel, &[sum; PANEL_ROWS], 0, 1);
            selection.threshold()
        };
        let proved_by = |sum: i32| REACH.threshold(REACH.bounds(0.001, 0.007, sum).0);
        assert_eq!(offer(&mut selection, 100_000), f32::NEG_INFINITY);
        for (sum, kth) in [(90_000, 90_000), (80_000, 90_000), (95_000, 95_000), (300_000, 100_000)] {
            assert_eq!(offer(&mut selection, sum), proved_by(kth), "after {sum}");
        }
        // A threshold from elsewhere: one row above it is not two.
        selection.raise(proved_by(350_000));
        assert_eq!(offer(&mut selection, 400_000), proved_by(350_000));
        assert_eq!(offer(&mut selection, 390_000), proved_by(390_000));
        let mut other = Selection::new(Wanted::best(2), REACH);
        offer(&mut other, 395_000);
        selection.merge(other);
        assert_eq!(selection.threshold(), proved_by(395_000));
    }

    #[test]
    fn merged_selections_leave_what_one_would_have_left() {
        let scales: [f32; PANEL_ROWS] = std::array::from_fn(|lane| 0.001 + lane as f32 * 1e-6);
        let panel = panel_of(&scales);
        let sums = |panel: u32| std::array::from_fn(|lane| ((lane as u32 * 7_919 + panel * 104_729) % 150_000) as i32);
        let mut whole = Selection::new(Wanted::best(5), REACH);
        let mut halves: Vec<Selection> = (0..2).map(|_| Selection::new(Wanted::best(5), REACH)).collect();
        for index in 0..50 {
            whole.insert(&panel, &sums(index), index * 32, u32::MAX);
            halves[index as usize % 2].insert(&panel, &sums(index), index * 32, u32::MAX);
        }
        let mut merged = halves.remove(0);
        merged.merge(halves.remove(0));
        let mut expected: Vec<u32> = whole.finish().iter().map(|candidate| candidate.row).collect();
        let mut found: Vec<u32> = merged.finish().iter().map(|candidate| candidate.row).collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}
