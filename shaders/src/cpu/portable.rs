//! The kernels without intrinsics. Their loops are regular, so that the compiler vectorises them: by SSE2 on x86-64, by
//! NEON on AArch64.

use super::lanes::{Ask, Sums, reached};
use crate::layout::PANEL_ROWS;
use crate::panel::{GROUP, GROUP_BYTES, OFFSET, Panel};
use crate::quantise::NARROW_GROUPS;

/// Scores one panel against `P` probes. Returns for each probe, as bits, the rows whose upper bound is not below its
/// threshold; `sums` is written for all rows.
pub(super) fn score<const P: usize>(panel: &Panel<'_>, ask: &Ask<'_, P>, sums: &mut Sums<P>) -> [u32; P] {
    let (groups, _) = panel.codes.as_chunks::<GROUP_BYTES>();
    let codes = ask.codes.as_chunks::<2>().0.chunks_exact(P);
    let mut all = [0; P];
    for place in 0..P {
        let mut of_probe = [ask.starts[place]; PANEL_ROWS];
        for (group, codes) in groups.iter().zip(codes.clone()) {
            add_group(&mut of_probe, group, codes[place].map(bytemuck::cast));
        }
        sums[place] = of_probe;
        all[place] = reached(panel, &sums[place], ask.reaches[place], ask.lowest[place]);
    }
    all
}

/// As [`score`], for codes in [`Packing::Narrow`](super::packing::Packing::Narrow). Their starts are for kernels that
/// add in sixteen bits.
pub(super) fn score_narrow<const P: usize>(panel: &Panel<'_>, ask: &Ask<'_, P>, sums: &mut Sums<P>) -> [u32; P] {
    *sums = [[0; PANEL_ROWS]; P];
    let blocks = ask.codes.chunks((1 + NARROW_GROUPS) * P).flat_map(|block| block[P..].chunks_exact(P));
    for (group, codes) in panel.codes.as_chunks::<GROUP_BYTES>().0.iter().zip(blocks) {
        for (sums, codes) in sums.iter_mut().zip(codes) {
            let codes: [i8; GROUP] = bytemuck::cast(*codes);
            for (sum, row) in sums.iter_mut().zip(group.as_chunks::<GROUP>().0) {
                for (row, code) in row.iter().zip(codes) {
                    *sum += (i32::from(*row) - OFFSET) * i32::from(code);
                }
            }
        }
    }
    std::array::from_fn(|place| reached(panel, &sums[place], ask.reaches[place], ask.lowest[place]))
}

/// Adds the products of one group of four codes. Masks and shifts tell the compiler that all factors fit 16 bits, so
/// that it can take the widening multiply-add of SSE2.
#[inline(always)]
fn add_group(sums: &mut [i32; PANEL_ROWS], group: &[u8; GROUP_BYTES], [even, odd]: [[i16; 2]; 2]) {
    let (even, odd) = (even.map(i32::from), odd.map(i32::from));
    let (rows, _) = group.as_chunks::<4>();
    for lane in 0..PANEL_ROWS {
        let row = u32::from_le_bytes(rows[lane]);
        sums[lane] += (row & 0xFF) as i32 * even[0]
            + (row >> 8 & 0xFF) as i32 * odd[0]
            + (row >> 16 & 0xFF) as i32 * even[1]
            + (row >> 24) as i32 * odd[1];
    }
}

/// The sum of one row's codes, as they are stored plus 128, times `fine` codes.
pub(super) fn sum_row(panel: &Panel<'_>, row: usize, fine: &[i16]) -> i32 {
    let rows = panel.codes.as_chunks::<GROUP>().0.iter().skip(row).step_by(PANEL_ROWS);
    let products = rows.flatten().zip(fine).map(|(row, fine)| i32::from(*row) * i32::from(*fine));
    products.sum()
}
