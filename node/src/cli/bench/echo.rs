//! `tvs bench echo`: the serving side of the bare QUIC streams that `tvs bench gate` is held against.

use std::path::PathBuf;

use clap::Args;
use node_stage::bench::echo;

use super::{Failure, output};
use crate::cli::connect::{block_on, identity};

/// The serving side.
#[derive(Args)]
pub struct Arguments {
    /// Folder with ca.pem and the certificates
    #[arg(long, value_name = "DIR")]
    certs: PathBuf,
    /// Name of the certificate to use
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// Bytes of an answer
    #[arg(long)]
    answer_bytes: usize,
}

/// Serves until it is killed; its address is the first line that it prints.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let identity = identity(&arguments.certs, &arguments.name)?;
    block_on(echo::serve(&identity, arguments.answer_bytes, |address| output::print(&address.to_string())))
}
