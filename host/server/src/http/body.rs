//! A request's body, read whole within a bound of bytes and of time.

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use std::time::Duration;

/// A body has to arrive within this.
const TIME: Duration = Duration::from_secs(30);

/// Reads a body of at most `bytes_max` bytes.
///
/// # Errors
/// The status and the sentence to refuse the request with: it is larger, too slow, or was broken off.
pub async fn read(body: Incoming, bytes_max: usize) -> Result<Bytes, (StatusCode, String)> {
    match tokio::time::timeout(TIME, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {bytes_max} bytes")))
        }
        Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, format!("the body could not be read: {error}"))),
        Err(_) => {
            Err((StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {} seconds", TIME.as_secs())))
        }
    }
}
