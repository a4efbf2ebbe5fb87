//! Handing a new version to the standbys. One of them at least must have it before it is committed: a version that only
//! its owner has would be lost with it.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::ids::NodeId;
use cluster_config::wire::{Refusal, peer};

/// How long standbys are waited for. One that is not there by then fetches the version once it is committed.
pub const PUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the other standbys are waited for once one has the version; as long again as that one took, if that is
/// more.
pub const PUSH_GRACE: Duration = Duration::from_millis(300);

/// Pause before a standby that does not know its order yet is asked again.
pub const PUSH_PAUSE: Duration = Duration::from_millis(20);

/// What a standby said to a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Took,
    /// It does not yet.
    NotYet,
    Never,
}

impl Answer {
    /// What a standby's answer means.
    pub fn of(answered: &Result<peer::Response, Refusal>) -> Self {
        match answered {
            Ok(peer::Response::Done) => Self::Took,
            Err(refusal) if refusal.code.retryable() => Self::NotYet,
            Ok(_) | Err(_) => Self::Never,
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Orders {
    /// Standbys that are to be given the version.
    pub push: Vec<NodeId>,
    /// Times at which [`Push::woken`] is to be called.
    pub wake: Vec<Duration>,
}

/// One version on its way to the standbys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    begun: Duration,
    until: Duration,
    asked: BTreeSet<NodeId>,
    pausing: Vec<(Duration, NodeId)>,
    is_kept: bool,
}

impl Push {
    /// Begins at `now`.
    pub fn begin(now: Duration, standbys: &[NodeId], canaries: Canaries) -> (Self, Orders) {
        let is_kept = standbys.is_empty() || canaries.has(Canary::PushNotAwaited);
        let until = if canaries.has(Canary::PushNotAwaited) { now } else { now + PUSH_TIMEOUT };
        let asked = standbys.iter().copied().collect();
        let push = Self { begun: now, until, asked, pausing: Vec::new(), is_kept };
        (push, Orders { push: standbys.to_vec(), wake: vec![until] })
    }

    /// By when a standby that is asked now has to have it.
    pub fn deadline(&self) -> Duration {
        self.begun + PUSH_TIMEOUT
    }

    /// Takes a standby's answer.
    pub fn answered(&mut self, now: Duration, by: NodeId, answer: Answer) -> Orders {
        let mut orders = Orders::default();
        if !self.asked.remove(&by) {
            return orders;
        }
        match answer {
            Answer::Took => {
                self.is_kept = true;
                self.until = self.until.min(now + PUSH_GRACE.max(now.saturating_sub(self.begun)));
                orders.wake.push(self.until);
            }
            Answer::NotYet if now + PUSH_PAUSE < self.deadline() => {
                self.pausing.push((now + PUSH_PAUSE, by));
                orders.wake.push(now + PUSH_PAUSE);
            }
            Answer::NotYet | Answer::Never => {}
        }
        orders
    }

    /// Time has passed.
    pub fn woken(&mut self, now: Duration) -> Orders {
        let (due, later) = std::mem::take(&mut self.pausing).into_iter().partition(|(at, _)| *at <= now);
        self.pausing = later;
        let due: Vec<(Duration, NodeId)> = due;
        let again: Vec<NodeId> = due.into_iter().map(|(_, node)| node).collect();
        self.asked.extend(&again);
        Orders { push: again, wake: Vec::new() }
    }

    /// Once nobody is waited for any more: whether one standby has it, or there is none.
    pub fn outcome(&self, now: Duration) -> Option<bool> {
        let over = now >= self.until || (self.asked.is_empty() && self.pausing.is_empty());
        over.then_some(self.is_kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const STANDBYS: [NodeId; 2] = [NodeId(2), NodeId(3)];

    fn push() -> Push {
        Push::begin(NOW, &STANDBYS, Canaries::default()).0
    }

    #[test]
    fn the_others_are_waited_for_a_moment_once_one_has_it() {
        let mut push = push();
        let took = Duration::from_millis(40);
        push.answered(NOW + took, NodeId(2), Answer::Took);
        assert_eq!(push.outcome(NOW + took + PUSH_GRACE - Duration::from_millis(1)), None, "the other one is slow");
        assert_eq!(push.outcome(NOW + took + PUSH_GRACE), Some(true), "the grace ends the wait");
    }

    #[test]
    fn a_large_version_gives_the_others_as_long_again_as_the_first_took() {
        let mut push = push();
        let took = Duration::from_millis(1_000);
        push.answered(NOW + took, NodeId(3), Answer::Took);
        assert_eq!(push.outcome(NOW + 2 * took - Duration::from_millis(1)), None);
        assert_eq!(push.outcome(NOW + 2 * took), Some(true));
        let mut late = self::push();
        late.answered(NOW + 2 * took, NodeId(3), Answer::Took);
        assert_eq!(late.outcome(NOW + PUSH_TIMEOUT), Some(true), "but nobody is waited for beyond the timeout");
    }

    #[test]
    fn it_is_over_when_everybody_has_answered() {
        let mut push = push();
        push.answered(NOW, NodeId(2), Answer::Never);
        assert_eq!(push.outcome(NOW), None);
        push.answered(NOW, NodeId(3), Answer::Never);
        assert_eq!(push.outcome(NOW), Some(false));
        assert_eq!(Push::begin(NOW, &[], Canaries::default()).0.outcome(NOW), Some(true), "there is nobody to have it");
    }

    #[test]
    fn a_standby_that_does_not_know_its_order_yet_is_asked_again_until_the_timeout() {
        let mut push = push();
        push.answered(NOW, NodeId(3), Answer::Never);
        let mut now = NOW;
        let mut asked = 0;
        while push.outcome(now).is_none() {
            assert_eq!(push.answered(now, NodeId(2), Answer::NotYet).push, [], "not at once");
            now += PUSH_PAUSE;
            asked += push.woken(now).push.len() as u32;
        }
        assert_eq!(push.outcome(now), Some(false));
        assert!(now + PUSH_PAUSE >= NOW + PUSH_TIMEOUT && now <= NOW + PUSH_TIMEOUT, "{now:?}");
        assert!(asked + 2 >= PUSH_TIMEOUT.div_duration_f32(PUSH_PAUSE) as u32, "{asked}");
    }
}
