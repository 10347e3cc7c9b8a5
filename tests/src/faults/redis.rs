//! What may become of Redis.

use anyhow::Result;

use super::flow::{Flow, health_is};
use crate::backend::{Backend, World};
use crate::verdict::Verdict;

pub(super) async fn a_redis_that_restarts_loses_nothing() -> Result<Verdict> {
    let mut world = World::start(Backend::JetStream).await?;
    let flow = Flow::begin(&world, 300).await?;
    for _ in 0..2 {
        flow.goes_on(100).await?;
        world.redis_mut()?.kill()?;
        health_is(&world, "degraded").await?;
        flow.goes_on(100).await?;
        world.redis_mut()?.resume().await?;
        health_is(&world, "ok").await?;
    }
    flow.end(false).await
}
