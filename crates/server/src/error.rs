//! What goes wrong, as HTTP says it: the one place that maps errors to status codes.
//!
//! Every error has the same shape. Two like errors differ in `requestId` only, and a 5xx shows
//! nothing of the inside: the reason goes to the log, with the same id.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use streamhub::HubError;

/// A refused or failed request.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// There is nothing at this path.
    NotFound,
    /// There is something, and not for this method.
    MethodNotAllowed,
    /// The databases are still being opened.
    Booting,
    /// The server is about to end.
    Stopping,
    /// The hub could not do it.
    Hub(HubError),
    /// A panic, or a task that was cancelled.
    Broken(String),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    status_code: u16,
    error: &'static str,
    message: &'static str,
    code: &'static str,
    request_id: String,
}

impl ApiError {
    /// Status, stable code and message.
    fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "there is nothing at this path"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
            }
            Self::Booting => {
                (StatusCode::SERVICE_UNAVAILABLE, "booting", "the databases are being opened; try again soon")
            }
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server is stopping"),
            Self::Hub(HubError::Closed) => {
                (StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server is stopping")
            }
            Self::Hub(_) | Self::Broken(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed; its log says why")
            }
        }
    }
}

impl From<HubError> for ApiError {
    fn from(error: HubError) -> Self {
        Self::Hub(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, message) = self.parts();
        let request_id = streamhub::new_uuid();
        match &self {
            Self::Hub(error) => tracing::error!(request.id = request_id, %error, "request failed"),
            Self::Broken(reason) => tracing::error!(request.id = request_id, reason, "request failed"),
            _ => {}
        }
        let error = status.canonical_reason().unwrap_or_default();
        let body = Body { status_code: status.as_u16(), error, message, code, request_id };
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
