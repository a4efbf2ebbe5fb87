//! P1, P3 to P6, P9: the simulated world holds them under random faults, and the same seed gives the same run.

use std::collections::BTreeSet;

use harness::world::{Report, Setup, faults, run};

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

fn holds(seed: u64, seconds: u64) -> Report {
    let report = run(&Setup::new(seed, seconds));
    let again = format!("again: cargo run -p chaos -- sim --from {seed} --seeds 1 --seconds {seconds}");
    assert_eq!(report.failure, None, "{again}");
    report
}

#[test]
fn seeds_hold_every_invariant_and_every_fault_strikes() {
    let (mut struck, mut looked) = (BTreeSet::new(), BTreeSet::new());
    for seed in 1..=200 {
        let report = holds(seed, SECONDS);
        struck.extend(report.faults.into_keys());
        looked.extend(report.looked.into_keys());
    }
    let missing: Vec<&str> = faults::NAMES.into_iter().filter(|name| !struck.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} never struck");
    for promise in ["P1", "P3", "P4", "P5", "P6", "P9", "R36", "R116", "R117", "liveness", "placement", "one log"] {
        assert!(looked.iter().any(|name| name.starts_with(promise)), "nothing looked at {promise}: {looked:?}");
    }
}

/// P1: 1,000 small worlds of lists whose people are lost.
#[test]
fn nobody_crosses_twice_whatever_is_lost_between_lists() {
    for seed in 1..=1_000 {
        assert_eq!(harness::lost::run(seed), Ok(()), "seed {seed}");
    }
}

#[test]
fn seeds_that_once_failed_hold() {
    let path = harness::binary::workspace().join("chaos/seeds/world.txt");
    let text = std::fs::read_to_string(&path).expect("the seeds");
    let mut run = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let mut number = || words.next().and_then(|word| word.parse().ok());
        let (Some(seed), Some(seconds)) = (number(), number()) else { panic!("{}: {line}", path.display()) };
        holds(seed, seconds);
        run += 1;
    }
    assert!(run > 0, "{} names no seed", path.display());
}
