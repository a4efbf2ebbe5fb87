//! The threads that help with large work, and the work that they share with the thread that asked.
//!
//! A batch is cut into items, runs of panels of one gallery, that all threads take one after the other; the asking
//! thread takes part, so that a batch ends also where every helper is busy with another. What a helper works on
//! belongs to the batch, so nothing is borrowed across threads.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::probes::Probes;
use super::{Kernel, scan};
use crate::batch::{Group, Hit, Wanted};
use crate::exact;
use crate::gallery::Gallery;
use crate::select::Selection;

/// Panels of one item at most: a megabyte of codes at 512 dimensions, so that taking an item costs nothing beside scoring
/// it; and at least, of a gallery that is cut finer so that no thread waits long for another's last item.
const ITEM_PANELS_MAX: usize = 64;
/// See [`ITEM_PANELS_MAX`].
const ITEM_PANELS_MIN: usize = 8;

/// Items of one part of a gallery for each thread, where it is large enough.
const ITEMS_A_THREAD: usize = 8;

/// Probes from which on their candidates are scored by several threads: starting one costs as much as scoring the
/// candidates of ten.
const RESCORED_SHARED_MIN: usize = 128;

/// One gallery of a batch with its probes.
struct Task {
    gallery: Arc<Gallery>,
    probes: Probes,
    /// The probes in `f32`, for exact scores.
    values: Vec<f32>,
    wanted: Vec<Wanted>,
    /// Threads that there are for one batch.
    threads: usize,
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
    tasks: Vec<Task>,
    items: Vec<Item>,
    next: AtomicUsize,
    items_left: Mutex<usize>,
    all_done: Condvar,
    failed: AtomicBool,
}

/// Helping threads; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Pool {
    senders: Vec<SyncSender<Arc<Batch>>>,
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

    /// The hits of all probes of all groups, in their order; none where a helper failed.
    pub(super) fn search(&self, kernel: Kernel, groups: &[Group<'_>]) -> Option<Vec<Vec<Vec<Hit>>>> {
        let batch = Arc::new(Batch::new(kernel, groups, self.helpers() + 1));
        for sender in &self.senders {
            // A helper that is busy and has a batch waiting is left alone.
            let _ = sender.try_send(batch.clone());
        }
        batch.work();
        let mut items_left = batch.items_left.lock().unwrap_or_else(PoisonError::into_inner);
        while *items_left > 0 {
            items_left = batch.all_done.wait(items_left).unwrap_or_else(PoisonError::into_inner);
        }
        if batch.failed.load(Ordering::Acquire) {
            return None;
        }
        let hits = |task: &Task| std::mem::take(&mut task.lock().hits);
        Some(batch.tasks.iter().map(hits).collect())
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

fn help(batches: &Receiver<Arc<Batch>>) {
    for batch in batches {
        // A panic fails its batch, not the helper.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| batch.work()));
    }
}

impl Task {
    fn new(group: &Group<'_>, items_left: usize, threads: usize) -> Task {
        let progress = Progress { items_left, selections: None, hits: Vec::new() };
        Task {
            gallery: group.gallery.clone(),
            probes: Probes::new(group.gallery.dims(), &group.probes),
            values: group.probes.iter().flat_map(|probe| probe.values).copied().collect(),
            wanted: group.probes.iter().map(|probe| probe.wanted).collect(),
            threads,
            progress: Mutex::new(progress),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn selections(&self) -> Vec<Selection> {
        let reaches = self.wanted.iter().zip(&self.probes.reaches);
        reaches.map(|(wanted, reach)| Selection::new(*wanted, *reach)).collect()
    }

    /// Adds what a thread found in `items` items; the last one scores the candidates of all.
    fn add(&self, items: usize, found: Vec<Selection>) {
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
            return;
        }
        progress.hits = self.rescore(merged);
    }

    /// Scores the candidates of all probes exactly; of many probes on threads of its own, since the helpers may have gone on
    /// to other work.
    fn rescore(&self, selections: Vec<Selection>) -> Vec<Vec<Hit>> {
        let answer = |(values, selection): (&[f32], Selection)| {
            let (wanted, reach) = (selection.wanted(), *selection.reach());
            exact::rescore_bounded(&self.gallery, values, &reach, &selection.finish(), wanted)
        };
        let mut work: Vec<(&[f32], Selection)> =
            self.values.chunks_exact(self.gallery.dims()).zip(selections).collect();
        if work.len() < RESCORED_SHARED_MIN {
            return work.into_iter().map(answer).collect();
        }
        let share = work.len().div_ceil(self.threads);
        std::thread::scope(|scope| {
            let mut others = Vec::new();
            while work.len() > share {
                let part = work.split_off(work.len() - share);
                others.push(scope.spawn(move || part.into_iter().map(answer).collect::<Vec<_>>()));
            }
            let mut hits: Vec<Vec<Hit>> = work.into_iter().map(answer).collect();
            for other in others.into_iter().rev() {
                hits.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            hits
        })
    }
}

impl Batch {
    fn new(kernel: Kernel, groups: &[Group<'_>], threads: usize) -> Batch {
        let mut items = Vec::new();
        let mut tasks = Vec::new();
        for (task, group) in groups.iter().enumerate() {
            let first = items.len();
            for (part, of_part) in group.gallery.parts().iter().enumerate() {
                let panels = of_part.block.panel_count();
                let size = panels.div_ceil(threads * ITEMS_A_THREAD).clamp(ITEM_PANELS_MIN, ITEM_PANELS_MAX);
                for start in (0..panels).step_by(size) {
                    items.push(Item { task, part, panels: start..panels.min(start + size) });
                }
            }
            tasks.push(Task::new(group, items.len() - first, threads));
        }
        let items_left = Mutex::new(items.len());
        Batch {
            kernel,
            tasks,
            items,
            next: AtomicUsize::new(0),
            items_left,
            all_done: Condvar::new(),
            failed: AtomicBool::new(false),
        }
    }

    /// Takes items until there are none. What is found in several items of one task in a row is added to it at once.
    fn work(&self) {
        let mut current: Option<(usize, usize, Vec<Selection>)> = None;
        let mut taken = Taken { batch: self, items: 0 };
        let mut index = self.next.fetch_add(1, Ordering::Relaxed);
        while let Some(item) = self.items.get(index) {
            taken.items += 1;
            if let Some((task, items, found)) = current.take_if(|(task, ..)| *task != item.task) {
                self.tasks[task].add(items, found);
            }
            let task = &self.tasks[item.task];
            let (_, items, selections) = current.get_or_insert_with(|| (item.task, 0, task.selections()));
            index = self.next.fetch_add(1, Ordering::Relaxed);
            let part = &task.gallery.parts()[item.part];
            let ahead = self.items.get(index).map_or(&[][..], |next| {
                let part = &self.tasks[next.task].gallery.parts()[next.part];
                scan::panel_bytes_of(part, next.panels.start)
            });
            scan::scan(self.kernel, part, item.panels.clone(), &task.probes, selections, ahead);
            *items += 1;
        }
        if let Some((task, items, found)) = current {
            self.tasks[task].add(items, found);
        }
    }
}

/// Counts a thread's items as done when it leaves, also by a panic: the asking thread must not wait for ever.
struct Taken<'a> {
    batch: &'a Batch,
    items: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.batch.failed.store(true, Ordering::Release);
        }
        let mut items_left = self.batch.items_left.lock().unwrap_or_else(PoisonError::into_inner);
        *items_left -= self.items;
        if *items_left == 0 {
            self.batch.all_done.notify_all();
        }
    }
}
