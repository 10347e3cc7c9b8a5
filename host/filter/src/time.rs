//! When a running call has to end.

use std::time::{Duration, Instant};

/// When the running call has to end.
///
/// A filter's limit is processor time of its thread, where the system tells it (elsewhere time of the clock): on a busy
/// machine, on threads that give way to others, and in a process that was stopped for a while, a filter must not be blamed
/// for the time in which it did not run. There is nothing that a guest could wait for. The end of the run is a time of the
/// clock: others wait for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallTime {
    /// What the filter may take.
    allowed: Duration,
    began: Instant,
    /// The thread's processor time at the beginning.
    began_cpu: Option<Duration>,
    /// The end of the whole run.
    budget: Option<Instant>,
}

/// Why a call was stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the call ran longer than `call-ms` allows")]
    CallLimit,
    #[error("the batch's time was over")]
    Budget,
}

impl CallTime {
    /// A call on this thread that begins now.
    pub(crate) fn begin(allowed: Duration, budget: Option<Instant>) -> Self {
        Self { allowed, began: Instant::now(), began_cpu: thread_time(), budget }
    }

    /// What it may take.
    pub(crate) fn allowed(&self) -> Duration {
        self.allowed
    }

    /// The end of the whole run, if it has one.
    pub(crate) fn budget(&self) -> Option<Instant> {
        self.budget
    }

    /// On the call's thread: why it has to end now, or how many ticks of a millisecond it may go on before the next look.
    pub(crate) fn look(&self) -> Result<u64, Stop> {
        self.look_at(Instant::now(), thread_time)
    }

    fn look_at(&self, now: Instant, cpu: impl FnOnce() -> Option<Duration>) -> Result<u64, Stop> {
        let took = now.saturating_duration_since(self.began);
        let mut left = self.allowed.saturating_sub(took);
        if left.is_zero() {
            let ran = self.began_cpu.zip(cpu()).map(|(began, now)| now.saturating_sub(began));
            left = self.allowed.saturating_sub(ran.unwrap_or(took));
        }
        let budget = self.budget.map(|budget| budget.saturating_duration_since(now));
        if budget.is_some_and(|budget| budget.is_zero()) {
            // Of two ends that have come the earlier one is told.
            let limit_first = left.is_zero() && self.budget.is_some_and(|budget| self.began + self.allowed <= budget);
            return Err(if limit_first { Stop::CallLimit } else { Stop::Budget });
        }
        if left.is_zero() {
            return Err(Stop::CallLimit);
        }
        Ok(budget.map_or(left, |budget| budget.min(left)).as_millis() as u64 + 1)
    }

    /// Ticks until the first look.
    pub(crate) fn first(&self) -> u64 {
        self.look_at(self.began, || None).unwrap_or(1)
    }
}

/// Processor time of this thread so far, where the system tells it.
#[cfg(target_os = "linux")]
#[must_use]
pub fn thread_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// Processor time of this thread so far, where the system tells it.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn thread_time() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn call(allowed: u32, budget: Option<u32>) -> CallTime {
        let began = Instant::now();
        CallTime { allowed: MS * allowed, began, began_cpu: Some(MS * 70), budget: budget.map(|ms| began + MS * ms) }
    }

    /// The look after so many milliseconds, of which the thread ran so many.
    fn look(call: &CallTime, took: u32, ran: u32) -> Result<u64, Stop> {
        call.look_at(call.began + MS * took, || Some(MS * (70 + ran)))
    }

    #[test]
    fn the_end_that_comes_first_is_the_one_that_is_told() {
        let (limited, hurried) = (call(5, Some(9)), call(9, Some(5)));
        assert_eq!((limited.first(), hurried.first()), (6, 6));
        assert_eq!((look(&limited, 9, 9), look(&hurried, 9, 9)), (Err(Stop::CallLimit), Err(Stop::Budget)));
        assert_eq!((look(&limited, 5, 5), look(&hurried, 5, 5)), (Err(Stop::CallLimit), Err(Stop::Budget)));
        assert_eq!(look(&call(5, None), 3, 3), Ok(3));
    }

    #[test]
    fn a_call_is_not_blamed_for_the_time_in_which_its_thread_did_not_run() {
        let starved = call(100, None);
        assert_eq!(look(&starved, 100, 20), Ok(81), "80 of its 100 ms are left");
        assert_eq!(look(&starved, 500, 99), Ok(2));
        assert_eq!(look(&starved, 500, 100), Err(Stop::CallLimit));
        assert_eq!(look(&starved, 60_000, 20), Ok(81), "its process was stopped for a minute");
        assert_eq!(look(&call(100, Some(150)), 120, 20), Ok(31), "others wait for the run's end");
        assert_eq!(look(&call(100, Some(150)), 150, 20), Err(Stop::Budget));
    }

    #[test]
    fn a_thread_that_works_uses_processor_time() {
        let Some(before) = thread_time() else { return };
        let mut sum = 0_u64;
        while thread_time().is_some_and(|now| now - before < MS) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(sum > 0);
    }
}
