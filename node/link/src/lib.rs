//! QUIC between nodes and to gates: certificates, endpoint, frames, server, and the client libraries.
//!
//! This crate moves typed messages of [`cluster_config::wire`] between processes and checks who sends them. It
//! decides nothing about galleries, ownership or placement, and it keeps no message for longer than its exchange.

pub mod certificates;
pub mod client;
pub mod endpoint;
pub mod error;
pub mod identity;
pub mod limits;
pub mod operator;
pub mod peer;
pub mod revoked;
pub mod server;

mod codes;
mod exchange;
mod frame;
mod lifetime;
mod observe;
mod pause;
mod version;

pub use client::{GateClient, GateClientOptions};
pub use endpoint::{bind, bind_client};
pub use error::LinkError;
pub use identity::Identity;
pub use operator::OperatorClient;
pub use peer::{Lane, PeerLinks};
pub use quinn::Endpoint;
pub use revoked::RevokedSet;
pub use server::{Connections, Handler, serve};
