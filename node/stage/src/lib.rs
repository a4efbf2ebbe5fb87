//! A stage for the product: a local cluster of real processes, an airport that boards on it, the load, the oracle and
//! the report. `tvs demo`, `tvs bench gate` and `tvs bench commit`, the tests and the chaos runs stand on it.
//!
//! It knows the wire, the manifests and the command line of `tvs`, and starts nodes by the path of that binary. It does
//! not use the crate `node`: whoever judges the product is not a part of it. It strikes no node beyond what an operator
//! can do (kill, signal, stop, start); disturbed links, disks and clocks belong to the tests' harness. It prints
//! nothing on standard output: what it finds are values, and its progress goes to a [`show::Show`].

pub mod airport;
pub mod bank;
pub mod bench;
pub mod boarding;
pub mod capture;
pub mod clock;
pub mod demo;
pub mod error;
pub mod flight;
pub mod guest;
pub mod level;
pub mod local;
pub mod operator;
pub mod oracle;
pub mod show;

pub use error::Error;
