//! One browser's stream: cursor, replay, seam, live, and how it ends.

pub mod events;
pub mod open;
pub mod pages;
pub mod refusals;
pub mod registry;

pub use events::EventStream;
pub use registry::{Connection, Connections};

use crate::clock::Clock;
use crate::config::SlowClient;
use crate::hub::Hub;
use crate::modules::ChainsCell;
use crate::source::Source;
use crate::store::Store;
use crate::telemetry::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidegate_core::commit::Page;
use tidegate_core::event::Company;
use tidegate_core::gap::Floor;

/// Settings of every stream.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// Events a lagging connection may have in front of it under `drop-oldest` and `disconnect`.
    pub buffer: usize,
    /// What happens to a connection that is too slow.
    pub slow_client: SlowClient,
    /// Longest silence.
    pub heartbeat: Duration,
    /// Streams end after this and come back elsewhere.
    pub rotate: Option<Duration>,
    /// How long streams are given to end when the host stops.
    pub drain: Duration,
    /// How long the replay cache keeps events, in milliseconds.
    pub retention_ms: u64,
}

/// What every stream works with.
pub struct Streams {
    /// The live end.
    pub hub: Arc<Hub>,
    /// The replay cache.
    pub store: Arc<dyn Store>,
    /// The source: asked about cursors that nothing else can place.
    pub source: Arc<dyn Source>,
    /// The chains: companies whose filters keep state lose it when the store is emptied.
    pub chains: ChainsCell,
    /// Who is connected.
    pub connections: Connections,
    /// What is counted.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// Settings.
    pub settings: StreamSettings,
    /// Set when the host begins to stop.
    draining: AtomicBool,
}

impl Streams {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        hub: Arc<Hub>,
        store: Arc<dyn Store>,
        source: Arc<dyn Source>,
        chains: ChainsCell,
        metrics: Metrics,
        clock: Clock,
        settings: StreamSettings,
    ) -> Self {
        let connections = Connections::default();
        Self { hub, store, source, chains, connections, metrics, clock, settings, draining: AtomicBool::new(false) }
    }

    /// A page with everything that is lost to the company: with its filters' state the store lost what they would have made
    /// of the events up to where it is filled again.
    #[must_use]
    pub fn with_lost_state(&self, company: &Company, mut page: Page) -> Page {
        if let Some(floor) = page.rebuild.and_then(|rebuild| rebuild.floor())
            && self.chains.load().is_stateful(company)
        {
            page.floor = Floor::higher(page.floor, Some(floor));
        }
        page
    }

    /// Tells every stream to end within the drain window.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.hub.wake_all();
    }

    /// Is the host about to stop?
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}

/// When a client that was sent away should come back, in milliseconds: spread, so that not all come in the same second.
#[must_use]
pub fn retry_ms() -> u64 {
    rand::random_range(1_000..5_000)
}
