//! Memory of many small galleries: places in slabs of huge pages.
//!
//! A gallery of a flight has fifty small pages of codes and two hundred of templates. A search that meets another gallery with
//! each probe would look the address of each page up anew, which takes about as long as reading it; of huge pages it needs one.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use memmap2::{MmapMut, MmapRaw};
use range_alloc::RangeAllocator;

use crate::memory::LINE_BYTES;

/// Bytes of a slab: some thirty galleries of 400 people.
const SLAB_BYTES: usize = 32 << 20;

/// Bytes of a huge page: a slab starts where one does.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// The slabs of this process.
static SLABS: Mutex<Slabs> = Mutex::new(Slabs(Vec::new()));

/// All slabs that anything lies in.
struct Slabs(Vec<Weak<Slab>>);

#[derive(Debug)]
struct Slab {
    pages: MmapRaw,
    /// What of it is free, in whole cache lines. All of that is zero.
    free: Mutex<RangeAllocator<usize>>,
}

/// Some bytes of a slab. They are wiped when it is dropped; the slab goes with the last of its places.
#[derive(Debug)]
pub(crate) struct Place {
    slab: Arc<Slab>,
    /// Bytes of the slab that nobody else has.
    lines: Range<usize>,
    length: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slab {
    fn new() -> Option<Slab> {
        let pages = MmapMut::map_anon(SLAB_BYTES + HUGE_PAGE_BYTES).ok()?;
        // Where the system has no huge pages the small ones do; only time is lost. Miri has no such call.
        #[cfg(all(target_os = "linux", not(miri)))]
        let _ = pages.advise(memmap2::Advice::HugePage);
        let pages = MmapRaw::from(pages);
        let first = pages.as_ptr().align_offset(HUGE_PAGE_BYTES).min(HUGE_PAGE_BYTES);
        let free = Mutex::new(RangeAllocator::new(first..first + SLAB_BYTES));
        Some(Slab { pages, free })
    }

    fn allocate(self: &Arc<Slab>, length: usize) -> Option<Place> {
        let lines = lock(&self.free).allocate_range(length.next_multiple_of(LINE_BYTES)).ok()?;
        Some(Place { slab: self.clone(), lines, length })
    }
}

impl Slabs {
    fn allocate(&mut self, length: usize) -> Option<Place> {
        self.0.retain(|slab| slab.strong_count() > 0);
        if let Some(place) = self.0.iter().filter_map(Weak::upgrade).find_map(|slab| slab.allocate(length)) {
            return Some(place);
        }
        let slab = Arc::new(Slab::new()?);
        self.0.push(Arc::downgrade(&slab));
        slab.allocate(length)
    }
}

impl Place {
    /// `length` zero bytes at a multiple of 64; none where they are more than a slab has or the system has no memory.
    pub(crate) fn zeroed(length: usize) -> Option<Place> {
        if length == 0 || length > SLAB_BYTES {
            return None;
        }
        lock(&SLABS).allocate(length)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the slab's pages live as long as it, which this holds; `lines` lies within them, and nobody else has it.
        unsafe { std::slice::from_raw_parts(self.slab.pages.as_ptr().add(self.lines.start), self.length) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and this is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.slab.pages.as_mut_ptr().add(self.lines.start), self.length) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.bytes_mut().fill(0);
        lock(&self.slab.free).free_range(self.lines.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_never_overlap_come_zeroed_and_are_wiped() {
        let mut slabs = Slabs(Vec::new());
        let mut places: Vec<(u8, Place)> = Vec::new();
        let mut state = 1u32;
        let (turns, length_max) = if cfg!(miri) { (90, 300) } else { (2_000, 300_000) };
        for turn in 0..turns {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if turn % 3 == 2 {
                let (mark, place) = places.swap_remove(state as usize % places.len());
                assert!(place.bytes().iter().all(|byte| *byte == mark), "somebody else wrote here");
                continue;
            }
            let length = 1 + (state >> 8) as usize % length_max;
            let mut place = slabs.allocate(length).expect("memory");
            assert_eq!((place.bytes().len(), place.bytes().as_ptr().align_offset(LINE_BYTES)), (length, 0));
            assert!(place.bytes().iter().all(|byte| *byte == 0), "what was here before is seen");
            let mark = (turn % 255) as u8 + 1;
            place.bytes_mut().fill(mark);
            places.push((mark, place));
        }
        assert!(Place::zeroed(0).is_none() && Place::zeroed(SLAB_BYTES + 1).is_none());
        assert!(cfg!(miri) || slabs.0.len() > 1);
        drop(places);
        assert!(slabs.0.iter().all(|slab| slab.strong_count() == 0), "a slab goes with the last place in it");
    }
}
