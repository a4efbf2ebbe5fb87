//! Printing: errors with their exit codes, JSON, tables.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use cluster_config::calendar;
use cluster_config::ids::UnixMs;
use cluster_config::wire::Refusal;
use node_link::client::ClientError;
use node_link::{LinkError, error::Actor};
use serde::Serialize;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    message: String,
    callers: bool,
}

impl Failure {
    /// The caller has to change something: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), callers: true }
    }

    /// Something failed: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), callers: false }
    }

    /// An error with its sources, as the caller's.
    pub fn usage_of(error: &dyn Error) -> Self {
        Self::usage(chain(error))
    }

    /// An error with its sources, as ours or the machine's.
    pub fn failure_of(error: &dyn Error) -> Self {
        Self::failed(chain(error))
    }

    /// 2 where the caller has to act, else 1.
    pub fn exit_code(&self) -> ExitCode {
        if self.callers { ExitCode::from(2) } else { ExitCode::from(1) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(&self.message))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { message: refusal.to_string(), callers: refusal.code.is_callers() }
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Self { message: chain(&error), callers: error.actor() == Actor::Caller }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self { message: chain(&error), callers: error.actor() == Actor::Caller }
    }
}

#[cfg(feature = "demo")]
impl From<node_stage::Error> for Failure {
    fn from(error: node_stage::Error) -> Self {
        Self { message: chain(&error), callers: error.is_callers() }
    }
}

fn chain(error: &dyn Error) -> String {
    coordinator::error::chain(error)
}

/// Prints a value as JSON.
///
/// # Errors
/// Where standard output is closed.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::failure_of(&error))?;
    // JSON itself escapes the control characters of ASCII alone. Any of the others stands in a string.
    write(&escaped(&text, |character| format!("\\u{:04x}", character as u32)))
}

/// Prints text with a line end. Whatever of it came from outside commands no terminal.
///
/// # Errors
/// Where standard output is closed.
pub fn print(text: &str) -> Result<(), Failure> {
    write(&plain(text))
}

fn write(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::failure_of(&error))
}

/// Text as a terminal may have it: lines, with every control character written out.
pub fn plain(text: &str) -> String {
    escaped(text, |character| character.escape_unicode().to_string())
}

/// Text as one line of a terminal.
pub fn plain_line(text: &str) -> String {
    plain(text).replace('\n', "\\n")
}

fn escaped(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => safe.push(character),
            _ if commands_a_terminal(character) => safe.push_str(&escape(character)),
            _ => safe.push(character),
        }
    }
    safe
}

/// Control characters of ASCII and of ECMA-48 (C0, C1, DEL), and those that turn the direction of text round (UAX 9).
fn commands_a_terminal(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || turns
}

/// A time, to the minute.
pub fn time(at: UnixMs) -> String {
    let (day, minute) = (calendar::yyyymmdd(at), at.0 / 60_000 % (24 * 60));
    let (year, month) = (day / 10_000, day / 100 % 100);
    format!("{year:04}-{month:02}-{:02}T{:02}:{:02}Z", day % 100, minute / 60, minute % 60)
}

/// A table: the first row is its head, columns are as wide as their widest cell; a cell that is a number stands on the
/// right.
pub fn table(rows: &[Vec<String>]) -> String {
    let safe = |row: &Vec<String>| row.iter().map(|cell| plain_line(cell)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(safe).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
        if number == 0 {
            text.push_str(&"-".repeat(widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1)));
            text.push('\n');
        }
    }
    text.trim_end().to_owned()
}

fn pad(cell: &str, width: usize) -> String {
    let numeric = cell.starts_with(|c: char| c.is_ascii_digit()) && !cell.contains(['-', ':']);
    if numeric { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F19: a carrier's file says what it likes, and commands nobody's terminal.
    #[test]
    fn control_characters_are_written_out() {
        let hostile = "\u{1b}[2J\u{9b}31mOAKLEY\u{7}\r\u{202e}nna\ttab\nnext";
        let shown = "\\u{1b}[2J\\u{9b}31mOAKLEY\\u{7}\\u{d}\\u{202e}nna\\u{9}tab";
        assert_eq!(plain(hostile), format!("{shown}\nnext"));
        let rows = [vec!["name".to_owned()], vec![hostile.to_owned()]];
        assert_eq!(table(&rows).lines().count(), 3, "a cell makes no line");
        assert!(table(&rows).contains(shown));
        assert_eq!(Failure::usage(hostile).to_string(), format!("{shown}\nnext"));
        let json = serde_json::to_string(hostile).expect("json");
        let safe = escaped(&json, |character| format!("\\u{:04x}", character as u32));
        assert!(!safe.chars().any(commands_a_terminal), "{safe}");
        assert_eq!(serde_json::from_str::<String>(&safe).expect("still json"), hostile);
    }
}
