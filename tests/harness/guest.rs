//! A traveller as the tests know them.

use cluster_config::wire::peer::Person;

/// One traveller, with what is true about them.
#[derive(Debug, Clone)]
pub struct Guest {
    /// As the manifest has them.
    pub person: Person,
    /// Whether their boarding is a crossing: no citizen, and of an age in scope (R1, R4).
    pub in_scope: bool,
    /// Whether holdings have a photograph.
    pub known: bool,
}
