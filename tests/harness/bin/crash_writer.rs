//! Writes a store while its operations are recorded: `crash-writer FOLDER SEED STEPS` (see `harness::crash`).

use std::path::PathBuf;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, seed, steps] = arguments.as_slice() else { panic!("crash-writer FOLDER SEED STEPS") };
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|error| panic!("{text}: {error}"));
    harness::crash::workload::write(&PathBuf::from(folder), number(seed), number(steps) as usize);
}
