//! Every bound on what this crate reads, each with its argument.
//!
//! A limit exists so that hostile or broken input costs bounded memory and time. Going over one is an
//! error that names the place, never a shortened list.

/// Largest input in bytes, EDIFACT or JSON.
///
/// A traveller takes about 350 bytes on the wire, so the largest gallery of one journey that the design
/// plans for (a cruise of 6,000) is about 2 MiB; four times that leaves room for addresses and bag tags.
pub const INPUT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most interchanges in one input. Real files hold one; resends are sometimes concatenated.
pub const INTERCHANGES_MAX: usize = 16;

/// Most messages in one input. A series is split every 50 to 100 people, so 6,000 people are 120 messages.
pub const MESSAGES_MAX: usize = 1_000;

/// Most segments in one input. A traveller with two documents takes about 25, so 6,000 travellers are 150,000.
pub const SEGMENTS_MAX: usize = 300_000;

/// Longest segment in bytes. The longest one that the PAXLST directories allow (FTX with five texts of 512
/// characters) is under 3 KiB; a longer one means that the segment terminator was lost.
pub const SEGMENT_BYTES_MAX: usize = 16 * 1024;

/// Most data elements in one segment. The widest segment in PAXLST (NAD) has 10, in the service directory (UNB) 11.
pub const ELEMENTS_MAX: usize = 64;

/// Most components in one data element. The widest composite in PAXLST (C080) has 6, in UNH S009 7.
pub const COMPONENTS_MAX: usize = 64;

/// Most non-empty components in one input. 6,000 travellers with 45 components each are 270,000; a million of
/// them take about 80 MiB, which bounds the memory of one parse.
pub const COMPONENTS_IN_INPUT_MAX: usize = 1_000_000;

/// Most travellers in one message. The largest planned journey gallery is 6,000 (a cruise).
pub const TRAVELLERS_MAX: usize = 10_000;

/// Most documents for one traveller. PAXLST group 5 repeats 5 times at most in 02B and 25 times in later directories.
pub const DOCUMENTS_MAX: usize = 25;

/// Most references, places, contacts or bag tags of one kind for one traveller. PAXLST allows 25 LOC and 99 FTX.
pub const DETAILS_MAX: usize = 99;

/// Most transports (TDT) in one message and most calls (LOC) in one transport. PAXLST allows 10 and 25.
pub const TRANSPORTS_MAX: usize = 32;

/// Most port calls in one transport; see [`TRANSPORTS_MAX`].
pub const CALLS_MAX: usize = 32;

/// Most warnings that are kept for one input. A broken sender repeats one mistake for every traveller; after
/// this many, further ones are counted, not kept.
pub const WARNINGS_MAX: usize = 500;
