//! The buffers of a round. They are kept between calls.

use std::ops::Range;

/// Each part of a buffer that is bound starts at a multiple of so many bytes: the strictest alignment of WebGPU.
const ALIGNMENT: usize = 256;

/// The smallest buffer.
const BUFFER_BYTES_MIN: u64 = 64 << 10;

/// After so many uses a buffer gets the size that the largest of them needed. So the memory that a rush needed is given
/// back.
const USES: u32 = 64;

/// The buffers of one round.
pub(super) struct Stage {
    /// The host's input: tasks, sweeps, codes and masks.
    pub(super) input: Buffer,
    pub(super) lists: Buffer,
    pub(super) state: Buffer,
    pub(super) found: Buffer,
    pub(super) read_back: Buffer,
}

/// A buffer that is kept between calls, and replaced where another size is needed.
pub(super) struct Buffer {
    label: &'static str,
    usage: wgpu::BufferUsages,
    sizing: Sizing,
    buffer: Option<wgpu::Buffer>,
}

/// The size of a buffer, by the needs of its uses.
#[derive(Default)]
struct Sizing {
    bytes: u64,
    /// Uses since it last could shrink, and the most that one of them needed.
    uses: u32,
    bytes_needed_max: u64,
}

impl Sizing {
    /// The size to have for the next use.
    fn of(&mut self, bytes: u64) -> u64 {
        let needed = bytes.max(BUFFER_BYTES_MIN).next_power_of_two();
        self.bytes_needed_max = self.bytes_needed_max.max(needed);
        self.uses += 1;
        if self.uses < USES {
            self.bytes = self.bytes.max(needed);
        } else {
            *self = Sizing { bytes: self.bytes_needed_max, ..Sizing::default() };
        }
        self.bytes
    }
}

impl Buffer {
    pub(super) fn new(label: &'static str, usage: wgpu::BufferUsages) -> Buffer {
        Buffer { label, usage, sizing: Sizing::default(), buffer: None }
    }

    /// The buffer, of so many bytes at least.
    pub(super) fn of_size(&mut self, device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
        let size = self.sizing.of(bytes);
        match &self.buffer {
            Some(buffer) if buffer.size() == size => buffer.clone(),
            _ => {
                let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(self.label),
                    size,
                    usage: self.usage,
                    mapped_at_creation: false,
                });
                self.buffer = Some(buffer.clone());
                buffer
            }
        }
    }
}

impl Stage {
    pub(super) fn new() -> Stage {
        use wgpu::BufferUsages as Usage;
        Stage {
            input: Buffer::new("input", Usage::STORAGE | Usage::COPY_DST),
            lists: Buffer::new("lists", Usage::STORAGE),
            state: Buffer::new("state", Usage::STORAGE),
            found: Buffer::new("found", Usage::STORAGE | Usage::COPY_SRC),
            read_back: Buffer::new("read back", Usage::MAP_READ | Usage::COPY_DST),
        }
    }

    pub(super) fn two() -> [Stage; 2] {
        [Stage::new(), Stage::new()]
    }
}

/// The layout of a round's input: parts one behind the other, each aligned.
#[derive(Default)]
pub(super) struct Input {
    pub(super) bytes: u64,
}

impl Input {
    /// Adds a part of so many bytes.
    pub(super) fn part(&mut self, bytes: usize) -> Range<u64> {
        let start = self.bytes;
        self.bytes = (start as usize + bytes).next_multiple_of(ALIGNMENT) as u64;
        start..start + bytes as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_has_room_for_each_use_and_gives_back_what_a_rush_needed() {
        let mut sizing = Sizing::default();
        assert_eq!(sizing.of(1), BUFFER_BYTES_MIN);
        let rush = 100 * BUFFER_BYTES_MIN;
        assert_eq!(sizing.of(rush), rush.next_power_of_two());
        let small = |sizing: &mut Sizing| (0..USES).map(|_| sizing.of(3 * BUFFER_BYTES_MIN)).collect::<Vec<u64>>();
        let sizes = small(&mut sizing);
        assert_eq!(sizes[0], rush.next_power_of_two(), "the next rush may be near");
        assert_eq!(small(&mut sizing)[USES as usize - 1], 4 * BUFFER_BYTES_MIN);
        // The last use before it shrinks may be the largest.
        for bytes in (1..=2 * u64::from(USES)).map(|turn| turn * BUFFER_BYTES_MIN) {
            assert!(sizing.of(bytes) >= bytes);
        }
    }
}
