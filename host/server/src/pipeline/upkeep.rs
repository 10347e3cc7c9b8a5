//! What goes on beside the batches: trimming, and publishing dead letters from the outbox.

use super::{Parts, wait_or_stop};
use crate::source::SourceError;
use crate::store::{Keep, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::event::Company;
use tidegate_core::position::Token;
use tidegate_core::retention;

/// How often every company is looked at.
const SWEEP: Duration = Duration::from_secs(20);
/// Letters published in one go.
const LETTERS: usize = 64;
/// How often the outbox is looked at without being told to.
const LOOK: Duration = Duration::from_secs(5);

/// Trims what retention and caps say, company by company, quiet ones too; for as long as the tenure lasts.
pub async fn trim(parts: Arc<Parts>, token: Token) {
    loop {
        match parts.store.concerns().await {
            Ok(concerns) => parts.health.store_concerns(concerns),
            Err(error) => tracing::warn!(error = %error, "the store's settings can't be read"),
        }
        tokio::time::sleep(SWEEP).await;
        if let Err(error) = sweep(&parts, token).await {
            tracing::warn!(error = %error, "trimming was put off");
        }
        parts.hub.sweep();
    }
}

async fn sweep(parts: &Parts, token: Token) -> Result<(), StoreError> {
    let settings = &parts.settings;
    let store_ms = parts.store.clock_ms().await?;
    let since = retention::keep_since(parts.clock.now_ms(), store_ms, settings.retention.as_millis() as u64);
    parts.health.clocks_apart(since.err());
    let since_ms = match since {
        Ok(since_ms) => since_ms,
        Err(apart_ms) => {
            tracing::error!(apart_ms, "host clock and store clock differ; nothing is trimmed until they agree");
            return Ok(());
        }
    };
    let keep = Keep { since_ms, entries_max: settings.entries_max, bytes_max: settings.bytes_max };
    for (company, _) in parts.store.companies().await? {
        match trim_company(parts, token, &company, keep).await {
            // What is spoilt of one company must not let the others' histories grow.
            Err(StoreError::Corrupt(reason)) => {
                tracing::error!(companyId = %company, reason, "a company's history can't be trimmed");
            }
            trimmed => trimmed?,
        }
    }
    Ok(())
}

async fn trim_company(parts: &Parts, token: Token, company: &Company, keep: Keep) -> Result<(), StoreError> {
    while parts.store.trim(token, company, keep).await? {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Publishes dead letters as they come, oldest first; for as long as the tenure lasts.
pub async fn letters(parts: Arc<Parts>, token: Token) {
    let stop = parts.tasks.token();
    let mut dropped = None;
    note_dropped(&parts, &mut dropped).await;
    loop {
        tokio::select! {
            () = parts.letters.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
        let published = publish(&parts, token).await;
        note_dropped(&parts, &mut dropped).await;
        if let Err(reason) = published {
            tracing::warn!(reason, "dead letters could not be published; they wait in the outbox");
            wait_or_stop(Duration::from_secs(1), &stop).await;
        }
    }
}

/// Tells of letters that the full outbox dropped since the last look; those of former tenures were told then.
async fn note_dropped(parts: &Parts, known: &mut Option<u64>) {
    // A store that does not answer is told of elsewhere, and asked again at the next look.
    let Ok(dropped) = parts.store.outbox_dropped().await else { return };
    let more = dropped.saturating_sub(known.replace(dropped).unwrap_or(dropped));
    if more > 0 {
        parts.metrics.dead_letters_dropped(more);
        tracing::error!(letters = more, "the outbox is full: its oldest dead letters were dropped");
    }
}

async fn publish(parts: &Parts, token: Token) -> Result<(), String> {
    loop {
        let letters = parts.store.outbox(LETTERS).await.map_err(|error| error.to_string())?;
        if letters.is_empty() {
            return Ok(());
        }
        let mut done = Vec::with_capacity(letters.len());
        let mut failed = None;
        for (key, letter) in &letters {
            match parts.source.publish_dead(letter).await {
                Ok(()) => done.push(*key),
                Err(error) => {
                    failed = Some(format!(
                        "{} (subject {}, sequence {})",
                        error, letter.source.subject, letter.source.sequence
                    ));
                    // One that is refused for good must not hold up those behind it.
                    if !matches!(error, SourceError::Refused(_)) {
                        break;
                    }
                }
            }
        }
        parts.store.outbox_done(token, &done).await.map_err(|error| error.to_string())?;
        if let Some(failed) = failed {
            return Err(failed);
        }
    }
}
