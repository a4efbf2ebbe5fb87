//! What a kernel is asked about one panel, and the steps over a panel's rows that need no intrinsics.

use crate::layout::PANEL_ROWS;
use crate::panel::Panel;

/// Integer sums of the rows of one panel for `P` probes.
pub(super) type Sums<const P: usize> = [[i32; PANEL_ROWS]; P];

/// What a kernel is asked about one panel.
#[derive(Debug)]
pub(super) struct Ask<'a, const P: usize> {
    /// The codes of the probes, in the packing that the kernel reads.
    pub(super) codes: &'a [i32],
    /// Where each probe's sums start.
    pub(super) starts: [i32; P],
    /// What a row's error is multiplied by, for each probe.
    pub(super) reaches: [f32; P],
    /// Each probe's threshold: rows whose upper bound is not below it are wanted. Infinite for a place without a probe.
    pub(super) lowest: [f32; P],
}

/// The `k`-th highest of at least `k` values, none of them NaN.
///
/// Found bit by bit, as the highest number that `k` of them reach. Each step is some vector instructions, and only the
/// last branch depends on the values.
#[inline(always)]
pub(super) fn kth_highest(values: &[f32; 2 * PANEL_ROWS], k: usize) -> f32 {
    let keys = values.map(|value| in_order(value.to_bits() as i32));
    let mut kth = i32::MIN;
    for bit in (0..i32::BITS).rev() {
        let tried = kth ^ (1 << bit);
        let reached: i32 = keys.iter().map(|key| i32::from(*key >= tried)).sum();
        if reached >= k as i32 {
            kth = tried;
        }
        if reached == k as i32 {
            kth = keys.iter().map(|key| if *key >= tried { *key } else { i32::MAX }).fold(i32::MAX, i32::min);
            break;
        }
    }
    f32::from_bits(in_order(kth) as u32)
}

/// Turns the bits of a float into an integer of the same order, and back.
fn in_order(bits: i32) -> i32 {
    bits ^ ((bits >> 31) & i32::MAX)
}

/// Raises each lane's best lower bound to that of a live row of the panel, where it is higher. The rows' errors allow
/// for the `f32` rounding here.
#[inline(always)]
pub(super) fn raise_lanes(
    best: &mut [f32; PANEL_ROWS],
    panel: &Panel<'_>,
    sums: &[i32; PANEL_ROWS],
    reach: f32,
    live: u32,
) {
    for (lane, (best, sum)) in best.iter_mut().zip(sums).enumerate() {
        let lower = panel.scales[lane] * *sum as f32 - panel.errors[lane] * reach;
        let there = if live >> lane & 1 != 0 { lower } else { f32::NEG_INFINITY };
        *best = best.max(there);
    }
}

/// The rows whose upper bound is not below `lowest`, as bits.
#[inline(always)]
pub(super) fn reached(panel: &Panel<'_>, sums: &[i32; PANEL_ROWS], reach: f32, lowest: f32) -> u32 {
    let mut reached = 0;
    for (lane, sum) in sums.iter().enumerate() {
        let upper = panel.scales[lane] * *sum as f32 + panel.errors[lane] * reach;
        reached |= u32::from(upper >= lowest) << lane;
    }
    reached
}
