//! P1, on one disk: the store is cut off at its writes, and has what it acknowledged when it opens again.

use std::process::Command;

use harness::crash::image::Mode;
use harness::crash::{Images, images};

fn cut(seed: u64, mode: Mode) -> Images {
    images(Command::new(env!("CARGO_BIN_EXE_crash-writer")), seed, 120, 150, mode)
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_goes() {
    for seed in 1..=3 {
        let images = cut(seed, Mode::Honest);
        assert!(images.failures.is_empty(), "{:#?}", images.failures);
        assert!(images.opened >= 100 && images.torn > 0, "{images:?}");
        println!("seed {seed}: {} images out of {} operations", images.opened, images.operations);
    }
}

#[test]
fn a_device_that_only_says_that_it_has_synced_is_noticed() {
    let images = cut(1, Mode::Lying);
    assert!(images.failures.iter().any(|failure| failure.contains("acknowledged")), "{images:?}");
}
