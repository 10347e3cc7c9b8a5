//! The end of the live window: which announced commit may be appended to the rings.

use crate::position::{CommitName, StoreId};

/// Where the live window of this host ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Which life of the store.
    pub store: StoreId,
    /// Generation of the stream.
    pub generation: u16,
    /// The newest commit in it.
    pub end: CommitName,
}

/// What to do with an announced commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Append it; it is the new end.
    Append,
    /// It is in already.
    Ignore,
    /// Something between is missing: read it from the store first.
    Hole,
    /// What is in the window may not be what is in the store: empty every ring; each connection is a client that has
    /// just come back with the last id sent to it.
    Reset,
}

impl Window {
    /// Decides about a commit that says which one it follows.
    #[must_use]
    pub fn announced(&self, store: StoreId, generation: u16, name: CommitName, follows: CommitName) -> Step {
        if store != self.store || generation < self.generation {
            Step::Reset
        } else if self.end.number == 0 {
            // A store's first commit says which stream the first generation is. One that lost all its commits may say it
            // anew: who read of the former is placed again, and rings before the first commit hold nothing to keep.
            Step::Reset
        } else if follows == self.end {
            Step::Append
        } else if name.token == self.end.token {
            if name.number <= self.end.number { Step::Ignore } else { Step::Hole }
        } else {
            Step::Reset
        }
    }

    /// Does it reach this commit, which the store named a moment ago? Numbers go up across tokens, and whatever does not
    /// follow the end never got in.
    #[must_use]
    pub fn reaches(&self, name: CommitName) -> bool {
        self.end.number >= name.number
    }

    /// Is this window of the history that a page was read from, so that a connection may go live after it? A commit of
    /// another token may lie in a history that the store lost, though its number fits: read on until the two agree.
    /// Nor does a page of a generation that the window has not heard of: should the store lose its beginning, another
    /// stream may begin under the same number, and the window, which knew neither, would tell nobody.
    #[must_use]
    pub fn agrees(&self, store: StoreId, generation: u16, last: CommitName) -> bool {
        store == self.store && generation <= self.generation && last.token == self.end.token
    }

    /// Compares the end with what the store says (at least once a second: announcements may be lost).
    #[must_use]
    pub fn stored(&self, store: StoreId, generation: u16, last: CommitName) -> Step {
        if store != self.store || generation < self.generation {
            Step::Reset
        } else if last == self.end {
            Step::Ignore
        } else if last.token == self.end.token && last.number > self.end.number {
            Step::Hole
        } else {
            Step::Reset
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Token;

    fn name(token: u128, number: u64) -> CommitName {
        CommitName { token: Token(token), number }
    }

    #[test]
    fn only_what_follows_the_end_is_appended() {
        let window = Window { store: StoreId(1), generation: 1, end: name(1, 10) };
        let announced = |n, f| window.announced(StoreId(1), 1, n, f);
        assert_eq!(announced(name(1, 11), name(1, 10)), Step::Append);
        assert_eq!(announced(name(2, 11), name(1, 10)), Step::Append, "a new owner that follows");
        assert_eq!(announced(name(1, 12), name(1, 11)), Step::Hole);
        assert_eq!(announced(name(1, 10), name(1, 9)), Step::Ignore);
        assert_eq!(announced(name(2, 11), name(2, 10)), Step::Reset, "another 10");
        assert_eq!(announced(name(2, 5), name(1, 4)), Step::Reset, "the store went back");
        assert_eq!(window.announced(StoreId(2), 1, name(1, 11), name(1, 10)), Step::Reset);
        assert_eq!(window.announced(StoreId(1), 0, name(1, 11), name(1, 10)), Step::Reset);
    }

    #[test]
    fn nothing_is_appended_before_the_first_commit() {
        let empty = Window { store: StoreId(1), generation: 0, end: CommitName::default() };
        assert_eq!(empty.announced(StoreId(1), 1, name(3, 1), CommitName::default()), Step::Reset);
    }

    #[test]
    fn a_page_of_another_history_leads_nobody_into_the_window() {
        let window = Window { store: StoreId(1), generation: 1, end: name(1, 10) };
        assert!(window.agrees(StoreId(1), 1, name(1, 8)) && window.agrees(StoreId(1), 1, name(1, 12)));
        assert!(!window.agrees(StoreId(1), 1, name(2, 10)), "another owner's 10");
        assert!(!window.agrees(StoreId(1), 2, name(1, 12)), "a generation that may yet be another stream's");
        assert!(!window.agrees(StoreId(2), 1, name(1, 10)));
    }

    #[test]
    fn the_store_is_right_where_the_window_differs() {
        let window = Window { store: StoreId(1), generation: 1, end: name(1, 10) };
        assert_eq!(window.stored(StoreId(1), 1, name(1, 10)), Step::Ignore);
        assert_eq!(window.stored(StoreId(1), 1, name(1, 13)), Step::Hole);
        assert_eq!(window.stored(StoreId(1), 1, name(1, 9)), Step::Reset);
        assert_eq!(window.stored(StoreId(1), 1, name(2, 10)), Step::Reset);
        assert_eq!(window.stored(StoreId(9), 1, name(1, 10)), Step::Reset);
    }
}
