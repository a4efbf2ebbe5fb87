//! Runs the journal of a simulated run again and compares it line by line.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use harness::world::{Setup, run};

use crate::quiet;
use crate::story::Head;

/// Which journal.
#[derive(Args)]
pub struct Arguments {
    /// A journal that `chaos sim` has left
    file: PathBuf,
    /// Prints the steps from this line on, and as many of them
    #[arg(long, default_value_t = 1)]
    from: usize,
    /// Lines to print at most
    #[arg(long, default_value_t = usize::MAX)]
    lines: usize,
}

/// Runs a journal's story again and steps through it. Says whether it is the same, byte for byte.
///
/// # Errors
/// Where the file is no journal.
pub fn main(arguments: &Arguments) -> std::io::Result<bool> {
    let text = fs::read_to_string(&arguments.file)?;
    let mut lines = text.lines();
    let head: Head = serde_json::from_str(lines.next().unwrap_or_default())?;
    let setup = Setup { seed: head.seed, seconds: head.seconds, without: head.without, lines: true };
    quiet::silence();
    let report = run(&setup);
    for line in report.lines.iter().skip(arguments.from.saturating_sub(1)).take(arguments.lines) {
        println!("{line}");
    }
    let kept: Vec<&str> = lines.collect();
    let differs = kept.iter().zip(&report.lines).position(|(kept, line)| *kept != line);
    let same = differs.is_none() && kept.len() == report.lines.len() && head.hash == format!("{:016x}", report.hash);
    match (same, differs) {
        (true, _) => println!("the same run, byte for byte: {} lines, hash {}", kept.len(), head.hash),
        (false, Some(line)) => println!("another run from line {} on: the product or the world has changed", line + 1),
        (false, None) => println!("another run: {} lines in place of {}", report.lines.len(), kept.len()),
    }
    println!("{}", report.failure.map_or("it holds".to_owned(), |failure| format!("it fails: {failure}")));
    Ok(same)
}
