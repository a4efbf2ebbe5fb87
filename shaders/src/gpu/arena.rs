//! Where galleries' panels lie on the device: in slabs no larger than the adapter can bind, cut into segments.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use range_alloc::RangeAllocator;

use super::block_on::block_on;
use super::plan::Segment;
use crate::gallery::block::Block;
use crate::panel::panel_bytes;

/// The first slab's size; each further slab is twice as large, up to the largest.
const SLAB_BYTES_MIN: u64 = 32 << 20;

/// The largest slab. In smaller ones fewer galleries share a dispatch; larger ones gain nothing.
const SLAB_BYTES_MAX: u64 = 1 << 30;

/// Uploads are cut into pieces of this size, so that a large gallery does not double in staging memory.
const UPLOAD_BYTES: usize = 16 << 20;

/// Bytes of a word. Places in slabs are counted in words, as the shaders read them.
const WORD_BYTES: u64 = size_of::<u32>() as u64;

struct Slab {
    buffer: wgpu::Buffer,
    /// The free part, in words.
    free: RangeAllocator<u32>,
}

struct Resident {
    /// Keeps the block's address, which is its key, from being used again.
    block: Weak<Block>,
    segments: Vec<Segment>,
    panel_words: u32,
    /// Calls that use it at the moment.
    holders: usize,
}

/// The name of a resident block: its address.
pub(super) type Key = usize;

/// All resident blocks. Galleries that differ by a few people share their other blocks here too.
pub(super) struct Arena {
    device: wgpu::Device,
    queue: wgpu::Queue,
    slab_bytes_max: u64,
    slabs: Vec<Slab>,
    residents: BTreeMap<Key, Resident>,
}

impl Arena {
    pub(super) fn new(device: wgpu::Device, queue: wgpu::Queue) -> Arena {
        let limits = device.limits();
        let slab_bytes_max = SLAB_BYTES_MAX.min(limits.max_storage_buffer_binding_size).min(limits.max_buffer_size);
        Arena { device, queue, slab_bytes_max, slabs: Vec::new(), residents: BTreeMap::new() }
    }

    /// Each slab's buffer.
    pub(super) fn buffers(&self) -> Vec<wgpu::Buffer> {
        self.slabs.iter().map(|slab| slab.buffer.clone()).collect()
    }

    /// Keeps a resident block until it is let go.
    pub(super) fn hold(&mut self, block: &Arc<Block>) -> Key {
        let key = key(block);
        if let Some(resident) = self.residents.get_mut(&key) {
            resident.holders += 1;
        }
        key
    }

    /// Undoes [`Arena::hold`] for each of `held`.
    pub(super) fn let_go(&mut self, held: &[Key]) {
        for key in held {
            if let Some(resident) = self.residents.get_mut(key) {
                resident.holders -= 1;
            }
        }
    }

    pub(super) fn is_held(&self, block: &Arc<Block>) -> bool {
        self.residents.get(&key(block)).is_some_and(|resident| resident.holders > 0)
    }

    /// Bytes of galleries on the device.
    pub(super) fn bytes_resident(&self) -> u64 {
        self.residents
            .values()
            .flat_map(|resident| resident.segments.iter().map(|s| s.panels as u64 * u64::from(resident.panel_words)))
            .sum::<u64>()
            * WORD_BYTES
    }

    /// The block's segments. A block that is not resident is uploaded now; none where the device has no room for it.
    pub(super) fn segments(&mut self, block: &Arc<Block>) -> Option<&[Segment]> {
        let key = key(block);
        if !self.residents.contains_key(&key) {
            let resident = self.place(block)?;
            self.residents.insert(key, resident);
        }
        self.residents.get(&key).map(|resident| resident.segments.as_slice())
    }

    fn place(&mut self, block: &Arc<Block>) -> Option<Resident> {
        let panel_words = (panel_bytes(block.dims()) as u64 / WORD_BYTES) as u32;
        let panel_count = block.panel_count();
        let panels_max = (self.slab_bytes_max / WORD_BYTES / u64::from(panel_words)) as usize;
        let mut segments = Vec::new();
        let mut panel_first = 0;
        while panel_first < panel_count {
            let panels = panels_max.min(panel_count - panel_first);
            let Some((slab, start)) = self.allocate(panels as u32 * panel_words) else {
                self.free(&segments, panel_words);
                return None;
            };
            let segment = Segment { slab, start, panel_first, panels };
            self.upload(block, segment);
            segments.push(segment);
            panel_first += panels;
        }
        Some(Resident { block: Arc::downgrade(block), segments, panel_words, holders: 0 })
    }

    /// Wipes and frees one block, if it is resident.
    pub(super) fn release(&mut self, block: &Arc<Block>) {
        self.release_at(key(block));
    }

    fn release_at(&mut self, key: Key) {
        let Some(resident) = self.residents.remove(&key) else {
            return;
        };
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for segment in &resident.segments {
            let bytes = segment.panels as u64 * u64::from(resident.panel_words) * WORD_BYTES;
            let offset = u64::from(segment.start) * WORD_BYTES;
            encoder.clear_buffer(&self.slabs[segment.slab].buffer, offset, Some(bytes));
        }
        self.queue.submit([encoder.finish()]);
        self.free(&resident.segments, resident.panel_words);
    }

    /// Wipes and frees the blocks that nobody on the host holds any more. A search that was under way while its gallery
    /// was released brings the copy back, and this removes it again.
    pub(super) fn release_dropped(&mut self) {
        let dropped = self.residents.iter().filter(|(_, resident)| resident.block.strong_count() == 0);
        for key in dropped.map(|(key, _)| *key).collect::<Vec<Key>>() {
            self.release_at(key);
        }
    }

    /// Uploads a segment's panels, a piece at a time.
    fn upload(&self, block: &Block, segment: Segment) {
        let size = panel_bytes(block.dims());
        let bytes = &block.panels()[segment.panel_first * size..][..segment.panels * size];
        let mut offset = u64::from(segment.start) * WORD_BYTES;
        for piece in bytes.chunks(UPLOAD_BYTES) {
            self.queue.write_buffer(&self.slabs[segment.slab].buffer, offset, piece);
            offset += piece.len() as u64;
            if piece.len() < bytes.len() {
                self.queue.submit([]);
            }
        }
    }

    /// Takes the first place that fits, else a new slab. Returns the slab and the position in it, in words.
    fn allocate(&mut self, words: u32) -> Option<(usize, u32)> {
        let slabs = self.slabs.iter_mut().enumerate();
        let mut found = slabs.filter_map(|(index, slab)| Some((index, slab.free.allocate_range(words).ok()?.start)));
        if let Some(place) = found.next() {
            return Some(place);
        }
        let bytes_needed = u64::from(words) * WORD_BYTES;
        let bytes_grown = SLAB_BYTES_MIN << self.slabs.len().min(5);
        let bytes = bytes_grown.max(bytes_needed).min(self.slab_bytes_max) / WORD_BYTES * WORD_BYTES;
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("gallery slab"),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        if block_on(scope.pop()).is_some() {
            return None;
        }
        let mut free = RangeAllocator::new(0..(bytes / WORD_BYTES) as u32);
        let start = free.allocate_range(words).ok()?.start;
        self.slabs.push(Slab { buffer, free });
        Some((self.slabs.len() - 1, start))
    }

    fn free(&mut self, segments: &[Segment], panel_words: u32) {
        for segment in segments {
            let freed = segment.start..segment.start + segment.panels as u32 * panel_words;
            self.slabs[segment.slab].free.free_range(freed);
        }
        // Segments name slabs by position, so slabs go only from the end.
        while self.slabs.len() > 1 && self.slabs.last().is_some_and(|slab| slab.free.is_empty()) {
            self.slabs.pop();
        }
    }
}

fn key(block: &Arc<Block>) -> Key {
    Arc::as_ptr(block) as usize
}
