//! What the machines of a cluster must agree on: ids, limits, policy data, configuration files and the wire.
//!
//! This crate is data and its validation. It opens no socket, reads no clock and decides nothing: whoever needs a
//! type that two processes must understand alike finds it here.

pub mod actor;
pub mod calendar;
pub mod canary;
pub mod cluster;
pub mod decision;
pub mod device;
pub mod file;
pub mod gallery;
pub mod ids;
pub mod journey;
pub mod limits;
pub mod member;
pub mod person;
pub mod policy;
pub mod process;
pub mod raw;
pub mod rights;
pub mod versions;
pub mod wire;
