//! The one binary: `tvs`.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// A node frees on one thread what another has allocated, thousands of times a second: the system's allocator took a
/// tenth of its time. What is freed is overwritten with zeros: names, documents and templates pass through buffers that
/// nobody could count.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

fn main() -> ExitCode {
    node::cli::main()
}
