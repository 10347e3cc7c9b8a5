//! The planted faults: each takes one rule of the delivery design out, and the checks must notice.

/// One rule taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The store takes whatever lies above its checkpoint instead of comparing the commit it follows.
    SkipOnly,
    /// Outputs are announced when they are planned, not when they are stored.
    PublishFirst,
    /// After a refused commit the owner goes on under the same token.
    TokenKept,
    /// A connection goes live one commit too early.
    SeamOffByOne,
    /// An announcement above a hole is appended to the live window.
    AppendAboveHole,
    /// Places are the checkpoint, whatever waits in a backlog.
    PlaceAboveBacklog,
    /// A reader that was made anew is not compared with the checkpoint.
    StreamNotCompared,
    /// State written by a part that went to the backlog stays in memory.
    StateKept,
    /// Dead letters are published when they are planned, not from the outbox.
    DeadLetterFirst,
    /// The window is never compared with the store.
    NeverCompared,
    /// Trimming writes no floor.
    FloorForgotten,
    /// A backlog step cuts an event in the middle.
    StepCutsEvent,
    /// A window goes on when another token, store or generation took over.
    ResetIgnored,
    /// A heartbeat tells the company's place before the ring was read to its end.
    PlaceBeforeFrames,
    /// The answer to a repeated commit is announced with the places of a later moment.
    RepeatAnnounced,
    /// The lease is compared by its epoch alone, which a store that went back gives out twice.
    EpochOnly,
    /// The lease is not compared at all: what a sleeper sends late is taken.
    TokenNotCompared,
    /// An owner goes on in the generation before the last.
    GenerationBack,
    /// What a filter holds in memory outlives the time in office.
    MemoryKept,
    /// A new owner does not ask which companies have a backlog: new inputs overtake it.
    BacklogForgotten,
    /// The next step of a backlog reads before the one before it is stored.
    StepNotAwaited,
    /// Outputs are numbered for each platform emission instead of over the whole event.
    OutputsNumberedByEmission,
    /// An idle checkpoint is moved to the last sequence without asking what is stored in between.
    IdleByLastSequence,
    /// An idle checkpoint is moved on without asking whether what follows the old one is still there.
    IdleNotCompared,
    /// A store without room writes the first part of a commit before it notices.
    HalfCommit,
    /// Trimming by age goes on while host and store disagree about the time.
    TrimWhileClocksDiffer,
    /// The floor is read after trimming, from what is left.
    FloorAfterTrim,
    /// The first entry that is left is taken for the floor.
    FirstEntryIsFloor,
    /// Trimming that overtakes a replay between two pages is not looked for.
    FloorOnFirstPageOnly,
    /// A page is read from a replica, and the name of its commit from the primary.
    PageOfTwoMoments,
    /// `missed` is the distance of two sequences instead of two running numbers.
    MissedFromSequences,
    /// `gap` carries no id, so that the client comes back with the one it had before.
    PlacesWithoutId,
    /// A client ahead of a store that went back is told that nobody knows its cursor.
    AheadIsUnknown,
    /// A `-` in the subject stands in the id as it is.
    DashKept,
    /// Connections stay where they stand when the window begins anew in another history.
    ConnectionsKept,
    /// A connection takes a page that was read for another one before the store said where it stands.
    PageOfBefore,
    /// A replay takes pages of a history that is not the window's.
    PageOfAnyHistory,
    /// A connection that lags too far jumps without a word.
    OverflowSilent,
    /// On core NATS a new owner numbers on from the checkpoint: numbers that a lost commit had are given again.
    NumberReused,
    /// There, the clock does not count: who has forgotten what it gave gives it again.
    NumberedByMemory,
    /// There, nobody is told that nobody listened before a take-over.
    TakeOverSilent,
    /// There, what is dropped on the way to a slow host, or lost with its connection, is not told.
    LossSilent,
    /// There, a loss lies right above the checkpoint, below what a lost commit had sent already.
    LossBelowSent,
    /// There, a loss has the time of the last event before it.
    LossOfOldTime,
    /// There, an emptied store begins its life without a floor.
    LifeBeginsSilent,
    /// There, what a commit held that was sent twice comes again, though the first copy may have been stored.
    ComesAgainThoughSent,
    /// There, what a host remembers comes again, though another one has received and committed the same.
    RememberedPastOthers,
    /// There, what a store that went back has no more is not told before what comes again.
    WentBackSilent,
    /// A new owner runs what its folder holds, whatever the last commit names.
    OlderFolderWins,
    /// An owner runs on what it runs, whatever is done to its folder.
    FolderIgnored,
    /// What runs is not named in a commit.
    SwapNotNamed,
    /// A host does not note which chain of its folder was applied.
    AppliedNotNoted,
    /// Hosts don't tell one another which chains ran: a new host takes an older folder for a new one.
    RanNotShared,
}

impl Mutant {
    /// Those that a thousand seeds notice.
    pub const ALL: [Self; 52] = [
        Self::SkipOnly,
        Self::PublishFirst,
        Self::TokenKept,
        Self::SeamOffByOne,
        Self::AppendAboveHole,
        Self::PlaceAboveBacklog,
        Self::StreamNotCompared,
        Self::StateKept,
        Self::DeadLetterFirst,
        Self::NeverCompared,
        Self::FloorForgotten,
        Self::StepCutsEvent,
        Self::ResetIgnored,
        Self::PlaceBeforeFrames,
        Self::RepeatAnnounced,
        Self::EpochOnly,
        Self::TokenNotCompared,
        Self::GenerationBack,
        Self::MemoryKept,
        Self::BacklogForgotten,
        Self::StepNotAwaited,
        Self::OutputsNumberedByEmission,
        Self::IdleByLastSequence,
        Self::IdleNotCompared,
        Self::HalfCommit,
        Self::TrimWhileClocksDiffer,
        Self::FloorAfterTrim,
        Self::FirstEntryIsFloor,
        Self::FloorOnFirstPageOnly,
        Self::PageOfTwoMoments,
        Self::MissedFromSequences,
        Self::PlacesWithoutId,
        Self::AheadIsUnknown,
        Self::DashKept,
        Self::ConnectionsKept,
        Self::PageOfBefore,
        Self::OverflowSilent,
        Self::NumberReused,
        Self::NumberedByMemory,
        Self::TakeOverSilent,
        Self::LossSilent,
        Self::LossBelowSent,
        Self::LossOfOldTime,
        Self::LifeBeginsSilent,
        Self::ComesAgainThoughSent,
        Self::RememberedPastOthers,
        Self::WentBackSilent,
        Self::OlderFolderWins,
        Self::FolderIgnored,
        Self::SwapNotNamed,
        Self::AppliedNotNoted,
        Self::RanNotShared,
    ];

    /// Those that need two faults at one moment: [`Self::SEEDS_RARE`] seeds notice them.
    pub const RARE: [Self; 1] = [Self::PageOfAnyHistory];
    /// So many seeds.
    pub const SEEDS_RARE: u64 = 20_000;
}
