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
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 15] = [
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
    ];
}
