//! Who has to wait, and whether there is room to wait in.

use crate::commit::{CompanyHead, Waiting};
use crate::event::Fault;

/// The kind of letter of what has no room in a backlog, or no more time there.
const FULL: &str = "backlog full";

/// The caps of one company's backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// At most so many bytes wait.
    pub bytes_max: u64,
    /// Nothing waits longer than this, by source time, in milliseconds.
    pub age_ms_max: u64,
}

/// Must new inputs of a company join its backlog? While anything waits, everything does: order is kept.
#[must_use]
pub fn joins(head: &CompanyHead) -> bool {
    head.waiting > 0
}

/// Is there room for one more?
///
/// # Errors
/// The fault for its dead letter.
pub fn admit(head: &CompanyHead, bytes: u64, caps: Caps) -> Result<(), Fault> {
    if head.waiting_bytes + bytes <= caps.bytes_max {
        return Ok(());
    }
    Err(Fault {
        kind: FULL,
        reason: format!(
            "the company's backlog holds {} bytes in {} inputs; at most {} bytes may wait (backlog.max-bytes)",
            head.waiting_bytes, head.waiting, caps.bytes_max
        )
        .into(),
        module: None,
        backtrace: None,
    })
}

/// Has it waited too long? Measured against the newest source time, so that a host clock has no say.
#[must_use]
pub fn overdue(waiting: &Waiting, newest_ms: u64, caps: Caps) -> bool {
    newest_ms.saturating_sub(waiting.input.source.time_ms) > caps.age_ms_max
}

/// The fault of what waited too long: the cap is one of its company's backlog, like that in bytes.
#[must_use]
pub fn too_old(caps: Caps) -> Fault {
    let reason =
        format!("it waited longer than {} s in its company's backlog (backlog.max-age)", caps.age_ms_max / 1000);
    Fault { kind: FULL, reason: reason.into(), module: None, backtrace: None }
}

/// How much of a page of waiting inputs one step takes: whole source events, at most `inputs` of them (at least one
/// event). `complete` says that nothing waits beyond the page.
#[must_use]
pub fn step_length(page: &[Waiting], inputs: usize, complete: bool) -> usize {
    let event = |n: usize| (page[n].previous.generation, page[n].input.source.sequence);
    let boundary = |n: usize| n >= page.len() || event(n) != event(n - 1);
    let most = page.len().min(inputs);
    // The last event of an incomplete page may go on beyond it.
    let whole = |n: usize| boundary(n) && (n < page.len() || complete);
    (1..=most)
        .rev()
        .find(|n| whole(*n))
        .unwrap_or_else(|| (most..=page.len()).find(|n| *n > 0 && boundary(*n)).unwrap_or(page.len()))
}

/// As [`step_length`], but never cuts an event: `None` when the page holds no whole event because more of its oldest one
/// may wait beyond it. Read a longer page then.
#[must_use]
pub fn whole_step(page: &[Waiting], inputs: usize, complete: bool) -> Option<usize> {
    let length = step_length(page, inputs, complete);
    (length > 0 && (length < page.len() || complete)).then_some(length)
}

/// How many inputs at the head of a page make whole events, if only so many of them can be taken.
#[must_use]
pub fn whole_events(page: &[Waiting], through: usize) -> usize {
    let event = |n: usize| page.get(n).map(|waiting| (waiting.previous.generation, waiting.input.source.sequence));
    (0..=through).rev().find(|n| *n == 0 || event(*n) != event(n - 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Company, Input, SourceEvent};
    use crate::position::Place;
    use bytes::Bytes;

    fn waiting(sequence: u64, emission: u32) -> Waiting {
        let source = SourceEvent {
            sequence,
            time_ms: sequence,
            subject: "s".into(),
            headers: Bytes::new(),
            payload: Bytes::new(),
        };
        let company = Company::new("c").unwrap();
        let input = Input { source, emission, company, event_type: "t".into(), data: Bytes::new() };
        Waiting { input, previous: Place::default(), counts: true }
    }

    #[test]
    fn a_step_takes_whole_events() {
        let page = [waiting(1, 0), waiting(2, 0), waiting(2, 1), waiting(3, 0)];
        assert_eq!(step_length(&page, 4, true), 4);
        assert_eq!(step_length(&page, 4, false), 3, "event 3 may go on");
        assert_eq!(step_length(&page, 2, true), 1, "event 2 is not cut");
        assert_eq!(step_length(&page[1..3], 1, true), 2, "at least one event");
        assert_eq!(step_length(&page[..1], 64, false), 1);
    }

    #[test]
    fn an_event_that_goes_on_beyond_the_page_is_not_cut() {
        let page = [waiting(2, 0), waiting(2, 1), waiting(2, 2), waiting(3, 0)];
        assert_eq!(whole_step(&page[..2], 1, false), None, "more of event 2 may wait");
        assert_eq!(whole_step(&page[..3], 1, true), Some(3));
        assert_eq!(whole_step(&page, 1, false), Some(3));
        assert_eq!(whole_step(&[], 1, true), None);
    }

    #[test]
    fn of_an_event_that_is_not_through_nothing_is_taken() {
        let page = [waiting(1, 0), waiting(2, 0), waiting(2, 1), waiting(3, 0)];
        assert_eq!([0, 1, 2, 3, 4].map(|through| whole_events(&page, through)), [0, 1, 1, 3, 4]);
    }

    #[test]
    fn events_of_two_generations_with_one_number_are_two() {
        let mut page = [waiting(1, 0), waiting(1, 0)];
        page[1].previous.generation = 2;
        assert_eq!(step_length(&page, 1, true), 1);
        assert_eq!(whole_events(&page, 1), 1);
    }

    #[test]
    fn a_full_backlog_says_so() {
        let caps = Caps { bytes_max: 100, age_ms_max: 10 };
        let head = CompanyHead { waiting: 3, waiting_bytes: 90, ..CompanyHead::default() };
        assert!(joins(&head) && !joins(&CompanyHead::default()));
        assert!(admit(&head, 10, caps).is_ok());
        assert!(admit(&head, 11, caps).unwrap_err().reason.contains("backlog.max-bytes"));
        assert!(overdue(&waiting(1, 0), 12, caps) && !overdue(&waiting(1, 0), 11, caps));
        let old = too_old(caps);
        assert!(old.kind == "backlog full" && old.reason.contains("backlog.max-age"), "{old:?}");
    }
}
