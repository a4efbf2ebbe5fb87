//! How a score is computed: the exact top-k by inner product of unit-norm `f32` templates, for many
//! small galleries at once and a few large ones, by WGSL kernels on a GPU or by their twins on the CPU.
//!
//! It is not a decision maker (no thresholds, no identities), not an index (every row is looked at),
//! not approximate, and it knows nothing of journeys, nodes or people. A call is answered on the thread that made
//! it, and calls may run side by side; only large ones share the few threads that an engine starts with.
//!
//! **Why the answers are exact and alike.** An engine only *selects*: its coarse pass, in eight bits or in `f32`,
//! returns every row that a proved error bound (`quantise`, [`exact`]) cannot exclude from the top-k. Those few rows are
//! scored again on the host in `f64`, in one fixed order of operations that all engines share. So
//! ids, order and the bits of the scores do not depend on which engine, which kernel or which batch
//! answered. Ties in the `f64` score go to the lower row.

mod accelerator;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod batch;
mod cpu;
mod dot;
mod engine;
mod error;
pub mod exact;
mod gallery;
mod gpu;
mod layout;
pub mod limits;
mod memory;
mod panel;
mod quantise;
mod sealed;
mod select;
mod slab;
mod storage;

/// The widths that the unit tests try; fewer where Miri interprets them, which takes a thousand times as long.
#[cfg(test)]
const WIDTHS: &[usize] = if cfg!(miri) { &[140] } else { &[128, 132, 140, 508, 512, 1024] };

pub use batch::{Hit, Job, K_MAX};
pub use cpu::{Kernel, Pass};
pub use engine::{Choice, Description, Engine};
pub use error::{Error, VectorProblem};
pub use gallery::{DIMS_MAX, DIMS_MIN, Gallery, NORM_TOLERANCE, check_probe};
pub use gpu::DevicePass;
pub use sealed::{SealedError, SealedWriter};
