//! What goes wrong, as HTTP says it: the one place that maps errors to status codes.
//!
//! Every error has the same shape. Two like errors differ in `requestId` only, and a 5xx shows
//! nothing of the inside: the reason goes to the log, with the same id.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use streamhub::apps::Refused;
use streamhub::quotas::{Limit, Metric, QuotaExceeded};
use streamhub::{Hub, HubError, Kind};

use crate::request;

/// A refused or failed request.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// Something in the request is not acceptable: a stable code, and what would be.
    Invalid { code: &'static str, message: String },
    /// No credential, or none that is acceptable here.
    Unauthorized,
    /// A login that was refused.
    LoginRefused,
    /// The password is right, and the account wants a second factor too.
    SecondFactor,
    /// It may be read, and not done.
    Forbidden,
    /// The client's address is blocked.
    Blocked,
    /// There is nothing at this path, or it is not the caller's to see.
    NotFound,
    /// There is something, and not for this method.
    MethodNotAllowed,
    /// The request was not sent in time.
    TooSlow,
    /// What is there already stands in the way.
    Conflict { code: &'static str, message: String },
    /// It is done, and its answer was lost and shows a secret that is nowhere else.
    AnswerLost,
    /// A request with this key is being carried out, or was another one.
    Repeated { code: &'static str, message: &'static str },
    /// The body is larger than is taken.
    BodyTooLarge,
    /// The path and query are longer than is taken.
    UriTooLong,
    /// The header fields are larger than is taken.
    HeadersTooLarge,
    /// The body is no JSON by what its header says.
    MediaType,
    /// The body is compressed by what its header says.
    ContentCoding,
    /// A tenant has as much of something as it may have.
    Quota(QuotaExceeded),
    /// Too many attempts: to be tried again after so many seconds.
    TooMany { retry_after: u64 },
    /// The caller follows as much as it may.
    TooManyFollowers,
    /// As many requests or connections as there may be are under way.
    Overloaded,
    /// The answer was not there in time.
    TimedOut,
    /// The databases are still being opened.
    Booting,
    /// The server is about to end.
    Stopping,
    /// The function is not configured.
    NotConfigured,
    /// The hub could not do it.
    Hub(HubError),
    /// The job that was waited for ended otherwise than by being done; the job's own code and text say how.
    Ended { code: String, message: String },
    /// A panic, or a task that was cancelled.
    Broken(String),
}

/// What every error is answered with.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Error")]
pub(crate) struct ErrorBody {
    /// The status.
    status_code: u16,
    /// The status in words; `quota_exceeded` where a quota is used up.
    error: String,
    /// What is wrong, for people.
    message: String,
    /// What is wrong, for programs: never changes.
    code: String,
    /// What the server's log calls this request.
    request_id: String,
    /// The quota that is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<Metric>,
    /// How much the tenant may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Limit>,
    /// How much it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<u64>,
}

/// A status, a code that never changes, and what a person is told.
type Parts<'a> = (StatusCode, &'static str, Cow<'a, str>);

const NOTHING_THERE: &str = "there is nothing here, or it is not yours to see";

impl ApiError {
    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { code, message: message.into() }
    }

    /// A body that could not be read to its end.
    pub(crate) fn unread(status: StatusCode) -> Self {
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            Self::BodyTooLarge
        } else {
            Self::invalid("invalid_body", "the body ended before it was whole")
        }
    }

    /// The same, naming no place of the server.
    pub(crate) fn without_places(self, hub: &Hub) -> Self {
        let Self::Hub(error) = &self else { return self };
        match of_hub(error) {
            (StatusCode::BAD_REQUEST, code, message) => {
                Self::Invalid { code, message: hub.without_places(message.into_owned()) }
            }
            (StatusCode::CONFLICT, code, message) => {
                Self::Conflict { code, message: hub.without_places(message.into_owned()) }
            }
            _ => self,
        }
    }

    /// Whether the audit has its own word of it: what was asked for may be done, or is done, all the same, or it names
    /// the job, which says how it ended, or there were too many attempts, of which it tells once.
    pub(crate) fn is_told_elsewhere(&self) -> bool {
        matches!(self, Self::AnswerLost | Self::TimedOut | Self::TooMany { .. } | Self::Ended { .. })
            || matches!(self, Self::Hub(error) if error.kind() == Kind::Unknown)
    }

    /// The status and the stable code.
    pub(crate) fn status_and_code(&self) -> (StatusCode, &'static str) {
        let (status, code, _) = self.parts();
        (status, code)
    }

    fn parts(&self) -> Parts<'_> {
        let fixed = |status, code, message: &'static str| (status, code, Cow::from(message));
        match self {
            Self::Invalid { code, message } => (StatusCode::BAD_REQUEST, code, message.into()),
            Self::Unauthorized => fixed(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "an acceptable credential is needed: Authorization: Bearer, with a token or a session's token",
            ),
            Self::LoginRefused => fixed(
                StatusCode::UNAUTHORIZED,
                "login_refused",
                "what was shown of an address, a password or a set-up token is not accepted",
            ),
            Self::SecondFactor => fixed(
                StatusCode::UNAUTHORIZED,
                "totp_required",
                "a valid code of the second factor is needed",
            ),
            Self::Forbidden => fixed(StatusCode::FORBIDDEN, "forbidden", "this is not permitted to you"),
            Self::Blocked => {
                fixed(StatusCode::FORBIDDEN, "address_blocked", "nothing is served to this address")
            }
            Self::NotFound => of_code("not_found", || "".into()),
            Self::MethodNotAllowed => fixed(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path does not take this method",
            ),
            Self::TooSlow => {
                fixed(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request was not whole in time")
            }
            Self::Conflict { code, message } => (StatusCode::CONFLICT, code, message.into()),
            Self::AnswerLost => fixed(
                StatusCode::CONFLICT,
                "answer_lost",
                "it is done, and its answer was lost; read what is there, and remove it if its secret is needed",
            ),
            Self::Repeated { code, message } => fixed(StatusCode::CONFLICT, code, message),
            Self::BodyTooLarge => fixed(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "the body is larger than is taken here",
            ),
            Self::UriTooLong => {
                fixed(StatusCode::URI_TOO_LONG, "uri_too_long", "the path and query are too long")
            }
            Self::HeadersTooLarge => fixed(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers_too_large",
                "the header fields are too large",
            ),
            Self::MediaType => fixed(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "a body is JSON, and says so: Content-Type: application/json",
            ),
            Self::ContentCoding => fixed(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_content_encoding",
                "a body is sent as it is, without a Content-Encoding",
            ),
            Self::Quota(_) => of_code("quota_exceeded", || "".into()),
            Self::TooMany { .. } => fixed(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_attempts",
                "too many attempts; try again later",
            ),
            Self::TooManyFollowers => fixed(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_followers",
                "as much as may be is being followed with your credentials; end one of these answers",
            ),
            Self::Overloaded => fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "as much as can be done is under way; try again soon",
            ),
            Self::TimedOut => fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                "timed_out",
                "it took too long; whether it is done is not known",
            ),
            Self::Booting => fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                "booting",
                "the databases are being opened; try again soon",
            ),
            Self::Stopping => of_code("stopping", || "".into()),
            Self::NotConfigured => {
                fixed(StatusCode::SERVICE_UNAVAILABLE, "not_configured", "this is not configured here")
            }
            Self::Hub(error) => of_hub(error),
            Self::Ended { code, message } => of_job(code, message),
            Self::Broken(_) => of_code("internal", || "".into()),
        }
    }

    /// In how many seconds to send the same again, where that helps.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooMany { retry_after } => Some(*retry_after),
            Self::TooManyFollowers | Self::Overloaded | Self::TimedOut | Self::Booting | Self::Stopping => {
                Some(1)
            }
            Self::Hub(error) => matches!(error.code(), "busy" | "commit_unknown" | "stopping").then_some(1),
            _ => None,
        }
    }

    /// The reason of a 5xx, which is for the log.
    pub(crate) fn log(&self, request_id: &str) {
        match self {
            Self::Hub(error) => {
                tracing::error!(request.id = request_id, %error, way_out = error.way_out(), "request failed");
            }
            Self::Ended { message: reason, .. } | Self::Broken(reason) => {
                tracing::error!(request.id = request_id, reason, "request failed");
            }
            _ => {}
        }
    }
}

/// What fails or is refused further inside, by the code that it has there too: its status and what a person is told;
/// nothing where that is the error's own text, which speaks of what the caller sent or may see. What has another code
/// is `internal`.
const FAILURES: &[(StatusCode, &str, Option<&str>)] = &[
    (StatusCode::BAD_REQUEST, "invalid", None),
    // What the caller named, and what is wrong with it.
    (StatusCode::BAD_REQUEST, "unfit_source", None),
    (StatusCode::NOT_FOUND, "not_found", Some(NOTHING_THERE)),
    (StatusCode::CONFLICT, "exists", None),
    (StatusCode::CONFLICT, "name_taken", None),
    (StatusCode::CONFLICT, "uuid_taken", None),
    (StatusCode::CONFLICT, "in_trash", None),
    (StatusCode::CONFLICT, "directory_exists", Some("a directory of this name is there already")),
    (StatusCode::CONFLICT, "last_superadmin", Some("nobody else could administrate the installation")),
    // A person has to mend what the caller did not write; which place of the file it is, the text says.
    (StatusCode::CONFLICT, "config_broken", None),
    (StatusCode::CONFLICT, "cancelled", Some("somebody cancelled it; what is gone stays gone")),
    // Final, unlike a 503: whoever sends the same again hears the same.
    (
        StatusCode::CONFLICT,
        "interrupted",
        Some("the server ended before it was done; ask for it again, with another Idempotency-Key"),
    ),
    (StatusCode::CONFLICT, "app_deleted", Some("the app was deleted before it was done")),
    (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded", Some("the tenant's quota is used up")),
    (
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_jobs",
        Some("as many jobs wait for this app as may; wait until one is over, or cancel one"),
    ),
    (StatusCode::INTERNAL_SERVER_ERROR, "internal", Some("the server failed; its log says why")),
    (StatusCode::INTERNAL_SERVER_ERROR, "disk_failed", Some("the server's disk failed; its log says more")),
    (StatusCode::SERVICE_UNAVAILABLE, "busy", Some("it could not be done in time; try again soon")),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "commit_unknown",
        Some("it may be done or not; read what is there, or repeat it with the same Idempotency-Key"),
    ),
    (StatusCode::SERVICE_UNAVAILABLE, "stopping", Some("the server is stopping")),
    (StatusCode::SERVICE_UNAVAILABLE, "out_of_service", Some("the app is out of service for the time being")),
    (StatusCode::SERVICE_UNAVAILABLE, "app_missing", Some("the app's directory or its database is missing")),
    (StatusCode::SERVICE_UNAVAILABLE, "damaged", Some("a database is damaged, and waits for a person")),
    (StatusCode::INSUFFICIENT_STORAGE, "no_space", Some("there is not enough space on the disk")),
];

fn of_hub(error: &HubError) -> Parts<'_> {
    of_code(error.code(), || error.to_string().into())
}

fn of_job<'a>(code: &str, message: &'a str) -> Parts<'a> {
    // How it ended is final: it may be another server by now, and nothing is tried again with the same key.
    let code = if matches!(code, "stopping" | "busy" | "commit_unknown") { "interrupted" } else { code };
    of_code(code, || message.into())
}

fn of_code<'a>(code: &str, text: impl FnOnce() -> Cow<'a, str>) -> Parts<'a> {
    let of = |code: &str| FAILURES.iter().find(|(_, known, _)| *known == code);
    let (status, code, message) = of(code).or_else(|| of("internal")).expect("it has a row");
    (*status, code, message.map_or_else(text, Cow::from))
}

/// The tenant's quota, wherever it was found to be used up.
fn quota(error: &HubError) -> Option<QuotaExceeded> {
    match error {
        HubError::Quota(exceeded) | HubError::Refused(Refused::QuotaExceeded(exceeded)) => Some(*exceeded),
        _ => None,
    }
}

impl From<HubError> for ApiError {
    fn from(error: HubError) -> Self {
        match quota(&error) {
            Some(exceeded) => Self::Quota(exceeded),
            None => Self::Hub(error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, message) = self.parts();
        let id = request::id();
        if status.is_server_error() {
            self.log(id.as_str());
        }
        let mut body = ErrorBody {
            status_code: status.as_u16(),
            error: status.canonical_reason().unwrap_or_default().to_owned(),
            message: message.into_owned(),
            code: code.to_owned(),
            request_id: id.as_str().to_owned(),
            metric: None,
            limit: None,
            used: None,
        };
        if let Self::Quota(QuotaExceeded { metric, limit, used }) = self {
            code.clone_into(&mut body.error);
            (body.metric, body.limit, body.used) = (Some(metric), Some(limit), Some(used));
        }
        let mut response = (status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_at_the_moment_says_why() {
        let app = "news-24".to_owned();
        let too_many = ApiError::from(HubError::TooManyJobs { app });
        assert_eq!(too_many.status_and_code(), (StatusCode::TOO_MANY_REQUESTS, "too_many_jobs"));
        let dir = "apps/news-24".into();
        let missing = ApiError::from(HubError::NoAppDir { dir });
        assert_eq!(missing.status_and_code(), (StatusCode::SERVICE_UNAVAILABLE, "app_missing"));
    }
}
