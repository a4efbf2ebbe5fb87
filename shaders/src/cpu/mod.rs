//! The CPU engine: a coarse pass in eight bits over panels of codes ([`scan`]), then exact scores for the rows that its
//! bound cannot exclude. Where the codes of a gallery or a probe leave out so much that the bound excludes little, most
//! rows get an exact score: then the pass falls back to an exact scan by itself.

mod dispatch;
mod first_look;
pub(crate) mod kernel;
mod lanes;
mod narrow_codes;
mod packing;
mod pool;
mod portable;
mod probes;
mod scan;
mod shared_scan;
pub(crate) mod sharing;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_narrow;

use std::sync::OnceLock;
use std::time::Instant;

use crate::ask::{Group, Hit};
use crate::error::Error;
use crate::exact::rescore_selected;
use crate::memory::{self, Upcoming};
use crate::select::Selection;
use kernel::Kernel;
use pool::Pool;
use probes::Probes;
use sharing::{Sharing, may_be_shared};

/// Multiplications of a group's coarse pass.
fn products(group: &Group<'_>) -> u64 {
    (group.gallery.rows() * group.gallery.dims() * group.probes.len()) as u64
}

/// The CPU engine. Calls run side by side, each on its caller's thread; large ones share the helping threads.
#[derive(Debug)]
pub(crate) struct Cpu {
    /// One that [`Kernel::available`] found: the unsafe calls of `dispatch.rs` rely on it.
    kernel: Kernel,
    pool: Pool,
    sharing: Sharing,
}

impl Cpu {
    /// `threads` counts the asking one.
    ///
    /// # Errors
    /// [`Error::Kernel`] where this processor lacks the instructions.
    pub(crate) fn new(kernel: Kernel, threads: usize) -> Result<Cpu, Error> {
        let available = Kernel::available();
        if !available.contains(&kernel) {
            let names: Vec<&str> = available.iter().map(|kernel| kernel.name()).collect();
            return Err(Error::Kernel { kernel: kernel.name(), available: names.join(", ") });
        }
        Ok(Cpu { kernel, pool: Pool::start(threads.saturating_sub(1)), sharing: Sharing::new() })
    }

    pub(crate) fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// What `work` makes of each number below `count`, in their order: on all threads, where there are several numbers.
    pub(crate) fn map<T: Send + Sync>(&self, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        if count <= 1 || self.pool.helpers() == 0 {
            return (0..count).map(work).collect();
        }
        let made: Vec<OnceLock<T>> = (0..count).map(|_| OnceLock::new()).collect();
        self.pool.each(count, &|index| drop(made[index].set(work(index))));
        // What a helper failed at is tried again here, where a panic is the caller's.
        made.into_iter().enumerate().map(|(index, made)| made.into_inner().unwrap_or_else(|| work(index))).collect()
    }

    /// The hits of all probes of all groups, in their order.
    pub(crate) fn search(&self, groups: &[Group<'_>]) -> Vec<Vec<Vec<Hit>>> {
        let products = groups.iter().map(products).sum();
        if self.pool.helpers() == 0 || !may_be_shared(products) {
            return self.search_here(groups);
        }
        let hits = match self.sharing.helpers(products, Instant::now()) {
            0 => None,
            helpers => shared_scan::search(&self.pool, self.kernel, groups, helpers),
        };
        let hits = hits.unwrap_or_else(|| self.search_here(groups));
        self.sharing.ended(Instant::now());
        hits
    }

    /// As [`Cpu::search`], on the asking thread.
    fn search_here(&self, groups: &[Group<'_>]) -> Vec<Vec<Vec<Hit>>> {
        let search = |(index, group): (usize, &Group<'_>)| {
            if let Some(probe) = groups.get(index + 1).and_then(|next| next.probes.first()) {
                memory::ask_for(probe.values);
            }
            self.search_group(group)
        };
        groups.iter().enumerate().map(search).collect()
    }

    fn search_group(&self, group: &Group<'_>) -> Vec<Vec<Hit>> {
        let first = group.gallery.parts().first().map(|part| part.block.panels());
        let upcoming = Upcoming::new(first.unwrap_or_default());
        let values = group.probes.iter().map(|probe| probe.values);
        let packing = narrow_codes::packing(self.kernel, group);
        let probes = Probes::new(packing, group.gallery.dims(), values, upcoming);
        let wanted = group.probes.iter().map(|probe| probe.wanted);
        let mut selections: Vec<Selection> =
            wanted.zip(&probes.reaches).map(|(wanted, reach)| Selection::new(wanted, *reach)).collect();
        for part in group.gallery.parts() {
            scan::scan(self.kernel, part, 0..part.block.panel_count(), &probes, &mut selections);
        }
        rescore_selected(group.gallery, group.probes.iter().map(|probe| probe.values).zip(selections))
    }
}
