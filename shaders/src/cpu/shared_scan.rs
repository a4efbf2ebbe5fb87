//! The eight-bit pass over a large call, shared among threads.
//!
//! A call is cut into items: runs of panels of one gallery for some probes. What a helper works on belongs to the call,
//! so nothing is borrowed across threads. Where there are many probes, the probes are shared out and not the panels:
//! then one thread alone raises a probe's threshold, over all rows.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::kernel::Kernel;
use super::packing::Packing;
use super::pool::{Left, Pool, Shared, Taken};
use super::probes::{Probes, TILE_PROBES};
use super::{narrow_codes, scan};
use crate::ask::{Group, Hit, Probe, Wanted};
use crate::exact::rescore_selected;
use crate::gallery::Gallery;
use crate::memory::Upcoming;
use crate::select::Selection;

/// The most panels of one item: a megabyte of codes at 512 dimensions, so that taking an item costs nothing beside
/// scoring it.
const ITEM_PANELS_MAX: usize = 64;
/// The fewest panels of one item. A small call is cut finer, so that no thread waits long for another's last item.
const ITEM_PANELS_MIN: usize = 8;

/// Items for each thread, where the call is large enough.
const ITEMS_A_THREAD: usize = 8;

/// The largest gallery, in bytes of codes, whose probes are shared out. Each share reads all codes, and so many stay in
/// the third-level cache of two cores. In a larger gallery the threshold rises early in any share of the rows.
const SHARED_PROBES_BYTES_MAX: usize = 8 << 20;

/// The fewest probes of a share.
const SHARE_PROBES_MIN: usize = 8;

/// One gallery of a call with some of its probes.
struct Task {
    gallery: Arc<Gallery>,
    /// The packed probes, made by the first thread that needs them.
    probes: OnceLock<Probes>,
    packing: Packing,
    /// The values of the probes.
    values: Vec<f32>,
    wanted: Vec<Wanted>,
    progress: Mutex<Progress>,
}

/// How far a task is done.
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

/// A call that several threads share.
struct Batch {
    kernel: Kernel,
    /// The tasks of all groups, in the order of the groups and of their probes.
    tasks: Vec<Task>,
    items: Vec<Item>,
    next: AtomicUsize,
    left: Left,
}

/// The hits of all probes of all groups, in their order, found with `helpers` helpers at most; none where one failed.
pub(super) fn search(pool: &Pool, kernel: Kernel, groups: &[Group<'_>], helpers: usize) -> Option<Vec<Vec<Vec<Hit>>>> {
    let helpers = helpers.min(pool.helpers());
    let batch = Arc::new(Batch::new(kernel, groups, helpers + 1));
    pool.ask_for_help(&batch, helpers);
    batch.work();
    batch.left.wait();
    if batch.left.has_failed() {
        return None;
    }
    let mut hits = batch.tasks.iter().flat_map(|task| std::mem::take(&mut task.lock().hits));
    Some(groups.iter().map(|group| hits.by_ref().take(group.probes.len()).collect()).collect())
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

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The packed probes. The thread that needs them first makes them, and meanwhile asks for the panels that it reads
    /// next.
    fn probes(&self, panels: &[u8]) -> &Probes {
        let dims = self.gallery.dims();
        self.probes
            .get_or_init(|| Probes::new(self.packing, dims, self.values.chunks_exact(dims), Upcoming::new(panels)))
    }

    fn selections(&self, probes: &Probes) -> Vec<Selection> {
        let reaches = self.wanted.iter().zip(&probes.reaches);
        reaches.map(|(wanted, reach)| Selection::new(*wanted, *reach)).collect()
    }

    /// Adds what a thread found in `items` items. The thread that adds the last items gets what all threads have found.
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

/// The number of probes in each share of a group, where its probes are shared out. Each thread gets two shares or more.
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
            let packing = narrow_codes::packing(kernel, group);
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

    /// Adds what was found in some items of a task. The thread that adds the last items scores the task exactly.
    fn add(&self, found: Option<(usize, usize, Vec<Selection>)>) {
        let Some((task, items, found)) = found else { return };
        let task = &self.tasks[task];
        if let Some(selections) = task.add(items, found) {
            let values = task.values.chunks_exact(task.gallery.dims());
            let hits = rescore_selected(&task.gallery, values.zip(selections));
            task.lock().hits = hits;
        }
    }
}

impl Shared for Batch {
    /// Takes items until there are none. What a thread finds in successive items of one task it adds at once.
    fn work(&self) {
        let mut current: Option<(usize, usize, Vec<Selection>)> = None;
        let mut taken = Taken::of(&self.left);
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
