//! Made-up people: who they are, and how templates of their photographs score against each other.
//!
//! It is pure: the same seed gives the same people and the same templates on every machine, and nothing here reads a
//! clock, waits or does I/O. Synthetic holdings of a node and the cameras of a stage draw from the same
//! [`Population`], so that they speak of the same faces.
//!
//! It is no source of real templates, no face model and no measure of one: the distribution of its scores is stated in
//! [`population`], and decisions on it say nothing about real cameras.

pub mod people;
pub mod population;

pub use population::{Population, TEMPLATE_DIMS, model};
