//! Talks to the admin API of a running host.

use crate::cli::UsageError;
use crate::config::Secret;
use anyhow::{Context as _, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long a host may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Where the admin API is.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AdminArgs {
    /// The address of the host's admin API
    #[arg(long, value_name = "URL", env = "TIDEGATE_ADMIN_URL", default_value = "http://127.0.0.1:3008")]
    admin: String,
    /// The host's admin.token
    #[arg(long, value_name = "TOKEN", env = "TIDEGATE_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
}

impl AdminArgs {
    /// A host whose address and token are known.
    pub(super) fn of(admin: String, token: Option<String>) -> Self {
        Self { admin, admin_token: token }
    }

    /// Gets a JSON document; `path` with its query.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(ANSWER_TIME, Method::GET, path, None).await
    }

    /// Posts a JSON document and gets one.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.post_within(ANSWER_TIME, path, body).await
    }

    /// The same, where the host may take so long.
    pub(super) async fn post_within(&self, time: Duration, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(time, Method::POST, path, Some(body)).await
    }

    /// Asks, with a JSON body where there is one, and reads the JSON answer.
    async fn ask(&self, time: Duration, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let url = format!("{}{path}", base(&self.admin)?);
        let mut request = http_client()?.request(method, &url).timeout(time);
        if let Some(token) = self.admin_token.clone().map(Secret::new) {
            request = request.bearer_auth(token.expose());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer =
            request.send().await.with_context(|| format!("no host answers at {url} (is `tidegate run` running?)"))?;
        let status = answer.status();
        let body = read_body(answer, ANSWER_BYTES_MAX).await?;
        match status {
            _ if status.is_success() => {
                serde_json::from_slice(&body).with_context(|| format!("{url} did not answer in JSON"))
            }
            StatusCode::UNAUTHORIZED => bail!(
                "{url} answered {status}: {}; give the host's admin.token with --admin-token or TIDEGATE_ADMIN_TOKEN",
                message(&body)
            ),
            _ => bail!("{url} answered {status}: {}", message(&body)),
        }
    }
}

/// An address without what a path is joined to.
pub(super) fn base(url: &str) -> Result<&str, UsageError> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(UsageError(format!("{url}: an address that begins with http:// or https:// is accepted")));
    }
    Ok(url.trim_end_matches('/'))
}

pub(super) fn http_client() -> anyhow::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        // A redirect would take the token elsewhere.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("tidegate-cli/", env!("CARGO_PKG_VERSION")));
    client.build().context("no HTTP client can be made")
}

/// Reads an answer, up to a bound.
pub(super) async fn read_body(mut answer: reqwest::Response, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > bytes_max {
            bail!("the answer is larger than {bytes_max} bytes");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a refusal says: its `message`, else its text.
pub(super) fn message(body: &[u8]) -> String {
    let said = serde_json::from_slice::<serde_json::Value>(body).ok();
    let said = said.as_ref().and_then(|value| value.get("message")).and_then(serde_json::Value::as_str);
    let text = said.map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), str::to_owned);
    super::out::plain(&text.chars().take(500).collect::<String>())
}
