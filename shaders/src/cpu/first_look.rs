//! A first look at a large gallery with narrow codes ([`super::narrow_codes`]).
//!
//! A row is ruled out where its upper bound is below what the exact k-th score is known to reach. The others, one in a
//! hundred to one in a thousand, get their sums of the eight-bit pass one by one.

use super::kernel::Kernel;
use super::lanes::{Ask, Sums};
use super::narrow_codes::WIDTH_MIN;
use super::packing::Packing;
use super::probes::{Probes, Tile};
use crate::bound::Reach;
use crate::layout::PANEL_ROWS;
use crate::panel::Panel;
use crate::select::Selection;

/// The first looks of one tile of probes at the panels of a stretch.
pub(super) struct FirstLook<'a, const P: usize> {
    kernel: Kernel,
    /// The question in narrow codes, in units of their steps.
    ask: Ask<'a, P>,
    probes: &'a [Reach],
    fine: &'a [i16],
    /// Whether a look left so many rows that the rest of the stretch is not worth looking at.
    is_blind: bool,
}

impl<'a, const P: usize> FirstLook<'a, P> {
    /// The most rows that a look may leave of a panel, over all probes. To sum up one row alone takes as long as a look
    /// saves with a dozen.
    const LEFT_MAX: u32 = 5 * P as u32 / 2;

    /// None where looking does not pay for the probes of `tile`.
    pub(super) fn new(
        kernel: Kernel,
        probes: &'a Probes,
        tile: &Tile,
        selections: &[Selection],
    ) -> Option<FirstLook<'a, P>> {
        if probes.packing != Packing::NarrowThenPairs || P < WIDTH_MIN {
            return None;
        }
        let narrow = &probes.narrow;
        let of_tile = tile.first..tile.first + tile.count;
        let words = Packing::Narrow.words(probes.dims, P);
        let ask = Ask {
            codes: &narrow.codes[tile.narrow_start..tile.narrow_start + words],
            starts: [0; P],
            reaches: [0.0; P],
            lowest: [f32::INFINITY; P],
        };
        let mut look = FirstLook {
            kernel,
            ask,
            probes: &narrow.reaches[of_tile.clone()],
            fine: &narrow.fine[of_tile.start * probes.dims..of_tile.end * probes.dims],
            is_blind: false,
        };
        for (place, selection) in selections.iter().enumerate() {
            look.ask.reaches[place] = look.probes[place].reach;
            look.rule_out(place, selection);
        }
        Some(look)
    }

    /// Raises the threshold of the probe at `place` to what is known of its exact scores.
    pub(super) fn rule_out(&mut self, place: usize, selection: &Selection) {
        self.ask.lowest[place] = self.probes[place].lowest_upper(selection.lowest_score());
    }

    /// Writes the eight-bit sums of the rows that the look does not exclude. Returns, as bits, for each probe those of
    /// them whose upper bound is not below its threshold in `ask`. None where the look leaves many rows.
    pub(super) fn score(
        &mut self,
        panel: &Panel<'_>,
        ask: &Ask<'_, P>,
        live: u32,
        sums: &mut Sums<P>,
    ) -> Option<[u32; P]> {
        if self.is_blind {
            return None;
        }
        let mut left = self.kernel.score_narrow(panel, &self.ask, sums).map(|left| left & live);
        if left.iter().map(|left| left.count_ones()).sum::<u32>() > Self::LEFT_MAX {
            self.is_blind = true;
            return None;
        }
        let dims = panel.codes.len() / PANEL_ROWS;
        for (place, left) in left.iter_mut().enumerate() {
            let mut rows = *left;
            while rows != 0 {
                let row = rows.trailing_zeros() as usize;
                rows &= rows - 1;
                let fine = &self.fine[place * dims..(place + 1) * dims];
                let sum = ask.starts[place] + self.kernel.sum_row(panel, row, fine);
                let upper = panel.scales[row] * sum as f32 + panel.errors[row] * ask.reaches[place];
                sums[place][row] = sum;
                *left ^= u32::from(upper < ask.lowest[place]) << row;
            }
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::narrow_codes::write;
    use crate::panel::{GROUP, GROUP_BYTES, OFFSET};
    use crate::quantise::tests::templates;
    use crate::quantise::{Narrow, quantise};

    /// Panels whose codes are at their extremes, alternate between them, and are scattered. The extremes are there to
    /// overflow on a real processor; interpreted, they take minutes.
    fn panels(dims: usize) -> Vec<Vec<u8>> {
        let codes = |code: &dyn Fn(usize) -> u8| (0..dims * PANEL_ROWS).map(code).collect();
        let scattered = |at: usize| ((at as u32).wrapping_mul(2_654_435_761) >> 24) as u8;
        // Code -128 does not occur: the lowest is -127.
        let scattered = codes(&|at| scattered(at).max(1));
        if cfg!(miri) {
            return vec![scattered];
        }
        vec![
            codes(&|_| 255),
            codes(&|_| 1),
            codes(&|at| if at % 2 == 0 { 255 } else { 1 }),
            codes(&|at| if (at / GROUP).is_multiple_of(2) { 255 } else { 1 }),
            scattered,
        ]
    }

    /// With scales of 1 and no errors an upper bound is the sum itself. The sum of each row in turn is the threshold.
    fn masks_are_those_of_the_sums<const P: usize>(kernel: Kernel, dims: usize) {
        let all = templates(dims);
        for probes in all.chunks(P).take(if cfg!(miri) { 1 } else { usize::MAX }) {
            let mut packed = vec![0; Packing::Narrow.words(dims, P)];
            let mut all_codes = Vec::new();
            for (place, values) in probes.iter().enumerate() {
                let mut codes = vec![Narrow(0); dims];
                quantise(values, &mut codes);
                write(&mut packed, [P, place], &codes);
                all_codes.push(codes);
            }
            for bytes in panels(dims) {
                let panel = Panel { codes: &bytes, scales: &[1.0; PANEL_ROWS], errors: &[0.0; PANEL_ROWS] };
                let code = |row: usize, k: usize| i32::from(bytes[k / GROUP * GROUP_BYTES + row * GROUP + k % GROUP]);
                let sum = |codes: &[Narrow], row: usize| -> i32 {
                    codes.iter().enumerate().map(|(k, narrow)| (code(row, k) - OFFSET) * i32::from(*narrow)).sum()
                };
                let sums: Vec<[i32; PANEL_ROWS]> =
                    all_codes.iter().map(|codes| std::array::from_fn(|row| sum(codes, row))).collect();
                for row in (0..PANEL_ROWS).step_by(if cfg!(miri) { 31 } else { 1 }) {
                    let mut ask = Ask { codes: &packed, starts: [0; P], reaches: [0.0; P], lowest: [f32::INFINITY; P] };
                    for (lowest, sums) in ask.lowest.iter_mut().zip(&sums) {
                        *lowest = sums[row] as f32;
                    }
                    let mut found = [[0; PANEL_ROWS]; P];
                    for (place, left) in kernel.score_narrow(&panel, &ask, &mut found).into_iter().enumerate() {
                        assert_eq!(&found[place], sums.get(place).unwrap_or(&[0; PANEL_ROWS]), "{}", kernel.name());
                        let expected = sums.get(place).map_or(0, |sums| {
                            (0..PANEL_ROWS).fold(0, |bits, at| bits | u32::from(sums[at] >= sums[row]) << at)
                        });
                        assert_eq!(left, expected, "{}, {dims} dimensions, probe {place} of {P}", kernel.name());
                    }
                }
            }
        }
    }

    #[test]
    fn narrow_codes_have_exact_sums_and_leave_the_rows_that_reach_the_threshold() {
        for kernel in Kernel::available() {
            for &dims in crate::WIDTHS {
                masks_are_those_of_the_sums::<1>(kernel, dims);
                masks_are_those_of_the_sums::<2>(kernel, dims);
                masks_are_those_of_the_sums::<4>(kernel, dims);
                masks_are_those_of_the_sums::<8>(kernel, dims);
                masks_are_those_of_the_sums::<12>(kernel, dims);
            }
        }
    }

    #[test]
    fn a_row_alone_has_the_sum_that_it_has_in_its_panel() {
        for &dims in crate::WIDTHS {
            let fine: Vec<i16> = (0..dims).map(|k| [2_032, -2_032, (k * 37 % 4_065) as i16 - 2_032][k % 3]).collect();
            for bytes in panels(dims) {
                let panel = Panel { codes: &bytes, scales: &[1.0; PANEL_ROWS], errors: &[0.0; PANEL_ROWS] };
                for row in 0..PANEL_ROWS {
                    let code = |k: usize| i32::from(bytes[k / GROUP * GROUP_BYTES + row * GROUP + k % GROUP]);
                    let expected: i32 = fine.iter().enumerate().map(|(k, fine)| code(k) * i32::from(*fine)).sum();
                    for kernel in Kernel::available() {
                        assert_eq!(kernel.sum_row(&panel, row, &fine), expected, "{}, row {row}", kernel.name());
                    }
                }
            }
        }
    }
}
