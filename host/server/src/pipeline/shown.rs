//! Verdicts for whoever looks on: an author at work. They are shown as filters give them, before they are committed, and
//! one that finds no room is not shown: nobody who looks on ever holds an event up.

use tidegate_core::event::{Company, Fault, Input, SourceEvent, Verdict};
use tidegate_core::owner::Routed;
use tokio::sync::mpsc;

/// One event and what became of it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The event.
    pub event: SourceEvent,
    /// Whose; none where the platform chain already ended it.
    pub company: Option<Company>,
    /// What became of it.
    pub verdict: Verdict,
}

/// The way to whoever looks on; to nobody by default.
#[derive(Debug, Clone, Default)]
pub struct Onlooker(Option<mpsc::Sender<Shown>>);

impl Onlooker {
    /// Shows verdicts on this channel.
    #[must_use]
    pub fn new(to: mpsc::Sender<Shown>) -> Self {
        Self(Some(to))
    }

    /// Whether there is anybody.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Shows what a company's chain made of these.
    pub fn company<'a>(&self, inputs: impl IntoIterator<Item = &'a Input>, verdicts: &[Verdict]) {
        for (input, verdict) in inputs.into_iter().zip(verdicts) {
            self.show(&input.source, Some(&input.company), || verdict.clone());
        }
    }

    /// Shows which of these the platform chain ended.
    pub fn platform(&self, events: &[SourceEvent], routed: &[Routed]) {
        for (event, routed) in events.iter().zip(routed) {
            match routed {
                Routed::Inputs(_) => {}
                Routed::Dropped { filter, reason } => {
                    self.show(event, None, || Verdict::Dropped { filter: filter.clone(), reason: reason.clone() })
                }
                Routed::Dead(fault) => self.show(event, None, || Verdict::Dead(Fault::clone(fault))),
            }
        }
    }

    fn show(&self, event: &SourceEvent, company: Option<&Company>, verdict: impl FnOnce() -> Verdict) {
        if let Some(to) = &self.0 {
            let shown = Shown { event: event.clone(), company: company.cloned(), verdict: verdict() };
            // Who can't look so fast misses something.
            to.try_send(shown).ok();
        }
    }
}
