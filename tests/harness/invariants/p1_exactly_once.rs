//! P1: a *proceed* with `recording: committed` is in the ledger exactly once, and nothing is there that nobody asked
//! for.

use cluster_config::wire::operator::LedgerRecord;
use node_stage::oracle::History;
use node_stage::oracle::ledger::{self, Comparison, Counts};

use super::p1_real_time;

/// Compares what was promised with a ledger.
///
/// # Panics
/// With everything that does not agree, and with every record that stands before one that was answered before it was
/// asked for.
pub fn check(history: &History, ledger: &[LedgerRecord]) -> Counts {
    let Comparison { counts, mut violations } = ledger::compare(history, ledger);
    violations.extend(p1_real_time::violations(history, ledger));
    assert!(violations.is_empty(), "P1 is broken: {violations:#?}");
    counts
}
