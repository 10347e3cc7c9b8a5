//! The model filters: what they do follows from the event's payload and, for the state, from how many came before.

use bytes::Bytes;
use tidegate_core::event::{Company, Fault, Input, Output, SourceEvent, Verdict};
use tidegate_core::owner::Routed;

/// The bit of a draw that makes an event a burst of outputs.
pub(crate) const BURST: u32 = 1 << 31;
/// The bit of a draw that makes a message one no reader can hand on.
pub(crate) const ODD: u32 = 1 << 30;
/// Outputs of a burst: three of them don't fit one commit.
pub(crate) const BURST_OUTPUTS: u32 = 400;

pub(crate) fn payload(life: u32, draw: u32) -> Bytes {
    format!("{life}:{draw}").into()
}

/// The stream's life and the draw of an event.
pub(crate) fn read(event: &SourceEvent) -> (u32, u32) {
    let text = std::str::from_utf8(&event.payload).unwrap_or("");
    let (life, draw) = text.split_once(':').unwrap_or(("", ""));
    (life.parse().unwrap_or(u32::MAX), draw.parse().unwrap_or(0))
}

fn fault(kind: &'static str) -> Fault {
    Fault { kind, reason: kind.into(), module: None, backtrace: None }
}

pub(crate) fn unreadable() -> Fault {
    fault("unreadable")
}

pub(crate) fn overdue() -> Verdict {
    Verdict::Dead(fault("overdue"))
}

/// The platform chain.
pub(crate) fn route(event: &SourceEvent, companies: &[Company]) -> Routed {
    let (_, draw) = read(event);
    if draw & ODD != 0 {
        return Routed::Dead(unreadable());
    }
    let company = |shift: u32| companies[((draw >> shift) & 7) as usize * companies.len() / 8].clone();
    let input = |emission, company| Input {
        source: event.clone(),
        emission,
        company,
        event_type: "t".into(),
        data: event.payload.clone(),
    };
    match draw % 16 {
        0 => Routed::Dropped { filter: "p".into(), reason: "no".into() },
        1 => Routed::Dead(fault("no company")),
        2 | 3 => Routed::Inputs(vec![input(0, company(8)), input(1, company(12))]),
        4 => Routed::Inputs(vec![input(0, company(8)), input(1, company(8)), input(2, company(12))]),
        _ => Routed::Inputs(vec![input(0, company(8))]),
    }
}

/// A company's chain on one input, with the count its state holds; the count after it. A dead one leaves no trace.
pub(crate) fn run(input: &Input, count: u64) -> (Verdict, u64) {
    let (life, draw) = read(&input.source);
    let mixed = (u64::from(draw) ^ (u64::from(input.emission) << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
    let next = count + 1;
    let outputs = match mixed % 10 {
        0 => return (Verdict::Dropped { filter: "f".into(), reason: "no".into() }, next),
        1 => return (Verdict::Dead(fault("trap")), count),
        2 => 0,
        3 => 3,
        4 => 2,
        _ => 1,
    };
    let outputs = if draw & BURST == 0 { outputs } else { BURST_OUTPUTS };
    let sequence = input.source.sequence;
    let output = |n| Output {
        event_type: "t".into(),
        data: format!("{}|{life}|{sequence}|{}|{n}|{next}", input.company, input.emission).into(),
    };
    (Verdict::Emitted((0..outputs).map(output).collect()), next)
}
