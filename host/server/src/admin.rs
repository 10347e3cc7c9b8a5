//! The admin listener: for operators, behind a credential of its own.

use crate::config::Secret;
use crate::http::Site;
use crate::http::identify::bearer;
use crate::http::respond::{Answer, json, refuse};
use crate::http::status::{self, Companies};
use crate::modules::{Listed, Listing};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json as value};
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What the admin routes work with.
pub struct Admin {
    /// The filters.
    pub listing: Listing,
    /// What the other listener works with: streams, health, metrics.
    pub site: Arc<Site>,
    /// The credential; none: all but `modules`, health and metrics answer 401.
    pub token: Option<Secret>,
}

impl Admin {
    /// Answers one request. To add a route: one line here, one function below.
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Answer> {
        if request.method() != Method::GET {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", "only GET is answered here");
        }
        match request.uri().path() {
            "/livez" => status::live(),
            "/readyz" => status::ready(&self.site),
            "/stream/health" => status::health(&self.site, Companies::Named),
            "/metrics" => status::metrics(&self.site, Companies::Named),
            "/admin/modules" if self.token.is_none() || self.allowed(request) => self.modules(),
            "/admin/connections" if self.allowed(request) => self.connections(),
            "/admin/modules" | "/admin/connections" => refuse(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "the admin credential is missing or wrong (admin.token)",
            ),
            _ => refuse(StatusCode::NOT_FOUND, "Not Found", "there is nothing at this address"),
        }
    }

    fn allowed<B>(&self, request: &Request<B>) -> bool {
        self.token.as_ref().is_some_and(|token| bearer(request.headers()).is_some_and(|given| token.matches(given)))
    }

    fn modules(&self) -> Response<Answer> {
        let mut folders: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
        for listed in self.listing.all() {
            folders.entry(listed.folder.clone()).or_default().push(listed);
        }
        let (chains, since) = (self.site.streams.chains.load(), self.state_since());
        let state_since = |name: &String| since.clone().filter(|_| chains.folder_is_stateful(name));
        let folders: Vec<Value> =
            folders.iter().map(|(name, files)| folder(name, files, state_since(name).as_deref())).collect();
        json(StatusCode::OK, &value!({ "folders": folders }))
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

/// One folder: what runs, and what was refused.
fn folder(name: &str, files: &[Listed], state_since: Option<&str>) -> Value {
    let refused = files.iter().find(|file| matches!(file.state, "refused" | "differs"));
    let running: Vec<Value> = files
        .iter()
        .filter(|file| !matches!(file.state, "refused" | "differs"))
        .map(|file| {
            let digest = file.module.as_deref().and_then(|module| module.split('@').nth(1));
            value!({ "name": file.filter, "digest": digest, "version": file.version })
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

fn rfc3339(ms: u64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(ms / 1000).ok()?).ok()?;
    time.format(&Rfc3339).ok().filter(|_| ms > 0)
}
