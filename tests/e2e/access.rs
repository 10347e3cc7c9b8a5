//! Who may see whose stream.

use anyhow::{Result, ensure};
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tidegate_tests::backend::World;
use tidegate_tests::history::payload;
use tidegate_tests::host::Answer;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;

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
    tidegate_tests::wait::until_ok("the event is counted", || async {
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
