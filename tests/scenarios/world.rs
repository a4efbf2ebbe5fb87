//! P1, P3 to P6, P9: the simulated world holds them under random faults, and the same seed gives the same run.

use harness::world::{Setup, run};

/// Seconds of faults in each run.
const SECONDS: u64 = 60;

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in [3, 4] {
        let setup = Setup { lines: true, ..Setup::new(seed, SECONDS) };
        let (one, two) = (run(&setup), run(&setup));
        assert_eq!(one, two, "seed {seed}");
        assert!(one.events > 1_000 && !one.lines.is_empty(), "{} events", one.events);
    }
}

#[test]
fn other_seeds_give_other_runs() {
    let hash = |seed| run(&Setup::new(seed, 5)).hash;
    assert_ne!(hash(1), hash(2));
}

#[test]
fn seeds_hold_every_invariant() {
    for seed in 1..=20 {
        let report = run(&Setup::new(seed, SECONDS));
        assert_eq!(
            report.failure, None,
            "again: cargo run -p chaos -- sim --from {seed} --seeds 1 --seconds {SECONDS}"
        );
    }
}
