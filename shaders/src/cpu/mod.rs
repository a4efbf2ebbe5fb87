//! The CPU engine's coarse pass: the twins of the WGSL kernels, by the same names, over the same panels.
//!
//! A gallery streams past its probes in blocks that stay in the second-level cache; within a block every
//! tile of probes (12, 4 or 1 of them, packed with the dimension outermost) meets every panel of 32 rows.
//! A kernel keeps all sums of its tile in registers over the full width of the templates, compares
//! them with each probe's threshold there, and writes scores out only where one reaches it.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::batch::Probe;
use crate::error::Error;
use crate::exact::Selection;
use crate::gallery::Gallery;
use crate::layout::{Candidate, PANEL_ROWS};

/// Bytes of packed gallery that all probes of a group meet before the next block is read. Half of the
/// smallest second-level cache of current server cores (1 MiB), so that probes and stacks fit beside it.
const BLOCK_BYTES: usize = 512 * 1024;

/// Coarse scores of one panel for `P` probes.
type Scores<const P: usize> = [[f32; PANEL_ROWS]; P];

/// A set of CPU kernels. They differ in speed only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// x86-64 with AVX-512F: two 512-bit registers of rows by twelve probes.
    Avx512,
    /// x86-64 with AVX2 and FMA: two 256-bit registers of rows by six probes.
    Avx2,
    /// AArch64, where the portable code compiles to NEON with fused multiply-add.
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
            if std::arch::is_x86_feature_detected!("avx512f") {
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
}

/// Which tile a probe belongs to: `count` probes from `first` on, packed `dims x width` from `start` on.
struct Tile {
    first: usize,
    count: usize,
    width: usize,
    start: usize,
}

/// The CPU engine. It has no state but the choice of kernel, so calls run side by side.
#[derive(Debug)]
pub(crate) struct Cpu {
    /// One that [`Kernel::available`] found: the unsafe calls below rely on it.
    kernel: Kernel,
}

impl Cpu {
    /// # Errors
    /// [`Error::Kernel`] where this processor lacks the instructions.
    pub(crate) fn new(kernel: Kernel) -> Result<Cpu, Error> {
        let available = Kernel::available();
        if !available.contains(&kernel) {
            let names: Vec<&str> = available.iter().map(|kernel| kernel.name()).collect();
            return Err(Error::Kernel { kernel: kernel.name(), available: names.join(", ") });
        }
        Ok(Cpu { kernel })
    }

    pub(crate) fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// For each probe the rows of `gallery` that the error bound cannot exclude from its top-k.
    pub(crate) fn coarse(&self, gallery: &Gallery, probes: &[Probe<'_>]) -> Vec<Vec<Candidate>> {
        let dims = gallery.dims();
        let mut selections: Vec<Selection> = probes.iter().map(|probe| Selection::new(probe.k, dims)).collect();
        let (tiles, packed) = pack_probes(dims, probes);
        let panels_per_block = (BLOCK_BYTES / (gallery.panel_values() * size_of::<f32>())).max(1);
        let block_values = panels_per_block * gallery.panel_values();
        for (block_index, block) in gallery.panels().chunks(block_values).enumerate() {
            for tile in &tiles {
                let tile_probes = &packed[tile.start..tile.start + dims * tile.width];
                let selections = &mut selections[tile.first..tile.first + tile.count];
                for (panel_index, panel) in block.chunks_exact(gallery.panel_values()).enumerate() {
                    let row_first = (block_index * panels_per_block + panel_index) * PANEL_ROWS;
                    let row_count = gallery.rows() - row_first;
                    match tile.width {
                        12 => offer(selections, row_first, row_count, |low, out| {
                            self.score_twelve(panel, tile_probes, low, out)
                        }),
                        4 => offer(selections, row_first, row_count, |low, out| {
                            self.score_four(panel, tile_probes, low, out)
                        }),
                        _ => offer(selections, row_first, row_count, |low, out| {
                            self.score_one(panel, tile_probes, low, out)
                        }),
                    }
                }
            }
        }
        selections.into_iter().map(|selection| selection.finish().1).collect()
    }

    /// Scores one panel against a tile of twelve probes.
    fn score_twelve(&self, panel: &[f32], probes: &[f32], lowest: &[f32; 12], scores: &mut Scores<12>) -> [u32; 12] {
        match self.kernel {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` has checked that the processor runs this kernel.
            Kernel::Avx512 => unsafe { x86::score_tile_avx512::<12, 1>(panel, probes, lowest, scores) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx2 => unsafe { x86::score_tile_avx2::<12, 6, 1>(panel, probes, lowest, scores) },
            _ => portable::score_tile::<12, 4, 8>(panel, probes, lowest, scores),
        }
    }

    /// Scores one panel against a tile of four probes; twin of `score_four` in the shader.
    fn score_four(&self, panel: &[f32], probes: &[f32], lowest: &[f32; 4], scores: &mut Scores<4>) -> [u32; 4] {
        match self.kernel {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx512 => unsafe { x86::score_tile_avx512::<4, 2>(panel, probes, lowest, scores) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx2 => unsafe { x86::score_tile_avx2::<4, 4, 1>(panel, probes, lowest, scores) },
            _ => portable::score_tile::<4, 4, 8>(panel, probes, lowest, scores),
        }
    }

    /// Scores one panel against one probe; twin of `score_one` in the shader.
    fn score_one(&self, panel: &[f32], probes: &[f32], lowest: &[f32; 1], scores: &mut Scores<1>) -> [u32; 1] {
        match self.kernel {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx512 => unsafe { x86::score_tile_avx512::<1, 4>(panel, probes, lowest, scores) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kernel::Avx2 => unsafe { x86::score_tile_avx2::<1, 1, 4>(panel, probes, lowest, scores) },
            _ => portable::score_tile::<1, 1, 32>(panel, probes, lowest, scores),
        }
    }
}

/// Runs a kernel for the probes of one tile and hands over the scores that reach a threshold. The tile's
/// places without a probe have an infinite threshold, the rows behind the gallery's last are masked off.
#[inline(always)]
fn offer<const P: usize>(
    selections: &mut [Selection],
    row_first: usize,
    row_count: usize,
    score: impl FnOnce(&[f32; P], &mut Scores<P>) -> [u32; P],
) {
    let mut lowest = [f32::INFINITY; P];
    for (lowest, selection) in lowest.iter_mut().zip(selections.iter()) {
        *lowest = selection.threshold();
    }
    let mut scores = [[0.0; PANEL_ROWS]; P];
    let reached = score(&lowest, &mut scores);
    let real = if row_count < PANEL_ROWS { (1 << row_count) - 1 } else { u32::MAX };
    for ((selection, scores), reached) in selections.iter_mut().zip(&scores).zip(reached) {
        if reached & real != 0 {
            selection.insert(scores, row_first as u32, reached & real);
        }
    }
}

/// Cuts the probes into tiles and packs each with the dimension outermost: `dims x width` values.
fn pack_probes(dims: usize, probes: &[Probe<'_>]) -> (Vec<Tile>, Vec<f32>) {
    let mut tiles = Vec::new();
    let mut packed = Vec::new();
    let mut first = 0;
    while first < probes.len() {
        // Nine probes or more fill a tile of twelve well enough to beat two or three tiles of four.
        let width = match probes.len() - first {
            9.. => 12,
            2.. => 4,
            _ => 1,
        };
        let count = width.min(probes.len() - first);
        let start = packed.len();
        packed.resize(start + dims * width, 0.0);
        for (place, probe) in probes[first..first + count].iter().enumerate() {
            for (slot, value) in packed[start + place..].iter_mut().step_by(width).zip(probe.values) {
                *slot = *value;
            }
        }
        tiles.push(Tile { first, count, width, start });
        first += count;
    }
    (tiles, packed)
}
