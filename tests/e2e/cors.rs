//! Pages of other origins: exactly those that are configured.

use anyhow::{Result, ensure};
use tidegate_tests::backend::World;
use tidegate_tests::host::Answer;
use tidegate_tests::stream::Request;

const ORIGIN: &str = "https://app.example.com";

on_each!(configured_origins_may_stream_and_no_others: embedded);

async fn configured_origins_may_stream_and_no_others(world: &mut World) -> Result<()> {
    world.host.env("TIDEGATE_CORS", ORIGIN);
    world.host.start().await?;
    let stream = world.host.open(&Request::company("a").header("Origin", ORIGIN)).await?;
    ensure!(stream.status == 200 && stream.header("access-control-allow-origin") == ORIGIN, "{:?}", stream.headers);
    ensure!(stream.header("vary").to_ascii_lowercase().contains("origin"), "{:?}", stream.headers);
    for foreign in ["https://evil.example.com", "http://app.example.com", "https://app.example.com.evil.org", "null"] {
        let stream = world.host.open(&Request::company("a").header("Origin", foreign)).await?;
        ensure!(stream.header("access-control-allow-origin").is_empty(), "{foreign}: {:?}", stream.headers);
    }
    Ok(())
}

on_each!(preflights_are_answered_without_credentials: embedded);

async fn preflights_are_answered_without_credentials(world: &mut World) -> Result<()> {
    world.host.env("TIDEGATE_CORS", ORIGIN).env("TIDEGATE_ACCESS", "jwt");
    world.host.env("TIDEGATE_JWT_SECRET", "a-secret-of-more-than-thirty-two-bytes");
    world.host.start().await?;
    let ask = |origin: &str| {
        let url = world.host.url("/stream/updates?companyId=a").unwrap_or_default();
        let request = world.host.client().request(reqwest::Method::OPTIONS, url).header("origin", origin);
        Answer::of(
            request
                .header("access-control-request-method", "GET")
                .header("access-control-request-headers", "authorization,last-event-id"),
        )
    };
    let allowed = ask(ORIGIN).await?;
    ensure!(allowed.status < 300, "{} {}", allowed.status, allowed.body);
    ensure!(allowed.header("access-control-allow-origin") == ORIGIN, "{:?}", allowed.headers);
    let headers = allowed.header("access-control-allow-headers").to_ascii_lowercase();
    ensure!(headers.contains("last-event-id") && headers.contains("authorization"), "{headers}");
    let refused = ask("https://evil.example.com").await?;
    ensure!(refused.header("access-control-allow-origin").is_empty(), "{:?}", refused.headers);
    Ok(())
}
