//! The promises of access: who gets in, who does not, and why.

use super::{AccessState, Identity, Reach, Refusal, identify};
use crate::clock::{Clock, ClockHand};
use crate::config::Config;
use crate::health::Health;
use crate::tasks::Tasks;
use crate::telemetry::Metrics;
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::{rsa, signature};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_core::event::Company;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const NOW_S: u64 = 1_700_000_000;
const SECRET: &str = "a secret that is long enough for HS256";

/// A key that signs, and its public half as PEM.
struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    public_pem: String,
}

impl Signer {
    fn rsa() -> Self {
        use aws_lc_rs::encoding::Pkcs8V1Der;
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("a key");
        let private: Pkcs8V1Der<'_> = pair.as_der().expect("encodes");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("encodes");
        let key = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).expect("a key");
        Self { algorithm: Algorithm::RS256, key, public_pem: pem("PUBLIC KEY", public.as_ref()) }
    }

    fn ec() -> Self {
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let signing = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let private = signature::EcdsaKeyPair::generate_pkcs8(signing, &rng).expect("a key");
        let pair = signature::EcdsaKeyPair::from_pkcs8(signing, private.as_ref()).expect("a key");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("encodes");
        let key = EncodingKey::from_ec_der(private.as_ref());
        Self { algorithm: Algorithm::ES256, key, public_pem: pem("PUBLIC KEY", public.as_ref()) }
    }

    fn ed() -> Self {
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let private = signature::Ed25519KeyPair::generate_pkcs8v1(&rng).expect("a key");
        let pair = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(private.as_ref()).expect("a key");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("encodes");
        let key = EncodingKey::from_ed_der(private.as_ref());
        Self { algorithm: Algorithm::EdDSA, key, public_pem: pem("PUBLIC KEY", public.as_ref()) }
    }

    fn token(&self, id: Option<&str>, claims: &Value) -> String {
        sign(self.algorithm, &self.key, id, claims)
    }

    fn jwk(&self, id: &str) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a key");
        jwk.common.key_id = Some(id.to_owned());
        serde_json::to_value(jwk).expect("encodes")
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der))
}

fn sign(algorithm: Algorithm, key: &EncodingKey, id: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = id.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, key).expect("signs")
}

fn claims() -> Value {
    json!({"companyId": "acme", "exp": NOW_S + 600, "sub": "user-1"})
}

fn with(changes: Value) -> Value {
    let mut all = claims();
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => all.as_object_mut().expect("an object").remove(name),
            value => all.as_object_mut().expect("an object").insert(name.clone(), value.clone()),
        };
    }
    all
}

fn company(name: &str) -> Company {
    Company::new(name).expect("a name")
}

fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}")).expect("a header"));
    headers
}

fn state(pairs: &[(&str, &str)]) -> (AccessState, ClockHand) {
    let (clock, hand) = Clock::set_by_hand(NOW_S * 1_000);
    let pairs: Vec<(&str, &str)> = [("access.mode", "jwt")].iter().chain(pairs).copied().collect();
    let config = Config::from_pairs(&pairs).expect("a good configuration");
    (AccessState::new(&config, clock).expect("good keys"), hand)
}

fn shared(pairs: &[(&str, &str)]) -> (AccessState, ClockHand) {
    let pairs: Vec<(&str, &str)> = [("access.jwt.secret", SECRET)].iter().chain(pairs).copied().collect();
    state(&pairs)
}

fn hs256(claims: &Value) -> String {
    sign(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()), None, claims)
}

/// The refusal of a request with this token for `acme`, or `None`.
fn refusal(state: &AccessState, token: &str) -> Option<Refusal> {
    identify(state, &bearer(token), Some(&company("acme"))).err()
}

fn reason(state: &AccessState, token: &str) -> &'static str {
    match refusal(state, token) {
        Some(Refusal::Unauthorized(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// A file of this test alone, gone at its end.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidegate-identify-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("a file for the test");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

#[test]
fn open_access_asks_nobody() {
    let config = Config::from_pairs(&[]).expect("defaults");
    let state = AccessState::new(&config, Clock::system()).expect("no keys needed");
    let identity = identify(&state, &HeaderMap::new(), Some(&company("acme"))).expect("open");
    assert_eq!(identity, Identity { reach: Reach::All, expires_at_ms: None, subject: None });
}

#[test]
fn a_good_token_opens_its_own_company_alone() {
    let (state, _) = shared(&[]);
    let headers = bearer(&hs256(&claims()));
    let identity = identify(&state, &headers, Some(&company("acme"))).expect("a good token");
    assert_eq!(identity.reach, Reach::Companies(vec![company("acme")]));
    assert_eq!(identity.expires_at_ms, Some((NOW_S + 600 + 30) * 1_000));
    assert_eq!(identity.subject.as_deref(), Some("user-1"));
    assert!(identify(&state, &headers, None).is_ok());

    let refusal = identify(&state, &headers, Some(&company("other"))).expect_err("not the own company");
    assert_eq!(refusal, Refusal::Forbidden);
    assert_eq!(refusal.status(), 403);
    assert_eq!(refusal.body(), r#"{"error":"Forbidden","message":"You can only stream events for your own company"}"#);
}

#[test]
fn without_a_token_the_answer_is_401() {
    let (state, _) = shared(&[]);
    let refusal = identify(&state, &HeaderMap::new(), Some(&company("acme"))).expect_err("no token");
    assert_eq!((refusal.status().as_u16(), refusal.challenge()), (401, Some("Bearer")));
    let body: Value = serde_json::from_str(&refusal.body()).expect("JSON");
    assert_eq!(body["error"], "Unauthorized");
}

#[test]
fn each_family_of_public_keys_checks_its_own_tokens_alone() {
    let signers = [Signer::rsa(), Signer::ec(), Signer::ed()];
    for (i, signer) in signers.iter().enumerate() {
        let file = File::new(&format!("{i}.pem"), &signer.public_pem);
        let algorithm = format!("{:?}", signer.algorithm);
        let (state, _) = state(&[("access.jwt.public-key", file.path()), ("access.jwt.algorithms", &algorithm)]);
        for other in &signers {
            let refused = refusal(&state, &other.token(None, &claims()));
            assert_eq!(
                refused.is_none(),
                other.algorithm == signer.algorithm,
                "{algorithm} and {:?}: {refused:?}",
                other.algorithm
            );
        }
    }
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let signer = Signer::rsa();
    let file = File::new("confusion.pem", &signer.public_pem);
    let forged = sign(Algorithm::HS256, &EncodingKey::from_secret(signer.public_pem.as_bytes()), None, &claims());
    let (public_only, _) = state(&[("access.jwt.public-key", file.path())]);
    assert_eq!(reason(&public_only, &forged), "the token is signed with an algorithm that is not accepted");
    let (both, _) = shared(&[("access.jwt.public-key", file.path())]);
    assert_eq!(reason(&both, &forged), "the token's signature is wrong");
}

#[test]
fn the_token_does_not_choose_the_algorithm() {
    let (state, _) = shared(&[]);
    let stronger = sign(Algorithm::HS512, &EncodingKey::from_secret(SECRET.as_bytes()), None, &claims());
    assert_eq!(reason(&state, &stronger), "the token is signed with an algorithm that is not accepted");
    let encode = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!("{}.{}.", encode(json!({"alg": "none"})), encode(claims()));
    assert_eq!(reason(&state, &unsigned), "the token is not readable");
    for garbage in ["", "x", "a.b", "a.b.c", "....", "é.é.é"] {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(format!("Bearer {garbage}").as_bytes()).expect("a header");
        headers.insert("authorization", value);
        assert!(matches!(identify(&state, &headers, None), Err(Refusal::Unauthorized(_))), "{garbage}");
    }
    let long = "x".repeat(9_000);
    assert_eq!(reason(&state, &long), "the token is too long");
}

#[test]
fn a_token_counts_between_nbf_and_exp_give_or_take_the_leeway() {
    let (state, clock) = shared(&[]);
    let token = hs256(&with(json!({"nbf": NOW_S, "exp": NOW_S + 60})));
    for (at_s, expected) in [
        (NOW_S - 31, Some("the token is not valid yet")),
        (NOW_S - 30, None),
        (NOW_S + 89, None),
        (NOW_S + 90, Some("the token has expired")),
    ] {
        clock.set(at_s * 1_000);
        assert_eq!(refusal(&state, &token), expected.map(Refusal::Unauthorized), "{at_s}");
    }
}

#[test]
fn a_token_without_a_readable_exp_is_refused() {
    let (state, _) = shared(&[]);
    assert_eq!(reason(&state, &hs256(&with(json!({"exp": null})))), "the token has no exp");
    assert_eq!(reason(&state, &hs256(&with(json!({"exp": "tomorrow"})))), "a time in the token is not a number");
    assert_eq!(reason(&state, &hs256(&with(json!({"nbf": "now"})))), "a time in the token is not a number");
    assert_eq!(reason(&state, &hs256(&with(json!({"exp": -5})))), "the token has expired");
    assert_eq!(refusal(&state, &hs256(&with(json!({"exp": NOW_S as f64 + 0.5})))), None);
}

#[test]
fn issuer_and_audience_are_checked_where_they_are_set() {
    let (state, _) =
        shared(&[("access.jwt.issuer", "https://id.example.com"), ("access.jwt.audience", "streams,dash")]);
    let good = json!({"iss": "https://id.example.com", "aud": ["x", "streams"]});
    assert_eq!(refusal(&state, &hs256(&with(good))), None);
    for (changes, expected) in [
        (json!({"aud": "streams"}), "the token has another issuer"),
        (json!({"iss": "https://evil.example.com", "aud": "streams"}), "the token has another issuer"),
        (json!({"iss": ["https://id.example.com"], "aud": "streams"}), "the token has another issuer"),
        (json!({"iss": "https://id.example.com"}), "the token is for another audience"),
        (json!({"iss": "https://id.example.com", "aud": "other"}), "the token is for another audience"),
    ] {
        assert_eq!(reason(&state, &hs256(&with(changes.clone()))), expected, "{changes}");
    }
    let (unset, _) = shared(&[]);
    assert_eq!(refusal(&unset, &hs256(&with(json!({"aud": "anything"})))), None);
}

#[test]
fn the_company_claim_is_a_text_a_number_or_a_list_under_any_name() {
    let reach = |claim: &str, changes: Value| {
        let (state, _) = shared(&[("access.jwt.company-claim", claim)]);
        identify(&state, &bearer(&hs256(&with(changes))), None).map(|identity| identity.reach)
    };
    let acme = Ok(Reach::Companies(vec![company("acme")]));
    assert_eq!(reach("tenant.id", json!({"tenant": {"id": "acme"}})), acme);
    assert_eq!(reach("https://example.com/company", json!({"https://example.com/company": "acme"})), acme);
    assert_eq!(reach("org", json!({"org": 42})), Ok(Reach::Companies(vec![company("42")])));
    assert_eq!(
        reach("orgs", json!({"orgs": ["acme", "b", 7]})),
        Ok(Reach::Companies(vec![company("acme"), company("b")]))
    );
    for changes in [
        json!({}),
        json!({"org": ""}),
        json!({"org": "a/b"}),
        json!({"org": []}),
        json!({"org": true}),
        json!({"org": "_platform"}),
    ] {
        assert_eq!(reach("org", changes), Err(Refusal::Unauthorized("the token names no company")));
    }
}

#[test]
fn a_token_may_come_in_a_cookie_and_the_header_beats_it() {
    let (state, _) = shared(&[("access.jwt.cookie", "session")]);
    let good = hs256(&claims());
    let mut headers = HeaderMap::new();
    headers.insert("cookie", HeaderValue::from_str(&format!("a=b; session={good}; c=d")).expect("a header"));
    assert!(identify(&state, &headers, Some(&company("acme"))).is_ok());
    headers.insert("authorization", HeaderValue::from_static("Basic dXNlcjpwYXNz"));
    assert!(identify(&state, &headers, None).is_ok(), "another scheme is a proxy's business");
    headers.insert("authorization", HeaderValue::from_static("Bearer wrong"));
    assert!(identify(&state, &headers, None).is_err());
    headers.append("authorization", HeaderValue::from_str(&format!("Bearer {good}")).expect("a header"));
    assert!(identify(&state, &headers, None).is_err(), "two headers say two things");
    let mut other = HeaderMap::new();
    other
        .insert("cookie", HeaderValue::from_str(&format!("xsession={good}; tidegate_token={good}")).expect("a header"));
    assert!(identify(&state, &other, None).is_err());
}

#[test]
fn a_key_that_can_not_be_used_is_a_mistake_of_the_configuration() {
    let access = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(&str, &str)> = [("access.mode", "jwt")].iter().chain(pairs).copied().collect();
        AccessState::new(&Config::from_pairs(&pairs).expect("readable"), Clock::system()).map(|_| ())
    };
    let file = File::new("garbage.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    let error = access(&[("access.jwt.public-key", file.path())]).expect_err("no key");
    assert_eq!((error.key.as_str(), error.value.as_str()), ("access.jwt.public-key", file.path()));
    let file = File::new("private.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let error = access(&[("access.jwt.public-key", file.path())]).expect_err("the wrong half");
    assert!(error.problem.contains("private key"), "{error}");
    for text in ["nothing", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}"] {
        let file = File::new("garbage.json", text);
        let error = access(&[("access.jwt.jwks", file.path())]).expect_err("no key set");
        assert_eq!(error.key, "access.jwt.jwks");
    }
}

#[test]
fn a_key_set_in_a_file_is_searched_by_the_tokens_key_id() {
    let (one, two) = (Signer::ec(), Signer::ed());
    let encryption = json!({"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"});
    let curve = json!({"kty": "OKP", "crv": "X25519", "x": "AAAA", "kid": "strange"});
    let set = json!({"keys": [encryption, curve, one.jwk("one"), two.jwk("two")]});
    let file = File::new("set.json", &set.to_string());
    let (state, _) = state(&[("access.jwt.jwks", file.path())]);
    assert_eq!(refusal(&state, &one.token(Some("one"), &claims())), None);
    assert_eq!(refusal(&state, &two.token(Some("two"), &claims())), None);
    assert_eq!(refusal(&state, &two.token(None, &claims())), None);
    assert_eq!(refusal(&state, &one.token(Some("two"), &claims())), Some(Refusal::UnknownKey));
    let stranger = Signer::ec();
    assert_eq!(reason(&state, &stranger.token(Some("one"), &claims())), "the token's signature is wrong");
}

/// Serves a key set that the test can change, and counts the requests.
struct KeyServer {
    address: String,
    body: Arc<Mutex<String>>,
    served: Arc<std::sync::atomic::AtomicUsize>,
    tasks: Tasks,
}

impl KeyServer {
    async fn start(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let server =
            Self { address, body: Arc::new(Mutex::new(body.to_owned())), served: Arc::default(), tasks: Tasks::new() };
        let (body, served, stop) = (Arc::clone(&server.body), Arc::clone(&server.served), server.tasks.token());
        server.tasks.spawn("key-server", async move {
            loop {
                let accepted = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let (mut socket, _) = accepted.expect("a connection");
                let mut request = [0; 4_096];
                let read = socket.read(&mut request).await.expect("a request");
                assert!(request[..read].starts_with(b"GET /keys"));
                let body = body.lock().expect("not poisoned").clone();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                served.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                socket.write_all(format!("{head}{body}").as_bytes()).await.ok();
            }
        });
        server
    }

    fn serve(&self, body: &str) {
        body.clone_into(&mut self.body.lock().expect("not poisoned"));
    }

    fn served(&self) -> usize {
        self.served.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[tokio::test]
async fn an_unknown_key_makes_the_set_be_read_again_at_most_once_a_minute() {
    let (old, new) = (Signer::ec(), Signer::ec());
    let server = KeyServer::start(&json!({"keys": [old.jwk("old")]}).to_string()).await;
    let (state, clock) = state(&[("access.jwt.jwks", &server.address)]);
    let (old_token, new_token) =
        (bearer(&old.token(Some("old"), &claims())), bearer(&new.token(Some("new"), &claims())));
    let health = Health::new(Metrics::new());
    let early = identify(&state, &old_token, None);
    assert!(matches!(early, Err(Refusal::Unavailable(_))), "{early:?}");

    let tasks = Tasks::new();
    state.keep_fresh(&tasks, &health);
    assert_eq!(health.report().1["keys"].state, "down");
    while health.report().1["keys"].state != "up" {
        tokio::task::yield_now().await;
    }
    assert!(state.identify(&old_token, None).await.is_ok());
    assert_eq!(server.served(), 1);

    server.serve(&json!({"keys": [old.jwk("old"), new.jwk("new")]}).to_string());
    assert!(state.identify(&new_token, None).await.is_ok(), "found by reading again");
    assert_eq!(server.served(), 2);
    let stranger = bearer(&Signer::ec().token(Some("stranger"), &claims()));
    for _ in 0..5 {
        assert_eq!(state.identify(&stranger, None).await, Err(Refusal::UnknownKey));
    }
    assert_eq!(server.served(), 2, "within the minute nobody is asked");
    clock.advance(60_000);
    server.serve("gone");
    assert_eq!(state.identify(&stranger, None).await, Err(Refusal::UnknownKey));
    assert_eq!(server.served(), 3);
    assert!(state.identify(&new_token, None).await.is_ok(), "a bad answer leaves the old keys");
    assert!(tasks.shutdown(Duration::from_secs(5)).await.is_empty());
    assert!(server.tasks.shutdown(Duration::from_secs(5)).await.is_empty());
}

#[tokio::test]
async fn a_key_set_without_end_is_not_read_to_the_end() {
    let server = KeyServer::start(&" ".repeat(300 << 10)).await;
    let (state, _) = state(&[("access.jwt.jwks", &server.address)]);
    let token = bearer(&Signer::ec().token(None, &claims()));
    if let Some(refresher) = &state.0.refresher {
        refresher.refresh_for_unknown().await;
    }
    assert!(matches!(identify(&state, &token, None), Err(Refusal::Unavailable(_))));
    assert!(server.tasks.shutdown(Duration::from_secs(5)).await.is_empty());
}
