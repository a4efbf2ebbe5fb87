//! How far the leader is: whether what this node does not know is not there at all, or just has not reached it.
//!
//! All that wait on one node share their questions. A question that is under way does not serve who comes later: its
//! answer may be older than what they were told of. They wait for the next one, and that is not asked before a while
//! has passed since the last. So a gate that names unknown journeys costs the leader no more than one that does not.

/// Between the beginnings of two questions, microseconds: they come no more often than the leader's own heartbeats.
const INTERVAL_US: u64 = 25_000;

/// How long a question is waited for before it may be asked anew, microseconds: the leader may have gone with it.
pub const QUESTION_US_MAX: u64 = 250_000;

/// The questions of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freshness {
    /// How many were begun, and when the last one was.
    begun: u64,
    begun_us: u64,
    /// Whether the last one is under way.
    under_way: bool,
    /// The latest question that was answered, and the index that the leader had applied.
    answered: (u64, u64),
}

/// What one that waits has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The first question that serves.
    question: u64,
    /// How far this node has to be.
    wanted: Option<u64>,
}

/// What one that waits does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: this node has all that the leader had.
    Done,
    /// Have this question asked, and look again.
    Ask(u64),
    /// Look again in a moment.
    Wait,
}

impl Freshness {
    /// Somebody has to know all that anybody has been told of up to now.
    pub fn join(&self) -> Waiting {
        Waiting { question: self.begun + 1, wanted: None }
    }

    /// What one that waits does next on a node that has applied everything up to `applied`.
    pub fn next(&mut self, now_us: u64, waiting: &mut Waiting, applied: u64) -> Next {
        let (question, index) = self.answered;
        if waiting.wanted.is_none() && question >= waiting.question {
            waiting.wanted = Some(index);
        }
        match waiting.wanted {
            Some(wanted) if applied >= wanted => return Next::Done,
            Some(_) => return Next::Wait,
            None => {}
        }
        let pause_us = if self.under_way { QUESTION_US_MAX } else { INTERVAL_US };
        if self.begun > 0 && now_us < self.begun_us + pause_us {
            return Next::Wait;
        }
        self.begun += 1;
        self.begun_us = now_us;
        self.under_way = true;
        Next::Ask(self.begun)
    }

    /// A question has its answer: the index that the leader had applied once it had made sure that it leads; absent
    /// where nobody said so.
    pub fn answered(&mut self, question: u64, index: Option<u64>) {
        if question == self.begun {
            self.under_way = false;
        }
        if let Some(index) = index
            && question > self.answered.0
        {
            self.answered = (question, index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_while_a_question_is_under_way_waits_for_the_next_one() {
        let mut node = Freshness::default();
        let mut first = node.join();
        assert_eq!(node.next(0, &mut first, 7), Next::Ask(1));
        let mut second = node.join();
        assert_eq!(node.next(10, &mut second, 7), Next::Wait);
        node.answered(1, Some(7));
        assert_eq!(node.next(20, &mut first, 7), Next::Done);
        assert_eq!(node.next(20, &mut second, 7), Next::Wait, "the answer may be older than what it was told of");
        assert_eq!(node.next(INTERVAL_US, &mut second, 7), Next::Ask(2));
        node.answered(2, Some(9));
        assert_eq!(node.next(INTERVAL_US + 1, &mut second, 8), Next::Wait, "it is behind");
        assert_eq!(node.next(INTERVAL_US + 2, &mut second, 9), Next::Done);
    }

    #[test]
    fn many_share_few_questions() {
        let mut node = Freshness::default();
        let mut asked = 0;
        for now_us in (0..1_000_000).step_by(100) {
            let mut waiting = node.join();
            if let Next::Ask(question) = node.next(now_us, &mut waiting, 0) {
                asked += 1;
                node.answered(question, Some(0));
            }
        }
        assert_eq!(asked, 1_000_000 / INTERVAL_US);
    }

    #[test]
    fn a_question_that_is_lost_is_asked_anew() {
        let mut node = Freshness::default();
        let mut waiting = node.join();
        assert_eq!(node.next(5, &mut waiting, 0), Next::Ask(1));
        assert_eq!(node.next(5 + QUESTION_US_MAX - 1, &mut waiting, 0), Next::Wait);
        assert_eq!(node.next(5 + QUESTION_US_MAX, &mut waiting, 0), Next::Ask(2));
        node.answered(2, None);
        assert_eq!(node.next(6 + QUESTION_US_MAX, &mut waiting, 0), Next::Wait);
        assert_eq!(node.next(5 + QUESTION_US_MAX + INTERVAL_US, &mut waiting, 0), Next::Ask(3), "nobody knew");
        node.answered(1, Some(4));
        assert_eq!(node.next(400_000, &mut waiting, 4), Next::Done, "a late answer serves whom it was asked for");
    }

    #[test]
    fn whoever_lags_waits_for_what_was_there_when_it_asked_and_no_longer() {
        let mut node = Freshness::default();
        let mut first = node.join();
        assert_eq!(node.next(0, &mut first, 0), Next::Ask(1));
        node.answered(1, Some(10));
        assert_eq!(node.next(1, &mut first, 5), Next::Wait);
        let mut second = node.join();
        assert_eq!(node.next(INTERVAL_US, &mut second, 5), Next::Ask(2));
        node.answered(2, Some(20));
        assert_eq!(node.next(INTERVAL_US + 1, &mut first, 10), Next::Done);
        assert_eq!(node.next(INTERVAL_US + 1, &mut second, 10), Next::Wait);
    }
}
