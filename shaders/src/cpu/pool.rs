//! The threads that help with large work, and the work that they share with the thread that asked.
//!
//! A batch is cut into items, runs of panels of one gallery for some probes, that all threads take one after the other; the asking
//! thread takes part, so that a batch ends also where every helper is busy with another. What a helper works on
//! belongs to the batch, so nothing is borrowed across threads. Where there are many probes they are shared out and not the
//! panels: then one thread alone raises a probe's threshold, over all rows.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use super::probes::{Packing, Probes, TILE_PROBES};
use super::{Kernel, scan};
use crate::batch::{Group, Hit, Probe, Wanted};
use crate::gallery::Gallery;
use crate::memory::Upcoming;
use crate::select::Selection;

/// Panels of one item at most: a megabyte of codes at 512 dimensions, so that taking an item costs nothing beside scoring
/// it; and at least, of a batch that is cut finer so that no thread waits long for another's last item.
const ITEM_PANELS_MAX: usize = 64;
/// See [`ITEM_PANELS_MAX`].
const ITEM_PANELS_MIN: usize = 8;

/// Items of a batch for each thread, where it is large enough.
const ITEMS_A_THREAD: usize = 8;

/// Bytes of a gallery's codes up to which its probes are shared out: each share reads them all, and so many stay in the third-level
/// cache of two cores. In larger galleries a threshold is up early in any share of the rows.
const SHARED_PROBES_BYTES_MAX: usize = 8 << 20;

/// Probes that a share has at least.
const SHARE_PROBES_MIN: usize = 8;

/// One gallery of a batch with some of its probes.
struct Task {
    gallery: Arc<Gallery>,
    /// The probes as the pass reads them, made by the first thread that needs them.
    probes: OnceLock<Probes>,
    packing: Packing,
    /// The probes in `f32`.
    values: Vec<f32>,
    wanted: Vec<Wanted>,
    progress: Mutex<Progress>,
}

/// What is done of a task.
struct Progress {
    items_left: usize,
    selections: Option<Vec<Selection>>,
    hits: Vec<Vec<Hit>>,
}

struct Item {
    task: usize,
    part: usize,
    panels: Range<usize>,
}

/// Work that several threads share.
struct Batch {
    kernel: Kernel,
    /// For each group in turn its tasks.
    tasks: Vec<Task>,
    items: Vec<Item>,
    next: AtomicUsize,
    left: Left,
}

/// What threads share until there is no more of it.
trait Shared: Send + Sync {
    /// Takes part until nothing is left to be taken.
    fn work(&self);
}

/// Helping threads; they end when this is dropped.
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
            // One batch may wait for a helper; a caller never does.
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

    /// The hits of all probes of all groups, in their order, found with `helpers` helpers at most; none where one failed.
    pub(super) fn search(&self, kernel: Kernel, groups: &[Group<'_>], helpers: usize) -> Option<Vec<Vec<Vec<Hit>>>> {
        let helpers = helpers.min(self.helpers());
        let batch = Arc::new(Batch::new(kernel, groups, helpers + 1));
        self.ask_for_help(&batch, helpers);
        batch.work();
        batch.left.wait();
        if batch.left.failed.load(Ordering::Acquire) {
            return None;
        }
        let mut hits = batch.tasks.iter().flat_map(|task| std::mem::take(&mut task.lock().hits));
        Some(groups.iter().map(|group| hits.by_ref().take(group.probes.len()).collect()).collect())
    }

    /// Does `work` for each number below `items`, in any order and on several threads; returns when all is done. What panicked
    /// on a helper is not done.
    pub(super) fn each(&self, items: usize, work: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime is changed, of a pointer.
        let work = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(work) };
        let each = Arc::new(Each { work, next: AtomicUsize::new(0), items, left: Left::new(items) });
        self.ask_for_help(&each, items.saturating_sub(1));
        let own = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| each.work()));
        if own.is_err() {
            // What nobody has taken nobody does.
            let taken = each.next.swap(items, Ordering::Relaxed).min(items);
            each.left.done(items - taken);
        }
        each.left.wait();
        if let Err(panic) = own {
            std::panic::resume_unwind(panic);
        }
    }

    /// Asks `most` helpers at most. One that is busy and has work waiting is left alone.
    fn ask_for_help(&self, shared: &Arc<impl Shared + 'static>, most: usize) {
        for sender in self.senders.iter().take(most) {
            let _ = sender.try_send(shared.clone());
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.senders.clear();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn help(all: &Receiver<Arc<dyn Shared>>) {
    for shared in all {
        // A panic fails what is shared, not the helper.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shared.work()));
    }
}

/// Work for each of some numbers.
struct Each {
    /// There for as long as there are items left.
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
        let mut taken = Taken { left: &self.left, items: 0 };
        let mut item = self.next.fetch_add(1, Ordering::Relaxed);
        while item < self.items {
            taken.items += 1;
            // SAFETY: this item is not counted as done yet, and `Pool::each`, whose argument it is, waits until all are; nothing
            // in it unwinds before.
            unsafe { (*self.work)(item) };
            item = self.next.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Items that are not done yet.
struct Left {
    items: Mutex<usize>,
    all_done: Condvar,
    failed: AtomicBool,
}

impl Left {
    fn new(items: usize) -> Left {
        Left { items: Mutex::new(items), all_done: Condvar::new(), failed: AtomicBool::new(false) }
    }

    fn done(&self, count: usize) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        *items -= count;
        if *items == 0 {
            self.all_done.notify_all();
        }
    }

    fn wait(&self) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        while *items > 0 {
            items = self.all_done.wait(items).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Task {
    fn new(group: &Group<'_>, probes: &[Probe<'_>], packing: Packing, items_left: usize) -> Task {
        let progress = Progress { items_left, selections: None, hits: Vec::new() };
        Task {
            gallery: group.gallery.clone(),
            probes: OnceLock::new(),
            packing,
            values: probes.iter().map(|probe| probe.values).collect::<Vec<_>>().concat(),
            wanted: probes.iter().map(|probe| probe.wanted).collect(),
            progress: Mutex::new(progress),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread that needs them first makes them, and asks beside that for the panels it reads next.
    fn probes(&self, panels: &[u8]) -> &Probes {
        let dims = self.gallery.dims();
        self.probes
            .get_or_init(|| Probes::new(self.packing, dims, self.values.chunks_exact(dims), Upcoming::new(panels)))
    }

    fn selections(&self, probes: &Probes) -> Vec<Selection> {
        let reaches = self.wanted.iter().zip(&probes.reaches);
        reaches.map(|(wanted, reach)| Selection::new(*wanted, *reach)).collect()
    }

    /// Adds what a thread found in `items` items; the one that adds the last gets what all have found, to be scored.
    fn add(&self, items: usize, found: Vec<Selection>) -> Option<Vec<Selection>> {
        let mut progress = self.lock();
        let merged = match progress.selections.take() {
            None => found,
            Some(mut selections) => {
                for (selection, other) in selections.iter_mut().zip(found) {
                    selection.merge(other);
                }
                selections
            }
        };
        progress.items_left -= items;
        if progress.items_left > 0 {
            progress.selections = Some(merged);
            return None;
        }
        Some(merged)
    }
}

/// Probes of each of a group's shares, where they are shared out and there are two shares or more for each thread.
fn share_probes(group: &Group<'_>, threads: usize) -> Option<usize> {
    let share = match group.probes.len().div_ceil(threads * ITEMS_A_THREAD) {
        ..=SHARE_PROBES_MIN => SHARE_PROBES_MIN,
        share => share.next_multiple_of(TILE_PROBES),
    };
    let is_small = group.gallery.rows() * group.gallery.dims() <= SHARED_PROBES_BYTES_MAX;
    (is_small && group.probes.len() >= 2 * threads * share).then_some(share)
}

impl Batch {
    fn new(kernel: Kernel, groups: &[Group<'_>], threads: usize) -> Batch {
        let mut items = Vec::new();
        let mut tasks = Vec::new();
        let panels = groups.iter().flat_map(|group| group.gallery.parts()).map(|part| part.block.panel_count());
        let size = panels.sum::<usize>().div_ceil(threads * ITEMS_A_THREAD).clamp(ITEM_PANELS_MIN, ITEM_PANELS_MAX);
        for group in groups {
            let packing = Packing::of(kernel, group);
            let (share, size) = match share_probes(group, threads) {
                Some(share) => (share, usize::MAX),
                None => (group.probes.len().max(1), size),
            };
            for probes in group.probes.chunks(share) {
                let first = items.len();
                for (part, of_part) in group.gallery.parts().iter().enumerate() {
                    let panels = of_part.block.panel_count();
                    for start in (0..panels).step_by(size) {
                        items.push(Item {
                            task: tasks.len(),
                            part,
                            panels: start..panels.min(start.saturating_add(size)),
                        });
                    }
                }
                tasks.push(Task::new(group, probes, packing, items.len() - first));
            }
        }
        let left = Left::new(items.len());
        Batch { kernel, tasks, items, next: AtomicUsize::new(0), left }
    }

    /// Adds what was found in some items of a task; the one that adds the last scores it.
    fn add(&self, found: Option<(usize, usize, Vec<Selection>)>) {
        let Some((task, items, found)) = found else { return };
        let task = &self.tasks[task];
        if let Some(selections) = task.add(items, found) {
            let values = task.values.chunks_exact(task.gallery.dims());
            let hits = super::rescore(&task.gallery, values.zip(selections));
            task.lock().hits = hits;
        }
    }
}

impl Shared for Batch {
    /// Takes items until there are none. What is found in several items of one task in a row is added to it at once.
    fn work(&self) {
        let mut current: Option<(usize, usize, Vec<Selection>)> = None;
        let mut taken = Taken { left: &self.left, items: 0 };
        let mut index = self.next.fetch_add(1, Ordering::Relaxed);
        while let Some(item) = self.items.get(index) {
            taken.items += 1;
            self.add(current.take_if(|(task, ..)| *task != item.task));
            let task = &self.tasks[item.task];
            let part = &task.gallery.parts()[item.part];
            let probes = task.probes(scan::panels_of(part, item.panels.clone()));
            let (_, items, selections) = current.get_or_insert_with(|| (item.task, 0, task.selections(probes)));
            index = self.next.fetch_add(1, Ordering::Relaxed);
            scan::scan(self.kernel, part, item.panels.clone(), probes, selections);
            *items += 1;
        }
        self.add(current);
    }
}

/// Counts a thread's items as done when it leaves, also by a panic: the asking thread must not wait for ever.
struct Taken<'a> {
    left: &'a Left,
    items: usize,
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
