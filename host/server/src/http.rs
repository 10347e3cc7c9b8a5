//! The listener that browsers see: accept, route, answer.

pub mod accept;
pub mod body;
pub mod cors;
pub mod counts;
pub mod identify;
pub mod ingest;
pub mod opening;
pub mod respond;
pub mod socket;
pub mod status;
pub mod updates;
pub mod writer;

use crate::clock::Clock;
use crate::config::Secret;
use crate::demo::Demo;
use crate::health::Health;
use crate::source::Source;
use crate::stream::Streams;
use crate::telemetry::Metrics;
use cors::Cors;
use counts::Counts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use identify::AccessState;
use respond::{Answer, refuse};
use std::net::SocketAddr;
use std::sync::Arc;
use tidegate_core::event::Company;

/// What the routes work with.
pub struct Site {
    /// The streams.
    pub streams: Arc<Streams>,
    /// Events in the replay cache, for `/stream/stats`.
    pub counts: Counts,
    /// The source, for `/ingest`.
    pub source: Arc<dyn Source>,
    /// Who may see what.
    pub access: AccessState,
    /// Which origins may ask.
    pub cors: Cors,
    /// What is up.
    pub health: Health,
    /// What is counted.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// Which companies stream.
    pub flags: Arc<dyn Fn(&Company) -> bool + Send + Sync>,
    /// Streaming is on.
    pub streaming: bool,
    /// The ingest credential; none: `/ingest` is off.
    pub ingest: Option<Secret>,
    /// Subjects that may be published to.
    pub subjects: Vec<String>,
    /// The longest event, in bytes.
    pub event_bytes_max: usize,
    /// Streams at a time.
    pub connections_max: usize,
    /// The demo, where this is one.
    pub demo: Option<Arc<Demo>>,
}

/// Answers one request.
pub async fn answer(site: Arc<Site>, peer: SocketAddr, request: Request<Incoming>) -> Response<Answer> {
    let origin = site.cors.origin(request.headers());
    if request.method() == Method::OPTIONS {
        return site.cors.preflight(origin);
    }
    let mut response = route(&site, peer, request).await;
    site.cors.mark(origin, response.headers_mut());
    response
}

async fn route(site: &Arc<Site>, peer: SocketAddr, request: Request<Incoming>) -> Response<Answer> {
    let path = request.uri().path().to_owned();
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    match path.as_str() {
        "/stream/updates" if get => updates::updates(site, peer, &request).await,
        "/stream/stats" if get => status::stats(site, request.headers()).await,
        "/stream/health" if get => status::health(site, status::companies(site)),
        "/livez" if get => status::live(),
        "/readyz" if get => status::ready(site),
        "/metrics" if get => status::metrics(site, status::companies(site)),
        "/stream/updates" | "/stream/stats" | "/stream/health" | "/livez" | "/readyz" | "/metrics" => {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", "only GET is answered here")
        }
        other => {
            if let Some(subject) = other.strip_prefix("/ingest/") {
                let subject = subject.to_owned();
                return ingest::ingest(site, &subject, request).await;
            }
            match &site.demo {
                Some(demo) => demo.answer(request).await,
                None => refuse(StatusCode::NOT_FOUND, "Not Found", "there is nothing at this address"),
            }
        }
    }
}
