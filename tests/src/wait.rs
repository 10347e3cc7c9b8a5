//! Waiting for a condition, with a deadline: the only kind of waiting that tests do.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// Generous: a machine with two cores may run a build beside the tests.
pub const DEADLINE: Duration = Duration::from_secs(45);

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(15);

/// Waits until `look` gives something; `what` names it in the error.
///
/// # Errors
/// Nothing by the deadline.
pub async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("waited {DEADLINE:?} in vain: {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// As [`until`] for a condition that tells why it doesn't hold yet; the last reason ends in the error.
///
/// # Errors
/// It still doesn't hold at the deadline.
pub async fn until_ok<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let end = Instant::now() + DEADLINE;
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() > end => {
                return Err(error.context(format!("waited {DEADLINE:?} in vain: {what}")));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Looks again and again for so long, and fails as soon as it does not hold: for what must not happen.
///
/// # Errors
/// It does not hold.
pub async fn holds<F>(time: Duration, what: &str, mut look: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let end = Instant::now() + time;
    while Instant::now() < end {
        look().await.map_err(|error| error.context(format!("no longer true: {what}")))?;
        tokio::time::sleep(PAUSE * 10).await;
    }
    Ok(())
}
