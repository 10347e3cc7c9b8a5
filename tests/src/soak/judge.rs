//! The promises to a client that may miss nothing, judged while its frames come.

use crate::history::{Check, number};
use crate::sse::Frame;
use crate::verdict::Verdict;

/// What one client saw so far, over all its connections. Nothing that is kept grows with their number.
#[derive(Debug)]
pub(super) struct Judge {
    company: String,
    check: Check,
    opened: bool,
    /// The number that must come next; none: any may be the first.
    next: Option<u64>,
    /// It reads the oldest that there is: what goes by age while it reads is told to it.
    oldest: bool,
    verdict: Verdict,
}

impl Judge {
    /// A client whose first event must have the number `next`.
    pub(super) fn new(company: &str, next: Option<u64>) -> Self {
        let check = Check::new(company, true);
        Self { company: company.to_owned(), check, opened: false, next, oldest: false, verdict: Verdict::default() }
    }

    /// The same for one that reads the oldest events that there are.
    pub(super) fn of_the_oldest(self) -> Self {
        Self { oldest: true, ..self }
    }

    /// The number that must come next.
    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// What is wrong so far.
    pub(super) fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// A connection begins.
    pub(super) fn connected(&mut self) {
        self.check = Check::new(&self.company, true);
        self.opened = false;
    }

    /// Something came.
    pub(super) fn frame(&mut self, frame: &Frame) {
        if !self.opened {
            // The host has no store or no room at the moment, and says so instead of `ready`.
            if frame.kind() == "bye" {
                return;
            }
            self.opened = true;
            self.verdict.connections += 1;
        }
        self.check.frame(frame);
        for fault in std::mem::take(&mut self.check.faults) {
            self.verdict.blame(&format!("{}: {fault}", self.company));
        }
        if frame.kind() == "gap" && self.oldest && frame.json()["reason"] == "trimmed" {
            self.next = None;
        } else if frame.kind() == "gap" {
            self.verdict.false_gaps += 1;
            self.verdict.tell(format!("{}: a gap though nothing was lost: {}", self.company, frame.text()));
        }
        if !frame.is_control() {
            self.event(frame);
        }
    }

    fn event(&mut self, frame: &Frame) {
        self.verdict.events += 1;
        let id = frame.id.as_deref().unwrap_or("no id");
        let Some(n) = number(frame) else {
            self.verdict.disordered += 1;
            self.verdict.tell(format!("{}: an event that nobody published: {id} {}", self.company, frame.text()));
            return;
        };
        let next = self.next.unwrap_or(n);
        if n < next {
            self.verdict.doubled += 1;
            self.verdict.tell(format!("{}: event {n} ({id}) came again, {next} was next", self.company));
            return;
        }
        if n > next {
            self.verdict.lost += n - next;
            self.verdict.missing_gaps += 1;
            self.verdict.tell(format!("{}: {next} was next, {n} came ({id}) without a gap", self.company));
        }
        self.next = Some(n + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::payload;
    use crate::sse::Parser;

    fn judged(judge: &mut Judge, words: &[&str]) -> Verdict {
        let mut frames = Vec::new();
        judge.connected();
        for word in words {
            let text = match word.parse::<u64>() {
                Ok(n) => format!("event: m\ndata: {}\nid: m-{}-1700000000000\n\n", payload("a", n), n + 1),
                Err(_) => format!("event: {word}\ndata: {{}}\n\n"),
            };
            Parser::default().read(text.as_bytes(), std::time::Instant::now(), &mut frames);
        }
        frames.iter().for_each(|frame| judge.frame(frame));
        judge.verdict().clone()
    }

    #[test]
    fn a_client_that_comes_back_goes_on_where_it_was() {
        let mut judge = Judge::new("a", Some(0));
        judged(&mut judge, &["ready", "0", "1"]);
        judged(&mut judge, &["bye"]);
        let verdict = judged(&mut judge, &["ready", "2", "3"]);
        assert!(verdict.is_clean(), "{verdict}");
        assert_eq!((verdict.connections, verdict.events, judge.next()), (2, 4, Some(4)));
    }

    #[test]
    fn what_is_lost_doubled_or_told_for_nothing_is_seen() {
        let of = |words: &[&str]| judged(&mut Judge::new("a", Some(0)), words);
        assert_eq!(of(&["ready", "0", "3"]).lost, 2);
        assert_eq!(of(&["ready", "1"]).lost, 1, "the first one counts, too");
        assert_eq!(of(&["ready", "0", "gap", "1"]).false_gaps, 1);
        let mut judge = Judge::new("a", Some(0));
        judged(&mut judge, &["ready", "0", "1"]);
        assert_eq!(judged(&mut judge, &["ready", "1"]).doubled, 1, "over connections, too");
        assert_eq!(judged(&mut Judge::new("b", None), &["ready", "7"]).foreign, 1);
    }

    #[test]
    fn who_reads_the_oldest_is_told_of_what_goes_meanwhile() {
        let gap = "event: gap\ndata: {\"reason\":\"trimmed\"}\n\n";
        let told = |mut judge: Judge| {
            judged(&mut judge, &["ready", "3"]);
            let mut frames = Vec::new();
            Parser::default().read(gap.as_bytes(), std::time::Instant::now(), &mut frames);
            frames.iter().for_each(|frame| judge.frame(frame));
            judge.verdict().false_gaps
        };
        assert_eq!(told(Judge::new("a", None).of_the_oldest()), 0);
        assert_eq!(told(Judge::new("a", None)), 1);
    }

    #[test]
    fn a_visitor_may_begin_anywhere() {
        let verdict = judged(&mut Judge::new("a", None), &["ready", "7", "8"]);
        assert!(verdict.is_clean(), "{verdict}");
        assert_eq!(judged(&mut Judge::new("a", None), &["ready", "7", "9"]).lost, 1);
    }
}
