//! What one guest thread holds: the buffers that are filled anew for each call, and its way to the instances.

use crate::call::{Flat, Interner};
use crate::engine::Engine;
use crate::pool::InstancePool;

/// Runs batches through chains, on the thread that owns it. It blocks: not for an async thread. The thread needs the
/// usual 2 MiB of stack.
pub struct Worker {
    pub(crate) engine: Engine,
    pub(crate) pool: InstancePool,
    pub(crate) flat: Flat,
    pub(crate) names: Interner,
}

impl Worker {
    /// A worker that takes its instances from this pool, as other workers may, too.
    #[must_use]
    pub fn new(engine: Engine, pool: InstancePool) -> Self {
        Self { engine, pool, flat: Flat::default(), names: Interner::default() }
    }

    /// Where its instances are between calls.
    #[must_use]
    pub fn pool(&self) -> &InstancePool {
        &self.pool
    }
}
