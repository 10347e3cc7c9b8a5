//! Keeps a key set fresh: from a file or an address, bounded, and never replaced by nothing.

use super::keys::{KeyRing, read_set};
use crate::clock::Clock;
use crate::config::{KeySet, redact_url};
use crate::health::Health;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The largest set that is read, in bytes: a hundred keys of 4,096 bits fit.
const SET_BYTES_MAX: usize = 256 << 10;
/// How long one fetch may take.
const FETCH_TIME: Duration = Duration::from_secs(5);
/// How often the set is read again.
const REFRESH_EVERY: Duration = Duration::from_secs(600);
/// How often it is tried again until it was read once.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// How often it is tried again once it could not be read again.
const REPEAT_EVERY: Duration = Duration::from_secs(60);
/// The shortest time between two readings for the sake of an unknown key.
const UNKNOWN_EVERY_MS: u64 = 60_000;

/// Reads the set, and knows when it last did for an unknown key.
#[derive(Debug)]
pub(super) struct Refresher {
    set: KeySet,
    ring: Arc<KeyRing>,
    clock: Clock,
    client: reqwest::Client,
    /// When an unknown key last made us read, in milliseconds since 1970. Held while reading, so that all requests
    /// with the new key wait for the one reading.
    asked: tokio::sync::Mutex<Option<u64>>,
}

impl Refresher {
    pub(super) fn new(set: KeySet, ring: Arc<KeyRing>, clock: Clock) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .timeout(FETCH_TIME)
            .redirect(reqwest::redirect::Policy::limited(3))
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self { set, ring, clock, client, asked: tokio::sync::Mutex::new(None) })
    }

    /// At start: a set in a file must be there and good.
    pub(super) fn read_file(&self) -> Result<(), String> {
        if let KeySet::File(path) = &self.set {
            let bytes = std::fs::read(path).map_err(|error| format!("not readable: {error}"))?;
            self.ring.store(read_set(bounded(&bytes)?)?);
        }
        Ok(())
    }

    /// Whether the set lies at an address, so that it may be away.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self.set, KeySet::Address(_))
    }

    pub(super) async fn run(&self, stop: CancellationToken, health: &Health) {
        loop {
            let read = self.refresh().await;
            if self.is_remote() {
                health.keys(&read);
            }
            let wait = match read {
                Ok(()) => REFRESH_EVERY,
                Err(_) if self.ring.is_loaded() => REPEAT_EVERY,
                Err(_) => RETRY_EVERY,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Reads the set again, unless that was done within the last minute.
    pub(super) async fn refresh_for_unknown(&self) {
        let mut asked = self.asked.lock().await;
        let now_ms = self.clock.now_ms();
        if asked.is_some_and(|then_ms| now_ms.saturating_sub(then_ms) < UNKNOWN_EVERY_MS) {
            return;
        }
        *asked = Some(now_ms);
        // What failed stands in the log; the request is answered with the keys that are there.
        let _ = self.refresh().await;
    }

    /// Reads the set; what can't be read leaves the old keys in place.
    async fn refresh(&self) -> Result<(), String> {
        match self.read().await {
            Ok(keys) => self.ring.store(keys),
            Err(problem) => {
                tracing::warn!(set = %self.place(), reason = %problem, "key set not read");
                return Err(problem);
            }
        }
        Ok(())
    }

    async fn read(&self) -> Result<Vec<super::keys::NamedKey>, String> {
        match &self.set {
            KeySet::File(path) => {
                let bytes = tokio::fs::read(path).await.map_err(|error| error.to_string())?;
                read_set(bounded(&bytes)?)
            }
            KeySet::Address(address) => {
                let no_url = |error: reqwest::Error| error.without_url().to_string();
                let mut answer = self.client.get(address).send().await.map_err(no_url)?;
                if !answer.status().is_success() {
                    return Err(format!("answered {}", answer.status()));
                }
                let mut bytes = Vec::new();
                while let Some(chunk) = answer.chunk().await.map_err(no_url)? {
                    bytes.extend_from_slice(&chunk);
                    bounded(&bytes)?;
                }
                read_set(&bytes)
            }
        }
    }

    fn place(&self) -> String {
        match &self.set {
            KeySet::File(path) => path.display().to_string(),
            KeySet::Address(address) => redact_url(address),
        }
    }
}

fn bounded(bytes: &[u8]) -> Result<&[u8], String> {
    if bytes.len() <= SET_BYTES_MAX { Ok(bytes) } else { Err(format!("larger than {SET_BYTES_MAX} bytes")) }
}
