//! Checks what a token with a good signature says: time, issuer, audience, companies.

use super::{Identity, Reach, Refusal};
use crate::config::Jwt;
use serde_json::{Map, Value};
use tidegate_core::event::Company;

/// The claims of one token.
pub(super) struct Claims<'a>(&'a Map<String, Value>);

impl<'a> Claims<'a> {
    pub(super) fn new(payload: &'a Map<String, Value>) -> Self {
        Self(payload)
    }

    pub(super) fn check(&self, jwt: &Jwt, now_ms: u64) -> Result<Identity, Refusal> {
        let leeway_ms = u64::try_from(jwt.leeway.as_millis()).unwrap_or(u64::MAX);
        let expires_ms = self.time_ms("exp")?.ok_or(Refusal::Unauthorized("the token has no exp"))?;
        let expires_at_ms = expires_ms.saturating_add(leeway_ms);
        if now_ms >= expires_at_ms {
            return Err(Refusal::Unauthorized("the token has expired"));
        }
        if self.time_ms("nbf")?.is_some_and(|from_ms| from_ms > now_ms.saturating_add(leeway_ms)) {
            return Err(Refusal::Unauthorized("the token is not valid yet"));
        }
        let issuer = self.0.get("iss").and_then(Value::as_str);
        if !jwt.issuers.is_empty() && !issuer.is_some_and(|issuer| jwt.issuers.iter().any(|known| known == issuer)) {
            return Err(Refusal::Unauthorized("the token has another issuer"));
        }
        if !jwt.audiences.is_empty()
            && !self.texts("aud").iter().any(|one| jwt.audiences.iter().any(|known| known == one))
        {
            return Err(Refusal::Unauthorized("the token is for another audience"));
        }
        let subject = self.0.get("sub").and_then(Value::as_str).map(|text| text.chars().take(128).collect());
        let reach = Reach::Companies(self.companies(&jwt.company_claim)?);
        Ok(Identity { reach, expires_at_ms: Some(expires_at_ms), subject })
    }

    /// A time in seconds since 1970, as milliseconds. Fractions are allowed by the standard; text is not.
    fn time_ms(&self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
                (Some(seconds), _) => Ok(Some(seconds.saturating_mul(1_000))),
                // A cast of a float saturates: what lies outside ends at the edge.
                (None, Some(seconds)) if seconds.is_finite() => Ok(Some((seconds * 1_000.0) as u64)),
                _ => Err(Refusal::Unauthorized("a time in the token is not readable")),
            },
            Some(_) => Err(Refusal::Unauthorized("a time in the token is not a number")),
        }
    }

    /// A claim that holds one text or several.
    fn texts(&self, name: &str) -> Vec<&'a str> {
        self.0.get(name).map(texts).unwrap_or_default()
    }

    fn companies(&self, claim: &str) -> Result<Vec<Company>, Refusal> {
        let value = self.find(claim).ok_or(Refusal::Unauthorized("the token names no company"))?;
        let number = value.as_u64().map(|number| number.to_string());
        let names = match &number {
            Some(name) => vec![name.as_str()],
            None => texts(value),
        };
        let companies: Vec<Company> = names.iter().filter_map(|name| Company::new(name).ok()).collect();
        if companies.is_empty() {
            return Err(Refusal::Unauthorized("the token names no company"));
        }
        Ok(companies)
    }

    /// The claim of this very name (names of claims may be addresses with dots in them), else along the dots.
    fn find(&self, claim: &str) -> Option<&'a Value> {
        if let Some(value) = self.0.get(claim) {
            return Some(value);
        }
        let mut parts = claim.split('.');
        let mut value = self.0.get(parts.next()?)?;
        for part in parts {
            value = value.get(part)?;
        }
        Some(value)
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}
