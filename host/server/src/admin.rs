//! The admin listener: for operators, behind a credential of its own.

mod dead_letters;
mod deploy;
mod events;
mod explain;

use crate::capture::Capture;
use crate::config::Secret;
use crate::http::Site;
use crate::http::identify::bearer;
use crate::http::respond::{Answer, json, refuse, refused};
use crate::http::status::{self, Companies};
use crate::letters::Letters;
use crate::modules::push::Pusher;
use crate::modules::{Listed, Listing};
use crate::shadow::Shadows;
use crate::tasks::Tasks;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json as value};
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const DEAD_LETTERS: &str = "/admin/dead-letters";
const EVENTS: &str = "/admin/events";
const EXPLAIN: &str = "/admin/explain";
const PUSH: &str = "/admin/push";
const RELEASES: &str = "/admin/releases";
const ROLLBACK: &str = "/admin/rollback";
const SHADOW: &str = "/admin/shadow";
const RETRY: &str = "/admin/dead-letters/retry";
/// What is only shown.
const GET: [&str; 10] = [
    "/livez",
    "/readyz",
    "/stream/health",
    "/metrics",
    "/admin/modules",
    "/admin/connections",
    DEAD_LETTERS,
    EVENTS,
    EXPLAIN,
    RELEASES,
];
const ONLY_GET: &str = "only GET is answered here";

/// What the admin routes work with.
pub struct Admin {
    /// The filters.
    pub listing: Listing,
    /// The dead letters.
    pub letters: Arc<Letters>,
    /// The real events.
    pub capture: Arc<Capture>,
    /// What puts filters into folders.
    pub pusher: Pusher,
    /// What compares a new version with the one that runs.
    pub shadows: Shadows,
    /// What goes on even if who asked for it leaves.
    pub tasks: Tasks,
    /// What the other listener works with: streams, health, metrics.
    pub site: Arc<Site>,
    /// The credential; none: all but `modules`, health and metrics answer 401.
    pub token: Option<Secret>,
    /// This host's identity.
    pub host: String,
}

impl Admin {
    /// Answers one request. To add a route: one line here, one function below.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        // Who has no credential is not told either what there is.
        if path.starts_with("/admin/") && !self.admits(&path, request.headers()) {
            return unauthorized();
        }
        match (method.as_str(), path.as_str()) {
            ("GET", "/livez") => status::live(),
            ("GET", "/readyz") => status::ready(&self.site),
            ("GET", "/stream/health") => status::health(&self.site, Companies::Named),
            ("GET", "/metrics") => status::metrics(&self.site, Companies::Named),
            ("GET", "/admin/modules") => self.modules(),
            ("GET", "/admin/connections") => self.connections(),
            ("GET", EXPLAIN) => self.explain(request.uri().query().unwrap_or_default()).await,
            ("GET", EVENTS) => events::list(&self.capture, request.uri().query().unwrap_or("")).await,
            ("GET", DEAD_LETTERS) => dead_letters::list(&self.letters, request.uri().query().unwrap_or("")).await,
            ("GET", RELEASES) => deploy::list(&self.listing, request.uri().query().unwrap_or("")),
            ("POST", PUSH) => deploy::push(&self.pusher, &self.shadows, &self.tasks, request).await,
            ("POST", SHADOW) => deploy::shadow(&self.pusher, &self.shadows, &self.tasks, request).await,
            ("POST", ROLLBACK) => deploy::roll_back(&self.pusher, &self.tasks, request).await,
            ("POST", RETRY) => dead_letters::retry(&self.letters, &self.tasks, request).await,
            (_, RETRY | PUSH | ROLLBACK | SHADOW) => {
                refused(StatusCode::METHOD_NOT_ALLOWED, "only POST is answered here")
            }
            (method, path) => match path.strip_prefix(DEAD_LETTERS).and_then(|rest| rest.strip_prefix('/')) {
                Some(place) if method == "GET" => dead_letters::show(&self.letters, place).await,
                Some(_) => refused(StatusCode::METHOD_NOT_ALLOWED, ONLY_GET),
                None if GET.contains(&path) => refused(StatusCode::METHOD_NOT_ALLOWED, ONLY_GET),
                None => refused(StatusCode::NOT_FOUND, "there is nothing at this address"),
            },
        }
    }

    /// May this request see what is at this path? Without a credential of the host's own only the modules are shown.
    fn admits(&self, path: &str, headers: &HeaderMap) -> bool {
        match &self.token {
            None => path == "/admin/modules",
            Some(token) => bearer(headers).is_some_and(|given| token.matches(given)),
        }
    }

    fn modules(&self) -> Response<Answer> {
        let mut folders: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
        for listed in self.listing.all() {
            folders.entry(listed.folder.clone()).or_default().push(listed);
        }
        let (chains, since) = (self.site.streams.chains.load(), self.state_since());
        let state_since = |name: &String| since.clone().filter(|_| chains.folder_is_stateful(name));
        let serving = self.listing.serving();
        let folders: Vec<Value> = folders
            .iter()
            .map(|(name, files)| {
                let mut told = folder(name, files, state_since(name).as_deref());
                if let Some(reason) = self.site.health.paused_company(name) {
                    told["state"] = "paused".into();
                    told["reason"] = reason.into();
                }
                for (filter, file) in told["filters"]
                    .as_array_mut()
                    .into_iter()
                    .flatten()
                    .zip(files.iter().filter(|file| !is_refusal(file)))
                {
                    filter["figures"] = self.figures(file);
                }
                told["deployed"] = serving.get(name).map_or(Value::Null, deploy::release);
                told
            })
            .collect();
        json(StatusCode::OK, &value!({ "folders": folders }))
    }

    /// What a filter did since this process runs it; nothing on a host that stands by.
    fn figures(&self, file: &Listed) -> Value {
        let module = file.module.as_deref();
        let figure = module.and_then(|module| self.site.metrics.figures().of(&file.folder, module));
        figure.map_or(Value::Null, |figure| {
            let per = |count: u64| count as f64 / figure.events.max(1) as f64;
            value!({
                "events": figure.events, "failed": figure.failed, "errorRate": per(figure.failed),
                "microsPerEvent": per(figure.micros), "memoryBytes": figure.memory_bytes,
            })
        })
    }

    /// Since when filters' state is kept, where what was before is lost.
    fn state_since(&self) -> Option<String> {
        let rebuild = self.site.streams.hub.end()?.rebuild?;
        rebuild.floor().and_then(|_| rfc3339(rebuild.began_ms))
    }

    fn connections(&self) -> Response<Answer> {
        let list = self.site.streams.connections.list();
        let list: Vec<_> = list.iter().map(AsRef::as_ref).collect();
        json(StatusCode::OK, &value!({ "connections": list }))
    }
}

fn unauthorized() -> Response<Answer> {
    let message = "the admin credential is missing or wrong (admin.token)";
    let mut response = refuse(StatusCode::UNAUTHORIZED, "Unauthorized", message);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Is this a word about a file, and no filter that runs?
fn is_refusal(file: &Listed) -> bool {
    matches!(file.state, "refused" | "differs")
}

/// One folder: what runs, and what was refused.
fn folder(name: &str, files: &[Listed], state_since: Option<&str>) -> Value {
    let refused = files.iter().find(|file| is_refusal(file));
    let running: Vec<Value> = files
        .iter()
        .filter(|file| !is_refusal(file))
        .map(|file| {
            let digest = file.module.as_deref().and_then(|module| module.split('@').nth(1));
            value!({
                "name": file.filter, "digest": digest, "version": file.version, "world": file.world,
                "configSchema": file.config_schema,
            })
        })
        .collect();
    let state = match refused {
        Some(file) => file.state,
        None => files.first().map_or("active", |file| file.state),
    };
    let since_ms = files.iter().map(|file| file.since_ms).max().unwrap_or(0);
    let reason = refused.map(|file| match (file.state, file.reason.as_deref()) {
        ("differs", Some(reason)) => reason.to_owned(),
        (_, reason) => format!("{}: {}", file.filter, reason.unwrap_or("refused")),
    });
    value!({
        "folder": name, "state": state, "since": rfc3339(since_ms), "stateSince": state_since, "reason": reason,
        "filters": running,
    })
}

/// A time with its milliseconds.
fn rfc3339_ms(ms: u64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
    time.format(&Rfc3339).ok().filter(|_| ms > 0)
}

fn rfc3339(ms: u64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(ms / 1000).ok()?).ok()?;
    time.format(&Rfc3339).ok().filter(|_| ms > 0)
}
