//! The promises about what one client sees, checked over everything that it got.

use std::collections::HashSet;

use tidegate_core::cursor::{IdCursor, parse_id};

use crate::sse::Frame;

/// What the test knows of a stream.
#[derive(Clone, Debug, Default)]
pub struct Expected<'a> {
    /// Whose stream it is.
    pub company: &'a str,
    /// Whether the request held a cursor: then `caught-up` comes.
    pub cursor: bool,
    /// The numbers (`n` in the payload) that must arrive, each once, in this order. None: whatever came must be in order.
    pub numbers: Option<Vec<u64>>,
    /// Whether a `gap` may be told; without leave it is a false one.
    pub gap: bool,
    /// Whether it may leave the live ring (it read too slowly, or the store or the source went back) and read on from
    /// the cache: each time that it is live again, `caught-up` says so.
    pub leaves_live: bool,
}

/// Everything that is wrong with a stream; empty when all promises hold.
#[must_use]
pub fn faults(frames: &[Frame], expected: &Expected<'_>) -> Vec<String> {
    let mut check = Check::new(expected.company, expected.gap);
    let mut numbers = Vec::new();
    for frame in frames {
        check.frame(frame);
        if !frame.is_control() {
            numbers.extend(number(frame));
        }
    }
    if frames.is_empty() {
        check.faults.push("nothing came".to_owned());
    }
    let wanted = usize::from(expected.cursor);
    if check.caught_up < wanted || (check.caught_up > wanted && !expected.leaves_live) {
        check.faults.push(format!("`caught-up` came {} times, not {wanted}", check.caught_up));
    }
    if let Some(wanted) = &expected.numbers {
        check.compare(&numbers, wanted);
    }
    check.faults
}

/// As [`faults`], for `?` and `expect`.
///
/// # Errors
/// The first faults.
pub fn check(frames: &[Frame], expected: &Expected<'_>) -> anyhow::Result<()> {
    let faults = faults(frames, expected);
    if faults.is_empty() {
        return Ok(());
    }
    let shown: Vec<&str> = faults.iter().take(10).map(String::as_str).collect();
    anyhow::bail!("{} faults in the stream of {}:\n{}", faults.len(), expected.company, shown.join("\n"))
}

/// Does another life of the stream begin here? Its sequences count from 1 again, and no id tells the generation.
fn begins_anew(frame: &Frame) -> bool {
    frame.kind() == "gap"
        && frame.json()["reason"] == "source-lost"
        && frame.id.as_deref().is_some_and(|id| id.starts_with("at-0-"))
}

/// The number in an event's payload.
#[must_use]
pub fn number(frame: &Frame) -> Option<u64> {
    frame.json().get("n")?.as_u64()
}

/// A payload with a company and a number.
#[must_use]
pub fn payload(company: &str, n: u64) -> String {
    format!(r#"{{"companyId":"{company}","metricName":"score","value":0.5,"n":{n}}}"#)
}

/// The promises about one connection, checked frame by frame.
#[derive(Debug)]
pub(crate) struct Check {
    company: String,
    /// Whether a `gap` may be told.
    gap: bool,
    /// What is wrong so far.
    pub(crate) faults: Vec<String>,
    /// The highest position that was sent or told as lost.
    place: Option<(u64, u32)>,
    ids: HashSet<String>,
    /// Frames so far.
    frames: usize,
    caught_up: usize,
    bye: bool,
}

impl Check {
    /// Nothing has come yet.
    pub(crate) fn new(company: &str, gap: bool) -> Self {
        Self {
            company: company.to_owned(),
            gap,
            faults: Vec::new(),
            place: None,
            ids: HashSet::new(),
            frames: 0,
            caught_up: 0,
            bye: false,
        }
    }

    /// The next frame.
    pub(crate) fn frame(&mut self, frame: &Frame) {
        let index = self.frames;
        self.frames += 1;
        if index == 0 && frame.kind() != "ready" {
            self.faults.push(format!("begins with `{}`, not with `ready`", frame.kind()));
        }
        self.shape(index, frame);
        match frame.kind() {
            "ready" if index > 0 => self.fault(index, "a second `ready`"),
            "caught-up" => self.caught_up += 1,
            "gap" if !self.gap => self.fault(index, &format!("a gap that nobody expects: {}", frame.text())),
            "bye" => self.bye = true,
            _ => {}
        }
        if !frame.is_control() {
            if self.bye {
                self.fault(index, "events after `bye`");
            }
            self.event(index, frame);
        } else if frame.kind() != "ready"
            && let Some(id) = &frame.id
        {
            if begins_anew(frame) {
                self.place = None;
            }
            self.place(index, id);
        }
    }

    fn fault(&mut self, index: usize, what: &str) {
        self.faults.push(format!("frame {index}: {what}"));
    }

    /// The id comes last, so that no client takes it before its event is whole.
    fn shape(&mut self, index: usize, frame: &Frame) {
        if frame.fields.iter().position(|field| field == "id").is_some_and(|at| at + 1 != frame.fields.len()) {
            self.fault(index, &format!("the id isn't the last field: {:?}", frame.fields));
        }
        if let Some(id) = &frame.id
            && (id.len() > 128 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)))
        {
            self.fault(index, &format!("an id that makes browsers ask first: {id:?}"));
        }
    }

    fn event(&mut self, index: usize, frame: &Frame) {
        let Some(id) = frame.id.as_deref().and_then(parse_id) else {
            self.fault(index, &format!("an event without a readable id: {:?}", frame.id));
            return;
        };
        let at = position(&id);
        if self.place.is_some_and(|place| at <= place) {
            self.fault(index, &format!("{} comes after {:?}", id.text, self.place));
        }
        self.place = self.place.max(Some(at));
        if !self.ids.insert(id.text.clone()) {
            self.fault(index, &format!("{} came twice", id.text));
        }
        let payload = frame.json();
        if payload.get("companyId").and_then(serde_json::Value::as_str).is_some_and(|other| other != self.company) {
            self.fault(index, &format!("an event of another company: {}", frame.text()));
        }
    }

    /// A place is never below what was sent, and what comes after it lies above it.
    fn place(&mut self, index: usize, id: &str) {
        let Some(id) = parse_id(id) else {
            self.fault(index, &format!("an unreadable place: {id}"));
            return;
        };
        let at = position(&id);
        if self.place.is_some_and(|place| at < place) {
            self.fault(index, &format!("the place {} lies before {:?}", id.text, self.place));
        }
        self.place = self.place.max(Some(at));
    }

    fn compare(&mut self, numbers: &[u64], wanted: &[u64]) {
        if numbers == wanted {
            return;
        }
        let (seen, hoped): (HashSet<u64>, HashSet<u64>) =
            (numbers.iter().copied().collect(), wanted.iter().copied().collect());
        let lost: Vec<u64> = wanted.iter().copied().filter(|n| !seen.contains(n)).collect();
        let foreign: Vec<u64> = numbers.iter().copied().filter(|n| !hoped.contains(n)).collect();
        let doubled = numbers.len() - seen.len();
        let first = numbers.iter().zip(wanted).position(|(a, b)| a != b);
        self.faults.push(format!(
            "{} of {} events: {} lost {:?}, {} unexpected {:?}, {doubled} doubled, first difference at {first:?}",
            numbers.len(),
            wanted.len(),
            lost.len(),
            &lost[..lost.len().min(5)],
            foreign.len(),
            &foreign[..foreign.len().min(5)],
        ));
    }
}

fn position(id: &IdCursor) -> (u64, u32) {
    (id.sequence, id.output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::Parser;

    fn frames(text: &str) -> Vec<Frame> {
        let mut frames = Vec::new();
        Parser::default().read(text.as_bytes(), std::time::Instant::now(), &mut frames);
        frames
    }

    fn event(sequence: u64, n: u64) -> String {
        format!(
            "event: metric_updated\ndata: {{\"companyId\":\"a\",\"n\":{n}}}\nid: metrics.x-{sequence}-1700000000000\n\n"
        )
    }

    const READY: &str = "event: ready\ndata: {}\nid: at-0-1700000000000\n\n";

    fn expected(numbers: &[u64]) -> Expected<'static> {
        Expected { company: "a", numbers: Some(numbers.to_vec()), ..Expected::default() }
    }

    #[test]
    fn a_good_stream_has_no_faults() {
        let text = format!("{READY}{}{}", event(1, 1), event(5, 2));
        assert_eq!(faults(&frames(&text), &expected(&[1, 2])), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_fault_is_found() {
        let one = |text: String, numbers: &[u64]| faults(&frames(&text), &expected(numbers)).join("; ");
        assert!(one(event(1, 1), &[1]).contains("not with `ready`"));
        assert!(one(format!("{READY}{}", event(1, 1)), &[1, 2]).contains("1 lost [2]"));
        assert!(one(format!("{READY}{}{}", event(1, 1), event(1, 1)), &[1]).contains("came twice"));
        assert!(one(format!("{READY}{}{}", event(2, 1), event(1, 2)), &[1, 2]).contains("comes after"));
        assert!(one(format!("{READY}{}", event(1, 1).replace("\"a\"", "\"b\"")), &[1]).contains("another company"));
        assert!(one(format!("{READY}event: gap\ndata: {{}}\n\n"), &[]).contains("nobody expects"));
        assert!(one(format!("{READY}event: caught-up\ndata: {{}}\n\n"), &[]).contains("1 times, not 0"));
        assert!(one(format!("{READY}id: x-1-1\ndata: 1\n\n"), &[]).contains("isn't the last field"));
        let early = format!("{READY}{}event: heartbeat\ndata: {{}}\nid: at-4-1700000000000\n\n", event(5, 1));
        assert!(one(early, &[1]).contains("lies before"));
        let gap = |reason: &str| {
            format!("{READY}{}event: gap\ndata: {{\"reason\":\"{reason}\"}}\nid: at-0-1700000000001\n\n", event(5, 1))
        };
        assert!(one(gap("trimmed"), &[1]).contains("lies before"));
        let gaps = Expected { gap: true, ..expected(&[1, 2]) };
        assert_eq!(faults(&frames(&(gap("source-lost") + &event(1, 2))), &gaps), Vec::<String>::new());
    }
}
