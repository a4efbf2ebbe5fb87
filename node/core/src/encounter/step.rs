//! What goes into the machine of an encounter, and what comes out of it.

use cluster_config::ids::{NodeId, UnixMs};
use cluster_config::wire::Refusal;
use cluster_config::wire::gate::Answer;
use cluster_config::wire::peer::ShardFound;
use coordinator_core::placement::Placement;
use coordinator_core::{Record, RecordOutcome};

use crate::decide::Verdict;
use crate::encounter::{Missing, Question};
use crate::hedge::Hedge;

/// What the time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Microseconds of a clock that does not go back.
    pub us: u64,
    /// What the node's wall clock shows: records carry it.
    pub wall: UnixMs,
    /// For how long no leader with a quorum has confirmed that the node lacks nothing, microseconds.
    pub unconfirmed_us: u64,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A capture has come.
    Began,
    /// To [`Effect::Look`].
    Looked(Seen),
    /// To [`Effect::SearchHere`].
    SearchedHere {
        /// The part of the gallery.
        part: usize,
        /// What came of it.
        here: Here,
    },
    /// To [`Effect::Ask`].
    Answered {
        /// The part of the gallery.
        part: usize,
        replica: NodeId,
        /// What it found, or why it searched nothing.
        result: Result<ShardFound, Refusal>,
    },
    /// To [`Effect::CatchUp`]: whether the node knows all that anybody had been told of before.
    CaughtUp(bool),
    /// To [`Effect::Record`].
    Recorded(Result<RecordOutcome, Refusal>),
    /// To [`Effect::Read`]: the record at that position, or why it cannot be read now.
    Read(Result<Record, Refusal>),
    /// The time that the machine wanted to be woken at has come.
    TimeCame,
}

/// What came of a search on the entry node itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Here {
    /// It was searched without waiting.
    AtOnce(Result<ShardFound, Refusal>),
    Not {
        /// Whether a replica here could answer, though not at once.
        ready: bool,
        /// What the node knows at this moment of how soon the others answer.
        hedge: Hedge,
    },
}

/// What has to be read of the replicated state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What is known of the encounter before anything is searched.
    Answered,
    /// What to ask of which shards.
    Question,
    /// Where a part of the gallery is by now.
    Placement { part: usize },
    /// What the policy makes of what was found.
    Verdict,
}

/// What was read of the replicated state.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// To [`Look::Answered`].
    Answered(Option<Result<Answer, Refusal>>),
    /// To [`Look::Answered`], where the record of the encounter is in a file, at this position of the ledger.
    InFile(u64),
    /// To [`Look::Question`].
    Question(Result<Question, Missing>),
    /// To [`Look::Placement`]; absent where the part is nowhere any more.
    Placement { part: usize, placement: Option<Placement> },
    /// To [`Look::Verdict`]; absent where the gallery has to be searched again, for all scores.
    Verdict(Option<Verdict>),
}

/// What has to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Read the state ([`super::machine::Machine::look`]), and step at once.
    Look(Look),
    /// Search the part on this node if that takes no waiting, and step at once.
    SearchHere { part: usize },
    /// Ask a replica, which may be this node's own; step once it has answered.
    Ask {
        part: usize,
        replica: NodeId,
        /// How long the answer is waited for, milliseconds.
        wait_ms: u32,
    },
    /// Nobody waits any more for what was asked.
    Forget,
    /// Another replica is asked while one has not answered; counted.
    Hedged,
    /// A replica had not answered by the delay: [`Hedge::was_silent`].
    Silent(NodeId),
    /// A replica has answered: [`Hedge::answered`].
    Heard { replica: NodeId, latency_us: u64 },
    /// Make up what the node may lack of the replicated state; step when that is done, or cannot be done by then.
    CatchUp {
        /// Until when it is tried, microseconds.
        until_us: u64,
    },
    /// Add this to the ledger by the deadline; step once that is known.
    Record(Record),
    /// Read the record at this position of the ledger, which is in a file; step once that is done.
    Read(u64),
    /// Tell the gate; this is the end.
    Answer(Result<Answer, Refusal>),
}
