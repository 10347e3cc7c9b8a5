//! The admin listener: what it answers to whom.

use anyhow::{Result, ensure};
use reqwest::Method;
use tidegate_tests::backend::World;
use tidegate_tests::host::{ADMIN_TOKEN, Answer};

async fn ask(world: &World, method: Method, path: &str, credential: Option<&str>) -> Result<Answer> {
    let request = world.host.client().request(method, format!("http://{}{path}", world.host.admin()?));
    Answer::of(match credential {
        Some(credential) => request.bearer_auth(credential),
        None => request,
    })
    .await
}

async fn answers(world: &World, method: Method, path: &str, credential: Option<&str>, status: u16) -> Result<Answer> {
    let answer = ask(world, method.clone(), path, credential).await?;
    ensure!(answer.status == status, "{method} {path} with {credential:?}: {} {}", answer.status, answer.body);
    Ok(answer)
}

on_each!(without_the_credential_the_admin_listener_tells_no_more_than_health: embedded);

async fn without_the_credential_the_admin_listener_tells_no_more_than_health(world: &mut World) -> Result<()> {
    world.host.start().await?;
    for credential in [None, Some(""), Some("a-wrong-admin-credential")] {
        for path in ["/admin/modules", "/admin/connections", "/admin/explain?company=a&sequence=1", "/admin/nothing"] {
            for method in [Method::GET, Method::POST] {
                let refused = answers(world, method, path, credential, 401).await?;
                ensure!(refused.header("www-authenticate") == "Bearer", "{:?}", refused.headers);
                ensure!(refused.json()?["message"].to_string().contains("admin.token"), "{}", refused.body);
            }
        }
        for path in ["/livez", "/readyz", "/stream/health", "/metrics"] {
            answers(world, Method::GET, path, credential, 200).await?;
        }
    }
    let admin = Some(ADMIN_TOKEN);
    for path in ["/admin/modules", "/admin/connections"] {
        answers(world, Method::GET, path, admin, 200).await?;
        answers(world, Method::POST, path, admin, 405).await?;
    }
    answers(world, Method::GET, "/admin/nothing", admin, 404).await?;
    Ok(())
}

on_each!(a_host_without_an_admin_token_shows_its_modules_alone: embedded);

async fn a_host_without_an_admin_token_shows_its_modules_alone(world: &mut World) -> Result<()> {
    world.host.without("TIDEGATE_ADMIN_TOKEN");
    world.host.start().await?;
    for credential in [None, Some(""), Some(ADMIN_TOKEN)] {
        answers(world, Method::GET, "/admin/modules", credential, 200).await?;
        answers(world, Method::GET, "/admin/connections", credential, 401).await?;
        answers(world, Method::GET, "/readyz", credential, 200).await?;
    }
    let done = world.host.run(&["modules"]).await?;
    ensure!(done.status.success(), "{done:?}");
    Ok(())
}

on_each!(a_command_without_the_credential_says_where_to_put_it: embedded);

async fn a_command_without_the_credential_says_where_to_put_it(world: &mut World) -> Result<()> {
    world.host.start().await?;
    world.host.without("TIDEGATE_ADMIN_TOKEN");
    let done = world.host.run(&["modules"]).await?;
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.code() == Some(1) && told.contains("TIDEGATE_ADMIN_TOKEN"), "{done:?}");
    Ok(())
}
