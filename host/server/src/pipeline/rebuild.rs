//! Filling a store that began empty: from where on, and without writing a dead letter that is kept already.

use super::Parts;
use crate::source::SourceError;
use crate::source::letter_ids::LetterIds;
use tidegate_core::commit::{Commit, Head};
use tidegate_core::event::SourceEvent;
use tidegate_core::owner::Owner;
use tidegate_core::position::Place;
use tidegate_core::rebuild::Rebuild;

/// A rebuild under way.
#[derive(Debug)]
pub struct Filling {
    rebuild: Rebuild,
    /// Events older than this are passed over until the first one that is not.
    since_ms: Option<u64>,
    /// Letters that were published before.
    kept: LetterIds,
}

impl Filling {
    /// What there is to do when a tenure begins: a store without a commit begins a life, another may not be full yet.
    /// `None`: nothing.
    ///
    /// # Errors
    /// The source could not be asked.
    pub async fn begin(parts: &Parts, head: &Head, owner: &Owner) -> Result<Option<Self>, SourceError> {
        let rebuild = match (head.rebuild, head.checkpoint) {
            (Some(rebuild), _) => rebuild,
            (None, None) => Self::first(parts, owner).await?,
            (None, Some(_)) => return Ok(None),
        };
        // What still waits of it may yet become a letter.
        let waits = head.waiting.iter().any(|(_, place)| place.position() < rebuild.until.position());
        if rebuild.events_left(head.checkpoint).is_none() && !waits && head.checkpoint.is_some() {
            return Ok(None);
        }
        let window_ms = parts.settings.rebuild.as_millis() as u64;
        let kept = parts.source.dead_ids().await?;
        tracing::info!(until = rebuild.until.sequence, letters = kept.len(), "the store began empty; filling it again");
        Ok(Some(Self { rebuild, since_ms: Some(rebuild.began_ms.saturating_sub(window_ms)), kept }))
    }

    async fn first(parts: &Parts, owner: &Owner) -> Result<Rebuild, SourceError> {
        let ((sequence, time_ms), began_ms) = (parts.source.last().await?, parts.clock.now_ms());
        let until = Place { generation: owner.generation().number, sequence, time_ms };
        Ok(Rebuild { until, began_ms })
    }

    /// How this life of the store begins.
    #[must_use]
    pub fn rebuild(&self) -> Rebuild {
        self.rebuild
    }

    /// How many of these events are too old to be filled in: the first ones, and none after one that is not.
    pub fn too_old(&mut self, events: &[SourceEvent]) -> usize {
        let Some(since_ms) = self.since_ms else { return 0 };
        let too_old = events.iter().take_while(|event| event.time_ms < since_ms).count();
        if too_old < events.len() {
            self.since_ms = None;
        }
        too_old
    }

    /// Takes out the letters that are kept already.
    pub fn withhold(&self, commit: &mut Commit) {
        let (before, new) =
            std::mem::take(&mut commit.dead).into_iter().partition(|letter| self.kept.contains(&letter.id()));
        (commit.dead_before, commit.dead) = (before, new);
    }
}
