//! The CPU engine: a coarse pass, in eight bits over panels of codes ([`scan`]) or in `f32` ([`single`]), then exact
//! scores for the rows that its bound cannot exclude.

mod narrow;
mod pool;
mod portable;
pub(crate) mod probes;
mod scan;
mod sharing;
mod single;
mod wide;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_narrow;
#[cfg(target_arch = "x86_64")]
mod x86_single;

use std::sync::OnceLock;
use std::time::Instant;

use crate::batch::{Group, Hit, Probe};
use crate::error::Error;
use crate::exact;
use crate::gallery::Gallery;
use crate::layout::PANEL_ROWS;
use crate::memory::{self, Upcoming};
use crate::panel::Panel;
use crate::select::Selection;
use pool::Pool;
use probes::{Packing, Probes};
use scan::{Ask, Sums};
use sharing::Sharing;
pub(crate) use sharing::{PRODUCTS_MIN, may_be_shared};

/// A set of CPU kernels. They differ in speed only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// x86-64 with AVX-512 F, BW and VNNI: two 512-bit registers of rows by twelve probes.
    Avx512,
    /// x86-64 with AVX2 and FMA: two 256-bit registers of rows by four probes.
    Avx2,
    /// AArch64, where the portable code compiles to NEON.
    Neon,
    /// Any processor.
    Portable,
}

impl Kernel {
    /// The kernels that this processor can run, fastest first; never empty.
    pub fn available() -> Vec<Kernel> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512bw")
                && std::arch::is_x86_feature_detected!("avx512vnni")
            {
                kernels.push(Kernel::Avx512);
            }
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                kernels.push(Kernel::Avx2);
            }
        }
        kernels.push(if cfg!(target_arch = "aarch64") { Kernel::Neon } else { Kernel::Portable });
        kernels
    }

    /// The name used in descriptions and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Avx512 => "avx512",
            Kernel::Avx2 => "avx2",
            Kernel::Neon => "neon",
            Kernel::Portable => "portable",
        }
    }

    /// How it reads the codes of probes where it reads them once.
    fn packing(self) -> Packing {
        match self {
            Kernel::Avx512 => Packing::Bytes,
            Kernel::Avx2 | Kernel::Neon | Kernel::Portable => Packing::Pairs,
        }
    }

    /// Scores twelve rows against a panel of probes in `f32`; see [`wide::score_portable`].
    fn score_wide(
        self,
        rows: &[f32],
        probes: &[f32],
        lowest: &[f32; wide::PROBES],
        scores: &mut wide::Scores,
        upcoming: &mut Upcoming<'_>,
    ) -> [u32; wide::ROWS] {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Cpu::new` has checked that the processor runs this kernel.
            Kernel::Avx512 => unsafe { x86_single::score_wide_avx512(rows, probes, lowest, scores, upcoming) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx2 => unsafe { x86_single::score_wide_avx2(rows, probes, lowest, scores, upcoming) },
            _ => wide::score_portable(rows, probes, lowest, scores),
        }
    }

    /// Scores one panel against a tile of probes; see [`portable::score`]. Only for kernels that are [`Kernel::available`].
    fn score<const P: usize>(self, panel: &Panel<'_>, ask: &Ask<'_, P>, sums: &mut Sums<P>) -> [u32; P] {
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

    /// Whether it is quicker with narrow codes than with others; see [`narrow`].
    fn narrows(self) -> bool {
        self == Kernel::Avx2
    }

    /// As [`Kernel::score`], for codes in [`Packing::Narrow`]; `sums` is written for all rows.
    fn score_narrow<const P: usize>(self, panel: &Panel<'_>, ask: &Ask<'_, P>, sums: &mut Sums<P>) -> [u32; P] {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; whatever has AVX-512 has AVX2.
            Kernel::Avx512 | Kernel::Avx2 => unsafe { x86_narrow::score(panel, ask, sums) },
            _ => portable::score_narrow(panel, ask, sums),
        }
    }

    /// The sum of one row's codes, plus 128 as they are stored, times `fine` codes.
    fn sum_row(self, panel: &Panel<'_>, row: usize, fine: &[i16]) -> i32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx512 | Kernel::Avx2 => unsafe { x86_narrow::sum_row(panel, row, fine) },
            _ => portable::sum_row(panel, row, fine),
        }
    }

    /// Raises each lane's best lower bound by one panel's rows; see [`scan::raise_lanes`].
    fn raise_lanes(
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
            _ => scan::raise_lanes(best, panel, sums, reach, live),
        }
    }

    /// The `k`-th highest of some values; see [`scan::kth_highest`].
    fn kth_highest(self, values: &[f32; 2 * PANEL_ROWS], k: usize) -> f32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx512 | Kernel::Avx2 => unsafe { x86::kth_highest(values, k) },
            _ => scan::kth_highest(values, k),
        }
    }

    /// The rows whose upper bound is not below `lowest`; see [`scan::reached`].
    fn reached(self, panel: &Panel<'_>, sums: &[i32; PANEL_ROWS], reach: f32, lowest: f32) -> u32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx512 | Kernel::Avx2 => unsafe { x86::reached(panel, sums, reach, lowest) },
            _ => scan::reached(panel, sums, reach, lowest),
        }
    }

    /// Scores eight rows against some probes in `f32`; see [`single::score_portable`].
    fn score_single<const P: usize>(
        self,
        rows: &[f32],
        probes: &[f32],
        lowest: &[f32; P],
        scores: &mut single::Scores<P>,
    ) -> [u32; P] {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx512 => unsafe { x86_single::score_avx512(rows, probes, lowest, scores) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx2 => unsafe { x86_single::score_avx2(rows, probes, lowest, scores) },
            _ => single::score_portable(rows, probes, lowest, scores),
        }
    }
}

/// How the CPU finds the rows that are worth an exact score. The answers are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// In eight bits, in `f32` where eight bits leave out too much of the gallery's rows.
    Auto,
    /// In eight bits.
    Int8,
    /// In `f32`.
    F32,
}

/// Mean error of a row from which on eight bits do not pay. On evenly spread data of 512 dimensions it is 0.007, and at
/// 0.02 one row in eight would have to be scored again, which takes as long as the `f32` pass.
const ERROR_MEAN_MAX: f64 = 0.02;

/// Multiplications of a group's coarse pass.
fn products(group: &Group<'_>) -> u64 {
    (group.gallery.rows() * group.gallery.dims() * group.probes.len()) as u64
}

/// The CPU engine. Calls run side by side, each on its caller's thread; large ones share the helping threads.
#[derive(Debug)]
pub(crate) struct Cpu {
    /// One that [`Kernel::available`] found: the unsafe calls above rely on it.
    kernel: Kernel,
    pass: Pass,
    pool: Pool,
    sharing: Sharing,
}

impl Cpu {
    /// `threads` counts the asking one.
    ///
    /// # Errors
    /// [`Error::Kernel`] where this processor lacks the instructions.
    pub(crate) fn new(kernel: Kernel, pass: Pass, threads: usize) -> Result<Cpu, Error> {
        let available = Kernel::available();
        if !available.contains(&kernel) {
            let names: Vec<&str> = available.iter().map(|kernel| kernel.name()).collect();
            return Err(Error::Kernel { kernel: kernel.name(), available: names.join(", ") });
        }
        Ok(Cpu { kernel, pass, pool: Pool::start(threads.saturating_sub(1)), sharing: Sharing::new() })
    }

    pub(crate) fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Threads that work on a large call, the asking one included.
    pub(crate) fn threads(&self) -> usize {
        self.pool.helpers() + 1
    }

    /// What `work` makes of each number below `count`, in their order: on all threads, where there are several numbers.
    pub(crate) fn map<T: Send + Sync>(&self, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        if count <= 1 || self.pool.helpers() == 0 {
            return (0..count).map(work).collect();
        }
        let made: Vec<OnceLock<T>> = (0..count).map(|_| OnceLock::new()).collect();
        self.pool.each(count, &|index| drop(made[index].set(work(index))));
        // What a helper failed at is tried again here, where a panic is the caller's.
        made.into_iter().enumerate().map(|(index, made)| made.into_inner().unwrap_or_else(|| work(index))).collect()
    }

    /// The hits of all probes of all groups, in their order.
    pub(crate) fn search(&self, groups: &[Group<'_>]) -> Vec<Vec<Vec<Hit>>> {
        let products = groups.iter().map(products).sum();
        if self.pool.helpers() == 0 || !may_be_shared(products) {
            return self.search_here(groups);
        }
        if !groups.iter().any(|group| self.in_f32(group)) {
            let hits = match self.sharing.helpers(products, Instant::now()) {
                0 => None,
                helpers => self.pool.search(self.kernel, groups, helpers),
            };
            let hits = hits.unwrap_or_else(|| self.search_here(groups));
            self.sharing.ended(Instant::now());
            return hits;
        }
        if products < PRODUCTS_MIN {
            return self.search_here(groups);
        }
        let (own, others) = groups.split_at(groups.len().div_ceil(self.threads()));
        std::thread::scope(|scope| {
            let others = others.chunks(own.len()).map(|groups| scope.spawn(|| self.search_here(groups)));
            let others: Vec<_> = others.collect();
            let mut hits = self.search_here(own);
            for other in others {
                hits.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            hits
        })
    }

    /// As [`Cpu::search`], on the asking thread but for galleries that are large by themselves.
    fn search_here(&self, groups: &[Group<'_>]) -> Vec<Vec<Vec<Hit>>> {
        let search = |(index, group): (usize, &Group<'_>)| {
            if self.in_f32(group) {
                return self.search_single(group);
            }
            if let Some(probe) = groups.get(index + 1).and_then(|next| next.probes.first()) {
                memory::ask_for(probe.values);
            }
            self.search_coded(group)
        };
        groups.iter().enumerate().map(search).collect()
    }

    /// Whether the group is worth the `f32` pass.
    fn in_f32(&self, group: &Group<'_>) -> bool {
        match self.pass {
            Pass::Auto => group.gallery.error_mean() > ERROR_MEAN_MAX,
            Pass::Int8 => false,
            Pass::F32 => true,
        }
    }

    fn search_single(&self, group: &Group<'_>) -> Vec<Vec<Hit>> {
        let rows = self.scan_single(group);
        let answer = |(probe, rows): (&Probe<'_>, Vec<u32>)| {
            exact::rescore(group.gallery, probe.values, rows.into_iter(), probe.wanted)
        };
        group.probes.iter().zip(rows).map(answer).collect()
    }

    /// For each probe the rows worth an exact score, of a large gallery found by all threads, each in its share of the rows.
    fn scan_single(&self, group: &Group<'_>) -> Vec<Vec<u32>> {
        let (kernel, gallery, probes) = (self.kernel, group.gallery, group.probes.as_slice());
        let large = products(group) >= PRODUCTS_MIN;
        let of = if large { self.threads() } else { 1 };
        let scan = |index| single::scan(kernel, gallery, probes, single::Share { index, of });
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..of).map(|index| scope.spawn(move || scan(index))).collect();
            let mut rows = scan(0);
            for other in others {
                let found = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                rows.iter_mut().zip(found).for_each(|(rows, found)| rows.extend(found));
            }
            rows
        })
    }

    /// As [`Cpu::search_here`], of one group and in eight bits.
    fn search_coded(&self, group: &Group<'_>) -> Vec<Vec<Hit>> {
        let first = group.gallery.parts().first().map(|part| part.block.panels());
        let upcoming = Upcoming::new(first.unwrap_or_default());
        let values = group.probes.iter().map(|probe| probe.values);
        let packing = Packing::of(self.kernel, group);
        let probes = Probes::new(packing, group.gallery.dims(), values, upcoming);
        let wanted = group.probes.iter().map(|probe| probe.wanted);
        let mut selections: Vec<Selection> =
            wanted.zip(&probes.reaches).map(|(wanted, reach)| Selection::new(wanted, *reach)).collect();
        for part in group.gallery.parts() {
            scan::scan(self.kernel, part, 0..part.block.panel_count(), &probes, &mut selections);
        }
        rescore(group.gallery, group.probes.iter().map(|probe| probe.values).zip(selections))
    }
}

/// The hits of probes whose eight-bit pass is done: what was selected for each, scored exactly.
fn rescore<'a>(gallery: &Gallery, probes: impl Iterator<Item = (&'a [f32], Selection)>) -> Vec<Vec<Hit>> {
    let hits = |(values, selection): (&[f32], Selection)| {
        let (wanted, reach) = (selection.wanted(), *selection.reach());
        exact::rescore_bounded(gallery, values, &reach, &selection.finish(), wanted)
    };
    probes.map(hits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panel::{GROUP, GROUP_BYTES};
    use crate::quantise::FINE;

    fn random(count: usize, mut state: u32) -> impl Iterator<Item = u8> {
        (0..count).map(move |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
    }

    /// The sums and masks of one panel of all kernels that read `packing` against a naive computation; the extreme codes would
    /// overflow 16 bits.
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
        // In the middle of the uppers of each probe, and one that everything reaches.
        let upper = |place: usize, row: usize| scales[row] * expected[place][row] as f32 + 0.007 * 900.0;
        let middle: [f32; P] = std::array::from_fn(|place| {
            let mut uppers: Vec<f32> = (0..PANEL_ROWS).map(|row| upper(place, row)).collect();
            uppers.sort_by(f32::total_cmp);
            (uppers[15] + uppers[16]) / 2.0
        });
        for kernel in Kernel::available().into_iter().filter(|kernel| kernel.packing() == packing) {
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
                // The extremes are for what could overflow on a processor; interpreted, they take minutes.
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

    /// A template of unit norm.
    fn unit(dims: usize, seed: u32) -> Vec<f32> {
        let values: Vec<f64> = random(dims, seed).map(|byte| f64::from(byte) - 127.5).collect();
        let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        values.iter().map(|value| (value / norm) as f32).collect()
    }

    fn wide_steps_stay_within_their_bound() {
        for &dims in crate::WIDTHS {
            let rows: Vec<f32> = (0..wide::ROWS as u32).flat_map(|seed| unit(dims, seed)).collect();
            let probes: Vec<Vec<f32>> = (50..50 + wide::PROBES as u32).map(|seed| unit(dims, seed)).collect();
            let panel: Vec<f32> = (0..dims).flat_map(|k| probes.iter().map(move |probe| probe[k])).collect();
            for kernel in Kernel::available() {
                let mut scores = [[f32::NAN; wide::PROBES]; wide::ROWS];
                let reached =
                    kernel.score_wide(&rows, &panel, &[0.0; wide::PROBES], &mut scores, &mut Upcoming::new(&[]));
                for (place, row) in rows.chunks(dims).enumerate() {
                    for (lane, probe) in probes.iter().enumerate() {
                        let score = scores[place][lane];
                        let off = (f64::from(score) - exact::dot(row, probe)).abs();
                        assert!(off <= exact::coarse_error_max(dims), "{}, {dims} dimensions", kernel.name());
                        assert_eq!(reached[place] >> lane & 1 == 1, score >= 0.0);
                    }
                }
            }
        }
    }

    fn single_precision_stays_within_its_bound<const P: usize>() {
        for &dims in crate::WIDTHS {
            let unit = |seed| unit(dims, seed);
            let rows: Vec<f32> = (0..single::ROWS as u32).flat_map(unit).collect();
            let probes: Vec<f32> = (50..50 + P as u32).flat_map(unit).collect();
            for kernel in Kernel::available() {
                let mut scores = [[f32::NAN; single::ROWS]; P];
                let reached = kernel.score_single(&rows, &probes, &[0.0; P], &mut scores);
                for (place, probe) in probes.chunks(dims).enumerate() {
                    for (lane, row) in rows.chunks(dims).enumerate() {
                        let score = scores[place][lane];
                        let off = (f64::from(score) - exact::dot(row, probe)).abs();
                        assert!(off <= exact::coarse_error_max(dims), "{}, {dims} dimensions", kernel.name());
                        assert_eq!(reached[place] >> lane & 1 == 1, score >= 0.0);
                    }
                }
            }
        }
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

    #[test]
    fn single_precision_kernels_stay_within_their_bound() {
        wide_steps_stay_within_their_bound();
        single_precision_stays_within_its_bound::<1>();
        single_precision_stays_within_its_bound::<2>();
        single_precision_stays_within_its_bound::<{ single::PROBES }>();
    }
}
