//! Who asks, and for which company: the one place that reads tokens and decides what their bearer may see.

mod claims;
mod jwks;
mod keys;

#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::config::{AccessMode, Config, ConfigError, Jwt};
use crate::health::Health;
use crate::tasks::Tasks;
use claims::Claims;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, StatusCode};
use jwks::Refresher;
use keys::{KeyRing, StaticKeys};
use std::sync::Arc;
use tidegate_core::event::Company;

/// The longest token that is looked at, in bytes: checking costs time, and browsers keep cookies below 4 KiB.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// What decides about access: mode, keys, algorithms. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    mode: AccessMode,
    jwt: Jwt,
    clock: Clock,
    fixed: StaticKeys,
    ring: Arc<KeyRing>,
    refresher: Option<Refresher>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What may be seen.
    pub reach: Reach,
    /// When the token ends, in milliseconds since 1970, with the leeway in it: the stream ends then with `bye`
    /// `token-expired`. `None` without a token.
    pub expires_at_ms: Option<u64>,
    /// The token's `sub`, for logs.
    pub subject: Option<String>,
}

/// Whose events may be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Every company's: `access.mode` is `open`.
    All,
    /// These companies', from the token; at least one.
    Companies(Vec<Company>),
}

impl Identity {
    /// Whether this company's events may be seen.
    #[must_use]
    pub fn may_see(&self, company: &Company) -> bool {
        match &self.reach {
            Reach::All => true,
            Reach::Companies(companies) => companies.contains(company),
        }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 401: no token, or none that counts. The reason holds nothing of the token.
    Unauthorized(&'static str),
    /// 403: a good token, of another company.
    Forbidden,
    /// 503, transient: the key set was never reached, so that no token can be checked.
    Unavailable(&'static str),
    /// 401: signed with a key this host does not know; the key set may have a new one.
    UnknownKey,
}

impl Refusal {
    /// The status for clients that are answered with one.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized(_) | Self::UnknownKey => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The body: `{"error","message"}`.
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::Forbidden => {
                r#"{"error":"Forbidden","message":"You can only stream events for your own company"}"#.to_owned()
            }
            Self::Unauthorized(reason) => format!(r#"{{"error":"Unauthorized","message":"{reason}"}}"#),
            Self::UnknownKey => {
                r#"{"error":"Unauthorized","message":"the token is signed with an unknown key"}"#.to_owned()
            }
            Self::Unavailable(reason) => format!(r#"{{"error":"Service Unavailable","message":"{reason}"}}"#),
        }
    }

    /// The value of `WWW-Authenticate` that a 401 carries.
    #[must_use]
    pub fn challenge(&self) -> Option<&'static str> {
        (self.status() == StatusCode::UNAUTHORIZED).then_some("Bearer")
    }

    /// A word for metrics and logs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) | Self::UnknownKey => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Unavailable(_) => "keys-unavailable",
        }
    }
}

impl AccessState {
    /// Reads the keys that stand in files; those at an address are fetched by [`AccessState::keep_fresh`].
    ///
    /// # Errors
    /// A key that can not be used is a mistake of the configuration.
    pub fn new(config: &Config, clock: Clock) -> Result<Self, ConfigError> {
        let jwt = config.access.jwt.clone();
        let ring = Arc::new(KeyRing::default());
        let (mut fixed, mut refresher) = (StaticKeys::default(), None);
        if config.access.mode == AccessMode::Jwt {
            fixed = StaticKeys::new(&jwt).map_err(|problem| config.complain("access.jwt.public-key", problem))?;
            if let Some(set) = &jwt.jwks {
                let made = Refresher::new(set.clone(), Arc::clone(&ring), clock.clone());
                let made = made.map_err(|problem| config.complain("access.jwt.jwks", problem))?;
                made.read_file().map_err(|problem| config.complain("access.jwt.jwks", problem))?;
                refresher = Some(made);
            }
        }
        Ok(Self(Arc::new(Inner { mode: config.access.mode, jwt, clock, fixed, ring, refresher })))
    }

    /// Fetches the key set now and from time to time, until the host stops, and tells `health` of one at an address. Does
    /// nothing without one.
    pub fn keep_fresh(&self, tasks: &Tasks, health: &Health) {
        let Some(refresher) = &self.0.refresher else { return };
        if refresher.is_remote() {
            health.keys_awaited(self.0.fixed.is_empty());
        }
        let (state, stop, health) = (self.clone(), tasks.token(), health.clone());
        tasks.spawn("key-set", async move {
            if let Some(refresher) = &state.0.refresher {
                refresher.run(stop, &health).await;
            }
        });
    }

    /// Whether companies may know of each other: nobody's name has to be kept from anybody.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.mode == AccessMode::Open
    }

    /// As [`identify`], and where a token names a key that is not known, asks the key set again first; at most once a
    /// minute over all requests.
    ///
    /// # Errors
    /// As [`identify`].
    pub async fn identify(&self, headers: &HeaderMap, requested: Option<&Company>) -> Result<Identity, Refusal> {
        match identify(self, headers, requested) {
            Err(Refusal::UnknownKey) => {
                if let Some(refresher) = &self.0.refresher {
                    refresher.refresh_for_unknown().await;
                }
                identify(self, headers, requested)
            }
            answer => answer,
        }
    }
}

/// Decides from what is known now. With a company it must be one of the token's; without one any good token will do.
///
/// # Errors
/// The refusal to answer with.
pub fn identify(state: &AccessState, headers: &HeaderMap, requested: Option<&Company>) -> Result<Identity, Refusal> {
    let Inner { mode, jwt, clock, fixed, ring, .. } = &*state.0;
    if *mode == AccessMode::Open {
        return Ok(Identity { reach: Reach::All, expires_at_ms: None, subject: None });
    }
    let token = token(headers, &jwt.cookie)?.ok_or(Refusal::Unauthorized("a token is required"))?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refusal::Unauthorized("the token is too long"));
    }
    let payload = keys::verify(token, &jwt.algorithms, fixed, &ring.load(), jwt.jwks.is_some() && !ring.is_loaded())?;
    let identity = Claims::new(&payload).check(jwt, clock.now_ms())?;
    match requested {
        Some(company) if !identity.may_see(company) => Err(Refusal::Forbidden),
        _ => Ok(identity),
    }
}

/// What a request carries after `Authorization: Bearer`, for tokens that are compared and not read, too.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token of a request. The header beats the cookie; another scheme in the header is another's business.
fn token<'a>(headers: &'a HeaderMap, cookie: &str) -> Result<Option<&'a str>, Refusal> {
    if headers.get_all(AUTHORIZATION).iter().count() > 1 {
        return Err(Refusal::Unauthorized("more than one Authorization header"));
    }
    if let Some(token) = bearer(headers) {
        return Ok(Some(token));
    }
    Ok(headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == cookie)
        .map(|(_, value)| value.trim_matches('"'))
        .filter(|value| !value.is_empty()))
}
