//! Who may see whose stream.

use anyhow::{Result, ensure};
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tidegate_tests::backend::World;
use tidegate_tests::history::payload;
use tidegate_tests::host::{ADMIN_TOKEN, Answer};
use tidegate_tests::modules::Modules;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::SUBJECT;

const SECRET: &str = "a-secret-of-more-than-thirty-two-bytes";

fn token(secret: &str, claims: &Value) -> Result<String> {
    Ok(encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes()))?)
}

fn soon() -> u64 {
    get_current_timestamp() + 600
}

async fn start(world: &mut World) -> Result<()> {
    world.host.env("TIDEGATE_ACCESS", "jwt").env("TIDEGATE_JWT_SECRET", SECRET);
    world.host.start().await
}

on_each!(a_token_opens_its_own_companys_stream_alone: embedded);

async fn a_token_opens_its_own_companys_stream_alone(world: &mut World) -> Result<()> {
    start(world).await?;
    let good = token(SECRET, &json!({"companyId": "a", "exp": soon()}))?;
    let bearer =
        |company: &str, token: &str| Request::company(company).header("Authorization", &format!("Bearer {token}"));
    let cookie = Request::company("a").header("Cookie", &format!("theme=dark; tidegate_token={good}"));
    for request in [bearer("a", &good), cookie] {
        let stream = Recorder::open(&world.host, &request).await?;
        world.publisher().await?.send(SUBJECT, payload("a", 1)).await?;
        stream.events_reach(1).await?;
    }
    let path = |company: &str| format!("/stream/updates?companyId={company}");
    let ask = |company: &str, token: &str| {
        let request = world.host.client().get(world.host.url(&path(company)).unwrap_or_default());
        Answer::of(request.header("accept", "text/event-stream").bearer_auth(token))
    };
    let foreign = ask("b", &good).await?;
    ensure!(foreign.status == 403, "{}", foreign.status);
    let text = r#"{"error":"Forbidden","message":"You can only stream events for your own company"}"#;
    ensure!(foreign.body == text, "{}", foreign.body);
    for (what, wrong) in [
        (
            "of another secret",
            token("another-secret-of-thirty-two-bytes!!", &json!({"companyId": "a", "exp": soon()}))?,
        ),
        ("expired", token(SECRET, &json!({"companyId": "a", "exp": get_current_timestamp() - 600}))?),
        ("without an end", token(SECRET, &json!({"companyId": "a"}))?),
        ("not valid yet", token(SECRET, &json!({"companyId": "a", "exp": soon(), "nbf": soon()}))?),
        ("without a signature", format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap_or_default())),
        ("no token", "rubbish".to_owned()),
    ] {
        let answer = ask("a", &wrong).await?;
        ensure!(answer.status == 401, "{what}: {} {}", answer.status, answer.body);
        ensure!(answer.json()?["error"].is_string(), "{what}: {}", answer.body);
    }
    ensure!(world.host.get(&path("a")).await?.status == 401);
    let nobody = ask("a", &token(SECRET, &json!({"exp": soon()}))?).await?;
    ensure!(nobody.status == 401 || nobody.status == 403, "{}", nobody.status);
    Ok(())
}

on_each!(stats_show_a_user_the_own_company_only: embedded);

async fn stats_show_a_user_the_own_company_only(world: &mut World) -> Result<()> {
    start(world).await?;
    world.host.ingest(SUBJECT, "application/json", payload("a", 0)).await?;
    world.host.ingest(SUBJECT, "application/json", payload("b", 0)).await?;
    ensure!(world.host.get("/stream/stats").await?.status == 401);
    let user = token(SECRET, &json!({"companyId": "a", "exp": soon()}))?;
    let request = || world.host.client().get(world.host.url("/stream/stats").unwrap_or_default()).bearer_auth(&user);
    wait::until_ok("the event is counted", || async {
        let stats = Answer::of(request()).await?.json()?;
        ensure!(stats["replayCache"]["eventsByCompany"] == json!({"a": 1}), "{stats}");
        ensure!(stats["replayCache"]["totalEvents"] == 1 && stats["replayCache"]["companies"] == 1, "{stats}");
        ensure!(!stats.to_string().contains("\"b\""), "{stats}");
        Ok(())
    })
    .await
}

on_each!(an_open_host_on_a_public_address_is_refused: embedded);

async fn an_open_host_on_a_public_address_is_refused(world: &mut World) -> Result<()> {
    world.host.env("TIDEGATE_HOST", "0.0.0.0");
    let done = world.host.run(&["run"]).await?;
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.code() == Some(2), "{done:?}");
    ensure!(told.contains("access.mode") && told.contains("jwt"), "{told}");
    world.host.env("TIDEGATE_ACCESS", "jwt");
    let done = world.host.run(&["run"]).await?;
    ensure!(done.status.code() == Some(2), "jwt without a key: {done:?}");
    Ok(())
}

on_each!(with_tokens_only_the_admin_listener_names_companies: embedded);

async fn with_tokens_only_the_admin_listener_names_companies(world: &mut World) -> Result<()> {
    const COMPANIES: [&str; 2] = ["acme-of-the-test", "globex-of-the-test"];
    start(world).await?;
    let mut streams = Vec::new();
    for company in COMPANIES {
        let token = token(SECRET, &json!({"companyId": company, "exp": soon()}))?;
        let request = Request::company(company).header("Authorization", &format!("Bearer {token}"));
        streams.push(Recorder::open(&world.host, &request).await?);
    }
    Modules::of(&world.host.modules(), COMPANIES[0]).put("10-broken.wasm", b"no module")?;
    wait::until_ok("the admin listener names both", || async {
        let (metrics, health) =
            (admin(world, "/metrics", None).await?.body, admin(world, "/stream/health", None).await?);
        for company in COMPANIES {
            let row = format!("tidegate_connections{{company=\"{company}\"}} 1");
            ensure!(metrics.lines().any(|line| line == row), "{metrics}");
        }
        ensure!(
            health.json()?["components"]["modules"]["reason"].to_string().contains(COMPANIES[0]),
            "{}",
            health.body
        );
        Ok(())
    })
    .await?;
    let (metrics, health) = (world.host.get("/metrics").await?.body, world.host.get("/stream/health").await?);
    ensure!(metrics.lines().any(|line| line == "tidegate_connections 2"), "{metrics}");
    ensure!(health.json()?["status"] == "degraded", "{}", health.body);
    let reason = "folders refused or other than what runs: 1";
    ensure!(health.json()?["components"]["modules"]["reason"] == reason, "{}", health.body);
    for company in COMPANIES {
        ensure!(!metrics.contains(company) && !health.body.contains(company), "{metrics}{}", health.body);
    }
    Ok(())
}

on_each!(the_admin_listener_tells_health_with_a_token_and_without: embedded);

async fn the_admin_listener_tells_health_with_a_token_and_without(world: &mut World) -> Result<()> {
    start(world).await?;
    for credential in [None, Some(ADMIN_TOKEN), Some("a-wrong-admin-credential")] {
        let (ready, health) =
            (admin(world, "/readyz", credential).await?, admin(world, "/stream/health", credential).await?);
        ensure!(
            (ready.status, ready.body.as_str()) == (200, "ok\n"),
            "{credential:?}: {} {}",
            ready.status,
            ready.body
        );
        ensure!(health.status == 200 && health.json()?["status"] == "ok", "{credential:?}: {}", health.body);
        let public = world.host.json("/stream/health").await?;
        ensure!(health.json()?["components"] == public["components"], "{public}");
    }
    Ok(())
}

async fn admin(world: &World, path: &str, credential: Option<&str>) -> Result<Answer> {
    let request = world.host.client().get(format!("http://{}{path}", world.host.admin()?));
    Answer::of(match credential {
        Some(credential) => request.bearer_auth(credential),
        None => request,
    })
    .await
}

on_each!(a_host_that_never_read_its_key_set_is_not_ready_and_says_so: embedded);

async fn a_host_that_never_read_its_key_set_is_not_ready_and_says_so(world: &mut World) -> Result<()> {
    let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    world.host.env("TIDEGATE_ACCESS", "jwt").env("TIDEGATE_JWKS", &format!("http://{nobody}/keys"));
    world.host.launch().await?;
    wait::until_ok("the host tells of its keys", || async {
        let health = world.host.json("/stream/health").await?;
        let parts = &health["components"];
        ensure!(parts["store"]["state"] == "up" && parts["source"]["state"] == "up", "{health}");
        ensure!(health["status"] == "degraded" && parts["keys"]["state"] == "down", "{health}");
        let ready = world.host.get("/readyz").await?;
        ensure!(ready.status == 503 && ready.body.contains("key set"), "{} {}", ready.status, ready.body);
        Ok(())
    })
    .await?;
    ensure!(!world.host.log().contains("tidegate is ready"), "{}", world.host.log());
    // Of a key that it would ask that address for; nobody gets as far as its signature.
    let token = format!("eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.eyJjb21wYW55SWQiOiJhIn0.{}", "A".repeat(86));
    let refused =
        Answer::of(world.host.client().get(world.host.url("/stream/updates?companyId=a")?).bearer_auth(token));
    let refused = refused.await?;
    ensure!(refused.status == 503, "not overload, but keys that are away: {} {}", refused.status, refused.body);
    let counted = world.host.metrics().await?.labelled("connection_errors_total", "reason=\"keys-unavailable\"");
    ensure!(counted > 0.5, "counted {counted} times");
    // Now somebody serves it: the host finds out by itself.
    let listener = TcpListener::bind(nobody).await?;
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
            let length = keys.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{keys}");
            let mut asked = [0; 4096];
            if socket.read(&mut asked).await.is_ok() {
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        }
    });
    wait::until_ok("the host is ready", || async {
        let (ready, health) = (world.host.get("/readyz").await?, world.host.json("/stream/health").await?);
        ensure!(ready.status == 200 && health["status"] == "ok", "{} {health}", ready.body);
        ensure!(health["components"]["keys"]["state"] == "up", "{health}");
        Ok(())
    })
    .await
}
