//! P9: whatever strikes a cluster, no node's memory grows without bound. What is asked for faster than it can be
//! answered has to be refused, and what is lost has to be fetched again without being kept twice.

use std::fs;

use crate::live::Live;
use crate::target::Target;

/// The most memory that a node may ever have resident, bytes. With some hundred small galleries, which is what the
/// harness boards, a node had a quarter of it at most.
const RESIDENT_MAX: u64 = 1 << 30;

/// The most that any node has had.
#[derive(Debug, Default)]
pub struct Memory {
    largest: u64,
    looks: u64,
}

impl Memory {
    /// Looks at the nodes that run now: at the most that each has had since it was started.
    ///
    /// # Panics
    /// Where one has had more than it may.
    pub fn look(&mut self, live: &Live) {
        for node in live.running() {
            let status =
                live.cluster.process_id(node).map(|process| fs::read_to_string(format!("/proc/{process}/status")));
            // It may end while it is looked at, and elsewhere than on Linux there is nothing to read.
            let Some(bytes) = status.and_then(Result::ok).as_deref().and_then(most_resident) else { continue };
            self.looks += 1;
            self.largest = self.largest.max(bytes);
            assert!(bytes <= RESIDENT_MAX, "P9 is broken: node {node} has had {bytes} bytes of memory");
        }
    }

    /// How often a node was looked at.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// The most that any node has had, MiB.
    pub fn largest_mib(&self) -> f64 {
        self.largest as f64 / f64::from(1 << 20)
    }
}

/// The high water mark out of a process's status, bytes (proc_pid_status(5): `VmHWM`).
fn most_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read() {
        assert_eq!(most_resident("VmPeak:\t  9000 kB\nVmHWM:\t   1234 kB\nVmRSS:\t 1000 kB\n"), Some(1_234 * 1_024));
        assert_eq!(most_resident("Name:\ttvs\n"), None);
    }
}
