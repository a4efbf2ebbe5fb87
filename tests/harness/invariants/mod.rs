//! What must hold, one property a file. Each function panics with every violation that it found.

pub mod p10_clear_refusals;
pub mod p11_authority;
pub mod p1_exactly_once;
pub mod p1_real_time;
pub mod p3_no_failed_request;
pub mod p4_epochs;
pub mod p5_same_answer;
pub mod p6_purged;
pub mod p9_memory;
pub mod reference;
pub mod true_answers;
