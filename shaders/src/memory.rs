//! Prefetching: asking for memory before it is read.

/// Bytes of a cache line.
pub(crate) const LINE_BYTES: usize = 64;

/// Lines that are asked for beside the quantising of sixteen values of a probe. A processor drops requests while some
/// dozen others are under way: on a Zen 4 three to six lines gained most, and eight gained nothing.
const LINES_A_STEP: usize = 5;

/// The most bytes that are asked for beside the quantising of probes: so many stay in the second-level cache until they
/// are read.
const UPCOMING_BYTES_MAX: usize = 64 << 10;

/// Asks for the memory of `values`, so that it is in the second-level cache when they are needed. It does nothing but
/// on x86-64.
pub(crate) fn ask_for(values: &[f32]) {
    ask_for_lines(bytemuck::cast_slice(values));
}

/// Memory that will soon be read, asked for step by step beside work that needs no memory.
pub(crate) struct Upcoming<'a> {
    bytes: &'a [u8],
}

impl Upcoming<'_> {
    /// The first of `bytes`, to be asked for beside the quantising of probes.
    pub(crate) fn new(bytes: &[u8]) -> Upcoming<'_> {
        Upcoming { bytes: &bytes[..bytes.len().min(UPCOMING_BYTES_MAX)] }
    }

    /// Asks for the lines of one step.
    #[inline(always)]
    pub(crate) fn ask_for_some(&mut self) {
        let (some, later) = self.bytes.split_at(self.bytes.len().min(LINES_A_STEP * LINE_BYTES));
        ask_for_lines(some);
        self.bytes = later;
    }
}

#[inline(always)]
fn ask_for_lines(bytes: &[u8]) {
    bytes.chunks(LINE_BYTES).for_each(|line| ask_for_line(line.as_ptr()));
}

/// Asks for one line. The address may be of no memory at all.
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
