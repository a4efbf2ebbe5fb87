//! What happened in a world: a running hash over everything, and lines for people.

use std::fmt;

/// The checksum of some bytes.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    events: u64,
    keeps: bool,
    lines: Vec<String>,
}

impl Trace {
    /// A trace that keeps its lines, or only hashes them.
    pub fn new(keeps: bool) -> Self {
        Self { keeps, ..Self::default() }
    }

    /// Takes some bytes into the hash (FNV-1a over their checksum and length, which is quick and enough to tell two
    /// runs apart).
    pub fn see(&mut self, now_us: u64, bytes: &[u8]) {
        self.events += 1;
        for word in [now_us, u64::from(checksum(bytes)), bytes.len() as u64] {
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
    }

    /// Takes a line.
    pub fn note(&mut self, now_us: u64, line: fmt::Arguments<'_>) {
        let line = line.to_string();
        self.see(now_us, line.as_bytes());
        if self.keeps {
            self.lines.push(format!("{:>12} us {:016x} {line}", now_us, self.hash));
        }
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How much was seen.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The lines that were kept.
    pub fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}
