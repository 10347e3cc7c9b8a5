//! An idle partition: all that was received is planned, and either nothing else is stored or a reader hangs.

use crate::generation::Continuity;

/// Readers that may fail to bring a stored message before it is given up.
const READERS: u32 = 6;

/// What the source was asked: its last message, then the first one of its subjects above what was received, then
/// whether it still is the stream of the checkpoint and has lost nothing since. In this order, so that "none" speaks of
/// everything up to that last one, and of nothing that was purged before it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Sequence and time (in milliseconds since 1970) of the last message, of whatever subject.
    pub last: (u64, u64),
    /// Sequence of the first message of a configured subject above what was received.
    pub next: Option<u64>,
    /// How the stream compares with the checkpoint.
    pub continuity: Continuity,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Nothing now.
    Wait,
    /// Move the checkpoint on to this sequence and time: what lies between is not for us.
    Pass(u64, u64),
    /// Make the reader anew: it should have brought a stored message, and didn't.
    ReadAgain,
    /// No reader brings the message with this sequence: a dead letter.
    GiveUp(u64),
}

/// What an idle partition remembers from look to look.
#[derive(Debug, Clone, Default)]
pub struct IdleWatch {
    /// A stored sequence that has not arrived, and how many looks have found it.
    missing: Option<(u64, u32)>,
}

impl IdleWatch {
    /// Something arrived.
    pub fn arrived(&mut self) {
        self.missing = None;
    }

    /// Looks at a partition that has received nothing for a while. "Last sequence ahead" alone says nothing: it may be of
    /// another subject, and "nothing pending" may be said by a server that has not seen all.
    pub fn look(&mut self, received: u64, checkpoint: u64, asked: Asked) -> Idle {
        if asked.continuity != Continuity::Same {
            // Only where a reader begins is it told what was lost.
            return Idle::ReadAgain;
        }
        let Some(next) = asked.next else {
            let (last, last_ms) = asked.last;
            return if last > checkpoint && last >= received { Idle::Pass(last, last_ms) } else { Idle::Wait };
        };
        let looks = self.missing.filter(|(known, _)| *known == next).map_or(0, |(_, looks)| looks);
        self.missing = Some((next, looks + 1));
        match looks {
            // It may just be on its way.
            0 => Idle::Wait,
            1..READERS => Idle::ReadAgain,
            READERS.. => Idle::GiveUp(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkpoint_passes_only_what_is_not_for_us() {
        let mut watch = IdleWatch::default();
        let asked = |last, next| Asked { last: (last, 70), next, continuity: Continuity::Same };
        assert_eq!(watch.look(5, 5, asked(9, None)), Idle::Pass(9, 70));
        assert_eq!(watch.look(9, 9, asked(9, None)), Idle::Wait);
        assert_eq!(watch.look(9, 9, asked(4, None)), Idle::Wait, "another stream, which its reader will tell");
        assert_eq!(watch.look(5, 5, asked(9, Some(8))), Idle::Wait, "never past what is for us");
    }

    #[test]
    fn what_was_purged_unread_is_never_passed_in_silence() {
        let asked = |continuity| Asked { last: (9, 70), next: None, continuity };
        assert_eq!(IdleWatch::default().look(5, 5, asked(Continuity::Passed)), Idle::ReadAgain);
        assert_eq!(IdleWatch::default().look(5, 5, asked(Continuity::Recreated)), Idle::ReadAgain);
    }

    #[test]
    fn a_message_that_no_reader_brings_is_given_up() {
        let mut watch = IdleWatch::default();
        let asked = Asked { last: (9, 70), next: Some(8), continuity: Continuity::Same };
        assert_eq!(watch.look(7, 7, asked), Idle::Wait);
        for _ in 1..READERS {
            assert_eq!(watch.look(7, 7, asked), Idle::ReadAgain);
        }
        assert_eq!(watch.look(7, 7, asked), Idle::GiveUp(8));
        watch.arrived();
        assert_eq!(watch.look(7, 7, asked), Idle::Wait, "counted anew");
        assert_eq!(watch.look(7, 7, Asked { next: Some(9), ..asked }), Idle::Wait, "another one");
    }
}
