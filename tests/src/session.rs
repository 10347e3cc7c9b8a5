//! A browser-like client: it follows a company over cuts and hosts, comes back with its last id, and notes everything.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::history::{Expected, faults, number};
use crate::sse::Frame;
use crate::stream::{Connection, Request};
use crate::verdict::Verdict;
use crate::wait::DEADLINE;

/// How long it waits before it comes back; browsers wait longer.
const AGAIN: Duration = Duration::from_millis(50);

/// What one connection brought.
#[derive(Clone, Debug)]
struct Stretch {
    /// It came with an id of its own.
    cursor: bool,
    frames: Vec<Frame>,
}

impl Stretch {
    /// The host had no store or no room for it at that moment, and said so: `bye` is all that came.
    fn is_refusal(&self) -> bool {
        matches!(self.frames.as_slice(), [only] if only.kind() == "bye")
    }
}

#[derive(Debug, Default)]
struct Notes {
    stretches: Vec<Stretch>,
    last_id: Option<String>,
}

/// A client that always comes back. Gone when dropped.
#[derive(Debug)]
pub struct Session {
    company: String,
    notes: Arc<Mutex<Notes>>,
    changed: watch::Receiver<()>,
    addresses: watch::Sender<Vec<SocketAddr>>,
    _task: JoinSet<()>,
}

impl Session {
    /// Follows a company from now on, at the first of these addresses that answers; the next one after each cut.
    #[must_use]
    pub fn follow(addresses: Vec<SocketAddr>, company: &str) -> Self {
        let notes = Arc::new(Mutex::new(Notes::default()));
        let (tell, changed) = watch::channel(());
        let (addresses, told) = watch::channel(addresses);
        let mut task = JoinSet::new();
        task.spawn(run(company.to_owned(), told, Arc::clone(&notes), tell));
        Self { company: company.to_owned(), notes, changed, addresses, _task: task }
    }

    /// Where it goes when it comes back the next time.
    pub fn move_to(&self, addresses: Vec<SocketAddr>) {
        self.addresses.send_replace(addresses);
    }

    /// Whose events they are.
    #[must_use]
    pub fn company(&self) -> &str {
        &self.company
    }

    /// Everything that came, over all connections.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        self.notes().stretches.iter().flat_map(|stretch| stretch.frames.iter().cloned()).collect()
    }

    /// How many connections brought something.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.notes().stretches.iter().filter(|stretch| !stretch.frames.is_empty()).count()
    }

    /// The numbers of the events so far.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        self.frames().iter().filter(|frame| !frame.is_control()).filter_map(number).collect()
    }

    /// Waits until everything so far satisfies `enough`.
    ///
    /// # Errors
    /// It doesn't by the deadline.
    pub async fn until(&self, what: &str, enough: impl Fn(&[Frame]) -> bool) -> Result<()> {
        self.until_within(DEADLINE, what, enough).await
    }

    /// As [`Session::until`], for what takes its time by design.
    ///
    /// # Errors
    /// It doesn't within `patience`.
    pub async fn until_within(&self, patience: Duration, what: &str, enough: impl Fn(&[Frame]) -> bool) -> Result<()> {
        let mut changed = self.changed.clone();
        let end = tokio::time::Instant::now() + patience;
        loop {
            changed.mark_unchanged();
            let frames = self.frames();
            if enough(&frames) {
                return Ok(());
            }
            if tokio::time::timeout_at(end, changed.changed()).await.is_err() {
                let last: Vec<_> = frames.iter().rev().take(5).map(|f| (f.kind(), f.text(), f.id.as_deref())).collect();
                bail!(
                    "the client of {} waited {patience:?} in vain: {what}; {} frames, the newest first: {last:?}",
                    self.company,
                    frames.len()
                );
            }
        }
    }

    /// Waits for the event with this number, or for a gap that may have swallowed it.
    ///
    /// # Errors
    /// Not by the deadline.
    pub async fn reaches(&self, wanted: u64) -> Result<()> {
        let what = format!("event {wanted}");
        self.until(&what, |frames| frames.iter().rev().any(|frame| number(frame) == Some(wanted))).await
    }

    /// What is wrong with everything it got. `published` are the numbers of the company's events in their order, from the
    /// first one that it had to see; `gap` says whether something was really lost to it.
    #[must_use]
    pub fn verdict(&self, published: &[u64], gap: bool) -> Verdict {
        let notes = self.notes();
        let mut verdict = Verdict { connections: notes.stretches.len() as u64, ..Verdict::default() };
        for stretch in notes.stretches.iter().filter(|stretch| !stretch.frames.is_empty() && !stretch.is_refusal()) {
            let caught_up = stretch.frames.iter().any(|frame| frame.kind() == "caught-up");
            let expected = Expected {
                company: &self.company,
                // One that was cut before it caught up never tells so.
                cursor: stretch.cursor && caught_up,
                gap: true,
                leaves_live: true,
                numbers: None,
            };
            for fault in faults(&stretch.frames, &expected) {
                verdict.blame(&fault);
            }
        }
        let frames: Vec<&Frame> = notes.stretches.iter().flat_map(|stretch| &stretch.frames).collect();
        judge_whole(&mut verdict, &frames, published, gap);
        verdict
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Over all connections: each event once, in order, and none missing unless a gap stands where it would be.
fn judge_whole(verdict: &mut Verdict, frames: &[&Frame], published: &[u64], gap: bool) {
    let mut ids = HashSet::new();
    let mut expected = published.iter().copied().peekable();
    let known: HashSet<u64> = published.iter().copied().collect();
    let mut seen = HashSet::new();
    let (mut gaps, mut excused) = (0, false);
    for frame in frames {
        if frame.kind() == "gap" {
            (gaps, excused) = (gaps + 1, true);
        }
        if frame.is_control() {
            continue;
        }
        verdict.events += 1;
        if let Some(id) = &frame.id
            && !ids.insert(id.clone())
        {
            verdict.doubled += 1;
            verdict.tell(format!("{id} came twice over all connections"));
        }
        let Some(n) = number(frame) else { continue };
        if !known.contains(&n) {
            continue;
        }
        if !seen.insert(n) {
            verdict.doubled += 1;
            verdict.tell(format!("event {n} came twice"));
            continue;
        }
        let mut skipped = 0_u64;
        while expected.peek().is_some_and(|next| *next != n) {
            expected.next();
            skipped += 1;
        }
        if expected.next().is_none() {
            verdict.disordered += 1;
            verdict.tell(format!("event {n} came out of order"));
            return;
        }
        if skipped > 0 && !excused {
            verdict.lost += skipped;
            verdict.missing_gaps += 1;
            verdict.tell(format!("{skipped} events are missing before {n}, and no gap says so"));
        }
        excused = false;
    }
    let rest = expected.count() as u64;
    if rest > 0 && !excused {
        verdict.lost += rest;
        verdict.tell(format!("the last {rest} events never came"));
    }
    if gaps > 0 && !gap {
        verdict.false_gaps += gaps;
        verdict.tell(format!("{gaps} gaps that nobody expects"));
    }
    if gaps == 0 && gap {
        verdict.missing_gaps += 1;
        verdict.tell("no gap was told, though something was lost".to_owned());
    }
}

async fn run(
    company: String,
    addresses: watch::Receiver<Vec<SocketAddr>>,
    notes: Arc<Mutex<Notes>>,
    tell: watch::Sender<()>,
) {
    let note = |change: &mut dyn FnMut(&mut Notes)| {
        change(&mut notes.lock().unwrap_or_else(PoisonError::into_inner));
        tell.send_replace(());
    };
    for turn in 0.. {
        let address = {
            let addresses = addresses.borrow();
            addresses.get(turn % addresses.len().max(1)).copied()
        };
        let last_id = notes.lock().unwrap_or_else(PoisonError::into_inner).last_id.clone();
        let request = Request::company(&company);
        let request = match &last_id {
            Some(id) => request.after(id),
            None => request,
        };
        if let Some(address) = address
            && let Ok(Ok(mut connection)) =
                tokio::time::timeout(DEADLINE / 4, Connection::open(address, &request)).await
        {
            note(&mut |notes| {
                notes.stretches.push(Stretch { cursor: last_id.is_some(), frames: Vec::new() });
            });
            while let Ok(Some(frame)) = connection.next().await {
                note(&mut |notes| {
                    if frame.id.is_some() {
                        notes.last_id.clone_from(&frame.id);
                    }
                    if let Some(stretch) = notes.stretches.last_mut() {
                        stretch.frames.push(frame.clone());
                    }
                });
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::Parser;

    fn judged(kinds: &[&str], published: &[u64], gap: bool) -> Verdict {
        let mut frames = Vec::new();
        for (at, kind) in kinds.iter().enumerate() {
            let text = match kind.parse::<u64>() {
                Ok(n) => format!("event: m\ndata: {{\"n\":{n}}}\nid: m-{}-1\n\n", at + 1),
                Err(_) => format!("event: {kind}\ndata: {{}}\n\n"),
            };
            Parser::default().read(text.as_bytes(), std::time::Instant::now(), &mut frames);
        }
        let mut verdict = Verdict::default();
        judge_whole(&mut verdict, &frames.iter().collect::<Vec<_>>(), published, gap);
        verdict
    }

    #[test]
    fn what_is_missing_is_lost_unless_a_gap_stands_there() {
        assert!(judged(&["ready", "1", "2", "3"], &[1, 2, 3], false).is_clean());
        assert_eq!(judged(&["1", "3"], &[1, 2, 3], false).lost, 1);
        assert_eq!(judged(&["1", "2"], &[1, 2, 3], false).lost, 1);
        assert!(judged(&["1", "gap", "3"], &[1, 2, 3], true).is_clean());
        assert_eq!(judged(&["gap", "1", "3"], &[1, 2, 3], true).missing_gaps, 1, "the gap stands elsewhere");
    }

    #[test]
    fn gaps_and_repeats_are_counted() {
        assert_eq!(judged(&["1", "gap", "2"], &[1, 2], false).false_gaps, 1);
        assert_eq!(judged(&["1", "2"], &[1, 2], true).missing_gaps, 1);
        assert_eq!(judged(&["1", "2", "2"], &[1, 2], false).doubled, 1);
        assert_eq!(judged(&["2", "1"], &[1, 2], false).disordered, 1);
    }
}
