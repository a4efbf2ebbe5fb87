//! Where a run shows how far it is.

/// A display. What calls it does not know whether it is a terminal, a log or nothing.
pub trait Show: Sync {
    /// A step begins or has ended.
    fn step(&self, text: &str);
    /// So many of all are done: travellers at their gates, galleries built.
    fn progress(&self, done: u64, all: u64, what: &str);
}
