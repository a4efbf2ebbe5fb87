//! From a device's answer to proved candidates.

use crate::ask::Wanted;
use crate::bound::Reach;
use crate::gallery::Gallery;
use crate::layout::{self, Found};
use crate::select::{Candidate, Selection};

/// What a device's answer proves about one probe.
#[derive(Debug, PartialEq)]
pub(super) enum Proof {
    /// Only these rows can belong to the top-k; the highest upper bound comes first.
    Whole(Vec<Candidate>),
    /// More rows reached the floor of the sieve than there was room for. Every row of the top-k has an upper bound of
    /// at least this.
    Floor(f32),
    None,
}

/// Proves an answer. A row that the device left out has an upper bound below the floor that it states. Where the lower
/// bounds of the rows that it gave raise the threshold to that floor or above, the row is excluded like any other,
/// however the device found its floor.
pub(super) fn prove(
    gallery: &Gallery,
    wanted: Wanted,
    reach: Reach,
    found: &Found,
    rows: &[layout::Candidate],
    room: usize,
) -> Proof {
    let live = rows.iter().filter(|row| gallery.contains(row.row));
    let candidates = live.map(|row| Candidate { lower: row.lower.into(), upper: row.upper.into(), row: row.row });
    let (threshold, candidates) = Selection::of(wanted, reach, candidates).finish_with_threshold();
    let all_left = found.left as usize <= rows.len();
    match (found.floor <= threshold || found.floor == f32::MIN, found.all as usize <= room) {
        (true, true) if all_left => Proof::Whole(candidates),
        (true, false) if all_left => Proof::Floor(found.floor),
        _ => Proof::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REACH: Reach = Reach { scale: 0.001, reach: 700.0, margin: 7.0 };

    /// Two equal templates of 128 dimensions: the rows 0 and 1.
    fn gallery() -> Gallery {
        Gallery::new(128, vec![128f32.sqrt().recip(); 256]).expect("a good gallery")
    }

    /// A row whose bounds are 3 apart.
    fn candidate(upper: f32, row: u32) -> layout::Candidate {
        layout::Candidate { upper, lower: upper - 3.0, row }
    }

    fn answer(gallery: &Gallery, k: usize, uppers: &[f32], found: Found, room: usize) -> Option<Vec<u32>> {
        let rows: Vec<layout::Candidate> = uppers.iter().zip(0..).map(|(&upper, row)| candidate(upper, row)).collect();
        match prove(gallery, Wanted::best(k), REACH, &found, &rows, room) {
            Proof::Whole(candidates) => Some(candidates.iter().map(|candidate| candidate.row).collect()),
            _ => None,
        }
    }

    #[test]
    fn rows_left_out_are_excluded_only_below_what_those_given_prove() {
        let gallery = gallery();
        let found = |floor| Found { left: 2, floor, all: 2 };
        // The best row proves 500 - 3 - 2 * 7.
        assert_eq!(answer(&gallery, 1, &[500.0, 400.0], found(480.0), 8), Some(vec![0]));
        assert_eq!(answer(&gallery, 1, &[500.0, 400.0], found(484.0), 8), None, "a row at 483.5 may be better");
        assert_eq!(answer(&gallery, 3, &[500.0, 500.0], found(480.0), 8), None, "one more row is wanted");
        assert_eq!(answer(&gallery, 3, &[500.0, 500.0], found(f32::MIN), 8).map(|rows| rows.len()), Some(2));
        let removed = gallery.without(&[0]);
        assert_eq!(answer(&removed, 1, &[500.0, 400.0], found(480.0), 8), None, "the floor is of a row that is gone");
        assert_eq!(answer(&removed, 3, &[500.0, 500.0], found(f32::MIN), 8), Some(vec![1]));
    }

    #[test]
    fn rows_without_room_prove_nothing_but_a_floor() {
        let gallery = gallery();
        let rows = [candidate(500.0, 0), candidate(400.0, 1)];
        let prove = |left, all, room| {
            let found = Found { left, floor: 480.0, all };
            prove(&gallery, Wanted::best(1), REACH, &found, &rows, room)
        };
        assert!(matches!(prove(2, 3, 3), Proof::Whole(_)));
        assert_eq!(prove(2, 3, 2), Proof::Floor(480.0), "a row that is better may not have had room");
        assert_eq!(prove(3, 3, 3), Proof::None, "a row that was left has not come back");
    }
}
