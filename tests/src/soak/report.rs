//! What a soak found, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::level::Quarters;
use super::strike::Strike;
use crate::verdict::Verdict;

/// Strikes of which a failure tells.
const TOLD: usize = 12;

/// What happened, and whether every promise held.
#[derive(Debug)]
pub struct Report {
    /// By which the strikes and clients were drawn.
    pub(super) seed: u64,
    pub(super) lasted: Duration,
    /// Events that were published and taken.
    pub(super) published: u64,
    pub(super) hosts: usize,
    pub(super) strikes: BTreeMap<Strike, u64>,
    /// The last strikes, with their times.
    pub(super) timeline: Vec<String>,
    /// From the end of a fault to the moment in which every follower had everything.
    pub(super) recoveries: Vec<Duration>,
    pub(super) followers: Verdict,
    pub(super) visitors: Verdict,
    pub(super) quarters: Quarters,
    /// Why it could not go on.
    pub(super) trouble: Option<String>,
}

impl Report {
    /// Does every promise hold?
    #[must_use]
    pub fn holds(&self) -> bool {
        self.trouble.is_none()
            && self.followers.is_clean()
            && self.visitors.is_clean()
            && self.followers.events > 0
            && self.quarters.growth().is_none()
    }

    /// Faults that were brought about.
    #[must_use]
    pub fn strikes(&self) -> u64 {
        self.strikes.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.lasted.as_secs();
        writeln!(f, "soak of {} min {} s, {} hosts, seed {}", seconds / 60, seconds % 60, self.hosts, self.seed)?;
        writeln!(f, "  published      {} events", self.published)?;
        writeln!(f, "  faults         {}", self.strikes())?;
        for (strike, times) in &self.strikes {
            writeln!(f, "    {times:6}  {}", strike.name())?;
        }
        let mut recoveries = self.recoveries.clone();
        recoveries.sort_unstable();
        let share = |part: usize| recoveries.get(recoveries.len().saturating_sub(1) * part / 100).copied();
        if let (Some(half), Some(most), Some(all)) = (share(50), share(95), share(100)) {
            writeln!(f, "  all caught up  after p50 {half:.1?}, p95 {most:.1?}, at most {all:.1?}")?;
        }
        writeln!(f, "  followers      {}", self.followers)?;
        writeln!(f, "  visitors       {}", self.visitors)?;
        let mib = |bytes: u64| bytes >> 20;
        let medians = &self.quarters.medians;
        let memory: Vec<String> = medians.iter().map(|sample| mib(sample.memory).to_string()).collect();
        let descriptors: Vec<String> = medians.iter().map(|sample| sample.descriptors.to_string()).collect();
        writeln!(
            f,
            "  memory         {} MiB by quarter of the time (one host's, {} looks)",
            memory.join(", "),
            self.quarters.samples
        )?;
        writeln!(f, "  descriptors    {}", descriptors.join(", "))?;
        if let Some(growth) = self.quarters.growth() {
            writeln!(f, "  IT GROWS       {growth}")?;
        }
        if let Some(trouble) = &self.trouble {
            writeln!(f, "  IT STOPPED     {trouble}")?;
        }
        if !self.holds() {
            writeln!(f, "  the last faults:")?;
            for line in &self.timeline[self.timeline.len().saturating_sub(TOLD)..] {
                writeln!(f, "    {line}")?;
            }
        }
        write!(f, "{}", if self.holds() { "every promise held" } else { "A PROMISE BROKE" })
    }
}
