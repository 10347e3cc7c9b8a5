//! Instances before a switch: started ahead, so that no batch waits for what could be done before it, and dropped with
//! the chains that no longer run.

use super::{Chains, Slot};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_core::event::Company;
use tidegate_filter::{Chain, InstancePool};

/// How long starting instances may hold a switch up. What is not started by then starts at its first event: within a
/// batch where that is quick, else on a backlog's thread.
const WARM: Duration = Duration::from_secs(5);

/// Starts and drops instances around a switch.
#[derive(Debug)]
pub struct Warmer {
    pool: InstancePool,
    threads: usize,
}

impl Warmer {
    /// For this pool, which `threads` guest threads share.
    #[must_use]
    pub fn new(pool: InstancePool, threads: usize) -> Self {
        Self { pool, threads }
    }

    /// Before the switch from `old` to `new`: one instance for each guest thread of another platform chain, and one for
    /// each company that gets another chain and has one of its own, or had events lately. Ends where time or room ends:
    /// a thousand companies behind `_default` must not double what the pool holds.
    pub fn before(&self, old: &Chains, new: &Chains) {
        // Instances of both are kept until the switch is done.
        self.pool.keep_only(old.all().chain(new.all()).map(AsRef::as_ref));
        let until = Instant::now() + WARM;
        if let Some(platform) = &new.platform
            && !old.platform.as_ref().is_some_and(|before| Arc::ptr_eq(before, platform))
        {
            self.start(platform, None, self.threads);
        }
        for company in self.concerned(old, new) {
            if let Slot::Ready(chain) = new.company(&company)
                && !matches!(old.company(&company), Slot::Ready(before) if Arc::ptr_eq(&before, &chain))
            {
                if Instant::now() >= until || !self.pool.has_room() {
                    return;
                }
                self.start(&chain, Some(&company), 1);
                if new.companies.contains_key(&company) && !old.companies.contains_key(&company) {
                    // The first of its own: nobody knows when an event comes for it.
                    chain.rest();
                }
            }
        }
    }

    /// After the switch to `new`: instances of other chains go, in use or not, and compiled code with them.
    pub fn after(&self, new: &Chains) {
        self.pool.keep_only(new.all().map(AsRef::as_ref));
    }

    /// Now and then: instances that nobody used for long go.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    fn concerned(&self, old: &Chains, new: &Chains) -> HashSet<Company> {
        let mut companies: HashSet<Company> = old.companies.keys().chain(new.companies.keys()).cloned().collect();
        if let Slot::Ready(default) = &old.default {
            companies.extend(self.pool.companies(default));
        }
        companies
    }

    fn start(&self, chain: &Chain, company: Option<&Company>, count: usize) {
        if let Err(error) = self.pool.warm(chain, company, count) {
            // It started a moment ago, when it was judged; whoever runs it next tells more.
            tracing::warn!(companyId = company.map(Company::as_str), error = %error, "an instance could not be started ahead");
        }
    }
}
