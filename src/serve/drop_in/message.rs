//! Refusals in the words of the earlier services: `{"message": "..."}` to clients, plain text to the event bus.

use crate::serve::Problem;
use crate::serve::front::MeantAsText;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What a client is told.
#[derive(Debug)]
pub(super) struct Message(Problem);

impl Message {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Message {
        Message(Problem::new(status, message))
    }
}

impl<P: Into<Problem>> From<P> for Message {
    fn from(problem: P) -> Message {
        Message(problem.into())
    }
}

impl IntoResponse for Message {
    fn into_response(self) -> Response {
        let body = Json(json!({ "message": self.0.detail }));
        answer(&self.0, body)
    }
}

/// What the event bus is told.
#[derive(Debug)]
pub(super) struct Text(Problem);

impl<P: Into<Problem>> From<P> for Text {
    fn from(problem: P) -> Text {
        Text(problem.into())
    }
}

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        let body = self.0.detail.clone();
        let mut response = answer(&self.0, body);
        response.extensions_mut().insert(MeantAsText);
        response
    }
}

fn answer(problem: &Problem, body: impl IntoResponse) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body).into_response();
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
