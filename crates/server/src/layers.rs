//! What every request goes through on its way to its handler, and every answer on its way back.
//!
//! From the outside in: cross-origin requests, where they are configured; the request's id and the client's
//! address; the access log and the metrics; panics; the limits; compression. Which limits the connection
//! itself has is said in [`connection`](crate::connection).

use std::any::Any;
use std::future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::header::{self, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use streamhub::settings::Origin;
use tokio::time;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate as _, SizeAbove};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::access_log::Line;
use crate::address::ClientAddress;
use crate::config::{MAX_HEADERS, MAX_URI};
use crate::error::ApiError;
use crate::idempotency::REPLAYED;
use crate::intake::Held;
use crate::request::{self, RequestId, X_REQUEST_ID};
use crate::router::BASE;
use crate::service::Service;

/// Answers that are shorter are not worth compressing.
const WORTH_COMPRESSING: u64 = 1024;

/// How long a browser may believe what it was told of other origins.
const PREFLIGHT_AGE: Duration = Duration::from_mins(10);

/// Puts the layers around all routes that `router` has by then.
pub(crate) fn layers<S: Clone + Send + Sync + 'static>(router: Router<S>, service: &Service) -> Router<S> {
    let worth_it = DefaultPredicate::new().and(SizeAbove::new(WORTH_COMPRESSING));
    let compression = CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth_it);
    let router = router.layer((middleware::from_fn_with_state(service.clone(), around), compression));
    match &*service.config().cors_origins {
        [] => router,
        origins => router.layer(cors(origins)),
    }
}

fn cors(origins: &[Origin]) -> CorsLayer {
    let origin = if origins.iter().any(|origin| origin.as_str() == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin.as_str()).ok()))
    };
    let idempotency_key = HeaderName::from_static("idempotency-key");
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, idempotency_key, X_REQUEST_ID])
        .expose_headers([X_REQUEST_ID, header::RETRY_AFTER, REPLAYED])
        .max_age(PREFLIGHT_AGE)
}

async fn around(State(service): State<Service>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let address =
        ClientAddress::find(request.extensions(), request.headers(), &service.config().trusted_proxies);
    let line = Line::begin(service.clone(), &request, id.clone(), address);
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(address);
    let header = id.header();
    // In a place of its own: whoever holds a future moves all of it.
    let answer = without_panic(Box::pin(within_limits(&service, request, address, next)));
    let (mut response, principal) = request::answering(id, answer).await;
    response.headers_mut().insert(X_REQUEST_ID, header);
    let response = taken_at_its_word(response);
    line.answered(&response, principal);
    response
}

/// What an answer is, it says itself, browsers are not to guess; and nobody keeps one that does not say for how long:
/// it may show a secret, and is another one soon.
pub(crate) fn taken_at_its_word(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A handler that panicked has failed, and takes nobody with it.
async fn without_panic(mut answer: Pin<Box<impl Future<Output = Response>>>) -> Response {
    let poll = |cx: &mut Context<'_>| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    };
    match future::poll_fn(poll).await {
        Ok(response) => response,
        Err(panic) => ApiError::Broken(format!("a panic: {}", words(&*panic))).into_response(),
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of no words")
}

/// Whether the caller may have an answer at all, and then how long that may take.
async fn within_limits(service: &Service, request: Request, address: ClientAddress, next: Next) -> Response {
    if let Some(refusal) = too_large(&request) {
        return refusal.into_response();
    }
    // All of it, before anything is decided: who sends slowly takes no place from others, and may nothing any more
    // that was forbidden meanwhile.
    let patience = service.config().request_timeout;
    let (request, _held) = if request.body().is_end_stream() {
        (request, Held::default())
    } else {
        let sharer = address.sharer(&service.config().trusted_proxies);
        match time::timeout(patience, Box::pin(service.intake().whole(request, sharer))).await {
            Ok(Ok(whole)) => whole,
            Ok(Err(refusal)) => {
                if matches!(refusal, ApiError::Overloaded) {
                    service.metrics().shed();
                }
                return refusal.into_response();
            }
            Err(_) => return ApiError::TooSlow.into_response(),
        }
    };
    // Who looks after the server must reach it above all while it has much to do.
    let room = service.room();
    if room.is_none() && !is_probe(request.uri().path()) {
        service.metrics().shed();
        return ApiError::Overloaded.into_response();
    }
    match time::timeout(patience, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::TimedOut.into_response(),
    }
}

/// What of a request's head is longer than anything that is asked for here.
fn too_large(request: &Request) -> Option<ApiError> {
    let uri = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if uri > MAX_URI {
        Some(ApiError::UriTooLong)
    } else {
        (headers > MAX_HEADERS).then_some(ApiError::HeadersTooLarge)
    }
}

/// Whether this is what a supervisor asks, at any of the places where it is answered.
fn is_probe(path: &str) -> bool {
    matches!(path.strip_prefix(BASE).unwrap_or(path), "/health" | "/ready" | "/metrics")
}

#[cfg(test)]
mod tests;
