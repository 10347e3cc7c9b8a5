//! `/admin/push`, `/admin/rollback` and `/admin/releases`: filters to folders, and back.

use crate::capture::CaptureError;
use crate::http::body;
use crate::http::respond::{Answer, json, refused};
use crate::modules::Listing;
use crate::modules::file::FilterFile;
use crate::modules::keeper::{DeployError, Deployed, What, Wish};
use crate::modules::push::{Change, Push, PushError, Pusher};
use crate::modules::releases::{Action, Release, Releases};
use crate::shadow::{EVENTS_MAX, ShadowError, ShadowReport, ShadowWish, Shadows};
use crate::tasks::Tasks;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json as value};
use tidegate_core::event::Company;
use tidegate_filter::Module;

/// The longest body beside the module, in bytes: settings, cases and words.
const TEXT_BYTES_MAX: usize = 17 << 20;
/// The longest body of a rollback, in bytes.
const WISH_BYTES_MAX: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PushWish {
    folder: String,
    filter: String,
    /// The module in base64; none to take the filter out.
    #[serde(default)]
    module: Option<String>,
    #[serde(default)]
    settings: String,
    #[serde(default)]
    cases: Option<String>,
    by: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    shadow: Option<Condition>,
}

/// What a shadow has to come to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    since: u64,
    /// In percent.
    different_max: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ShadowedWish {
    company: String,
    filter: String,
    module: String,
    #[serde(default)]
    settings: String,
    #[serde(default)]
    cases: Option<String>,
    since: u64,
    #[serde(default = "all")]
    limit: usize,
}

fn all() -> usize {
    EVENTS_MAX
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RollbackWish {
    folder: String,
    #[serde(default)]
    to: Option<u64>,
    #[serde(default)]
    files: bool,
    by: String,
    #[serde(default)]
    message: String,
}

/// `POST /admin/push`.
pub(super) async fn push(
    pusher: &Pusher,
    shadows: &Shadows,
    tasks: &Tasks,
    request: Request<Incoming>,
) -> Response<Answer> {
    let wish: PushWish = match read(request, bytes_max(pusher)).await {
        Ok(wish) => wish,
        Err(refusal) => return *refusal,
    };
    let PushWish { folder, filter, module, settings, cases, by, message, dry_run, shadow } = wish;
    let change = match module {
        None => Change::Remove(filter),
        Some(module) => match put(filter, &module, settings, cases) {
            Ok(change) => change,
            Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem),
        },
    };
    if let Some(Condition { since, different_max }) = shadow {
        let Ok(company) = Company::new(&folder) else {
            return refused(StatusCode::BAD_REQUEST, "a shadow is of one company's events, and so of its own folder");
        };
        let wish = ShadowWish { company, change: change.clone(), since_ms: since, limit: EVENTS_MAX };
        let refusal = match compare(shadows, tasks, wish, different_max).await {
            Ok(report) => report.refusal,
            Err(refusal) => return *refusal,
        };
        if let Some(refusal) = refusal {
            let told = format!("{refusal}; `tidegate shadow` shows which");
            return refused(StatusCode::UNPROCESSABLE_ENTITY, &told);
        }
    }
    let (pusher, push) = (pusher.clone(), Push { folder, change, by, message, dry_run });
    // It goes on even if who asked for it leaves.
    let done = tasks.run("push", async move { pusher.push(push).await }).await;
    match done {
        Some(Ok(pushed)) => json(
            StatusCode::OK,
            &value!({
                "filter": pushed.filter.map(|(module, version)| value!({ "module": module, "version": version })),
                "cases": pushed.cases, "filters": pushed.filters, "before": pushed.before, "chain": pushed.chain,
                "deployed": pushed.deployed.as_ref().map(deployed), "dryRun": dry_run,
            }),
        ),
        Some(Err(error)) => refusal(&error),
        None => refused(StatusCode::SERVICE_UNAVAILABLE, "the host stops"),
    }
}

/// `POST /admin/shadow`.
pub(super) async fn shadow(
    pusher: &Pusher,
    shadows: &Shadows,
    tasks: &Tasks,
    request: Request<Incoming>,
) -> Response<Answer> {
    let wish: ShadowedWish = match read(request, bytes_max(pusher)).await {
        Ok(wish) => wish,
        Err(refusal) => return *refusal,
    };
    let ShadowedWish { company, filter, module, settings, cases, since, limit } = wish;
    let company = match Company::new(&company) {
        Ok(company) => company,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let change = match put(filter, &module, settings, cases) {
        Ok(change) => change,
        Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem),
    };
    match compare(shadows, tasks, ShadowWish { company, change, since_ms: since, limit }, 100.0).await {
        Ok(report) => json(StatusCode::OK, &report.json()),
        Err(refusal) => *refusal,
    }
}

async fn compare(
    shadows: &Shadows,
    tasks: &Tasks,
    wish: ShadowWish,
    different_max: f64,
) -> Result<ShadowReport, Box<Response<Answer>>> {
    let shadows = shadows.clone();
    match tasks.run("shadow", async move { shadows.compare(wish, different_max).await }).await {
        Some(Ok(report)) => Ok(report),
        Some(Err(ShadowError::Push(error))) => Err(Box::new(refusal(&error))),
        Some(Err(error @ ShadowError::Events(CaptureError::KeepsNothing))) => {
            Err(Box::new(refused(StatusCode::CONFLICT, &error.to_string())))
        }
        Some(Err(error @ ShadowError::Busy)) => {
            Err(Box::new(refused(StatusCode::TOO_MANY_REQUESTS, &error.to_string())))
        }
        Some(Err(error)) => Err(Box::new(refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()))),
        None => Err(Box::new(refused(StatusCode::SERVICE_UNAVAILABLE, "the host stops"))),
    }
}

fn put(name: String, module: &str, settings: String, cases: Option<String>) -> Result<Change, String> {
    let wasm = STANDARD.decode(module).map_err(|error| format!("the module is no base64: {error}"))?;
    let wasm = Module::new(wasm);
    Ok(Change::Put(FilterFile { name, wasm, settings, cases }))
}

fn bytes_max(pusher: &Pusher) -> usize {
    pusher.module_bytes_max().div_ceil(3) * 4 + TEXT_BYTES_MAX
}

/// `POST /admin/rollback`.
pub(super) async fn roll_back(pusher: &Pusher, tasks: &Tasks, request: Request<Incoming>) -> Response<Answer> {
    let wish: RollbackWish = match read(request, WISH_BYTES_MAX).await {
        Ok(wish) => wish,
        Err(refusal) => return *refusal,
    };
    let RollbackWish { folder, to, files, by, message } = wish;
    let what = match (to, files) {
        (Some(_), true) => return refused(StatusCode::BAD_REQUEST, "`to` names a release and `files` none: not both"),
        (to, false) => What::Rollback(to),
        (None, true) => What::GiveBack,
    };
    let (pusher, wish) = (pusher.clone(), Wish { folder, what, by, message });
    match tasks.run("rollback", async move { pusher.roll_back(wish).await }).await {
        Some(Ok(done)) => json(StatusCode::OK, &deployed(&done)),
        Some(Err(error)) => refusal(&error),
        None => refused(StatusCode::SERVICE_UNAVAILABLE, "the host stops"),
    }
}

/// `GET /admin/releases?folder=`: what was deployed to a folder, what can be rolled back to, and who did what.
pub(super) fn list(listing: &Listing, query: &str) -> Response<Answer> {
    let mut folder = None;
    for (name, given) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "folder" => folder = Some(given.into_owned()),
            other => return refused(StatusCode::BAD_REQUEST, &format!("`{other}` is not asked for here")),
        }
    }
    let Some(folder) = folder else {
        return refused(StatusCode::BAD_REQUEST, "of which folder? folder=… is missing");
    };
    let releases = listing.releases(&folder).unwrap_or_default();
    let Releases { serves, kept, log, .. } = &releases;
    let kept: Vec<Value> = kept.iter().map(release).collect();
    let log: Vec<Value> = log.iter().map(action).collect();
    let serves = serves.as_ref().map(|serves| value!({ "release": serves.number, "insteadOf": serves.instead_of }));
    json(StatusCode::OK, &value!({ "folder": folder, "serves": serves, "releases": kept, "log": log }))
}

pub(super) fn release(release: &Release) -> Value {
    let filters: Vec<Value> =
        release.filters.iter().map(|(module, version)| value!({ "module": module, "version": version })).collect();
    value!({
        "release": release.number, "chain": release.chain, "filters": filters, "before": release.before,
        "by": release.by, "message": release.message, "at": super::rfc3339_ms(release.at_ms),
    })
}

fn action(action: &Action) -> Value {
    value!({
        "action": action.verb, "at": super::rfc3339_ms(action.at_ms), "by": action.by, "message": action.message,
        "filter": action.filter, "from": action.from, "to": action.to, "release": action.release,
    })
}

fn deployed(done: &Deployed) -> Value {
    value!({ "release": done.release, "chain": done.chain, "runs": done.runs })
}

fn refusal(error: &PushError) -> Response<Answer> {
    let status = match error {
        PushError::Wrong(_) => StatusCode::BAD_REQUEST,
        PushError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        PushError::NotDeployed(DeployError::Conflict(_)) => StatusCode::CONFLICT,
        PushError::NotDeployed(DeployError::Nothing(_)) => StatusCode::NOT_FOUND,
        PushError::NotDeployed(DeployError::Away(_)) => StatusCode::SERVICE_UNAVAILABLE,
    };
    refused(status, &error.to_string())
}

async fn read<T: serde::de::DeserializeOwned>(
    request: Request<Incoming>,
    bytes_max: usize,
) -> Result<T, Box<Response<Answer>>> {
    let body = body::read(request.into_body(), bytes_max).await;
    let body = body.map_err(|(status, problem)| Box::new(refused(status, &problem)))?;
    let wrong = |error| Box::new(refused(StatusCode::BAD_REQUEST, &format!("the body: {error}")));
    serde_json::from_slice(&body).map_err(wrong)
}
