//! The threads that serve clients: apart from those of the pipeline, so that thousands of streams which are written to do not
//! stand before the next event on its way.

use tokio::runtime::{Builder, EnterGuard, Runtime};

/// A runtime for connections.
#[derive(Debug)]
pub struct ClientThreads(Option<Runtime>);

impl ClientThreads {
    /// Starts its threads, one for each core.
    ///
    /// # Errors
    /// The machine gives no more threads.
    pub fn start() -> std::io::Result<Self> {
        Ok(Self(Some(Builder::new_multi_thread().enable_all().thread_name("clients").build()?)))
    }

    /// What is bound and started while this is held is served by these threads.
    #[must_use]
    pub fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }
}

impl Drop for ClientThreads {
    fn drop(&mut self) {
        // Its tasks were ended by their owner; a runtime may not be waited for where another one's tasks run.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
