//! The fate of packets on one link, in one direction.

use std::fmt;
use std::ops::Add;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Party;

/// How long a packet may wait for a narrow link before it is dropped, as a router's queue would.
const QUEUE_MAX: Duration = Duration::from_millis(400);

/// How long a packet is held back that others are to overtake.
const HELD_BACK: Duration = Duration::from_millis(8);

/// What happens to packets on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conditions {
    /// Nothing arrives.
    pub cut: bool,
    /// Every packet takes this much longer.
    pub delay: Duration,
    /// And up to this much more, evenly distributed.
    pub jitter: Duration,
    /// Packets of a thousand that are lost.
    pub lost_per_mille: u32,
    /// Packets of a thousand that arrive twice.
    pub repeated_per_mille: u32,
    /// Packets of a thousand that later ones overtake.
    pub overtaken_per_mille: u32,
    /// Width of the link; 0 is none.
    pub bytes_per_second: u64,
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cut {
            return f.write_str("cut");
        }
        write!(f, "{} to {} ms more", self.delay.as_millis(), (self.delay + self.jitter).as_millis())?;
        write!(f, ", of 1,000 packets {} lost", self.lost_per_mille)?;
        write!(f, " {} repeated {} overtaken", self.repeated_per_mille, self.overtaken_per_mille)?;
        match self.bytes_per_second {
            0 => Ok(()),
            width => write!(f, ", {width} bytes a second"),
        }
    }
}

/// What has happened to packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub sent: u64,
    /// Lost because the link was cut.
    pub cut: u64,
    /// Lost by chance, or because a narrow link's queue was full.
    pub lost: u64,
    /// Arrived twice.
    pub repeated: u64,
    /// Held back.
    pub overtaken: u64,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            cut: self.cut + other.cut,
            lost: self.lost + other.lost,
            repeated: self.repeated + other.repeated,
            overtaken: self.overtaken + other.overtaken,
        }
    }
}

/// How long each copy of a packet takes; no copy where it is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copies(pub [Option<Duration>; 2]);

impl Copies {
    /// One copy, without delay.
    pub fn at_once() -> Self {
        Self([Some(Duration::ZERO), None])
    }
}

/// One direction between two parties.
pub(super) struct Link {
    conditions: Conditions,
    counts: Counts,
    generator: ChaCha8Rng,
    /// When the narrow link has sent what waits.
    free_at: Option<Instant>,
}

impl Link {
    pub fn new(seed: u64, from: Party, to: Party) -> Self {
        let number = |party| match party {
            Party::Outside => 0,
            Party::Node(node) => node.0,
        };
        let own = seed ^ (number(from) << 32 | number(to)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let generator = ChaCha8Rng::seed_from_u64(own);
        Self { conditions: Conditions::default(), counts: Counts::default(), generator, free_at: None }
    }

    pub fn set(&mut self, conditions: Conditions) {
        self.conditions = conditions;
        self.free_at = None;
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn happens(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.generator.next_u32() % 1_000 < per_mille
    }

    /// Decides about one packet.
    pub fn pass(&mut self, now: Instant, bytes: usize) -> Copies {
        let nothing = Copies([None, None]);
        let conditions = self.conditions;
        self.counts.sent += 1;
        if conditions.cut {
            self.counts.cut += 1;
            return nothing;
        }
        if self.happens(conditions.lost_per_mille) {
            self.counts.lost += 1;
            return nothing;
        }
        let mut delay = conditions.delay;
        if let Some(width) = std::num::NonZeroU64::new(conditions.bytes_per_second) {
            let free_at = self.free_at.map_or(now, |at| at.max(now));
            let waits = free_at - now;
            if waits > QUEUE_MAX {
                self.counts.lost += 1;
                return nothing;
            }
            let takes = Duration::from_nanos(bytes as u64 * 1_000_000_000 / width);
            self.free_at = Some(free_at + takes);
            delay += waits + takes;
        }
        let jitter_us = conditions.jitter.as_micros() as u64;
        if jitter_us > 0 {
            delay += Duration::from_micros(self.generator.next_u64() % jitter_us);
        }
        if self.happens(conditions.overtaken_per_mille) {
            self.counts.overtaken += 1;
            delay += HELD_BACK;
        }
        let again = self.happens(conditions.repeated_per_mille).then_some(delay + HELD_BACK / 2);
        self.counts.repeated += u64::from(again.is_some());
        Copies([Some(delay), again])
    }
}

#[cfg(test)]
mod tests {
    use cluster_config::ids::NodeId;

    use super::*;

    fn link(conditions: Conditions) -> Link {
        let mut link = Link::new(7, Party::Outside, Party::Node(NodeId(1)));
        link.set(conditions);
        link
    }

    #[test]
    fn the_same_seed_gives_packets_the_same_fate() {
        let rough = Conditions {
            jitter: Duration::from_millis(5),
            lost_per_mille: 100,
            repeated_per_mille: 50,
            overtaken_per_mille: 50,
            ..Conditions::default()
        };
        let (mut one, mut two) = (link(rough), link(rough));
        let now = Instant::now();
        let fates = |link: &mut Link| (0..2_000).map(|_| link.pass(now, 100)).collect::<Vec<_>>();
        assert_eq!(fates(&mut one), fates(&mut two));
        let Counts { sent, lost, repeated, overtaken, cut } = one.counts();
        assert_eq!((sent, cut), (2_000, 0));
        assert!((150..250).contains(&lost) && (50..150).contains(&repeated) && (50..150).contains(&overtaken));
    }

    #[test]
    fn a_narrow_link_makes_packets_wait_and_drops_what_would_wait_too_long() {
        let mut link = link(Conditions { bytes_per_second: 10_000, ..Conditions::default() });
        let now = Instant::now();
        let waits: Vec<_> = (0..7).map(|_| link.pass(now, 1_000).0[0].map(|d| d.as_millis())).collect();
        assert_eq!(waits, [Some(100), Some(200), Some(300), Some(400), Some(500), None, None]);
        assert_eq!(link.pass(now + Duration::from_secs(1), 1_000).0[0], Some(Duration::from_millis(100)));
    }

    #[test]
    fn nothing_passes_a_cut_and_everything_a_mended_link() {
        let mut link = link(Conditions { cut: true, ..Conditions::default() });
        assert_eq!(link.pass(Instant::now(), 1), Copies([None, None]));
        link.set(Conditions::default());
        assert_eq!(link.pass(Instant::now(), 1), Copies::at_once());
    }
}
