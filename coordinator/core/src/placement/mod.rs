//! Where shards live: the blueprint, the planner that makes the next one, and the rules that judge each.

mod apply;
mod blueprint;
pub mod check;
mod command;
mod demand;
mod draft;
mod inventory;
pub mod leaving;
mod plan;
mod planning;
mod score;

pub(crate) use apply::apply;
pub use blueprint::{Blueprint, Placement};
pub use command::{Change, Command};
pub use inventory::Inventory;
pub use plan::{MOVES_IN_FLIGHT_MAX, plan};
pub use planning::{Group, Heard, PLAN_INTERVAL_MS_MAX, Planning, Round};
