//! The buffers of a round, which are kept between calls.

use std::ops::Range;

/// What is bound together starts at multiples of so many bytes, the strictest alignment WebGPU allows.
const ALIGNMENT: usize = 256;

/// Smallest size of the buffers that are kept between calls.
const BUFFER_BYTES_MIN: u64 = 64 << 10;

/// The buffers of one round.
pub(super) struct Stage {
    /// Tasks, sweeps, and codes: what the host says.
    pub(super) input: Buffer,
    pub(super) lots: Buffer,
    pub(super) state: Buffer,
    pub(super) found: Buffer,
    pub(super) read_back: Buffer,
}

/// A buffer that is kept between calls and replaced by a larger one when needed.
pub(super) struct Buffer {
    label: &'static str,
    usage: wgpu::BufferUsages,
    buffer: Option<wgpu::Buffer>,
}

impl Buffer {
    pub(super) fn new(label: &'static str, usage: wgpu::BufferUsages) -> Buffer {
        Buffer { label, usage, buffer: None }
    }

    pub(super) fn of_size(&mut self, device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
        match &self.buffer {
            Some(buffer) if buffer.size() >= bytes => buffer.clone(),
            _ => {
                let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(self.label),
                    size: bytes.max(BUFFER_BYTES_MIN).next_power_of_two(),
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
            lots: Buffer::new("lots", Usage::STORAGE),
            state: Buffer::new("state", Usage::STORAGE),
            found: Buffer::new("found", Usage::STORAGE | Usage::COPY_SRC),
            read_back: Buffer::new("read back", Usage::MAP_READ | Usage::COPY_DST),
        }
    }

    pub(super) fn two() -> [Stage; 2] {
        [Stage::new(), Stage::new()]
    }
}

/// What the host says of a round: parts one behind the other, each aligned.
#[derive(Default)]
pub(super) struct Input {
    pub(super) bytes: u64,
}

impl Input {
    /// Room for so many bytes behind what is there.
    pub(super) fn part(&mut self, bytes: usize) -> Range<u64> {
        let start = self.bytes;
        self.bytes = (start as usize + bytes).next_multiple_of(ALIGNMENT) as u64;
        start..start + bytes as u64
    }
}
