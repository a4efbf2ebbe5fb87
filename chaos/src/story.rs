//! The journal of one run of the simulated world: a head that says how to run it again, and every line of its trace.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use harness::world::{Report, Setup};
use serde::{Deserialize, Serialize};

/// The first line of a journal.
#[derive(Debug, Serialize, Deserialize)]
pub struct Head {
    pub seed: u64,
    pub seconds: u64,
    pub without: BTreeSet<usize>,
    pub hash: String,
    pub failure: Option<String>,
}

/// A run and what came of it.
pub struct Story {
    pub setup: Setup,
    pub report: Report,
}

impl Story {
    /// Writes the journal.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let head = Head {
            seed: self.setup.seed,
            seconds: self.setup.seconds,
            without: self.setup.without.clone(),
            hash: format!("{:016x}", self.report.hash),
            failure: self.report.failure.clone(),
        };
        let mut text = serde_json::to_string(&head)?;
        text.push('\n');
        for line in &self.report.lines {
            text.push_str(line);
            text.push('\n');
        }
        fs::write(path, text)
    }
}
