//! Where galleries live on the device: slabs of the size that the adapter can bind, cut into segments.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Weak};

use super::block_on;
use super::plan::Segment;
use crate::gallery::Gallery;
use crate::layout::PANEL_ROWS;

/// The first slab's size; each further slab is twice as large, up to the largest.
const SLAB_BYTES_MIN: u64 = 32 << 20;

/// The largest slab. Below it many galleries share one dispatch, above it nothing is gained.
const SLAB_BYTES_MAX: u64 = 1 << 30;

/// Uploads are cut into pieces of this size, so that a large gallery does not double in staging memory.
const UPLOAD_BYTES: usize = 16 << 20;

const VALUE_BYTES: u64 = size_of::<f32>() as u64;

struct Slab {
    buffer: wgpu::Buffer,
    values: u32,
    /// Free places, in values, in order and never touching one another.
    free: Vec<Range<u32>>,
}

struct Resident {
    gallery: Weak<Gallery>,
    segments: Vec<Segment>,
    panel_values: u32,
}

/// All device-resident galleries.
pub(super) struct Arena {
    device: wgpu::Device,
    queue: wgpu::Queue,
    slab_bytes_max: u64,
    slabs: Vec<Slab>,
    residents: BTreeMap<u64, Resident>,
}

impl Arena {
    pub(super) fn new(device: wgpu::Device, queue: wgpu::Queue) -> Arena {
        let limits = device.limits();
        let slab_bytes_max = SLAB_BYTES_MAX.min(limits.max_storage_buffer_binding_size).min(limits.max_buffer_size);
        Arena { device, queue, slab_bytes_max, slabs: Vec::new(), residents: BTreeMap::new() }
    }

    pub(super) fn slab_buffer(&self, slab: usize) -> &wgpu::Buffer {
        &self.slabs[slab].buffer
    }

    /// Bytes of galleries on the device.
    pub(super) fn bytes_resident(&self) -> u64 {
        self.residents
            .values()
            .flat_map(|resident| resident.segments.iter().map(|s| s.panels as u64 * u64::from(resident.panel_values)))
            .sum::<u64>()
            * VALUE_BYTES
    }

    /// The gallery's segments, uploaded now if it is not resident; none where the device has no room for it.
    pub(super) fn segments(&mut self, gallery: &Arc<Gallery>) -> Option<Vec<Segment>> {
        if let Some(resident) = self.residents.get(&gallery.id()) {
            return Some(resident.segments.clone());
        }
        let panel_values = (gallery.dims() * PANEL_ROWS) as u32;
        let panel_count = gallery.rows_live().div_ceil(PANEL_ROWS);
        let panels_max = (self.slab_bytes_max / VALUE_BYTES / u64::from(panel_values)) as usize;
        let mut segments = Vec::new();
        let mut panel_first = 0;
        while panel_first < panel_count {
            let panels = panels_max.min(panel_count - panel_first);
            let Some((slab, start)) = self.allocate(panels as u32 * panel_values) else {
                self.free(&segments, panel_values);
                return None;
            };
            let segment = Segment { slab, start, panel_first, panels };
            self.upload(gallery, segment);
            segments.push(segment);
            panel_first += panels;
        }
        let resident = Resident { gallery: Arc::downgrade(gallery), segments: segments.clone(), panel_values };
        self.residents.insert(gallery.id(), resident);
        Some(segments)
    }

    /// Wipes and frees one gallery, if it is resident.
    pub(super) fn release(&mut self, gallery_id: u64) {
        let Some(resident) = self.residents.remove(&gallery_id) else {
            return;
        };
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for segment in &resident.segments {
            let bytes = segment.panels as u64 * u64::from(resident.panel_values) * VALUE_BYTES;
            let offset = u64::from(segment.start) * VALUE_BYTES;
            encoder.clear_buffer(&self.slabs[segment.slab].buffer, offset, Some(bytes));
        }
        self.queue.submit([encoder.finish()]);
        self.free(&resident.segments, resident.panel_values);
    }

    /// Wipes and frees the galleries that nobody on the host holds any more. A search that was under way while its
    /// gallery was released brings the copy back; this takes it away again.
    pub(super) fn release_dropped(&mut self) {
        let dropped: Vec<u64> = self
            .residents
            .iter()
            .filter(|(_, resident)| resident.gallery.strong_count() == 0)
            .map(|(id, _)| *id)
            .collect();
        for gallery_id in dropped {
            self.release(gallery_id);
        }
    }

    /// Packs the segment's rows with the dimension outermost, a piece at a time, and uploads them.
    fn upload(&self, gallery: &Gallery, segment: Segment) {
        let panel_values = gallery.dims() * PANEL_ROWS;
        let panels_per_piece = (UPLOAD_BYTES / (panel_values * size_of::<f32>())).max(1);
        let rows: Vec<u32> = gallery.live_rows().skip(segment.panel_first * PANEL_ROWS).collect();
        let rows = &rows[..rows.len().min(segment.panels * PANEL_ROWS)];
        let mut piece = vec![0.0f32; panels_per_piece.min(segment.panels) * panel_values];
        let mut offset = u64::from(segment.start) * VALUE_BYTES;
        for rows in rows.chunks(panels_per_piece * PANEL_ROWS) {
            let values = &mut piece[..rows.len().div_ceil(PANEL_ROWS) * panel_values];
            for (panel, rows) in values.chunks_exact_mut(panel_values).zip(rows.chunks(PANEL_ROWS)) {
                pack_panel(panel, rows.iter().map(|row| gallery.row(*row as usize)));
            }
            let bytes: &[u8] = bytemuck::cast_slice(values);
            self.queue.write_buffer(&self.slabs[segment.slab].buffer, offset, bytes);
            offset += bytes.len() as u64;
            if segment.panels > panels_per_piece {
                self.queue.submit([]);
            }
        }
    }

    /// First fit over the slabs there are, else a new slab: slab and position in values.
    fn allocate(&mut self, values: u32) -> Option<(usize, u32)> {
        for (index, slab) in self.slabs.iter_mut().enumerate() {
            if let Some(place) = slab.free.iter().position(|range| range.end - range.start >= values) {
                let start = slab.free[place].start;
                slab.free[place].start += values;
                if slab.free[place].is_empty() {
                    slab.free.remove(place);
                }
                return Some((index, start));
            }
        }
        let bytes_needed = u64::from(values) * VALUE_BYTES;
        let bytes_grown = SLAB_BYTES_MIN << self.slabs.len().min(5);
        let bytes = bytes_grown.max(bytes_needed).min(self.slab_bytes_max) / VALUE_BYTES * VALUE_BYTES;
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
        let slab_values = (bytes / VALUE_BYTES) as u32;
        let free = Vec::from_iter((values < slab_values).then_some(values..slab_values));
        self.slabs.push(Slab { buffer, values: slab_values, free });
        Some((self.slabs.len() - 1, 0))
    }

    fn free(&mut self, segments: &[Segment], panel_values: u32) {
        for segment in segments {
            let freed = segment.start..segment.start + segment.panels as u32 * panel_values;
            free_range(&mut self.slabs[segment.slab].free, freed);
        }
        // Only from the end, because segments name slabs by position.
        while self.slabs.len() > 1 && self.slabs.last().is_some_and(|slab| slab.free.first() == Some(&(0..slab.values)))
        {
            self.slabs.pop();
        }
    }
}

/// Transposes at most 32 rows into a panel of `dims x 32` values; places without a row become zero.
fn pack_panel<'a>(panel: &mut [f32], rows: impl Iterator<Item = &'a [f32]>) {
    panel.fill(0.0);
    for (lane, row) in rows.enumerate() {
        for (slot, value) in panel[lane..].iter_mut().step_by(PANEL_ROWS).zip(row) {
            *slot = *value;
        }
    }
}

/// Puts a range back in order and joins it with its neighbours.
fn free_range(free: &mut Vec<Range<u32>>, freed: Range<u32>) {
    let place = free.partition_point(|range| range.start < freed.start);
    free.insert(place, freed);
    if place + 1 < free.len() && free[place].end == free[place + 1].start {
        free[place].end = free[place + 1].end;
        free.remove(place + 1);
    }
    if place > 0 && free[place - 1].end == free[place].start {
        free[place - 1].end = free[place].end;
        free.remove(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_ranges_join_their_neighbours() {
        let mut free = vec![0..10, 20..30];
        free_range(&mut free, 40..50);
        assert_eq!(free, [0..10, 20..30, 40..50]);
        free_range(&mut free, 10..20);
        assert_eq!(free, [0..30, 40..50]);
        free_range(&mut free, 30..40);
        assert_eq!((free.len(), free[0].clone()), (1, 0..50));
    }
}
