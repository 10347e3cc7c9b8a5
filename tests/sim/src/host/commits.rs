//! What becomes of planned commits: sent, lost, sent again, answered; and how a time in office ends.

use super::{Flight, Host, Sent, Stage};
use crate::env::{Env, News};
use crate::mutant::Mutant;
use tidegate_core::commit::CommitAnswer;

impl Host {
    /// The oldest unsent commit reaches the store. `fault`: 1 the request is lost, 2 the answer, 3 a copy comes later.
    pub(crate) fn send(&mut self, env: &mut Env, fault: u32) {
        let cut_off = self.cut_off;
        let Some(flight) = self.office().and_then(|o| o.flights.iter_mut().find(|f| matches!(f.sent, Sent::No))) else {
            return;
        };
        if fault == 3 {
            env.late.push(flight.commit.clone());
        }
        flight.sent = Sent::Lost;
        flight.tries += 1;
        if fault != 1
            && !cut_off
            && let Some(answer) = env.commit(&flight.commit)
            && fault != 2
        {
            flight.sent = Sent::Answered(answer);
        }
    }

    /// Time limits passed: what got no answer is sent again.
    pub(crate) fn resend(&mut self) {
        for flight in self.office().into_iter().flat_map(|office| &mut office.flights) {
            if matches!(flight.sent, Sent::Lost) {
                flight.sent = Sent::No;
            }
        }
    }

    /// The next answer arrives.
    pub(crate) fn answer(&mut self, env: &mut Env) {
        let Stage::Office(office) = &mut self.stage else { return };
        let Some(at) = office.flights.iter().position(|f| matches!(f.sent, Sent::Answered(_))) else { return };
        let Some(Flight { commit, sent: Sent::Answered(answer), tries }) = office.flights.remove(at) else { return };
        let first = commit.name.number == office.stored.number + 1;
        if matches!(answer, CommitAnswer::Stored(_)) && commit.name.number > office.stored.number {
            office.stored = commit.name;
            // Those before it are stored, too, whether their answers came or not.
            let before = office.flights.iter().map(|flight| &flight.commit);
            let before = before.filter(|before| before.name.number < commit.name.number).chain([&commit]);
            let newest = before.filter_map(|commit| commit.checkpoint).map(|place| place.sequence).max();
            office.committed = office.committed.max(newest.unwrap_or(0));
            self.uncommitted.committed(office.committed);
        }
        if let (CommitAnswer::Stored(_), Some(chains)) = (&answer, &commit.chains) {
            self.keeper.committed(chains, env);
        }
        let Some(office) = self.office() else { return };
        match answer {
            // The places in the answer to a repeat are of that moment, and later commits may be stored by then: the
            // windows read the store instead.
            CommitAnswer::Stored(_) if tries > 1 && env.mutant != Some(Mutant::RepeatAnnounced) => {}
            CommitAnswer::Stored(places) => {
                let news = News { store: office.store, commit, places };
                self.announce(env, &news);
            }
            CommitAnswer::NotOwner => self.leave(),
            CommitAnswer::Refused if env.mutant == Some(Mutant::TokenKept) => {
                self.stage = Stage::Granted(office.token);
            }
            CommitAnswer::Refused => {
                // What was sent before may have been stored, and be lost since.
                let sent = office.flights.iter().filter(|flight| flight.tries > 0).map(|flight| &flight.commit);
                let doubtful =
                    sent.chain((tries > 1 || !first).then_some(&commit)).filter_map(|commit| commit.checkpoint);
                if env.mutant != Some(Mutant::ComesAgainThoughSent) {
                    let doubtful = doubtful.map(|place| place.sequence).max();
                    office.committed = office.committed.max(doubtful.unwrap_or(0));
                }
                self.leave_for_now(env.source.wire.as_ref());
            }
        }
    }

    pub(crate) fn renew(&mut self, env: &mut Env) {
        if self.cut_off {
            return;
        }
        if let Some(token) = self.token()
            && !env.store.renew(token, env.now)
        {
            env.note(|| format!("{} lost the lease", self.name));
            self.leave();
        }
        // An owner with nothing to commit would never hear that the store went back.
        let last = env.store.head().last;
        if self.office().is_some_and(|office| office.flights.is_empty() && office.stored != last) {
            env.note(|| format!("{} finds the store at {last:?}", self.name));
            self.leave_for_now(env.source.wire.as_ref());
        }
    }

    /// Hands the lease back in good order.
    pub(crate) fn release(&mut self, env: &mut Env) {
        if let Some(token) = self.token().filter(|_| self.idle() && !self.cut_off) {
            env.store.release(token);
            self.leave();
        }
    }

    /// Publishes what waits in the outbox; with `cut`, dies before it is removed there.
    pub(crate) fn outbox(&mut self, env: &mut Env, cut: bool) {
        if let Some(token) = self.token().filter(|_| !self.cut_off) {
            let letters = env.store.outbox(8);
            letters.iter().for_each(|(_, letter)| env.bury(letter));
            if !cut && !letters.is_empty() {
                let keys: Vec<u64> = letters.iter().map(|(key, _)| *key).collect();
                env.store.outbox_done(token, &keys);
            }
        }
    }
}
