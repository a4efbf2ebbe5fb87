//! A bad disk, a wrong clock and a GPU that vanishes for one node's process, by a library that is preloaded before the
//! C library's.
//!
//! It is compiled when it is needed, by the C compiler that building the product needs anyway. Every node has a page of
//! its own, a file that its process and the harness share: the harness writes what is to go wrong, the library counts
//! what did. The counts matter: a fault that struck nothing proves nothing.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOURCE: &str = include_str!("shim.c");

/// Numbers of eight bytes that the harness writes, and as many that the library counts in behind them.
const NUMBERS: usize = 6;

/// What can go wrong; the default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Troubles {
    /// The error number of every write; 0 is none.
    pub write_error: i32,
    /// The error number of every sync; 0 is none.
    pub sync_error: i32,
    /// How much longer a sync takes.
    pub sync_delay: Duration,
    /// How far the clock is ahead, milliseconds; negative where it is behind. Only the time of day is wrong: no clock
    /// that measures durations ever goes back.
    pub clock_shift_ms: i64,
    /// Whether the GPU is gone: it refuses all work and cannot be opened (`VK_ERROR_DEVICE_LOST`).
    pub device_lost: bool,
    /// The error number of every file that is created; 0 is none.
    pub create_error: i32,
}

impl fmt::Display for Troubles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { write_error, sync_error, sync_delay, clock_shift_ms, device_lost, create_error } = self;
        if *self == Self::default() {
            return f.write_str("disk, clock and GPU are right again");
        }
        write!(f, "writes fail with {write_error}, syncs with {sync_error} after {} ms", sync_delay.as_millis())?;
        write!(f, ", new files with {create_error}")?;
        write!(f, ", the clock is {clock_shift_ms} ms ahead{}", if *device_lost { ", the GPU is gone" } else { "" })
    }
}

/// What the library did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Struck {
    pub writes_failed: u64,
    pub syncs_failed: u64,
    /// Syncs that took longer.
    pub syncs_delayed: u64,
    /// Readings of the clock that were wrong.
    pub clocks_shifted: u64,
    /// Calls that a GPU refused because it was gone.
    pub devices_lost: u64,
    /// Files that were not created.
    pub creations_failed: u64,
}

/// Linux's number for "no space left on device".
pub const NO_SPACE: i32 = rustix::io::Errno::NOSPC.raw_os_error();

/// Linux's number for "input/output error".
pub const INPUT_OUTPUT: i32 = rustix::io::Errno::IO.raw_os_error();

/// The compiled library.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
}

/// One node's page.
#[derive(Debug)]
pub struct Control {
    file: File,
    path: PathBuf,
    library: PathBuf,
}

impl Shim {
    /// Compiles the library into `folder`.
    ///
    /// # Panics
    /// Where there is no C compiler (`CC`, else `cc`), or it refuses: a run that asked for bad disks must not go on
    /// without them.
    pub fn compile(folder: &Path) -> Self {
        Self { library: compile(folder, "shim", SOURCE) }
    }

    /// A new page at `path`.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn control(&self, path: &Path) -> Control {
        let opened = File::options().create(true).truncate(true).read(true).write(true).open(path);
        let file = opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let control = Control { file, path: path.to_owned(), library: self.library.clone() };
        control.file.write_all_at(&[0; 16 * NUMBERS], 0).expect("the page can be written");
        control
    }
}

/// Compiles a C source into a library `NAME.so` in `folder`, to be preloaded.
///
/// # Panics
/// As [`Shim::compile`].
pub fn compile(folder: &Path, name: &str, text: &str) -> PathBuf {
    let (source, library) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.so")));
    std::fs::write(&source, text).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .unwrap_or_else(|error| panic!("disk faults need a C compiler; {} does not run: {error}", compiler.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

impl Control {
    /// The variables that a process is started with.
    pub fn environment(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        vec![("LD_PRELOAD", self.library.clone().into()), ("TVS_SHIM_CONTROL", self.path.clone().into())]
    }

    /// From now on this goes wrong, and nothing else.
    ///
    /// # Panics
    /// Where the page cannot be written.
    pub fn set(&self, troubles: Troubles) {
        let Troubles { write_error, sync_error, sync_delay, clock_shift_ms, device_lost, create_error } = troubles;
        let sync_delay_us = sync_delay.as_micros() as i64;
        let (device_lost, [write_error, sync_error, create_error]) =
            (i64::from(device_lost), [write_error, sync_error, create_error].map(i64::from));
        let numbers: [i64; NUMBERS] =
            [write_error, sync_error, sync_delay_us, clock_shift_ms, device_lost, create_error];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        self.file.write_all_at(&bytes, 0).expect("the page can be written");
    }

    /// What has gone wrong so far.
    ///
    /// # Panics
    /// Where the page cannot be read.
    pub fn struck(&self) -> Struck {
        let mut bytes = [0; 8 * NUMBERS];
        self.file.read_exact_at(&mut bytes, 8 * NUMBERS as u64).expect("the page can be read");
        let mut numbers = bytes.chunks_exact(8).map(|bytes| u64::from_ne_bytes(bytes.try_into().expect("eight bytes")));
        let mut next = || numbers.next().unwrap_or(0);
        Struck {
            writes_failed: next(),
            syncs_failed: next(),
            syncs_delayed: next(),
            clocks_shifted: next(),
            devices_lost: next(),
            creations_failed: next(),
        }
    }
}
