//! The one connection to NATS: made once, reused by everything, mended by itself.

use super::SourceError;
use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use percent_encoding::percent_decode_str;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a request waits for its answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages a subscription holds before the client drops what comes: a sixth of a second at the fastest.
const SUBSCRIPTION_MESSAGES: usize = 65_536;
/// The longest pause between two attempts to connect.
const RECONNECT_MS_MAX: u64 = 5_000;

/// How to connect.
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    /// Addresses, separated by commas.
    pub url: String,
    /// File with credentials.
    pub creds: Option<PathBuf>,
    /// Name shown in the server's list of connections.
    pub name: String,
}

/// What the connection told about itself so far; each count only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionCounts {
    /// Connections made.
    pub connects: u64,
    /// Connections lost.
    pub disconnects: u64,
    /// Messages dropped because a subscription was full.
    pub dropped: u64,
    /// Errors the server or the client reported.
    pub errors: u64,
}

/// The connection. Cheap to clone; all clones are the same connection.
#[derive(Debug, Clone)]
pub struct Nats {
    client: Client,
    counts: watch::Receiver<ConnectionCounts>,
}

impl Nats {
    /// Begins to connect and returns at once: while NATS is away it keeps trying, and [`Nats::connected`] says no.
    ///
    /// # Errors
    /// [`SourceError::Refused`] for an address that can't be read, or a credentials file that can't be.
    pub async fn connect(options: &NatsOptions) -> Result<Self, SourceError> {
        let addresses = options
            .url
            .split(',')
            .map(|address| ServerAddr::from_str(address.trim()).map_err(|error| (address, error)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|(address, error)| {
                SourceError::Refused(format!("nats.url: `{}` is no address: {error}", redact(address)))
            })?;
        let mut connect = logged_in(ConnectOptions::new(), &addresses).map_err(SourceError::Refused)?;
        if let Some(path) = &options.creds {
            connect = connect.credentials_file(path).await.map_err(|error| {
                SourceError::Refused(format!("nats.creds: {} can't be read: {error}", path.display()))
            })?;
        }
        let servers: Vec<String> = addresses.iter().map(server).collect();
        let servers: Arc<str> = servers.join(",").into();
        let (counter, counts) = watch::channel(ConnectionCounts::default());
        let counter = Arc::new(counter);
        let client = connect
            .name(&options.name)
            .retry_on_initial_connect()
            .ping_interval(Duration::from_secs(10))
            .request_timeout(Some(REQUEST_TIMEOUT))
            .subscription_capacity(SUBSCRIPTION_MESSAGES)
            .reconnect_delay_callback(|attempt| reconnect_delay(attempt, rand::random()))
            .event_callback(move |event| {
                let (counter, servers) = (Arc::clone(&counter), Arc::clone(&servers));
                async move { note(&counter, &event, &servers) }
            })
            .connect(addresses)
            .await
            .map_err(|error| SourceError::Refused(format!("nats.url: {error}")))?;
        Ok(Self { client, counts })
    }

    /// Over a connection that was made elsewhere: nothing is counted.
    #[must_use]
    pub fn over(client: Client) -> Self {
        Self { client, counts: watch::channel(ConnectionCounts::default()).1 }
    }

    /// The client, for requests and subscriptions.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Is it connected now?
    #[must_use]
    pub fn connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// What happened to the connection so far.
    #[must_use]
    pub fn counts(&self) -> ConnectionCounts {
        *self.counts.borrow()
    }

    /// The counts as they change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<ConnectionCounts> {
        self.counts.clone()
    }

    /// Waits until it is connected.
    ///
    /// # Errors
    /// [`SourceError::Away`] when it is not within that time.
    pub async fn wait_connected(&self, within: Duration) -> Result<(), SourceError> {
        let mut counts = self.counts.clone();
        let wait = async {
            while !self.connected() {
                // The event follows the state, so looking again after each event misses nothing.
                if counts.changed().await.is_err() {
                    return;
                }
            }
        };
        match tokio::time::timeout(within, wait).await {
            Ok(()) if self.connected() => Ok(()),
            _ => Err(SourceError::Away("NATS is not connected".into())),
        }
    }

    /// Waits for an answer, and no longer than the connection holds: one that was lost with it never comes.
    ///
    /// # Errors
    /// [`SourceError::Away`] when the connection is lost meanwhile.
    pub async fn while_connected<T>(&self, answer: impl Future<Output = T>) -> Result<T, SourceError> {
        let mut counts = self.counts.clone();
        let before = counts.borrow_and_update().disconnects;
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            Ok(_) = counts.wait_for(|counts| counts.disconnects != before) => {
                Err(SourceError::Away("the connection to NATS was lost".into()))
            }
        }
    }

    /// Version of the server it is connected to, as `(major, minor)`; `(0, 0)` before the first connection.
    #[must_use]
    pub fn server_version(&self) -> (u32, u32) {
        let version = self.client.server_info().version;
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }

    /// The largest message the server takes, headers included, in bytes.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        match self.client.server_info().max_payload {
            0 => 1 << 20,
            bytes => bytes,
        }
    }
}

/// With the user and password, or the token, that stand in an address: the client library reads neither there. They count for
/// all addresses; the first that has some decides.
///
/// # Errors
/// What is percent-encoded there is not UTF-8.
pub fn logged_in(options: ConnectOptions, addresses: &[ServerAddr]) -> Result<ConnectOptions, String> {
    Ok(match login(addresses)? {
        Some((user, Some(password))) => options.user_and_password(user, password),
        Some((token, None)) => options.token(token),
        None => options,
    })
}

fn login(addresses: &[ServerAddr]) -> Result<Option<(String, Option<String>)>, String> {
    let Some(at) = addresses.iter().find(|at| at.username().is_some()) else { return Ok(None) };
    let plain = |encoded: &str| match percent_decode_str(encoded).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err("nats.url: user or password is not UTF-8 once it is percent-decoded".to_owned()),
    };
    let user = at.username().map_or_else(|| Ok(String::new()), plain)?;
    Ok(Some((user, at.password().map(plain).transpose()?)))
}

/// Doubles from 50 ms to the maximum; half of it is random, so that hosts do not come back in step.
fn reconnect_delay(attempt: usize, random: u64) -> Duration {
    let doubled = 50u64.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(RECONNECT_MS_MAX);
    Duration::from_millis(doubled / 2 + random % (doubled / 2 + 1))
}

fn note(counter: &watch::Sender<ConnectionCounts>, event: &Event, servers: &str) {
    match event {
        Event::Connected => tracing::info!(servers, "connected to NATS"),
        Event::Disconnected => tracing::warn!(servers, "disconnected from NATS"),
        // One event per dropped message: the counter and the reader tell of it, a line each would drown the log.
        Event::SlowConsumer(subscription) => tracing::debug!(subscription, "NATS message dropped, the reader is slow"),
        Event::ServerError(error) => tracing::warn!(%error, "NATS server error"),
        Event::ClientError(error) => tracing::warn!(servers, %error, "NATS client error"),
        Event::LameDuckMode => tracing::info!("NATS server is about to stop"),
        Event::Draining | Event::Closed => tracing::info!(%event, "NATS connection ends"),
    }
    counter.send_modify(|counts| match event {
        Event::Connected => counts.connects += 1,
        Event::Disconnected => counts.disconnects += 1,
        Event::SlowConsumer(_) => counts.dropped += 1,
        Event::ServerError(_) | Event::ClientError(_) => counts.errors += 1,
        Event::LameDuckMode | Event::Draining | Event::Closed => {}
    });
}

/// Host and port alone.
fn server(at: &ServerAddr) -> String {
    let host = at.host();
    if host.contains(':') { format!("[{host}]:{}", at.port()) } else { format!("{host}:{}", at.port()) }
}

/// The address without user and password.
fn redact(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        for attempt in 0..100 {
            for random in [0, 1, u64::MAX] {
                let pause = reconnect_delay(attempt, random);
                assert!(
                    pause >= Duration::from_millis(25) && pause <= Duration::from_millis(RECONNECT_MS_MAX),
                    "{pause:?}"
                );
            }
        }
        assert_ne!(reconnect_delay(5, 1), reconnect_delay(5, 300));
    }

    #[test]
    fn an_address_may_hold_a_user_or_a_token() {
        let login_in = |text: &str| {
            let addresses: Vec<ServerAddr> = text.split(',').map(|at| at.parse().unwrap()).collect();
            login(&addresses).unwrap()
        };
        assert_eq!(login_in("nats://a:4222"), None);
        assert_eq!(login_in("nats://a,nats://u:p%40ss@b"), Some(("u".to_owned(), Some("p@ss".to_owned()))));
        assert_eq!(login_in("tls://s3cret@a"), Some(("s3cret".to_owned(), None)));
    }

    #[test]
    fn servers_are_named_without_what_is_secret() {
        let named = |text: &str| server(&text.parse().unwrap());
        assert_eq!(named("nats://u:p@a.example"), "a.example:4222");
        assert_eq!(named("tls://s3cret@[::1]:4333"), "[::1]:4333");
    }

    #[tokio::test]
    async fn a_bad_address_is_refused_without_its_password() {
        let options = NatsOptions { url: "nats://user:secret@:bad port".into(), ..NatsOptions::default() };
        let error = Nats::connect(&options).await.unwrap_err().to_string();
        assert!(error.contains("nats.url") && !error.contains("secret"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_credentials_file_is_named() {
        let options =
            NatsOptions { url: "127.0.0.1:1".into(), creds: Some("/does/not/exist".into()), ..NatsOptions::default() };
        let error = Nats::connect(&options).await.unwrap_err().to_string();
        assert!(error.contains("/does/not/exist"), "{error}");
    }

    #[tokio::test]
    async fn starting_while_nats_is_away_does_not_fail() {
        let nats = Nats::connect(&NatsOptions { url: "127.0.0.1:1".into(), ..NatsOptions::default() }).await.unwrap();
        assert!(!nats.connected());
        assert!(matches!(nats.wait_connected(Duration::from_millis(20)).await, Err(SourceError::Away(_))));
    }
}
