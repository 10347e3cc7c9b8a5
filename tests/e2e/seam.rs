//! Replay and live meet without a seam, under load.

use anyhow::{Context, Result, ensure};
use rand::Rng as _;
use tidegate_tests::backend::World;
use tidegate_tests::history::{Expected, check, number, payload};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;

use crate::SUBJECT;

const RATE: u32 = 1_000;
const CLIENTS: u64 = 20;
const EVENTS: u64 = 6_000;

on_each!(clients_that_join_in_the_middle_of_the_flow_miss_nothing: embedded, jetstream, core);

async fn clients_that_join_in_the_middle_of_the_flow_miss_nothing(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let first = Recorder::open(&world.host, &Request::company("a")).await?;
    // Every tenth event is another company's: positions have holes, as in life.
    let flow = publisher.steady(RATE, EVENTS, |n| {
        let company = if n % 10 == 9 { "b" } else { "a" };
        (SUBJECT.to_owned(), payload(company, n))
    });
    let mine = |n: &u64| n % 10 != 9;
    let mut joined = Vec::new();
    for client in 1..=CLIENTS {
        flow.reaches(client * EVENTS / (CLIENTS + 2)).await?;
        let seen = first.events();
        ensure!(!seen.is_empty(), "nothing live so far");
        let pick = rand::rng().random_range(0..seen.len());
        let cursor = seen[pick].id.clone().context("an id")?;
        let after = number(&seen[pick]).context("a number")?;
        joined.push((after, Recorder::open(&world.host, &Request::company("a").after(&cursor)).await?));
    }
    let sent = flow.finish().await?;
    let last = (0..sent).rfind(|n| mine(n));
    for (after, stream) in &joined {
        stream.until("the last event", |frames| frames.iter().rev().any(|frame| number(frame) == last)).await?;
        stream.first("caught-up").await?;
        let numbers = Some((after + 1..sent).filter(|n| mine(n)).collect());
        check(&stream.frames(), &Expected { company: "a", cursor: true, numbers, ..Expected::default() })
            .with_context(|| format!("joined after {after}"))?;
    }
    first.until("the last event", |frames| frames.iter().rev().any(|frame| number(frame) == last)).await?;
    let numbers = Some((0..sent).filter(|n| mine(n)).collect());
    check(&first.frames(), &Expected { company: "a", numbers, ..Expected::default() })
}
