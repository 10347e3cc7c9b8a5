//! The keys that check signatures, each bound to its family: what a token says of itself chooses none.

use super::Refusal;
use crate::config::Jwt;
use arc_swap::{ArcSwapOption, Guard};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The most keys a set may hold.
const KEYS_MAX: usize = 100;

/// Keys that stand in the configuration.
#[derive(Default)]
pub(super) struct StaticKeys(Vec<DecodingKey>);

impl std::fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StaticKeys({})", self.0.len())
    }
}

impl StaticKeys {
    pub(super) fn new(jwt: &Jwt) -> Result<Self, String> {
        let mut keys = Vec::new();
        if let Some(secret) = &jwt.secret {
            keys.push(DecodingKey::from_secret(secret.expose().as_bytes()));
        }
        if let Some(file) = &jwt.public_key {
            keys.push(public_key(&file.pem)?);
        }
        Ok(Self(keys))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn public_key(pem: &str) -> Result<DecodingKey, String> {
    if pem.contains("PRIVATE KEY") {
        return Err("the file holds a private key: give the host the public one alone".to_owned());
    }
    let pem = pem.as_bytes();
    DecodingKey::from_rsa_pem(pem)
        .or_else(|_| DecodingKey::from_ec_pem(pem))
        .or_else(|_| DecodingKey::from_ed_pem(pem))
        .map_err(|error| format!("no RSA, EC or Ed25519 public key in it: {error}"))
}

/// One key of a set.
pub(super) struct NamedKey {
    id: Option<String>,
    algorithm: Option<String>,
    key: DecodingKey,
}

impl std::fmt::Debug for NamedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NamedKey({:?})", self.id)
    }
}

/// The keys of a set as last read; empty until it was read once.
#[derive(Debug, Default)]
pub(super) struct KeyRing(ArcSwapOption<Vec<NamedKey>>);

impl KeyRing {
    pub(super) fn load(&self) -> Guard<Option<Arc<Vec<NamedKey>>>> {
        self.0.load()
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.0.load().is_some()
    }

    pub(super) fn store(&self, keys: Vec<NamedKey>) {
        self.0.store(Some(Arc::new(keys)));
    }
}

/// Reads a key set. Keys of kinds that can't be used are left out; a set without any other is refused.
pub(super) fn read_set(bytes: &[u8]) -> Result<Vec<NamedKey>, String> {
    #[derive(serde::Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(bytes).map_err(|error| format!("not a JSON Web Key Set: {error}"))?;
    let keys: Vec<NamedKey> = set.keys.into_iter().take(KEYS_MAX).filter_map(named_key).collect();
    if keys.is_empty() { Err("no RSA, EC or Ed25519 key for signatures in it".to_owned()) } else { Ok(keys) }
}

fn named_key(value: Value) -> Option<NamedKey> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    // A secret in a set that anyone may read signs nothing.
    if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
        return None;
    }
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    if common.key_operations.as_ref().is_some_and(|list| !list.contains(&KeyOperations::Verify)) {
        return None;
    }
    let algorithm = common.key_algorithm.map(|algorithm| algorithm.to_string());
    Some(NamedKey { id: common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(&jwk).ok()? })
}

/// The payload of a token whose signature is good under one of the keys and `algorithms`. `set_missing`: a key set is
/// configured, but was never read.
pub(super) fn verify(
    token: &str,
    algorithms: &[Algorithm],
    fixed: &StaticKeys,
    ring: &Option<Arc<Vec<NamedKey>>>,
    set_missing: bool,
) -> Result<Map<String, Value>, Refusal> {
    let header = decode_header(token).map_err(|_unread| Refusal::Unauthorized("the token is not readable"))?;
    if !algorithms.contains(&header.alg) {
        return Err(Refusal::Unauthorized("the token is signed with an algorithm that is not accepted"));
    }
    if header.crit.is_some() {
        return Err(Refusal::Unauthorized("the token asks for an extension that is not served"));
    }
    let family = header.alg.family();
    let name = format!("{:?}", header.alg);
    let named = ring.iter().flat_map(|keys| keys.iter()).filter(|key| {
        family != AlgorithmFamily::Hmac
            && key.algorithm.as_ref().is_none_or(|algorithm| *algorithm == name)
            && (header.kid.is_none() || key.id == header.kid)
    });
    let named: Vec<&DecodingKey> = named.map(|named| &named.key).filter(|key| key.family() == family).collect();
    let unknown_id = family != AlgorithmFamily::Hmac && ring.is_some() && header.kid.is_some() && named.is_empty();
    let mut candidates: Vec<&DecodingKey> = fixed.0.iter().filter(|key| key.family() == family).collect();
    candidates.extend(named);
    let mut validation = Validation::new(header.alg);
    // Time, issuer and audience are checked in claims.rs, against the host's own clock.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    for key in &candidates {
        match decode::<Map<String, Value>>(token, key, &validation) {
            Ok(read) => return Ok(read.claims),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm) => {}
            Err(_unread) => return Err(Refusal::Unauthorized("the token is not readable")),
        }
    }
    if set_missing && family != AlgorithmFamily::Hmac {
        return Err(Refusal::Unavailable("the keys for tokens are not there yet"));
    }
    if candidates.is_empty() || unknown_id {
        return Err(Refusal::UnknownKey);
    }
    Err(Refusal::Unauthorized("the token's signature is wrong"))
}
