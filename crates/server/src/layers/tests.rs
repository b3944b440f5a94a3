//! Tests of the layers, without a socket.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};

use axum::Extension;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::routing::{get, post};
use hyper::body::Frame;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use streamhub::allow_list::AllowList;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tracing::Dispatch;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::DefaultGuard;

use super::*;
use crate::access_log::ACCESS_LOG;
use crate::config::{MAX_BODY, ServerConfig};

/// Routes of every kind, within the layers.
fn within(service: &Service, routes: Router) -> Router {
    let routes = routes
        .route("/health", get(async || "alive"))
        .route("/nested/health", get(async || "alive"))
        .route("/panics", get(panics))
        .route("/apps/{app}", get(named))
        .route("/body", post(async |body: Bytes| body.len().to_string()))
        .route("/unread", post(async || "done"))
        .route("/address", get(async |Extension(found): Extension<ClientAddress>| format!("{found:?}")))
        .route("/long", get(async || "a word and ".repeat(1000)))
        .fallback(async || ApiError::NotFound);
    layers(routes, service)
}

async fn named() -> &'static str {
    request::name_principal("token:7");
    "named"
}

async fn panics() -> &'static str {
    panic!("hunter2 {}", 1);
}

fn plain() -> Router {
    plain_of(&Service::booting())
}

fn plain_of(service: &Service) -> Router {
    within(service, Router::new())
}

fn configured(config: ServerConfig) -> Router {
    within(&Service::configured(config), Router::new())
}

struct Answered {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// That this is an error of our shape, whose id is the header's.
    #[track_caller]
    fn is_error(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!((&body["code"], &body["statusCode"]), (&code.into(), &status.into()));
        assert_eq!(body["requestId"].as_str(), self.header("x-request-id"));
        assert_eq!(self.header("retry-after").is_some(), status == 503);
    }
}

async fn ask(routes: &Router, request: axum::http::request::Builder, body: impl Into<Body>) -> Answered {
    let request = request.body(body.into()).unwrap();
    let answered: Result<Response, Infallible> = TowerToHyperService::new(routes.clone()).call(request).await;
    let (parts, body) = answered.unwrap().into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answered { status: parts.status, headers: parts.headers, body }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

async fn get_it(routes: &Router, path: &str) -> Answered {
    ask(routes, request("GET", path), Body::empty()).await
}

/// A body that begins and then goes on as `next` says.
struct Slow<F>(Option<Bytes>, F);

impl<F: FnMut() -> Poll<Option<Bytes>> + Unpin + Send + 'static> hyper::body::Body for Slow<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.0.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => (self.1)(),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[tokio::test]
async fn a_request_has_one_id_everywhere() {
    let routes = plain();
    let answered = get_it(&routes, "/health").await;
    let own = answered.header("x-request-id").unwrap().to_owned();
    assert_ne!(get_it(&routes, "/health").await.header("x-request-id").unwrap(), own);
    let given = ask(&routes, request("GET", "/health").header("x-request-id", "from-nginx.1"), Body::empty());
    assert_eq!(given.await.header("x-request-id"), Some("from-nginx.1"));
    let unfit = ask(&routes, request("GET", "/health").header("x-request-id", "a\"b"), Body::empty());
    assert_ne!(unfit.await.header("x-request-id"), Some("a\"b"));
    let nothing = get_it(&routes, "/nothing").await;
    nothing.is_error(404, "not_found");
    for answered in [nothing, get_it(&routes, "/long").await] {
        assert_eq!(answered.header("x-content-type-options"), Some("nosniff"));
    }
    let given = ask(&routes, request("GET", "/nothing").header("x-request-id", "mine"), Body::empty()).await;
    given.is_error(404, "not_found");
    assert_eq!(given.header("x-request-id"), Some("mine"));
}

#[tokio::test]
async fn a_panic_is_an_error_that_says_nothing_of_the_inside() {
    let routes = plain();
    for _ in 0..2 {
        let answered = get_it(&routes, "/panics").await;
        answered.is_error(500, "internal");
        assert!(!answered.text().contains("hunter2"), "{}", answered.text());
    }
    assert_eq!(get_it(&routes, "/health").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_of_a_mebibyte_is_taken_and_one_byte_more_is_not() {
    let routes = plain();
    let of = |path, length: usize| ask(&routes, request("POST", path), vec![b'x'; length]);
    assert_eq!(of("/body", MAX_BODY).await.text(), "1048576");
    for path in ["/body", "/unread"] {
        of(path, MAX_BODY + 1).await.is_error(413, "body_too_large");
    }
    // One that does not say how long it is is measured by whoever reads it.
    let pieces = async |count: usize| {
        let mut left = count;
        let body = Slow(Some(Bytes::new()), move || {
            let piece = (left > 0).then(|| Bytes::from(vec![b'x'; MAX_BODY / 16]));
            left = left.saturating_sub(1);
            Poll::Ready(piece)
        });
        ask(&routes, request("POST", "/body"), Body::new(body)).await.status
    };
    assert_eq!(pieces(16).await, StatusCode::OK);
    assert_eq!(pieces(17).await, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_long_uri_and_long_headers_are_refused_in_our_shape() {
    let routes = plain();
    let fits = "x".repeat(MAX_URI - "/health?".len());
    assert_eq!(get_it(&routes, &format!("/health?{fits}")).await.status, StatusCode::OK);
    get_it(&routes, &format!("/health?{fits}x")).await.is_error(414, "uri_too_long");
    let with = |length: usize| {
        ask(&routes, request("GET", "/health").header("cookie", "x".repeat(length)), Body::empty())
    };
    assert_eq!(with(MAX_HEADERS - "cookie".len()).await.status, StatusCode::OK);
    with(MAX_HEADERS - "cookie".len() + 1).await.is_error(431, "headers_too_large");
}

#[tokio::test]
async fn what_is_too_much_at_once_is_refused_and_a_supervisor_is_not() {
    let service = Service::configured(ServerConfig { max_requests: 1, ..ServerConfig::default() });
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go_on));
    let waits = async move || {
        tell.notify_one();
        wait.notified().await;
        "waited"
    };
    let routes = within(&service, Router::new().route("/waits", get(waits)));
    let first = tokio::spawn({
        let routes = routes.clone();
        async move { get_it(&routes, "/waits").await.status }
    });
    begun.notified().await;
    get_it(&routes, "/long").await.is_error(503, "overloaded");
    get_it(&routes, "/nested/health").await.is_error(503, "overloaded");
    assert_eq!(get_it(&routes, "/health").await.status, StatusCode::OK);
    go_on.notify_one();
    assert_eq!(first.await.unwrap(), StatusCode::OK);
    assert_eq!(get_it(&routes, "/long").await.status, StatusCode::OK);
    assert!(crate::metrics::tests::figures(&service).await.contains("streamhub_http_requests_shed_total 2"));
}

#[tokio::test]
async fn large_bodies_that_are_under_way_leave_room_for_small_ones() {
    const SENDERS: u8 = 64;
    let service = Service::booting();
    let routes = plain_of(&service);
    let of = |length: usize| ask(&routes, from(0), vec![b'x'; length]);
    let mut senders = Vec::new();
    for client in 1..=SENDERS {
        senders.push(stalled(&routes, from(client)).await);
    }
    // What a small body may have needs no room, so that some is left.
    assert_eq!(of(MAX_BODY - (16 << 10)).await.status, StatusCode::OK);
    let last = stalled(&routes, from(SENDERS + 1)).await;
    of(MAX_BODY - (16 << 10)).await.is_error(503, "overloaded");
    of(MAX_BODY + 1).await.is_error(413, "body_too_large");
    assert_eq!(of(16 << 10).await.text(), "16384");
    assert_eq!(get_it(&routes, "/health").await.status, StatusCode::OK);
    assert!(crate::metrics::tests::figures(&service).await.contains("streamhub_http_requests_shed_total 1"));

    last.abort();
    assert!(last.await.unwrap_err().is_cancelled());
    assert_eq!(of(MAX_BODY - (16 << 10)).await.status, StatusCode::OK);
    senders.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn one_client_that_sends_slowly_leaves_room_to_others() {
    let routes = plain_of(&Service::booting());
    let of = |client, length: usize| ask(&routes, from(client), vec![b'x'; length]);
    let mut senders = Vec::new();
    for _ in 0..8 {
        senders.push(stalled(&routes, from(1)).await);
    }
    // It has its eighth, as far as small bodies are for nothing.
    assert_eq!(of(1, 128 << 10).await.status, StatusCode::OK);
    of(1, 256 << 10).await.is_error(503, "overloaded");
    assert_eq!(of(1, 16 << 10).await.text(), "16384");
    assert_eq!(of(2, MAX_BODY).await.status, StatusCode::OK);

    for sender in senders {
        sender.abort();
        assert!(sender.await.unwrap_err().is_cancelled());
    }
    assert_eq!(of(1, MAX_BODY).await.status, StatusCode::OK);
}

/// A request with a body from a client of this number.
fn from(client: u8) -> axum::http::request::Builder {
    request("POST", "/body").extension(ConnectInfo(SocketAddr::from(([192, 0, 2, client], 1))))
}

/// Sends a request of whose body all but the last byte is there, and does not go on.
async fn stalled(routes: &Router, request: axum::http::request::Builder) -> JoinHandle<StatusCode> {
    let (told, is_there) = oneshot::channel::<()>();
    let (routes, mut told) = (routes.clone(), Some(told));
    let body = Slow(Some(Bytes::from(vec![b'x'; MAX_BODY - 1])), move || {
        told.take().map(|told| told.send(()));
        Poll::Pending
    });
    let sending = tokio::spawn(async move { ask(&routes, request, Body::new(body)).await.status });
    is_there.await.unwrap();
    sending
}

#[tokio::test]
async fn a_supervisor_is_answered_wherever_the_routes_are_mounted() {
    let service = Service::configured(ServerConfig { max_requests: 0, ..ServerConfig::default() });
    let probes = Router::new().route("/ready", get(async || "ready"));
    let routes = within(&service, Router::new().nest("/api/v1", probes));
    let mounted = Router::new().nest("/media/hub", routes.clone());
    for (routes, path) in
        [(&routes, "/health"), (&routes, "/api/v1/ready"), (&mounted, "/media/hub/api/v1/ready")]
    {
        assert_eq!(get_it(routes, path).await.status, StatusCode::OK, "{path}");
    }
    get_it(&mounted, "/media/hub/long").await.is_error(503, "overloaded");
}

#[tokio::test]
async fn a_caller_that_gave_up_leaves_its_place() {
    let service = Service::configured(ServerConfig { max_requests: 1, ..ServerConfig::default() });
    let never = Router::new().route("/never", get(async || future::pending::<&str>().await));
    let routes = within(&service, never);
    let (heard, listening) = listen();
    let given_up = time::timeout(Duration::from_millis(1), get_it(&routes, "/never")).await;
    drop(listening);
    assert!(given_up.is_err());
    assert_eq!(get_it(&routes, "/long").await.status, StatusCode::OK);
    let figures = crate::metrics::tests::figures(&service).await;
    assert!(figures.contains("streamhub_http_requests_under_way 0"));
    assert!(figures.contains("_count{method=\"GET\",route=\"/never\",status=\"none\"} 1"), "{figures}");
    let lines = heard.0.lock().unwrap();
    assert_eq!((lines.len(), &*lines[0]["message"], lines[0].get("status")), (1, "abandoned", None));
}

#[tokio::test]
async fn who_was_too_slow_shows_in_the_status() {
    let config = ServerConfig { request_timeout: Duration::from_millis(20), ..ServerConfig::default() };
    let never = Router::new().route("/never", post(async |_: Bytes| future::pending::<&str>().await));
    let routes = within(&Service::configured(config), never);
    ask(&routes, request("POST", "/never"), "whole").await.is_error(503, "timed_out");
    ask(&routes, request("POST", "/never"), Body::empty()).await.is_error(503, "timed_out");
    let stalled = Slow(Some(Bytes::from_static(b"half of i")), || Poll::Pending);
    ask(&routes, request("POST", "/body"), Body::new(stalled)).await.is_error(408, "request_timeout");
}

#[tokio::test]
async fn what_is_long_is_compressed_for_those_who_ask_for_it() {
    let events = ([(header::CONTENT_TYPE, "text/event-stream")], "data: 1\n\n".repeat(1000));
    let events = Router::new().route("/events", get(move || future::ready(events.clone())));
    let routes = within(&Service::booting(), events);
    let asked = |path, encoding| {
        ask(&routes, request("GET", path).header("accept-encoding", encoding), Body::empty())
    };
    let long = get_it(&routes, "/long").await;
    assert_eq!((long.body.len(), long.header("content-encoding")), (11_000, None));
    let compressed = asked("/long", "br, gzip").await;
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
    assert!(compressed.header("vary").unwrap().eq_ignore_ascii_case("accept-encoding"));
    assert!(compressed.body.starts_with(&[0x1f, 0x8b]) && compressed.body.len() < 1000);
    for (path, encoding) in [("/health", "gzip"), ("/events", "gzip"), ("/long", "br"), ("/long", "gzip;q=0")]
    {
        assert_eq!(asked(path, encoding).await.header("content-encoding"), None, "{path} {encoding}");
    }
}

#[tokio::test]
async fn other_origins_are_permitted_where_they_are_configured() {
    const OURS: &str = "https://console.example.org";
    let from = |routes: Router, method: &'static str, path: &'static str, origin: &'static str| async move {
        let request = request(method, path)
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "authorization,idempotency-key");
        ask(&routes, request, Body::empty()).await
    };
    let allowed = |answered: &Answered| answered.header("access-control-allow-origin").map(str::to_owned);
    for method in ["GET", "OPTIONS"] {
        assert_eq!(allowed(&from(plain(), method, "/health", OURS).await), None, "off unless configured");
    }
    let with = |origin: &str| {
        configured(ServerConfig { cors_origins: vec![origin.parse().unwrap()], ..ServerConfig::default() })
    };
    let preflight = from(with(OURS), "OPTIONS", "/apps/x", OURS).await;
    assert_eq!((preflight.status, allowed(&preflight).as_deref()), (StatusCode::OK, Some(OURS)));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("PATCH"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("idempotency-key"));
    for path in ["/health", "/nothing", "/panics"] {
        assert_eq!(allowed(&from(with(OURS), "GET", path, OURS).await).as_deref(), Some(OURS), "{path}");
        assert_eq!(allowed(&from(with(OURS), "GET", path, "https://evil.example").await), None, "{path}");
    }
    assert_eq!(allowed(&from(with("*"), "GET", "/health", OURS).await).as_deref(), Some("*"));
}

/// S3 of the older system.
#[tokio::test]
async fn a_handler_learns_where_a_request_comes_from() {
    let trusted_proxies = AllowList::only(&["10.0.0.0/8"]).unwrap();
    let routes = configured(ServerConfig { trusted_proxies, ..ServerConfig::default() });
    let from = |peer: &'static str, forwarded: &'static str| {
        let peer: SocketAddr = peer.parse().unwrap();
        let request = request("GET", "/address").extension(ConnectInfo(peer));
        let request =
            if forwarded.is_empty() { request } else { request.header("x-forwarded-for", forwarded) };
        ask(&routes, request, Body::empty())
    };
    let client = async |peer, forwarded| {
        from(peer, forwarded).await.text().split_once("client: ").unwrap().1.to_owned()
    };
    assert_eq!(client("192.0.2.1:5", "").await, "Some(192.0.2.1) }");
    assert_eq!(client("192.0.2.1:5", "127.0.0.1").await, "None }");
    assert_eq!(client("10.1.1.1:5", "127.0.0.1, 198.51.100.7").await, "Some(198.51.100.7) }");
    assert_eq!(get_it(&routes, "/address").await.text(), "ClientAddress { peer: None, client: None }");
}

/// Keeps the fields of what is logged for the access log.
#[derive(Clone, Default)]
struct Listening(Arc<Mutex<Vec<BTreeMap<&'static str, String>>>>);

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl tracing::Subscriber for Listening {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == ACCESS_LOG
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        self.0.lock().unwrap().push(fields);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Begins to listen on this thread. Beside somebody else who listens, since tracing would ask the only one on whichever
/// thread writes a line for the first time, and switch that line off where nobody listens there.
fn listen() -> (Listening, DefaultGuard) {
    static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Listening::default()));
    LazyLock::force(&ANOTHER);
    let heard = Listening::default();
    (heard.clone(), tracing::subscriber::set_default(heard))
}

#[tokio::test]
async fn every_answer_is_logged_without_what_is_secret() {
    let (heard, listening) = listen();
    let routes = plain();
    let peer: SocketAddr = "192.0.2.1:5".parse().unwrap();
    let named = request("GET", "/apps/news-24?token=hunter2")
        .extension(ConnectInfo(peer))
        .header("x-request-id", "mine");
    ask(&routes, named, Body::empty()).await;
    get_it(&routes, "/hunter2").await;
    get_it(&routes, "/panics").await;
    drop(listening);
    let lines = heard.0.lock().unwrap();
    let of = |line: usize, field: &str| lines[line].get(field).map(String::as_str);
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (field, value) in [
        ("method", "\"GET\""),
        ("route", "\"/apps/{app}\""),
        ("status", "200"),
        ("bytes", "5"),
        ("request.id", "\"mine\""),
        ("client.address", "192.0.2.1"),
        ("principal", "\"token:7\""),
    ] {
        assert_eq!(of(0, field), Some(value), "{field}");
    }
    assert!(of(0, "duration_ms").is_some_and(|took| took.parse::<f64>().is_ok()));
    assert_eq!((of(1, "route"), of(1, "status")), (Some("\"-\""), Some("404")));
    assert_eq!((of(1, "principal"), of(1, "client.address")), (None, None));
    assert_eq!(of(2, "status"), Some("500"));
    assert!(!format!("{lines:?}").contains("hunter2"));
}
