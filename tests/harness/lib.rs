//! Does it hold: one harness under all scenarios.
//!
//! A scenario starts a [`target::Target`], lets [`workload`] board a bank of flights on it, strikes it with a
//! [`fault::Fault`], and asks the [`invariants`] whether what clients were promised
//! ([`node_stage::oracle::History`]) is so. Local cluster, gates, load and oracle are `node/stage`'s; here is what
//! tests alone need.

pub mod binary;
pub mod cables;
pub mod chunks;
pub mod copies;
pub mod crash;
mod dice;
pub mod disk;
pub mod doubles;
pub mod emptied;
pub mod emulator;
pub mod fault;
pub mod group;
pub mod invariants;
pub mod journal;
pub mod level;
pub mod live;
pub mod lost;
pub mod members;
pub mod planted;
pub mod raw;
pub mod shim;
pub mod target;
pub mod workload;
pub mod world;

/// The seed of this run: `TVS_SEED`, or 1. It decides who travels, who is captured how, and which encounter ids are
/// drawn; it does not decide how the operating system schedules real processes.
///
/// # Panics
/// Where `TVS_SEED` is not a number.
pub fn seed() -> u64 {
    std::env::var("TVS_SEED").map_or(1, |text| text.parse().expect("TVS_SEED is a whole number"))
}

/// Whether shaders can run here, on a software adapter too; a line says what is skipped where they cannot.
///
/// # Panics
/// Where they cannot and `TVS_GPU=required`.
pub fn gpu() -> bool {
    let Err(error) = shaders::Engine::start(shaders::Choice::Gpu, 1) else { return true };
    assert!(
        !std::env::var("TVS_GPU").is_ok_and(|value| value == "required"),
        "TVS_GPU=required, but {error}; {}",
        error.fix()
    );
    println!("skipped on the GPU: {error}");
    false
}

/// Seconds since 1970, now.
pub fn clock_s() -> i64 {
    i64::try_from(node_stage::clock::now().0 / 1_000).unwrap_or(i64::MAX)
}
