//! Which calls are shared with helping threads, and with how many.
//!
//! A thread whose processor was busy a moment ago starts at once. A thread whose processor sleeps starts some hundred
//! microseconds late, in a virtual machine above all, and waking it costs its caller tens of microseconds. So a call of
//! that length is shared only where calls follow each other closely: there the helpers are still awake.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The fewest multiplications of a call that is shared however long the helpers have slept.
pub(crate) const PRODUCTS_MIN: u64 = 16 << 20;

/// The fewest multiplications of a call that is shared with helpers that are awake: a tenth of a millisecond of work.
const PRODUCTS_AWAKE_MIN: u64 = 4 << 20;

/// The fewest multiplications for each helper.
const PRODUCTS_A_HELPER: u64 = 2 << 20;

/// How long after a call its helpers are still awake. With two threads on a Zen 4 in a virtual machine sharing paid
/// with pauses of 0.2 ms between the calls, and not with 0.7 ms.
const AWAKE: Duration = Duration::from_micros(300);

/// What is known of earlier calls.
#[derive(Debug)]
pub(super) struct Sharing {
    begun: Instant,
    /// When the last call ended that helpers awake would have shared, in nanoseconds since `begun`.
    last: AtomicU64,
}

impl Sharing {
    pub(super) fn new() -> Sharing {
        Sharing { begun: Instant::now(), last: AtomicU64::new(0) }
    }

    /// How many helpers to ask for a call that begins now.
    pub(super) fn helpers(&self, products: u64, now: Instant) -> usize {
        let since_last = self.nanoseconds(now).saturating_sub(self.last.load(Ordering::Relaxed));
        let are_awake = u128::from(since_last) <= AWAKE.as_nanos();
        let least = if are_awake { PRODUCTS_AWAKE_MIN } else { PRODUCTS_MIN };
        if products < least { 0 } else { (products / PRODUCTS_A_HELPER) as usize }
    }

    /// Notes the end of a call that helpers awake would have shared.
    pub(super) fn ended(&self, now: Instant) {
        self.last.store(self.nanoseconds(now), Ordering::Relaxed);
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        now.duration_since(self.begun).as_nanos() as u64
    }
}

/// Whether a call is large enough for helpers, if they are awake.
pub(crate) const fn may_be_shared(products: u64) -> bool {
    products >= PRODUCTS_AWAKE_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_call_is_shared_only_soon_after_another() {
        let sharing = Sharing::new();
        let ended = sharing.begun + Duration::from_secs(1);
        assert_eq!(sharing.helpers(PRODUCTS_MIN - 1, ended), 0, "nothing was asked for a second");
        sharing.ended(ended);
        let (soon, late) = (ended + AWAKE, ended + AWAKE + Duration::from_nanos(1));
        let helpers = |products, now| sharing.helpers(products, now);
        assert_eq!((helpers(PRODUCTS_AWAKE_MIN - 1, soon), helpers(PRODUCTS_AWAKE_MIN, soon)), (0, 2));
        assert_eq!((helpers(PRODUCTS_MIN - 1, late), helpers(PRODUCTS_MIN, late)), (0, 8));
    }
}
