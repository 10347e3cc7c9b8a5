//! `tidegate dlq`: dead letters are found, shown whole, and tried again for the company that missed them.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::backend::World;
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::modules::{commanded, stateful};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;

use crate::SUBJECT;
use crate::failing_filters::deploy;

async fn dlq(world: &World, args: &[&str], status: i32) -> Result<Output> {
    let done = world.host.run(&[&["dlq"], args].concat()).await?;
    ensure!(done.status.code() == Some(status), "dlq {args:?}: {done:?}");
    Ok(done)
}

/// The lines of JSON that it prints.
async fn told(world: &World, args: &[&str], status: i32) -> Result<Vec<Value>> {
    let done = dlq(world, &[args, &["--json"]].concat(), status).await?;
    let lines = String::from_utf8(done.stdout)?;
    lines.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// Waits until so many letters are listed, and gives them.
async fn letters(world: &World, args: &[&str], count: usize) -> Result<Vec<Value>> {
    wait::until_ok("the letters are listed", || async {
        let found = told(world, &[&["list"], args].concat(), 0).await?;
        ensure!(found.len() == count, "{} of {count} letters: {found:?}", found.len());
        Ok(found)
    })
    .await
}

fn place(letter: &Value) -> Result<String> {
    letter["place"].as_u64().map(|place| place.to_string()).with_context(|| letter.to_string())
}

/// Which version of the filter runs for company a.
async fn version(world: &World) -> Result<Value> {
    let listed = world.host.listed_modules().await?;
    let folder = listed["folders"].as_array().into_iter().flatten().find(|folder| folder["folder"] == "a");
    Ok(folder.context("company a has no folder")?["filters"][0]["digest"].clone())
}

on_each!(a_letter_is_retried_once_and_for_its_company_alone: embedded, jetstream, old_jetstream, core);

async fn a_letter_is_retried_once_and_for_its_company_alone(world: &mut World) -> Result<()> {
    let modules = deploy(world, "")?;
    world.host.start().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    let b = Recorder::open(&world.host, &Request::company("b")).await?;
    let publisher = world.publisher().await?;
    for (n, command) in [(0, '.'), (1, 't'), (2, '.'), (3, 'e')] {
        publisher.send(SUBJECT, commanded(command, "a", n)).await?;
        publisher.send(SUBJECT, payload("b", n)).await?;
    }
    a.events_reach(2).await?;
    b.events_reach(4).await?;

    let found = letters(world, &[], 2).await?;
    ensure!(found[0]["payloadBytes"] == commanded('e', "a", 3).len(), "not the newest first: {found:?}");
    ensure!(found.iter().all(|letter| letter["company"] == "a" && letter["subject"] == SUBJECT), "{found:?}");
    letters(world, &["--company", "b"], 0).await?;
    letters(world, &["--reason", "10-guest@"], 2).await?;
    letters(world, &["--reason", "no such words"], 0).await?;
    let trapped = letters(world, &["--kind", "trap", "--since", "1h", "--subject", SUBJECT], 1).await?;
    let trapped = place(&trapped[0])?;
    let shown = String::from_utf8(dlq(world, &["show", &trapped], 0).await?.stdout)?;
    for part in ["kind      trap", "company   a", &format!("subject   {SUBJECT}"), "10-guest@", &commanded('t', "a", 1)]
    {
        ensure!(shown.contains(part), "no {part:?} in\n{shown}");
    }

    // The filter is mended: this one passes what it is given.
    let broken = version(world).await?;
    modules.put("10-guest.wasm", &stateful()?)?;
    wait::until_ok("the mended filter runs", || async {
        ensure!(version(world).await? != broken, "still {broken}");
        Ok(())
    })
    .await?;
    let would = told(world, &["retry", &trapped, "--dry-run"], 0).await?;
    ensure!(would.len() == 1 && would[0]["result"] == "would be published", "{would:?}");
    let all = told(world, &["retry", "--company", "a"], 0).await?;
    ensure!(all.len() == 2 && all.iter().all(|result| result["result"] == "published"), "{all:?}");
    ensure!(all[0]["place"].as_u64() < all[1]["place"].as_u64(), "not the oldest first: {all:?}");

    a.events_reach(4).await?;
    let refused = told(world, &["retry", &trapped], 1).await?;
    let why = refused[0]["reason"].as_str().unwrap_or_default();
    ensure!(refused[0]["result"] == "refused" && why.contains("retried before"), "{refused:?}");
    letters(world, &["--open"], 0).await?;
    let noted = letters(world, &[], 2).await?;
    ensure!(noted.iter().all(|letter| letter["retried"]["attempt"] == 1), "{noted:?}");
    told(world, &["retry", &trapped, "--again"], 0).await?;
    publisher.send(SUBJECT, payload("a", 9)).await?;
    publisher.send(SUBJECT, payload("b", 9)).await?;
    a.events_reach(6).await?;
    b.events_reach(5).await?;
    let numbers = |numbers: &[u64]| Some(numbers.to_vec());
    check(&a.frames(), &Expected { company: "a", numbers: numbers(&[0, 2, 1, 3, 1, 9]), ..Expected::default() })?;
    check(&b.frames(), &Expected { company: "b", numbers: numbers(&[0, 1, 2, 3, 9]), ..Expected::default() })?;
    let retried = world.host.metrics().await?.sum("dead_letters_retried_total");
    ensure!((retried - 3.0).abs() < 0.5, "{retried} retries are counted");

    // What was retried is still known as such by a host that starts anew.
    world.host.kill()?;
    world.host.start().await?;
    letters(world, &["--open"], 0).await?;
    let again = letters(world, &["--kind", "trap"], 1).await?;
    ensure!(again[0]["retried"]["attempt"] == 2, "{again:?}");
    Ok(())
}

on_each!(any_payload_is_shown_byte_for_byte_and_comes_back_as_a_letter: embedded, jetstream, core);

async fn any_payload_is_shown_byte_for_byte_and_comes_back_as_a_letter(world: &mut World) -> Result<()> {
    const BYTES: &[u8] = b"\xff\x00 not \r\n json \x1b[2J";
    world.host.start().await?;
    match world.nats.as_ref() {
        Some(nats) => {
            let client = nats.client().await?;
            client.publish(SUBJECT, BYTES.into()).await?;
            client.flush().await?;
        }
        // Ingest takes JSON alone.
        None => world.publisher().await?.send(SUBJECT, "[]").await?,
    }
    let bytes = if world.nats.is_some() { BYTES } else { b"[]" };
    let letter = place(&letters(world, &[], 1).await?[0])?;
    ensure!(dlq(world, &["show", &letter, "--raw"], 0).await?.stdout == bytes);
    let shown = dlq(world, &["show", &letter], 0).await?.stdout;
    ensure!(!shown.contains(&0x1b), "what steers a terminal is printed");
    told(world, &["retry", "--all"], 0).await?;
    let found = letters(world, &[], 2).await?;
    ensure!(found[0]["retried"].is_null() && !found[1]["retried"].is_null(), "{found:?}");
    let again = place(&found[0])?;
    ensure!(dlq(world, &["show", &again, "--raw"], 0).await?.stdout == bytes);
    Ok(())
}

on_each!(a_letter_that_was_cut_is_not_retried: jetstream);

async fn a_letter_that_was_cut_is_not_retried(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let client = world.nats()?.client().await?;
    client.publish(SUBJECT, vec![b'x'; 1_048_500].into()).await?;
    client.flush().await?;
    let found = letters(world, &[], 1).await?;
    ensure!(found[0]["truncatedBytes"].as_u64() > Some(0), "{found:?}");
    let refused = told(world, &["retry", &place(&found[0])?], 1).await?;
    let why = refused[0]["reason"].as_str().unwrap_or_default();
    ensure!(refused[0]["result"] == "refused" && why.contains("cut off"), "{refused:?}");
    letters(world, &["--open"], 1).await?;
    Ok(())
}

on_each!(wrong_questions_about_letters_are_answered_with_what_is_wrong: embedded);

async fn wrong_questions_about_letters_are_answered_with_what_is_wrong(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let says = |done: &Output, what: &str| {
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(told.contains(what), "no {what:?} in {told}");
        Ok(())
    };
    says(&dlq(world, &["show", "7"], 1).await?, "no dead letter at place 7")?;
    says(&dlq(world, &["show", "x"], 2).await?, "invalid value")?;
    says(&dlq(world, &["retry"], 2).await?, "which letters are meant")?;
    says(&dlq(world, &["retry", "1", "--all"], 2).await?, "which letters are meant")?;
    says(&dlq(world, &["list", "--since", "yesterday"], 2).await?, "milliseconds since 1970")?;
    let refused = told(world, &["retry", "7"], 1).await?;
    ensure!(refused[0]["result"] == "refused", "{refused:?}");
    world.host.env("TIDEGATE_ADMIN_TOKEN", "another");
    says(&dlq(world, &["list"], 1).await?, "admin.token")
}
