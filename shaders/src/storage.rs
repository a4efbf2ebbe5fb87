//! The memory that galleries lie in: aligned to cache lines, zeroed, on huge pages where the system has them.
//!
//! A flight's gallery has fifty small pages of codes and two hundred of templates. A search that meets another gallery
//! with each probe would look up the address of each page anew, which takes about as long as reading it. With huge
//! pages it looks up one address. So small pieces share slabs of huge pages, and a large piece has pages of its own.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use memmap2::{MmapMut, MmapRaw};
use range_alloc::RangeAllocator;

use crate::memory::LINE_BYTES;

/// The smallest piece with pages of its own. From four huge pages on, rounding up to whole ones wastes little.
pub(crate) const OWN_PAGES_BYTES_MIN: usize = 8 << 20;

/// Bytes of a slab that pieces share: some thirty galleries of 400 people.
const SLAB_BYTES: usize = 32 << 20;

/// Bytes of a huge page. A slab starts at a multiple of it.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// The slabs of this process that pieces share.
static SHARED: Mutex<Slabs> = Mutex::new(Slabs(Vec::new()));

/// Bytes whose address is a multiple of 64. A piece of a shared slab is wiped when it is dropped; the slab itself goes
/// back to the system with the last of its pieces.
#[derive(Debug)]
pub(crate) struct Storage {
    slab: Arc<Slab>,
    /// The bytes of the slab that belong to this piece: whole cache lines.
    lines: Range<usize>,
    length: usize,
}

#[derive(Debug)]
struct Slab {
    pages: MmapRaw,
    /// The free bytes, in whole cache lines. All of them are zero.
    free: Mutex<RangeAllocator<usize>>,
}

/// Slabs that somebody has a piece of.
struct Slabs(Vec<Weak<Slab>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Storage {
    /// `length` zero bytes.
    ///
    /// # Panics
    /// Where the system has no memory left, as every allocation does.
    pub(crate) fn zeroed(length: usize) -> Storage {
        if length < OWN_PAGES_BYTES_MIN {
            return lock(&SHARED).allocate(length);
        }
        let slab = Arc::new(Slab::new(length.next_multiple_of(LINE_BYTES)));
        slab.allocate(length).unwrap_or_else(|| out_of_memory(length))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `lines` lies within the slab's pages, which live as long as this piece, and belongs to it alone.
        unsafe { std::slice::from_raw_parts(self.slab.pages.as_ptr().add(self.lines.start), self.length) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the piece is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.slab.pages.as_mut_ptr().add(self.lines.start), self.length) }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // The system wipes pages that nobody shares before it gives them to anybody else.
        if self.length < OWN_PAGES_BYTES_MIN {
            self.bytes_mut().fill(0);
            lock(&self.slab.free).free_range(self.lines.clone());
        }
    }
}

impl Slab {
    fn new(bytes: usize) -> Slab {
        let pages = MmapMut::map_anon(bytes + HUGE_PAGE_BYTES).unwrap_or_else(|_| out_of_memory(bytes));
        // Without huge pages only time is lost. Miri has no such call.
        #[cfg(all(target_os = "linux", not(miri)))]
        let _ = pages.advise(memmap2::Advice::HugePage);
        let pages = MmapRaw::from(pages);
        let first = pages.as_ptr().align_offset(HUGE_PAGE_BYTES).min(HUGE_PAGE_BYTES);
        Slab { pages, free: Mutex::new(RangeAllocator::new(first..first + bytes)) }
    }

    fn allocate(self: &Arc<Slab>, length: usize) -> Option<Storage> {
        // An empty piece has a line too: a range of nothing is none that can be given back.
        let lines = lock(&self.free).allocate_range(length.max(1).next_multiple_of(LINE_BYTES)).ok()?;
        Some(Storage { slab: self.clone(), lines, length })
    }
}

impl Slabs {
    fn allocate(&mut self, length: usize) -> Storage {
        self.0.retain(|slab| slab.strong_count() > 0);
        if let Some(piece) = self.0.iter().filter_map(Weak::upgrade).find_map(|slab| slab.allocate(length)) {
            return piece;
        }
        let slab = Arc::new(Slab::new(SLAB_BYTES));
        self.0.push(Arc::downgrade(&slab));
        slab.allocate(length).unwrap_or_else(|| out_of_memory(length))
    }
}

fn out_of_memory(bytes: usize) -> ! {
    panic!("the system has no {bytes} bytes of memory left for a gallery")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_never_overlap_come_zeroed_and_are_wiped() {
        let mut slabs = Slabs(Vec::new());
        let mut pieces: Vec<(u8, Storage)> = Vec::new();
        let mut state = 1u32;
        let (turns, length_max) = if cfg!(miri) { (90, 300) } else { (2_000, 300_000) };
        for turn in 0..turns {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if turn % 3 == 2 {
                let (mark, piece) = pieces.swap_remove(state as usize % pieces.len());
                assert!(piece.bytes().iter().all(|byte| *byte == mark), "somebody else wrote here");
                continue;
            }
            let length = (state >> 8) as usize % length_max;
            let mut piece = slabs.allocate(length);
            assert_eq!((piece.bytes().len(), piece.bytes().as_ptr().align_offset(LINE_BYTES)), (length, 0));
            assert!(piece.bytes().iter().all(|byte| *byte == 0), "what was here before is seen");
            let mark = (turn % 255) as u8 + 1;
            piece.bytes_mut().fill(mark);
            pieces.push((mark, piece));
        }
        assert_eq!(slabs.allocate(0).bytes(), [0u8; 0]);
        assert!(cfg!(miri) || slabs.0.len() > 1);
        drop(pieces);
        assert!(slabs.0.iter().all(|slab| slab.strong_count() == 0), "a slab goes with its last piece");
    }

    #[test]
    fn a_large_piece_has_pages_of_its_own() {
        if cfg!(miri) {
            return;
        }
        for length in [OWN_PAGES_BYTES_MIN, SLAB_BYTES + 12] {
            let mut piece = Storage::zeroed(length);
            assert_eq!((piece.bytes().len(), piece.bytes().as_ptr().align_offset(HUGE_PAGE_BYTES)), (length, 0));
            assert!(piece.bytes().iter().all(|byte| *byte == 0));
            piece.bytes_mut().fill(7);
            assert_eq!(Arc::strong_count(&piece.slab), 1);
        }
    }
}
