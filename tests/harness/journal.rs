//! What happened in a run, line by line, in a file whose path a failure prints.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

/// A journal. Lines reach the file at once: a run that is killed leaves what it wrote.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    begun: Instant,
    file: Mutex<File>,
}

impl Journal {
    /// Begins a journal.
    ///
    /// # Panics
    /// Where the file cannot be made.
    pub fn begin(path: &Path) -> Self {
        let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path: path.to_owned(), begun: Instant::now(), file: Mutex::new(file) }
    }

    /// Writes one line with the milliseconds since the beginning.
    ///
    /// # Panics
    /// Where the file cannot be written.
    pub fn write(&self, line: impl std::fmt::Display) {
        let mut file = self.file.lock().expect("no writer panicked");
        writeln!(file, "{:>8} ms  {line}", self.begun.elapsed().as_millis()).expect("the journal can be written");
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
