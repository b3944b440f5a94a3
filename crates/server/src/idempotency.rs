//! `Idempotency-Key`: a request that is sent again is carried out once, and answered with what really happened.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use streamhub::audit::Entry;
use streamhub::idempotency::{Answer, Recall};
use streamhub::{AppId, Hub};

use crate::config::MAX_BODY;
use crate::error::ApiError;

/// What a client calls its request.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that an answer is that of an earlier request.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key.
const LONGEST: usize = 255;

/// What a client calls a request that changes something.
#[derive(Clone, Debug)]
pub(crate) enum Name {
    /// Nothing.
    None,
    /// This, and a print of what it asks for.
    Key { key: String, print: String },
    /// What no key looks like.
    Unfit,
}

impl Name {
    /// That of a request. The body is read for it, and handed on.
    pub(crate) async fn find(parts: &Parts, body: Body) -> Result<(Self, Body), ApiError> {
        let Some(key) = parts.headers.get(HEADER).filter(|_| parts.method == Method::POST) else {
            return Ok((Self::None, body));
        };
        let is_key = |key: &&str| {
            (1..=LONGEST).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let Some(key) = key.to_str().ok().filter(is_key) else { return Ok((Self::Unfit, body)) };
        let body = axum::body::to_bytes(body, MAX_BODY).await.map_err(|_| ApiError::BodyTooLarge)?;
        let print = print(parts, &body);
        Ok((Self::Key { key: key.to_owned(), print }, Body::from(body)))
    }

    /// Refuses one that is no key.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        if !matches!(self, Self::Unfit) {
            return Ok(());
        }
        let message = format!("Idempotency-Key: 1 to {LONGEST} visible characters of ASCII, without spaces");
        Err(ApiError::invalid("invalid_idempotency_key", message))
    }
}

fn print(parts: &Parts, body: &Bytes) -> String {
    streamhub::idempotency::print(&[parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), body])
}

/// Answers a request, unless it was carried out before. `answer` is given what the request was done to where its
/// answer was lost, and nothing where it is to be carried out. Rights may have changed since: `may_see` says whether
/// the caller may still hear of what was done.
pub(crate) async fn once<Answering>(
    hub: Option<Hub>,
    app: Option<AppId>,
    may_see: impl Fn(&Entry) -> bool + Send + 'static,
    answer: impl FnOnce(Option<String>) -> Answering + Send + 'static,
) -> Result<Response, ApiError>
where
    Answering: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    let Some(hub) = hub.filter(Hub::is_repeatable) else { return answer(None).await };
    // What was begun goes on where the client goes away, and is under way until it is done: sent again meanwhile,
    // it must not be carried out twice.
    match tokio::spawn(carry_out(hub, app, may_see, answer)).await {
        Ok(answered) => answered,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        // The runtime is going away.
        Err(_) => Err(ApiError::Stopping),
    }
}

async fn carry_out<Answering>(
    hub: Hub,
    app: Option<AppId>,
    may_see: impl Fn(&Entry) -> bool,
    answer: impl FnOnce(Option<String>) -> Answering,
) -> Result<Response, ApiError>
where
    Answering: Future<Output = Result<Response, ApiError>>,
{
    let recall = hub.blocking(app.as_ref(), {
        let app = app.clone();
        move |hub| hub.recall(app.as_ref())
    });
    let (mut response, under_way) = match recall.await? {
        Some(Recall::Fresh(under_way)) => (answer(None).await?, Some(under_way)),
        Some(Recall::Answered(done, _) | Recall::Done(done)) if !may_see(&done.entry) => {
            return Err(ApiError::NotFound);
        }
        Some(Recall::Done(done)) => (answer(Some(done.entry.target.unwrap_or_default())).await?, None),
        Some(Recall::Answered(_, kept)) => return Ok(replayed(kept)),
        Some(Recall::Forgotten) => return Err(ApiError::AnswerLost),
        Some(Recall::UnderWay) => {
            let message = "the request with this Idempotency-Key is under way";
            return Err(ApiError::Repeated { code: "request_under_way", message });
        }
        Some(Recall::Another) => {
            let message = "this Idempotency-Key was used with another request";
            return Err(ApiError::Repeated { code: "idempotency_key_reused", message });
        }
        None => return answer(None).await,
    };
    let (parts, body) = response.into_parts();
    let body =
        axum::body::to_bytes(body, usize::MAX).await.map_err(|error| ApiError::Broken(error.to_string()))?;
    let kept = Answer { status: parts.status.as_u16(), body: body.to_vec() };
    // It was carried out; that its answer is not kept is no reason to say anything else.
    let keeping = hub.blocking(app.as_ref(), {
        let app = app.clone();
        move |hub| hub.keep_answer(app.as_ref(), kept)
    });
    if let Err(error) = keeping.await {
        tracing::warn!(%error, "an answer is not kept for a request that may be sent again");
    }
    response = Response::from_parts(parts, Body::from(body));
    if under_way.is_none() {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn replayed(kept: Answer) -> Response {
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
