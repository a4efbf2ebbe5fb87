//! Which functions run for which kernel.

use super::kernel::Kernel;
use super::lanes::{self, Ask, Sums};
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{x86, x86_narrow};
use crate::layout::PANEL_ROWS;
use crate::panel::Panel;

/// Only for kernels that are [`Kernel::available`]: the unsafe calls rely on it.
impl Kernel {
    /// Scores one panel against a tile of probes; see [`portable::score`].
    pub(super) fn score<const P: usize>(self, panel: &Panel<'_>, ask: &Ask<'_, P>, sums: &mut Sums<P>) -> [u32; P] {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Cpu::new` has checked that the processor runs this kernel.
            Kernel::Avx512 => unsafe {
                match P {
                    1 => x86::score_vnni::<P, 2, 3>(panel, ask, sums),
                    2 => x86::score_vnni::<P, P, 3>(panel, ask, sums),
                    4 => x86::score_vnni::<P, P, 2>(panel, ask, sums),
                    _ => x86::score_vnni::<P, P, 1>(panel, ask, sums),
                }
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx2 => unsafe { x86::score_avx2(panel, ask, sums) },
            _ => portable::score(panel, ask, sums),
        }
    }

    /// As [`Kernel::score`], for narrow codes; `sums` is written for all rows.
    pub(super) fn score_narrow<const P: usize>(
        self,
        panel: &Panel<'_>,
        ask: &Ask<'_, P>,
        sums: &mut Sums<P>,
    ) -> [u32; P] {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; whatever has AVX-512 has AVX2.
            Kernel::Avx512 | Kernel::Avx2 => unsafe { x86_narrow::score(panel, ask, sums) },
            _ => portable::score_narrow(panel, ask, sums),
        }
    }

    /// The sum of one row's codes, as they are stored plus 128, times `fine` codes.
    pub(super) fn sum_row(self, panel: &Panel<'_>, row: usize, fine: &[i16]) -> i32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx512 | Kernel::Avx2 => unsafe { x86_narrow::sum_row(panel, row, fine) },
            _ => portable::sum_row(panel, row, fine),
        }
    }

    /// Raises each lane's best lower bound by one panel's rows; see [`lanes::raise_lanes`].
    pub(super) fn raise_lanes(
        self,
        best: &mut [f32; PANEL_ROWS],
        panel: &Panel<'_>,
        sums: &[i32; PANEL_ROWS],
        reach: f32,
        live: u32,
    ) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx512 | Kernel::Avx2 => unsafe { x86::raise_lanes(best, panel, sums, reach, live) },
            _ => lanes::raise_lanes(best, panel, sums, reach, live),
        }
    }

    /// The `k`-th highest of some values; see [`lanes::kth_highest`].
    pub(super) fn kth_highest(self, values: &[f32; 2 * PANEL_ROWS], k: usize) -> f32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx512 | Kernel::Avx2 => unsafe { x86::kth_highest(values, k) },
            _ => lanes::kth_highest(values, k),
        }
    }

    /// The rows whose upper bound is not below `lowest`; see [`lanes::reached`].
    pub(super) fn reached(self, panel: &Panel<'_>, sums: &[i32; PANEL_ROWS], reach: f32, lowest: f32) -> u32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx512 | Kernel::Avx2 => unsafe { x86::reached(panel, sums, reach, lowest) },
            _ => lanes::reached(panel, sums, reach, lowest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::packing::Packing;
    use crate::panel::{GROUP, GROUP_BYTES};
    use crate::quantise::FINE;

    fn random(count: usize, mut state: u32) -> impl Iterator<Item = u8> {
        (0..count).map(move |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
    }

    /// Compares the sums and masks of one panel, of all kernels that read `packing`, with a naive computation. The
    /// extreme codes would overflow 16 bits.
    fn agree<const P: usize>(
        packing: Packing,
        dims: usize,
        codes_at: impl Fn(usize) -> u8,
        probes_at: impl Fn(usize) -> u8,
    ) {
        let groups = dims / GROUP;
        let bytes: Vec<u8> = (0..groups * GROUP_BYTES).map(&codes_at).collect();
        let scales: [f32; PANEL_ROWS] = std::array::from_fn(|lane| 0.001 + lane as f32 * 1e-5);
        let panel = Panel { codes: &bytes, scales: &scales, errors: &[0.007; PANEL_ROWS] };
        let is_fine = P == 1 || packing == Packing::Pairs;
        let columns = if is_fine { 2 * P } else { P };
        let probe = |k: usize, column: usize| i32::from(probes_at(k * columns + column) as i8);
        let of_probe = |k: usize, place: usize| match is_fine {
            true => FINE * probe(k, 2 * place) + probe(k, 2 * place + 1),
            false => probe(k, place),
        };
        let words = packing.words(GROUP, P);
        let packed: Vec<i32> = (0..groups * words)
            .map(|at| {
                let (k, word) = (at / words * GROUP, at % words);
                match packing {
                    Packing::Bytes => i32::from_ne_bytes(std::array::from_fn(|of| probe(k + of, word) as u8)),
                    _ => bytemuck::cast([0, 2].map(|of| of_probe(k + of + word % 2, word / 2) as i16)),
                }
            })
            .collect();
        let starts = std::array::from_fn(|place| -128 * (0..dims).map(|k| of_probe(k, place)).sum::<i32>());
        let expected: Vec<Vec<i32>> = (0..P)
            .map(|place| {
                let code = |row: usize, k: usize| bytes[k / GROUP * GROUP_BYTES + row * GROUP + k % GROUP];
                let product = |row, k| (i32::from(code(row, k)) - 128) * of_probe(k, place);
                (0..PANEL_ROWS).map(|row| (0..dims).map(|k| product(row, k)).sum()).collect()
            })
            .collect();
        // Thresholds: one that everything reaches, and then the middle of each probe's upper bounds.
        let upper = |place: usize, row: usize| scales[row] * expected[place][row] as f32 + 0.007 * 900.0;
        let middle: [f32; P] = std::array::from_fn(|place| {
            let mut uppers: Vec<f32> = (0..PANEL_ROWS).map(|row| upper(place, row)).collect();
            uppers.sort_by(f32::total_cmp);
            (uppers[15] + uppers[16]) / 2.0
        });
        for kernel in Kernel::available().into_iter().filter(|kernel| Packing::of_kernel(*kernel) == packing) {
            let mut sums = [[0; PANEL_ROWS]; P];
            let mut ask = Ask { codes: &packed, starts, reaches: [900.0; P], lowest: [f32::NEG_INFINITY; P] };
            let name = kernel.name();
            assert_eq!(kernel.score(&panel, &ask, &mut sums), [u32::MAX; P], "{name}, {dims}");
            for (place, sums) in sums.iter().enumerate() {
                assert_eq!(sums.as_slice(), expected[place], "{name}, {dims} dimensions, {P} probes, probe {place}");
            }
            ask.lowest = middle;
            for (place, reached) in kernel.score(&panel, &ask, &mut sums).into_iter().enumerate() {
                let far = |row: &usize| (upper(place, *row) - middle[place]).abs() > 1e-3;
                for row in (0..PANEL_ROWS).filter(far) {
                    assert_eq!(reached >> row & 1 == 1, upper(place, row) > middle[place], "{name}: row {row}");
                }
            }
        }
    }

    fn agree_on_all_codes<const P: usize>() {
        for packing in [Packing::Bytes, Packing::Pairs] {
            for &dims in crate::WIDTHS {
                let (codes, probes): (Vec<u8>, Vec<u8>) =
                    (random(dims * PANEL_ROWS, 1).collect(), random(dims * P * 2, 2).collect());
                // Code -128 does not occur: the lowest is -127.
                let of_probe = |at| if probes[at] == 128 { 127 } else { probes[at] };
                agree::<P>(packing, dims, |at| codes[at].max(1), of_probe);
                // The extremes are there to overflow on a real processor; interpreted, they take minutes.
                if cfg!(miri) {
                    continue;
                }
                agree::<P>(packing, dims, |_| 255, |_| 127);
                agree::<P>(packing, dims, |_| 1, |_| 127);
                agree::<P>(
                    packing,
                    dims,
                    |at| if at % 2 == 0 { 255 } else { 1 },
                    |at| if at % 3 == 0 { 129 } else { 127 },
                );
            }
        }
    }

    #[test]
    fn all_kernels_have_the_same_integer_sums() {
        agree_on_all_codes::<1>();
        agree_on_all_codes::<2>();
        agree_on_all_codes::<4>();
        agree_on_all_codes::<8>();
        agree_on_all_codes::<12>();
    }

    #[test]
    fn the_kth_highest_is_that_of_the_sorted_values() {
        let mut bytes = random(1 << 12, 5).map(|byte| f32::from(byte % 40) * 0.25 - 5.0);
        for there in [1, 2, 5, 63, 64] {
            // Many are equal, and the places without a row hold less than any.
            let values: [f32; 2 * PANEL_ROWS] =
                std::array::from_fn(|place| if place < there { bytes.next().unwrap() } else { f32::NEG_INFINITY });
            let mut sorted = values;
            sorted.sort_by(|a, b| b.total_cmp(a));
            for kernel in Kernel::available() {
                for k in (1..=64).step_by(if cfg!(miri) { 9 } else { 1 }) {
                    assert_eq!(kernel.kth_highest(&values, k), sorted[k - 1], "{}, {k} of {there}", kernel.name());
                }
            }
        }
    }
}
