//! How a score is computed: the exact top-k by inner product of unit-norm `f32` templates, for many small galleries at
//! once and a few large ones, by WGSL kernels on a GPU or by their twins on the CPU.
//!
//! It is not a decision maker (no thresholds, no identities), not an index (every row is looked at), not approximate,
//! and it knows nothing of journeys, nodes or people. A call is answered on the thread that made it, and calls may run
//! side by side; only large ones share the few threads that an engine starts with.
//!
//! **Why the answers are exact and alike.** An engine only *selects*: its coarse pass, in eight bits, returns every row
//! that a proved error bound (`bound.rs`) cannot exclude from the top-k. Those few rows are scored again on the host in
//! `f64`, in one fixed order of operations that all engines share. So ids, order and the bits of the scores do not
//! depend on which engine, which kernel or which batch answered. Ties in the `f64` score go to the lower row.

mod accelerator;
mod ask;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod batch;
mod bound;
pub mod capacity;
mod cost;
mod cpu;
mod dot;
mod engine;
mod error;
mod exact;
mod gallery;
mod generator;
mod gpu;
mod layout;
mod memory;
mod panel;
mod quantise;
mod select;
mod self_test;

mod storage;
mod template;

/// The widths that the unit tests try; fewer where Miri interprets them, which takes a thousand times as long.
#[cfg(test)]
const WIDTHS: &[usize] = if cfg!(miri) { &[140] } else { &[128, 132, 140, 508, 512, 1024] };

pub use ask::{Hit, Job, K_MAX};
pub use cpu::kernel::Kernel;
pub use engine::{Choice, Description, Engine};
pub use error::{Error, VectorProblem};
pub use gallery::Gallery;
pub use gpu::DevicePass;
pub use template::check_probe;
