//! Asking for memory before it is read.

/// Bytes of a cache line.
pub(crate) const LINE_BYTES: usize = 64;

/// Lines of a step beside the quantising of a probe. A processor forgets what it is asked for while it waits for some dozen
/// others; on a Zen 4 three to six lines beside the quantising of sixteen values gained most, and eight nothing.
const LINES_A_STEP: usize = 5;

/// Bytes asked for beside the quantising of probes at most: they stay in the second-level cache until they are read.
const UPCOMING_BYTES_MAX: usize = 64 << 10;

/// Asks for the memory of `values`, so that it is in the second-level cache when they are needed. Elsewhere than on x86-64 it
/// does nothing.
pub(crate) fn ask_for(values: &[f32]) {
    ask_for_lines(bytemuck::cast_slice(values));
}

/// Memory that is read soon, asked for step by step beside work that needs none.
pub(crate) struct Upcoming<'a> {
    bytes: &'a [u8],
    bytes_a_step: usize,
}

impl Upcoming<'_> {
    /// The first of `bytes`, for the quantising of probes.
    pub(crate) fn new(bytes: &[u8]) -> Upcoming<'_> {
        let bytes = &bytes[..bytes.len().min(UPCOMING_BYTES_MAX)];
        Upcoming { bytes, bytes_a_step: LINES_A_STEP * LINE_BYTES }
    }

    /// Asks for what is due in one step.
    #[inline(always)]
    pub(crate) fn ask_for_some(&mut self) {
        let (some, later) = self.bytes.split_at(self.bytes.len().min(self.bytes_a_step));
        ask_for_lines(some);
        self.bytes = later;
    }
}

#[inline(always)]
fn ask_for_lines(bytes: &[u8]) {
    bytes.chunks(LINE_BYTES).for_each(|line| ask_for_line(line.as_ptr()));
}

/// As [`ask_for`], for one line, there or not.
#[inline(always)]
pub(crate) fn ask_for_line(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64, and asking for memory reads nothing.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
