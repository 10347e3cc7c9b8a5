//! What a history checker found over many connections, in numbers that can be added.

use std::fmt;
use std::ops::AddAssign;

/// As many stories as a reader wants to see.
const SHOWN: usize = 8;

/// What is wrong, and over how much. All but the first two have to be 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Connections that were looked at.
    pub connections: u64,
    /// Events that arrived.
    pub events: u64,
    /// Events that never came though no gap says so.
    pub lost: u64,
    /// Events that came again.
    pub doubled: u64,
    /// Events of another company.
    pub foreign: u64,
    /// Events, places and frames against the order.
    pub disordered: u64,
    /// Gaps told where nothing was missed.
    pub false_gaps: u64,
    /// Gaps not told where something was.
    pub missing_gaps: u64,
    /// The first stories of what is wrong.
    pub stories: Vec<String>,
}

impl Verdict {
    /// Does every promise hold?
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.foreign + self.disordered + self.false_gaps + self.missing_gaps == 0
    }

    /// Keeps a story.
    pub fn tell(&mut self, story: String) {
        if self.stories.len() < SHOWN {
            self.stories.push(story);
        }
    }

    /// Counts a fault that [`crate::history::faults`] found on one connection.
    pub fn blame(&mut self, fault: &str) {
        if fault.contains("came twice") {
            self.doubled += 1;
        } else if fault.contains("another company") {
            self.foreign += 1;
        } else {
            self.disordered += 1;
        }
        self.tell(fault.to_owned());
    }

    /// As a result, for `?`.
    ///
    /// # Errors
    /// Something is wrong; what, stands in the error.
    pub fn clean(self) -> anyhow::Result<Self> {
        if self.is_clean() { Ok(self) } else { anyhow::bail!("{self}") }
    }
}

impl AddAssign for Verdict {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.events += other.events;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.foreign += other.foreign;
        self.disordered += other.disordered;
        self.false_gaps += other.false_gaps;
        self.missing_gaps += other.missing_gaps;
        other.stories.into_iter().for_each(|story| self.tell(story));
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connections, {} events: {} lost, {} doubled, {} foreign, {} out of order, {} false gaps, {} missing gaps",
            self.connections,
            self.events,
            self.lost,
            self.doubled,
            self.foreign,
            self.disordered,
            self.false_gaps,
            self.missing_gaps
        )?;
        self.stories.iter().try_for_each(|story| write!(f, "\n  {story}"))
    }
}
