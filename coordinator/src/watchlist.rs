//! The list of all that has to go on for as long as a process lives: tasks, threads, loops. The end of one that was not
//! asked to end, by a panic or by itself, is a fault that ends the process: a node that goes on without one of them
//! looks alive and is not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cluster_config::canary::{Canary, planted};

use crate::OnFault;

/// See the module. A cheap handle.
#[derive(Clone)]
pub struct Watchlist(Arc<List>);

struct List {
    on_fault: OnFault,
    is_ending: AtomicBool,
    /// How many of each name go on.
    going: Mutex<BTreeMap<&'static str, usize>>,
}

/// Held by what is watched, for as long as it goes on.
pub struct Watched {
    name: &'static str,
    list: Watchlist,
    is_asked: bool,
}

impl Watchlist {
    /// A list of nothing yet. `on_fault` is called with the name of whatever ends unasked.
    pub fn new(on_fault: OnFault) -> Self {
        Self(Arc::new(List { on_fault, is_ending: AtomicBool::new(false), going: Mutex::default() }))
    }

    /// Puts a task, a thread or a loop on the list; it moves what this gives into itself.
    pub fn watch(&self, name: &'static str) -> Watched {
        *self.going().entry(name).or_default() += 1;
        Watched { name, list: self.clone(), is_asked: false }
    }

    /// Tells of a fault that is not the end of anything.
    pub fn fault(&self, reason: String) {
        (self.0.on_fault)(reason);
    }

    /// The process is ending: from here on everything may.
    pub fn end(&self) {
        self.0.is_ending.store(true, Ordering::Release);
    }

    /// What goes on, by name.
    pub fn names(&self) -> Vec<&'static str> {
        self.going().iter().filter(|(_, count)| **count > 0).map(|(name, _)| *name).collect()
    }

    fn going(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, usize>> {
        // Nothing that holds the lock can panic half-way through a change.
        self.0.going.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// It was asked to end, by whoever it works for.
    pub fn asked_to_end(mut self) {
        self.is_asked = true;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(count) = self.list.going().get_mut(self.name) {
            *count -= 1;
        }
        let is_asked = self.is_asked || self.list.0.is_ending.load(Ordering::Acquire);
        if is_asked || planted(Canary::SilentEnd) {
            return;
        }
        let how = if std::thread::panicking() { "has panicked" } else { "has ended by itself" };
        self.list.fault(format!("the {} {how}; the node cannot go on without it", self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> (Watchlist, Arc<Mutex<Vec<String>>>) {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = told.clone();
        (Watchlist::new(Arc::new(move |reason| heard.lock().expect("a lock").push(reason))), told)
    }

    #[tokio::test]
    async fn whatever_ends_unasked_is_told_by_its_name_and_how_it_ended() {
        let (list, told) = list();
        let said = || std::mem::take(&mut *told.lock().expect("a lock"));
        let watched = list.watch("loop");
        let ended = tokio::spawn(async move {
            let _watched = watched;
            panic!("planted");
        });
        ended.await.expect_err("it panics");
        assert_eq!(said(), ["the loop has panicked; the node cannot go on without it"]);
        let watched = list.watch("thread");
        std::thread::spawn(move || drop(watched)).join().expect("it ends");
        assert_eq!(said(), ["the thread has ended by itself; the node cannot go on without it"]);
        let (one, other) = (list.watch("one"), list.watch("other"));
        assert_eq!(list.names(), ["one", "other"]);
        one.asked_to_end();
        assert_eq!(list.names(), ["other"]);
        list.end();
        drop(other);
        assert_eq!((said(), list.names()), (vec![], vec![]));
    }
}
