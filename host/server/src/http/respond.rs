//! Answers: short ones, and streams.

use crate::stream::EventStream;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of an answer.
pub enum Answer {
    /// All of it.
    Whole(Full<Bytes>),
    /// A stream of events.
    Stream(Box<EventStream>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Stream(stream) => Pin::new(stream.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

/// An answer with this body and type.
#[must_use]
pub fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Full::new(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer in JSON.
#[must_use]
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<Answer> {
    match serde_json::to_vec(body) {
        Ok(text) => whole(status, "application/json", text),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", &error.to_string()),
    }
}

/// A refusal: `{"error","message"}`.
#[must_use]
pub fn refuse(status: StatusCode, error: &str, message: &str) -> Response<Answer> {
    let body = serde_json::json!({ "error": error, "message": message });
    whole(status, "application/json", body.to_string())
}

/// A refusal under its status' own name.
#[must_use]
pub fn refused(status: StatusCode, message: &str) -> Response<Answer> {
    refuse(status, status.canonical_reason().unwrap_or("Refused"), message)
}
