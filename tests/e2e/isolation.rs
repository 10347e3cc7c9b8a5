//! No company sees another's events, whatever the cursor and however close the names.

use anyhow::{Context, Result, ensure};
use tidegate_tests::backend::World;
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;

use crate::SUBJECT;

/// Names that a careless key, prefix or comparison would mix up.
const COMPANIES: [&str; 6] = ["acme", "acme.", "Acme", "acme-1", "acme_1", "cme"];
const EVENTS: u64 = 40;

on_each!(companies_with_similar_names_see_their_own_events_alone: embedded, jetstream, core);

async fn companies_with_similar_names_see_their_own_events_alone(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let mut live = Vec::new();
    for company in COMPANIES {
        live.push((company, Recorder::open(&world.host, &Request::company(company)).await?));
    }
    for n in 0..EVENTS {
        publisher.send_all(SUBJECT, COMPANIES.iter().map(|company| payload(company, n)).collect()).await?;
    }
    let count = usize::try_from(EVENTS)?;
    let mut ids = Vec::new();
    for (company, stream) in &live {
        let events = stream.events_reach(count).await?;
        let numbers = Some((0..EVENTS).collect());
        check(&stream.frames(), &Expected { company, numbers, ..Expected::default() })?;
        ids.push(events[19].id.clone().context("an id")?);
    }
    // Each company comes back with the id of each other one: a cursor is a place, not a key.
    for company in COMPANIES {
        for id in &ids {
            let stream = Recorder::open(&world.host, &Request::company(company).after(id)).await?;
            stream.first("caught-up").await?;
            let events = stream.events();
            ensure!((20..=21).contains(&events.len()), "{company} after {id}: {} events", events.len());
            check(&stream.frames(), &Expected { company, cursor: true, ..Expected::default() })?;
        }
    }
    let stranger = Recorder::open(&world.host, &Request::company("stranger").query("lastEventId", "earliest")).await?;
    stranger.first("caught-up").await?;
    ensure!(stranger.events().is_empty());
    Ok(())
}
