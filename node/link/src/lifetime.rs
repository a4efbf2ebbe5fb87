//! How long a connection lasts: not longer than the certificates with which it was made.
//!
//! The wall clock is asked once, at the handshake, where TLS asks it as well. From then on time is counted: a clock
//! that is set wrong later ends no connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

/// Until when a connection may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// From then on another connection is made in its place.
    pub(crate) renew_at: Instant,
    /// From then on it is not used.
    pub(crate) ends_at: Instant,
}

impl Lifetime {
    /// The lifetime of a connection that is made now with certificates of which so much is left. It is renewed early
    /// enough that the next one is there before; if that has the same end, then earlier and earlier parts of what is
    /// left follow, until [`limits::RENEWAL_MIN`] is left.
    pub(crate) fn new(now: Instant, left: Duration) -> Self {
        let early = (left / 4).min(limits::RENEWAL_EARLY);
        let early = if left > limits::RENEWAL_MIN { early } else { Duration::ZERO };
        Self { renew_at: now + (left - early), ends_at: now + left }
    }

    pub(crate) fn is_to_be_renewed(&self, now: Instant) -> bool {
        now >= self.renew_at
    }

    pub(crate) fn has_ended(&self, now: Instant) -> bool {
        now >= self.ends_at
    }
}

/// Before which end of a certificate somebody is warned, days; of a short-lived one at half of its life.
const WARN_DAYS: [u64; 3] = [1, 7, 30];

/// The warning that is due with so much left of a certificate, by its days; absent where none is.
pub(crate) fn warning(left: Duration, validity: Duration) -> Option<u64> {
    WARN_DAYS.into_iter().find(|days| left <= (limits::DAY * *days as u32).min(validity / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_renewed_before_it_ends_and_not_for_ever_where_nothing_is_newer() {
        let mut now = Instant::now();
        let long = Lifetime::new(now, 90 * limits::DAY);
        assert_eq!(long.ends_at - long.renew_at, limits::RENEWAL_EARLY);
        let ends_at = now + Duration::from_secs(64);
        let mut renewals = 0;
        loop {
            let lifetime = Lifetime::new(now, ends_at - now);
            assert_eq!(lifetime.ends_at, ends_at);
            if lifetime.renew_at == ends_at {
                break;
            }
            assert!(lifetime.renew_at > now && !lifetime.is_to_be_renewed(now));
            now = lifetime.renew_at;
            renewals += 1;
        }
        assert!((2..16).contains(&renewals), "{renewals}");
        assert!(Lifetime::new(now, Duration::ZERO).has_ended(now));
    }

    #[test]
    fn warnings_come_at_30_7_and_1_days_or_half_of_a_short_life() {
        let at = |days: u64, validity: u64| warning(limits::DAY * days as u32, limits::DAY * validity as u32);
        assert_eq!(
            [at(31, 365), at(30, 365), at(8, 365), at(7, 365), at(1, 365)],
            [None, Some(30), Some(30), Some(7), Some(1)]
        );
        assert_eq!([at(30, 30), at(15, 30)], [None, Some(30)]);
        assert_eq!(warning(limits::DAY * 2 / 3, limits::DAY), None);
        assert_eq!(warning(limits::DAY / 2, limits::DAY), Some(1));
    }
}
