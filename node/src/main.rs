//! The one binary: `tvs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::cli::main()
}
