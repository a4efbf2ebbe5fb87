//! Memory that galleries lie in: aligned to cache lines, on huge pages where that pays, or a part of a mapped file.

use std::ops::Range;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use memmap2::{Mmap, MmapMut};

use crate::slab::Place;

/// Smallest piece that gets its own pages: from four huge pages on, what rounding up wastes is little.
pub(crate) const OWN_PAGES_BYTES_MIN: usize = 8 << 20;

/// One cache line. It exists for its alignment: a vector load never crosses a line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct Line([u8; 64]);

/// Bytes whose address is a multiple of 64.
#[derive(Debug)]
pub(crate) enum Storage {
    /// From the allocator, where the system gives nothing better.
    Heap(Vec<Line>, usize),
    /// A place among others' on huge pages.
    Slab(Place),
    /// Pages of their own, huge ones where the system has them: a scan misses the address cache less often.
    Pages(MmapMut),
    /// A part of a mapped file, which the system may drop from memory and read again.
    File(Arc<Mmap>, Range<usize>),
}

impl Storage {
    /// `bytes` zero bytes.
    pub(crate) fn zeroed(bytes: usize) -> Storage {
        if bytes < OWN_PAGES_BYTES_MIN
            && let Some(place) = Place::zeroed(bytes)
        {
            return Storage::Slab(place);
        }
        if bytes >= OWN_PAGES_BYTES_MIN
            && let Ok(pages) = MmapMut::map_anon(bytes)
        {
            // Where the system has no huge pages the small ones do; only time is lost.
            #[cfg(target_os = "linux")]
            let _ = pages.advise(memmap2::Advice::HugePage);
            return Storage::Pages(pages);
        }
        Storage::Heap(vec![Line::zeroed(); bytes.div_ceil(size_of::<Line>())], bytes)
    }

    /// A part of a mapped file, which starts at a multiple of 64 within it; None where the file is shorter.
    pub(crate) fn file(map: &Arc<Mmap>, range: Range<usize>) -> Option<Storage> {
        let fits = range.start <= range.end && range.end <= map.len() && range.start.is_multiple_of(size_of::<Line>());
        fits.then(|| Storage::File(map.clone(), range))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Storage::Heap(lines, length) => &bytemuck::cast_slice(lines)[..*length],
            Storage::Slab(place) => place.bytes(),
            Storage::Pages(pages) => pages,
            Storage::File(map, range) => &map[range.clone()],
        }
    }

    /// To fill it; None for a part of a file, which is never written to.
    pub(crate) fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match self {
            Storage::Heap(lines, length) => Some(&mut bytemuck::cast_slice_mut(lines)[..*length]),
            Storage::Slab(place) => Some(place.bytes_mut()),
            Storage::Pages(pages) => Some(pages),
            Storage::File(..) => None,
        }
    }

    /// Memory that goes when this goes; a mapped file's is the system's.
    pub(crate) fn bytes_resident(&self) -> usize {
        match self {
            Storage::Heap(lines, _) => size_of_val(lines.as_slice()),
            Storage::Slab(place) => place.bytes().len(),
            Storage::Pages(pages) => pages.len(),
            Storage::File(..) => 0,
        }
    }
}
