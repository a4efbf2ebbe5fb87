//! The threads that help with large work.
//!
//! All threads take items of the work one after the other. The asking thread takes part, so that the work ends also
//! where every helper is busy with another call.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Work that several threads share.
pub(super) trait Shared: Send + Sync {
    /// Takes items until none is left.
    fn work(&self);
}

/// Helping threads. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Pool {
    senders: Vec<SyncSender<Arc<dyn Shared>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `helpers` threads, or as many as the system gives.
    pub(super) fn start(helpers: usize) -> Pool {
        let mut pool = Pool { senders: Vec::new(), threads: Vec::new() };
        for index in 0..helpers {
            // One piece of work may wait for a helper; a caller never does.
            let (sender, receiver) = sync_channel(1);
            let thread = std::thread::Builder::new().name(format!("score-{index}"));
            if let Ok(thread) = thread.spawn(move || help(&receiver)) {
                pool.senders.push(sender);
                pool.threads.push(thread);
            }
        }
        pool
    }

    /// Number of helpers.
    pub(super) fn helpers(&self) -> usize {
        self.threads.len()
    }

    /// Does `work` for each number below `items`, in any order and on several threads, and returns when all is done.
    /// An item that panicked on a helper is not done; a panic on the asking thread goes on here.
    pub(super) fn each(&self, items: usize, work: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime is changed, of a pointer.
        let work = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(work) };
        let each = Arc::new(Each { work, next: AtomicUsize::new(0), items, left: Left::new(items) });
        self.ask_for_help(&each, items.saturating_sub(1));
        let own = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| each.work()));
        if own.is_err() {
            // Items that no thread has taken will not be done: count them as done, so that nobody waits for them.
            let taken = each.next.swap(items, Ordering::Relaxed).min(items);
            each.left.done(items - taken);
        }
        each.left.wait();
        if let Err(panic) = own {
            std::panic::resume_unwind(panic);
        }
    }

    /// Asks at most `most` helpers. A busy one that has work waiting already is left alone.
    pub(super) fn ask_for_help(&self, shared: &Arc<impl Shared + 'static>, most: usize) {
        for sender in self.senders.iter().take(most) {
            let _ = sender.try_send(shared.clone());
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.senders.clear();
        for thread in self.threads.drain(..) {
            // The work of a thread that panicked has already failed; there is nothing more to learn from it.
            let _ = thread.join();
        }
    }
}

fn help(all: &Receiver<Arc<dyn Shared>>) {
    for shared in all {
        // A panic fails the shared work, not the helper.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shared.work()));
    }
}

/// Work for each number below `items`.
struct Each {
    /// Valid for as long as there are items left.
    work: *const (dyn Fn(usize) + Sync),
    next: AtomicUsize,
    items: usize,
    left: Left,
}

// SAFETY: what `work` points at is called through a shared reference, and is `Sync`.
unsafe impl Send for Each {}
// SAFETY: as above.
unsafe impl Sync for Each {}

impl Shared for Each {
    fn work(&self) {
        let mut taken = Taken::of(&self.left);
        let mut item = self.next.fetch_add(1, Ordering::Relaxed);
        while item < self.items {
            taken.items += 1;
            // SAFETY: this item is not counted as done yet, and `Pool::each`, whose argument `work` is, waits until all
            // items are; nothing in it unwinds before.
            unsafe { (*self.work)(item) };
            item = self.next.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Counts the items that are not done yet.
pub(super) struct Left {
    items: Mutex<usize>,
    all_done: Condvar,
    failed: AtomicBool,
}

impl Left {
    pub(super) fn new(items: usize) -> Left {
        Left { items: Mutex::new(items), all_done: Condvar::new(), failed: AtomicBool::new(false) }
    }

    fn done(&self, count: usize) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        *items -= count;
        if *items == 0 {
            self.all_done.notify_all();
        }
    }

    /// Waits until all items are done.
    pub(super) fn wait(&self) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        while *items > 0 {
            items = self.all_done.wait(items).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether a thread panicked over an item.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

/// Counts a thread's items as done when it leaves, also by a panic: the asking thread must not wait for ever.
pub(super) struct Taken<'a> {
    left: &'a Left,
    pub(super) items: usize,
}

impl Taken<'_> {
    /// None yet.
    pub(super) fn of(left: &Left) -> Taken<'_> {
        Taken { left, items: 0 }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.left.failed.store(true, Ordering::Release);
        }
        self.left.done(self.items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_worked_on_once_and_what_is_borrowed_is_free_afterwards() {
        let pool = Pool::start(3);
        for items in [0, 1, 2, 100] {
            let mut done: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
            pool.each(items, &|item| {
                done[item].fetch_add(1, Ordering::Relaxed);
            });
            assert!(done.iter_mut().all(|done| *done.get_mut() == 1));
        }
    }

    #[test]
    fn a_panic_ends_the_call_and_not_the_pool() {
        for helpers in [0, 1, 3] {
            let pool = Pool::start(helpers);
            for _ in 0..3 {
                let panicking = || pool.each(20, &|item| assert_ne!(item, 7, "as wanted"));
                // It is the caller's where the caller worked on that number.
                let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panicking));
                assert!(ended.is_err() || helpers > 0);
                let done = AtomicUsize::new(0);
                pool.each(20, &|_| {
                    done.fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(done.into_inner(), 20);
            }
        }
    }
}
