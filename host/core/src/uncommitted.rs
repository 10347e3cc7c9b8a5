//! What a source that keeps nothing has handed on and nobody has committed yet, so that a refused commit loses none of it.

use crate::position::{CommitName, Token};
use std::collections::VecDeque;

/// Events and losses in their order; a loss is `None`.
#[derive(Debug)]
pub struct Uncommitted<E> {
    /// Handed on under these numbers.
    handed: VecDeque<(u64, Option<E>)>,
    /// To be handed on again, or at last, before anything new.
    again: VecDeque<Option<E>>,
    /// Up to here everything was committed when something was taken back, and no loss says otherwise.
    above: u64,
}

impl<E> Default for Uncommitted<E> {
    fn default() -> Self {
        Self { handed: VecDeque::new(), again: VecDeque::new(), above: 0 }
    }
}

impl<E> Uncommitted<E> {
    /// An event, or a loss, is handed on under this number, which is above all before it.
    pub fn hand_on(&mut self, number: u64, what: Option<E>) {
        self.handed.push_back((number, what));
    }

    /// Everything up to this number is committed.
    pub fn committed(&mut self, number: u64) {
        while self.handed.pop_front_if(|(handed, _)| *handed <= number).is_some() {}
    }

    /// Nothing above this number is committed, or ever will be under its number: it comes again, before all that waits.
    pub fn take_back(&mut self, above: u64) {
        self.committed(above);
        self.above = self.above.max(above);
        let handed = std::mem::take(&mut self.handed);
        let again = std::mem::take(&mut self.again);
        self.again = handed.into_iter().map(|(_, what)| what).chain(again).collect();
    }

    /// This was received after all that is here, and not handed on: it waits to be.
    pub fn wait(&mut self, received: impl IntoIterator<Item = Option<E>>) {
        self.again.extend(received);
    }

    /// Another host may have handed on the same.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Somebody listens again from now on, after this number: what was published since what is here may be lost. So is what was
    /// committed, where a store that went back has it no more.
    pub fn listen(&mut self, after: u64) {
        if after < self.above {
            self.above = after;
            if !matches!(self.again.front(), Some(None)) {
                self.again.push_front(None);
            }
        }
        if !matches!(self.again.back(), Some(None)) {
            self.again.push_back(None);
        }
    }

    /// Nothing waits to be handed on.
    #[must_use]
    pub fn is_through(&self) -> bool {
        self.again.is_empty()
    }

    /// Takes a loss, where that is the next.
    pub fn pop_loss(&mut self) -> bool {
        self.again.pop_front_if(|what| what.is_none()).is_some()
    }

    /// The next one to be handed on before anything new.
    pub fn pop(&mut self) -> Option<Option<E>> {
        self.again.pop_front()
    }
}

/// Whose commits the last tenure of a host knew of: those that it began after, and its own. Whoever else committed since may have
/// received what this host remembers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known([Token; 2]);

impl Known {
    /// A tenure begins under `token` after the commit `last`: has nobody else committed since the one before?
    pub fn begin(&mut self, last: CommitName, token: Token) -> bool {
        let known = last.token == Token::default() || self.0.contains(&last.token);
        *self = Self([last.token, token]);
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(uncommitted: &mut Uncommitted<u32>) -> Vec<Option<u32>> {
        std::iter::from_fn(|| uncommitted.pop()).collect()
    }

    #[test]
    fn what_was_refused_comes_again_in_its_order_before_the_loss_of_what_nobody_heard() {
        let mut uncommitted = Uncommitted::default();
        for number in 1..=4 {
            uncommitted.hand_on(10 * u64::from(number), Some(number));
        }
        uncommitted.committed(10);
        uncommitted.take_back(20);
        uncommitted.wait([Some(5), None]);
        uncommitted.listen(20);
        assert!(!uncommitted.pop_loss());
        assert_eq!(uncommitted.pop(), Some(Some(3)));
        // Refused once more before all of it was handed on.
        uncommitted.hand_on(90, Some(3));
        uncommitted.take_back(20);
        uncommitted.wait([Some(6)]);
        uncommitted.listen(20);
        assert_eq!(rest(&mut uncommitted), [Some(3), Some(4), Some(5), None, Some(6), None]);
        assert_eq!(rest(&mut uncommitted), []);
    }

    #[test]
    fn a_tenure_knows_its_own_commits_and_those_that_it_began_after() {
        let last = |token| CommitName { token: Token(token), number: 1 };
        let mut known = Known::default();
        assert!(known.begin(last(0), Token(1)), "an empty store has nobody's");
        assert!(known.begin(last(1), Token(2)));
        assert!(known.begin(last(1), Token(3)), "nothing was stored meanwhile");
        assert!(!known.begin(last(9), Token(4)));
        assert!(!known.begin(last(3), Token(5)), "the store went back past another's commits");
        assert!(known.begin(last(0), Token(6)));
    }

    #[test]
    fn what_a_store_that_went_back_has_no_more_is_a_loss_before_all_that_comes_again() {
        let mut uncommitted = Uncommitted::default();
        (1..=3).for_each(|number| uncommitted.hand_on(number, Some(1)));
        uncommitted.committed(2);
        uncommitted.take_back(2);
        uncommitted.listen(1);
        assert_eq!(rest(&mut uncommitted), [None, Some(1), None]);
        uncommitted.take_back(2);
        uncommitted.listen(0);
        assert_eq!(rest(&mut uncommitted), [None], "one loss is enough");
        // It may go back, and refuse once more, before anybody listens again.
        uncommitted.hand_on(8, Some(2));
        uncommitted.take_back(7);
        uncommitted.take_back(3);
        uncommitted.listen(3);
        assert_eq!(rest(&mut uncommitted), [None, Some(2), None]);
    }

    #[test]
    fn what_is_committed_or_forgotten_does_not_come_again() {
        let mut uncommitted = Uncommitted::default();
        (1..=3).for_each(|number| uncommitted.hand_on(number, Some(1)));
        uncommitted.take_back(3);
        assert_eq!(rest(&mut uncommitted), []);
        uncommitted.hand_on(4, Some(1));
        uncommitted.take_back(3);
        uncommitted.wait([Some(2)]);
        uncommitted.hand_on(5, Some(3));
        uncommitted.forget();
        uncommitted.take_back(0);
        uncommitted.listen(0);
        assert!(!uncommitted.is_through() && uncommitted.pop_loss() && uncommitted.is_through());
        assert_eq!(rest(&mut uncommitted), []);
    }
}
