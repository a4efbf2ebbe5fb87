//! Manifests: reading a carrier's file, and having the galleries of its journeys built.

pub mod read;
pub mod submit;
