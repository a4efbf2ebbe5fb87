//! What a run did, as a JSON object on one line. Reports are made of these lines alone.
//!
//! Every subcommand appends to `target/chaos/results.jsonl` of the workspace, or to the file that `TVS_CHAOS_RESULTS`
//! names. A line says what ran, never what was planned.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use harness::binary::workspace;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// `sim`, `live`, `crash`, `group`, `canary`, `replay` or `day`.
    pub kind: String,
    /// The first seed.
    pub seed: u64,
    /// How many seeds, rounds or trials the run covered.
    pub rounds: u64,
    /// The command that repeats it.
    pub command: String,
    /// Seconds that it took.
    pub wall_s: f64,
    /// Seconds of virtual time, where time was simulated.
    #[serde(default)]
    pub simulated_s: f64,
    /// How often each kind of fault really struck.
    #[serde(default)]
    pub faults: BTreeMap<String, u64>,
    /// How often each invariant really looked.
    #[serde(default)]
    pub invariants: BTreeMap<String, u64>,
    /// Other counts: requests, boardings, crash images, canaries caught.
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
    /// Measured figures by name, the unit last in the name, such as `board_p99_ms`.
    #[serde(default)]
    pub figures: BTreeMap<String, f64>,
    /// One line for each failure: the invariant, what was seen, the seed.
    #[serde(default)]
    pub failures: Vec<String>,
}

/// Where results are kept.
pub fn path() -> PathBuf {
    let named = std::env::var_os("TVS_CHAOS_RESULTS").map(PathBuf::from);
    named.unwrap_or_else(|| workspace().join("target/chaos/results.jsonl"))
}

/// Adds a run to the results.
///
/// # Errors
/// Where the file cannot be written.
pub fn append(run: &Run) -> std::io::Result<()> {
    let path = path();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut line = serde_json::to_string(run)?;
    line.push('\n');
    OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
}

/// All runs of a file, in the order in which they ended. No runs if there is no file.
///
/// # Errors
/// Where the file cannot be read, or a line of it is no run.
pub fn read(path: &Path) -> std::io::Result<Vec<Run>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path)?;
    text.lines().map(|line| serde_json::from_str(line).map_err(std::io::Error::from)).collect()
}
