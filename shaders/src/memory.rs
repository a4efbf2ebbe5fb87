//! Asking for memory before it is read.

/// Bytes of a cache line.
pub(crate) const LINE_BYTES: usize = 64;

/// Lines that can be asked for at once: a processor forgets what it is asked for while it waits for some dozen others.
const LINES_AT_ONCE: usize = 32;

/// Asks for the memory of `values`, so that it is in the second-level cache when they are needed. Elsewhere than on x86-64 it
/// does nothing.
pub(crate) fn ask_for(values: &[f32]) {
    ask_for_lines(bytemuck::cast_slice(values));
}

/// As [`ask_for`], for the first of many bytes: from there on the hardware runs ahead by itself.
pub(crate) fn ask_for_first(bytes: &[u8]) {
    ask_for_lines(&bytes[..bytes.len().min(LINES_AT_ONCE * LINE_BYTES)]);
}

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
