//! How fast a healthy cluster is, next to what its parts can do at best in the same run.

pub mod commit;
pub mod echo;
pub mod gate;
mod load;
mod scene;

pub use scene::Options;
