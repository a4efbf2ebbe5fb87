//! Faults that can be planted on purpose, to see that the checks catch them: a check that never failed proves nothing.
//!
//! A release build has none of this: there [`planted`] is a constant `false`, and the compiler removes what depends on
//! it. Elsewhere one fault at a time is planted in the whole process.

/// A fault. Each stands in one place of the product, beside the rule that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Canary {
    /// A record whose encounter is known is stored once more.
    ApplyTwice = 1,
    /// Somebody who has boarded boards again.
    SecondCrossing,
    /// A boarding is answered before it is in the ledger.
    AnswerBeforeCommit,
    /// A boarding is recorded although its journey is closed.
    RecordAfterClose,
    /// A gallery version is committed by whoever asks.
    NoFencing,
    /// Another owner goes on in the same epoch.
    SameEpoch,
    /// A replica answers from a version older than the one that was asked for.
    StaleRoute,
    /// A replica answers from a version that is not committed.
    ServeUncommitted,
    /// The second-best person is not looked at.
    IgnoredSecond,
    /// The threshold is that of a gallery of one.
    ThresholdOfOne,
    /// Of a gallery's shards only the first counts.
    LostPart,
    /// A purge does not ask those who keep a roster.
    ForgottenHolder,
    /// A journey counts as purged while one holder has not answered.
    EarlyPurge,
    /// A replica that is not placed any more is not destroyed.
    KeptReplica,
    /// A replica that is not placed any more is destroyed before anybody else keeps it.
    LastCopyPurged,
    /// A gallery that is built again knows nobody who has boarded.
    NewSubjects,
    /// A gallery whose people were lost takes whoever comes later for somebody who has not boarded.
    LossForgotten,
    /// Replicas are placed without regard to zones.
    OneZone,
    /// A replica that could not be fetched is not asked for again.
    FetchedOnce,
    /// While a replica is silent no other one is asked.
    NoHedge,
    /// Replicas that all failed are asked again where they were, not where the blueprint has them by now.
    OldRoute,
    /// A gallery version is committed before a standby has it.
    PushNotAwaited,
    /// The last record of a batch is dropped, and its asker is told that it is stored.
    BatchDropped,
    /// A proposal stays with the leader that it was sent to first.
    StaleLeader,
    /// The outcomes of a batch are given out in the wrong order.
    OutcomeOfAnother,
    /// A person who comes back on a list is a new subject.
    NewSubjectOnReturn,
    /// The part of a gallery that a person belongs to follows their number on the list.
    PartByNumber,
    /// A cancellation that fits several people takes all of them off.
    CancelsNamesakes,
    /// A copy of a member's folder is let in as the member, wherever it runs.
    TwinAccepted,
    /// A node counts as emptied while it still has something.
    DrainDoneEarly,
    /// A folder that has gone back in time is let in.
    RollbackAccepted,
    /// The log acknowledges before the disk has it.
    AcknowledgeBeforeSync,
    /// A frame of the journal is read without its checksum.
    UncheckedFrame,
    /// The journal is written over before its writes are in the archive.
    NoArchive,
    /// Files are renamed into place before their content is on the disk.
    RenameBeforeSync,
    /// Whoever repeats an encounter's id is answered as it was, whatever they ask.
    KeyWithoutDigest,
    /// Any node may command, member or not, and in anybody's name.
    AnyNodeCommands,
    /// A snapshot that does not decode is kept, and the log behind it goes.
    UndecodableSnapshot,
    /// Who is revoked is served on.
    RevokedServed,
    /// The file of a sealed chunk of the ledger is not written.
    ChunkFileLost,
    /// A retry of an encounter whose record is in a file is recorded a second time.
    SealedForgotten,
    /// A boarding is recorded that was searched in a version older than the committed one.
    OldVersionRecorded,
    /// Of a list of journeys of which one is refused, those before it are announced.
    HalfAppliedList,
    /// What ends unasked is not told of.
    SilentEnd,
    /// One of a node's long-lived loops panics.
    LoopPanics,
    /// What is kept of a closed journey has its citizens in it.
    CitizensKept,
    /// What is kept of a closed journey is destroyed as soon as it is closed.
    PurgedEarly,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 47] = [
        Self::ApplyTwice,
        Self::SecondCrossing,
        Self::AnswerBeforeCommit,
        Self::RecordAfterClose,
        Self::NoFencing,
        Self::SameEpoch,
        Self::StaleRoute,
        Self::ServeUncommitted,
        Self::IgnoredSecond,
        Self::ThresholdOfOne,
        Self::LostPart,
        Self::ForgottenHolder,
        Self::EarlyPurge,
        Self::KeptReplica,
        Self::LastCopyPurged,
        Self::NewSubjects,
        Self::LossForgotten,
        Self::OneZone,
        Self::FetchedOnce,
        Self::NoHedge,
        Self::OldRoute,
        Self::PushNotAwaited,
        Self::BatchDropped,
        Self::StaleLeader,
        Self::OutcomeOfAnother,
        Self::NewSubjectOnReturn,
        Self::PartByNumber,
        Self::CancelsNamesakes,
        Self::TwinAccepted,
        Self::RollbackAccepted,
        Self::DrainDoneEarly,
        Self::AcknowledgeBeforeSync,
        Self::UncheckedFrame,
        Self::NoArchive,
        Self::RenameBeforeSync,
        Self::KeyWithoutDigest,
        Self::AnyNodeCommands,
        Self::UndecodableSnapshot,
        Self::RevokedServed,
        Self::ChunkFileLost,
        Self::SealedForgotten,
        Self::OldVersionRecorded,
        Self::HalfAppliedList,
        Self::SilentEnd,
        Self::LoopPanics,
        Self::CitizensKept,
        Self::PurgedEarly,
    ];
}

/// The variable that names the fault to a process that is to have it.
pub const VARIABLE: &str = "TVS_CANARY";

/// The name of a fault in the environment and in reports.
pub fn name(canary: Canary) -> String {
    format!("{canary:?}")
}

/// Plants the fault that the environment names.
#[cfg(debug_assertions)]
pub fn plant_as_told() {
    let told = std::env::var(VARIABLE).ok();
    plant(Canary::ALL.into_iter().find(|canary| told.as_deref() == Some(&*name(*canary))));
}

/// The fault that is planted, as a value. A core gets it as an argument and reads nothing of its process; a shell gets
/// it of [`Canaries::of_process`]. In a release build it has no size, and nothing is ever planted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Canaries {
    #[cfg(debug_assertions)]
    planted: Option<Canary>,
}

impl Canaries {
    /// Whether this fault is planted.
    #[inline(always)]
    #[cfg(not(debug_assertions))]
    pub const fn has(self, _: Canary) -> bool {
        false
    }

    /// Whether this fault is planted.
    #[cfg(debug_assertions)]
    pub fn has(self, canary: Canary) -> bool {
        self.planted == Some(canary)
    }

    /// What [`plant`] has planted in this process.
    #[inline(always)]
    #[cfg(not(debug_assertions))]
    pub const fn of_process() -> Self {
        Self {}
    }

    /// What [`plant`] has planted in this process.
    #[cfg(debug_assertions)]
    pub fn of_process() -> Self {
        Self { planted: Canary::ALL.into_iter().find(|canary| planted(*canary)) }
    }
}

/// Whether the fault is planted.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn planted(_: Canary) -> bool {
    false
}

#[cfg(debug_assertions)]
static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Whether the fault is planted.
#[cfg(debug_assertions)]
pub fn planted(canary: Canary) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::Relaxed) == canary as u8
}

/// Plants a fault in this process in place of the one before, or none.
#[cfg(debug_assertions)]
pub fn plant(canary: Option<Canary>) {
    PLANTED.store(canary.map_or(0, |canary| canary as u8), std::sync::atomic::Ordering::Relaxed);
}
