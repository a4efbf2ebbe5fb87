//! What waits for the engine: the most urgent kind of request first, and of one kind the one that has to be answered
//! first.
//!
//! Earliest deadline first serves whatever can be served in time (Liu and Layland, "Scheduling Algorithms for
//! Multiprogramming in a Hard-Real-Time Environment", 1973, section 7). What has waited for too long already is not
//! scored for nobody: it makes room for what can still be in time.

use std::collections::BTreeMap;

use cluster_config::decision::Priority;

/// A bounded queue; times in microseconds of a clock that never goes back.
#[derive(Debug)]
pub struct Queue<T> {
    waiting: BTreeMap<(Priority, u64, u64), T>,
    waiting_max: usize,
    pushed: u64,
}

/// What a full queue did.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed<T> {
    Waits,
    /// It waits, and this one, of a less urgent kind, does not any more.
    Displaced(T),
    /// It does not wait: everything that does is as urgent.
    Refused(T),
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken<T> {
    /// To be scored, the most urgent first.
    pub due: Vec<T>,
    /// Past their deadlines.
    pub late: Vec<T>,
}

impl<T> Queue<T> {
    /// An empty queue in which so many may wait.
    pub fn new(waiting_max: usize) -> Self {
        Self { waiting: BTreeMap::new(), waiting_max, pushed: 0 }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Has `item` wait until `deadline_us` at most. Where the queue is full, the last of the least urgent kind goes, or
    /// the newcomer if it is of that kind itself.
    pub fn push(&mut self, priority: Priority, deadline_us: u64, item: T) -> Pushed<T> {
        let mut displaced = None;
        if self.waiting.len() >= self.waiting_max {
            match self.waiting.last_entry() {
                Some(last) if last.key().0 > priority => displaced = Some(last.remove()),
                _ => return Pushed::Refused(item),
            }
        }
        self.waiting.insert((priority, deadline_us, self.pushed), item);
        self.pushed += 1;
        displaced.map_or(Pushed::Waits, Pushed::Displaced)
    }

    /// Takes up to `due_max` that can still be in time at `now_us`, and whatever is late before them.
    pub fn take(&mut self, due_max: usize, now_us: u64) -> Taken<T> {
        let mut taken = Taken { due: Vec::new(), late: Vec::new() };
        while taken.due.len() < due_max
            && let Some(((_, deadline_us, _), item)) = self.waiting.pop_first()
        {
            if deadline_us > now_us { taken.due.push(item) } else { taken.late.push(item) }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boardings_come_first_and_of_one_kind_the_earliest_deadline() {
        let mut queue = Queue::new(10);
        for (priority, deadline, name) in [
            (Priority::Identify, 30, "i30"),
            (Priority::Board, 90, "b90"),
            (Priority::Identify, 20, "i20"),
            (Priority::Board, 50, "b50"),
            (Priority::Board, 50, "b50 again"),
        ] {
            assert_eq!(queue.push(priority, deadline, name), Pushed::Waits);
        }
        assert_eq!(queue.take(2, 0).due, ["b50", "b50 again"]);
        assert_eq!(queue.take(10, 0).due, ["b90", "i20", "i30"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_is_late_is_set_aside_and_takes_nobodys_place() {
        let mut queue = Queue::new(10);
        for deadline in [10, 20, 30, 40] {
            queue.push(Priority::Board, deadline, deadline);
        }
        assert_eq!(queue.take(1, 20), Taken { due: vec![30], late: vec![10, 20] });
        assert_eq!(queue.take(1, 20), Taken { due: vec![40], late: vec![] });
    }

    #[test]
    fn a_full_queue_sheds_the_least_urgent() {
        let mut queue = Queue::new(2);
        queue.push(Priority::Identify, 10, "i10");
        queue.push(Priority::Identify, 20, "i20");
        assert_eq!(queue.push(Priority::Identify, 5, "i5"), Pushed::Refused("i5"));
        assert_eq!(queue.push(Priority::Board, 90, "b90"), Pushed::Displaced("i20"));
        assert_eq!(queue.push(Priority::Board, 80, "b80"), Pushed::Displaced("i10"));
        assert_eq!(queue.push(Priority::Board, 70, "b70"), Pushed::Refused("b70"));
    }
}
