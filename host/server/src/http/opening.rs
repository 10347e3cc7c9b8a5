//! Who is answered while the host still starts: probes at once, everybody else once there is something to answer with.
//! Modules are compiled before the first event is read, which may take minutes; a probe that hangs meanwhile would get the host
//! killed, and a refusal would close a browser's `EventSource` for good.

use super::respond::{Answer, refuse, whole};
use super::status;
use http::{Response, StatusCode};
use std::sync::Arc;
use tokio::sync::watch;

/// Through this it is given, once it is there.
pub type Opener<T> = watch::Sender<Option<Arc<T>>>;

/// What answers, once it is there.
#[derive(Debug)]
pub struct Opening<T>(watch::Receiver<Option<Arc<T>>>);

impl<T> Clone for Opening<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Opening<T> {
    /// Nothing is there yet; the other half says when.
    #[must_use]
    pub fn new() -> (Opener<T>, Self) {
        let (given, there) = watch::channel(None);
        (given, Self(there))
    }

    /// What answers a request for this path.
    ///
    /// # Errors
    /// The answer to a probe while the host starts, or to everybody when it could not.
    pub async fn of(mut self, path: &str) -> Result<Arc<T>, Response<Answer>> {
        if let Some(there) = &*self.0.borrow() {
            return Ok(Arc::clone(there));
        }
        match path {
            "/livez" => return Err(status::live()),
            "/readyz" => {
                let told = "the host starts: it reaches its servers, then checks and compiles its modules\n";
                return Err(whole(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", told));
            }
            _ => {}
        }
        tracing::debug!(path, "a request waits until the host has started");
        match self.0.wait_for(Option::is_some).await.map(|there| there.as_ref().map(Arc::clone)) {
            Ok(Some(there)) => Ok(there),
            Ok(None) | Err(_) => {
                Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", "the host could not start"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn probes_are_answered_while_the_host_starts_and_others_wait() {
        let (given, opening) = Opening::<u32>::new();
        let status = |answer: Result<Arc<u32>, Response<Answer>>| answer.map_err(|answer| answer.status().as_u16());
        assert_eq!(status(opening.clone().of("/livez").await), Err(200));
        assert_eq!(status(opening.clone().of("/readyz").await), Err(503));
        let mut waiting = Box::pin(opening.clone().of("/stream/updates"));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("there is nothing to answer with"),
            () = tokio::task::yield_now() => {}
        }
        given.send(Some(Arc::new(7))).expect("somebody listens");
        assert_eq!(status(waiting.await), Ok(Arc::new(7)));
        assert_eq!(status(opening.of("/livez").await), Ok(Arc::new(7)));
    }

    #[tokio::test]
    async fn who_waits_is_told_when_the_host_can_not_start() {
        let (given, opening) = Opening::<u32>::new();
        drop(given);
        assert!(opening.of("/stream/updates").await.is_err_and(|answer| answer.status() == 503));
    }
}
