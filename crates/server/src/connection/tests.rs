//! Tests of connections, over sockets: clients that are slow, too many, too quick, or there when the server stops.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as Client;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use axum::body::{Body, Bytes};
use axum::routing::get;
use hyper::body::Frame;
use streamhub::allow_list::AllowList;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::layers::layers;
use crate::run::serve_routes;

/// Longer than anything here takes; a test that waits for this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// As short as a time may be, and what is much longer.
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_hours(1);

struct Server {
    address: SocketAddr,
    service: Service,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(config: ServerConfig, routes: Router) -> Self {
        Self::with_grace(config, routes, PATIENCE).await
    }

    async fn with_grace(config: ServerConfig, routes: Router, grace: Duration) -> Self {
        let service = Service::configured(config);
        let routes = layers(routes.route("/health", get(async || "alive")), &service);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let serving = tokio::spawn(serve_routes(listener, routes, service.clone(), stopped, grace));
        Self { address, service, stop, serving }
    }

    fn connect(&self) -> Client {
        let client = Client::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    async fn metric(&self, name: &str) -> u64 {
        let text = crate::metrics::tests::figures(&self.service).await;
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        line.trim().parse().unwrap()
    }

    /// Waits until there are so many connections.
    async fn connections(&self, wanted: u64) {
        let reached = async {
            while self.metric("streamhub_http_connections ").await != wanted {
                time::sleep(Duration::from_millis(5)).await;
            }
        };
        time::timeout(PATIENCE, reached).await.unwrap();
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        time::timeout(PATIENCE, self.serving).await.unwrap().unwrap().unwrap();
    }
}

fn timeouts(header_timeout: Duration, idle_timeout: Duration) -> ServerConfig {
    ServerConfig { header_timeout, idle_timeout, ..ServerConfig::default() }
}

/// Runs what blocks on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Reads one answer, and returns its head and its body.
fn answer(client: &mut Client) -> io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length =
        head.split_once("content-length: ").map_or("0", |(_, rest)| rest.split("\r\n").next().unwrap());
    let mut body = vec![0; length.parse().unwrap()];
    client.read_exact(&mut body)?;
    Ok((head, body))
}

fn send(client: &mut Client, path: &str) -> io::Result<()> {
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
}

/// Reads until the server closes; what it said until then.
fn until_closed(client: &mut Client) -> String {
    let mut said = Vec::new();
    match client.read_to_end(&mut said) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("not closed: {error}"),
        _ => String::from_utf8(said).unwrap(),
    }
}

/// Sends one byte of a head after the other, until the server has enough.
fn trickle(client: &mut Client) {
    let mut sent = client.write_all(b"GET /health HTTP/1.1\r\nx: ");
    for _ in 0..1000 {
        if sent.is_err() {
            return;
        }
        thread::sleep(SHORT / 8);
        sent = client.write_all(b"y");
    }
    panic!("each byte won the client more time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_slow_with_its_head_is_cut_off() {
    let server = Server::start(timeouts(SHORT, LONG), Router::new()).await;
    let (mut silent, mut stalled, mut trickling) = (server.connect(), server.connect(), server.connect());
    stalled.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: ").unwrap();
    let trickling = blocking(move || trickle(&mut trickling));
    blocking(move || assert_eq!((until_closed(&mut silent), until_closed(&mut stalled)), Default::default()))
        .await;
    trickling.await;
    server.connections(0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_think_between_requests_but_not_within_one() {
    let server = Server::start(timeouts(SHORT, LONG), Router::new()).await;
    let mut client = server.connect();
    blocking(move || {
        for _ in 0..2 {
            send(&mut client, "/health").unwrap();
            assert_eq!(answer(&mut client).unwrap().1, b"alive");
            thread::sleep(SHORT * 2);
        }
        trickle(&mut client);
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_in_the_end() {
    let server = Server::start(timeouts(LONG, SHORT), Router::new()).await;
    let mut client = server.connect();
    blocking(move || {
        send(&mut client, "/health").unwrap();
        assert_eq!(answer(&mut client).unwrap().1, b"alive");
        assert_eq!(until_closed(&mut client), "");
    })
    .await;
    server.connections(0).await;
    server.stop().await;
}

/// An answer without an end.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1 << 14])))))
    }
}

const LARGE: usize = 64 << 20;

fn large() -> Router {
    let routes = Router::new().route("/large", get(async || vec![b'x'; LARGE]));
    routes.route("/endless", get(async || Body::new(Endless)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let server = Server::start(timeouts(LONG, SHORT), large()).await;
    for path in ["/large", "/endless"] {
        let mut client = server.connect();
        send(&mut client, path).unwrap();
        server.connections(1).await;
        server.connections(0).await;
        drop(client);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_read_slowly() {
    let server = Server::start(timeouts(LONG, SHORT * 5), large()).await;
    let mut client = server.connect();
    let read = blocking(move || {
        send(&mut client, "/large").unwrap();
        let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
        while read < LARGE {
            match client.read(&mut buffer).unwrap() {
                0 => break,
                some => read += some,
            }
            thread::sleep(SHORT / 5);
        }
        read
    })
    .await;
    assert!(read >= LARGE, "{read} bytes of the head and {LARGE} of the body");
    server.stop().await;
}

/// A stream of events with long pauses.
struct Pauses {
    left: usize,
    pause: Pin<Box<time::Sleep>>,
}

impl hyper::body::Body for Pauses {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.pause.as_mut().poll(cx));
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.pause.as_mut().reset(Instant::now() + SHORT * 3);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: x\n\n")))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_may_pause() {
    let events = async || Body::new(Pauses { left: 3, pause: Box::pin(time::sleep(Duration::ZERO)) });
    let config = ServerConfig { request_timeout: SHORT, ..timeouts(SHORT, SHORT) };
    let server = Server::start(config, Router::new().route("/events", get(events))).await;
    let mut client = server.connect();
    let said = blocking(move || {
        send(&mut client, "/events").unwrap();
        until_closed(&mut client)
    })
    .await;
    assert_eq!(said.matches("data: x").count(), 3, "{said}");
    assert!(said.ends_with("0\r\n\r\n"), "the stream ended by itself: {said}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_most_are_told_so() {
    const MOST: usize = 32;
    let config = ServerConfig { max_connections: MOST, ..timeouts(LONG, LONG) };
    let server = Server::start(config, Router::new()).await;
    let clients: Vec<_> = (0..MOST).map(|_| server.connect()).collect();
    server.connections(MOST as u64).await;
    let crowd: Vec<_> = (0..5 * MOST).map(|_| server.connect()).collect();
    let mut clients = blocking(move || {
        for mut client in crowd {
            // A connection that was refused before it asked is as good as one that was told.
            let _ = send(&mut client, "/health");
            let said = until_closed(&mut client).to_ascii_lowercase();
            if !said.is_empty() {
                assert!(
                    said.starts_with("http/1.1 503") && said.contains("\"code\":\"overloaded\""),
                    "{said}"
                );
                assert!(said.contains("retry-after: 1\r\n") && said.contains("connection: close"), "{said}");
                assert!(said.contains("x-content-type-options: nosniff\r\n"), "{said}");
            }
        }
        clients
    })
    .await;
    assert_eq!(server.metric("streamhub_http_connections_refused_total ").await, 5 * MOST as u64);
    // Those who were there are served, and who leaves makes room.
    clients.truncate(MOST - 1);
    server.connections(MOST as u64 - 1).await;
    clients.push(server.connect());
    are_served(clients).await;
    server.stop().await;
}

/// Each of these connections is answered, and then all are closed.
async fn are_served(mut clients: Vec<std::net::TcpStream>) {
    let answered = move || {
        for client in &mut clients {
            send(client, "/health").unwrap();
            assert_eq!(answer(client).unwrap().1, b"alive");
        }
    };
    blocking(answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_a_share_of_the_connections() {
    const SHARE: usize = 4;
    let config = ServerConfig {
        max_connections_per_peer: SHARE,
        trusted_proxies: AllowList::only(&["127.0.0.3"]).unwrap(),
        ..timeouts(LONG, LONG)
    };
    let server = Server::start(config, Router::new()).await;
    let from = async |ip: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
        let client = socket.connect(server.address).await.unwrap().into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    };
    let mut clients = Vec::new();
    for ip in ["127.0.0.1"; SHARE].into_iter().chain(["127.0.0.2"; SHARE]).chain(["127.0.0.3"; 3 * SHARE]) {
        clients.push(from(ip).await);
    }
    server.connections(5 * SHARE as u64).await;
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let mut refused = from(ip).await;
        let said = blocking(move || {
            let _ = send(&mut refused, "/health");
            until_closed(&mut refused).to_ascii_lowercase()
        })
        .await;
        assert!(said.starts_with("http/1.1 503") && said.contains("retry-after: 1\r\n"), "{ip}: {said}");
    }
    assert_eq!(server.metric("streamhub_http_connections_refused_total ").await, 2);
    drop(clients.remove(0));
    server.connections(5 * SHARE as u64 - 1).await;
    clients.push(from("127.0.0.1").await);
    are_served(clients).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_while_all_places_of_requests_are_taken() {
    let never = Router::new()
        .route("/never", get(async || std::future::pending::<&str>().await))
        .route("/ready", get(async || "ready"))
        .route("/api/v1/metrics", get(async || "figures"));
    let config = ServerConfig { max_requests: 2, ..timeouts(LONG, LONG) };
    let server = Server::with_grace(config, never, SHORT).await;
    let mut stuck = [server.connect(), server.connect()];
    for client in &mut stuck {
        send(client, "/never").unwrap();
    }
    while server.metric("streamhub_http_requests_under_way ").await < 2 {
        time::sleep(Duration::from_millis(1)).await;
    }
    let mut client = server.connect();
    blocking(move || {
        for (path, status) in
            [("/health", 200), ("/ready", 200), ("/api/v1/metrics", 200), ("/other", 503), ("/health", 200)]
        {
            send(&mut client, path).unwrap();
            let (head, body) = answer(&mut client).unwrap();
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{path}: {head}");
            assert_eq!(head.contains("retry-after: 1\r\n"), status == 503, "{path}: {head} {body:?}");
        }
    })
    .await;
    drop(stuck);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_head_is_refused_and_harms_nobody() {
    let server = Server::start(timeouts(LONG, LONG), Router::new()).await;
    let said = |head: String| {
        let mut client = server.connect();
        blocking(move || {
            // The server may have closed before it was sent.
            let _ = client.write_all(head.as_bytes());
            until_closed(&mut client)
        })
    };
    let head = |middle: &str| format!("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{middle}\r\n");
    let ours = said(head(&format!("x: {}\r\n", "y".repeat(40 << 10)))).await;
    assert!(ours.starts_with("HTTP/1.1 431") && ours.contains("\"code\":\"headers_too_large\""), "{ours}");
    for beyond in [head(&format!("x: {}\r\n", "y".repeat(MAX_HEAD))), head(&"a: b\r\n".repeat(101))] {
        let hypers = said(beyond).await;
        assert!(hypers.starts_with("HTTP/1.1 431") && hypers.ends_with("\r\n\r\n"), "{hypers}");
    }
    let uri =
        said(format!("GET /{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "x".repeat(10 << 10))).await;
    assert!(uri.starts_with("HTTP/1.1 414") && uri.contains("\"code\":\"uri_too_long\""), "{uri}");
    assert!(said("nonsense\r\n\r\n".to_owned()).await.starts_with("HTTP/1.1 400"));
    assert!(said(head("")).await.ends_with("alive"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_at_once_are_answered_in_order() {
    let server = Server::start(timeouts(LONG, LONG), Router::new()).await;
    let mut client = server.connect();
    blocking(move || {
        let request = |number| format!("GET /health HTTP/1.1\r\nHost: x\r\nX-Request-Id: n-{number}\r\n\r\n");
        client.write_all((0..100).map(request).collect::<String>().as_bytes()).unwrap();
        for number in 0..100 {
            let (head, body) = answer(&mut client).unwrap();
            assert!(head.contains(&format!("x-request-id: n-{number}\r\n")), "{number}: {head}");
            assert_eq!(body, b"alive");
        }
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_loses_no_answer() {
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let work = async move || {
        count.fetch_add(1, Ordering::Relaxed);
        time::sleep(Duration::from_millis(2)).await;
        "x".repeat(10_000)
    };
    let server = Server::start(timeouts(LONG, LONG), Router::new().route("/begun", get(work))).await;
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = server.connect();
            thread::spawn(move || {
                let mut answered = 0;
                while send(&mut client, "/begun").is_ok() {
                    let Ok((head, body)) = answer(&mut client) else { break };
                    assert!(head.starts_with("http/1.1 200") && body.len() == 10_000, "{head}");
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    while begun.load(Ordering::Relaxed) < 300 {
        time::sleep(Duration::from_millis(1)).await;
    }
    server.stop().await;
    let answered = blocking(|| clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()).await;
    assert_eq!(answered, begun.load(Ordering::Relaxed), "whatever was begun was answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_closes_what_is_idle_and_cuts_what_does_not_end() {
    let never = Router::new().route("/never", get(async || std::future::pending::<&str>().await));
    let server = Server::with_grace(timeouts(LONG, LONG), never, SHORT).await;
    let (mut idle, mut silent, mut stuck) = (server.connect(), server.connect(), server.connect());
    let (mut idle, mut stuck) = blocking(move || {
        send(&mut idle, "/health").unwrap();
        assert_eq!(answer(&mut idle).unwrap().1, b"alive");
        send(&mut stuck, "/never").unwrap();
        (idle, stuck)
    })
    .await;
    while server.metric("streamhub_http_requests_under_way ").await == 0 {
        time::sleep(Duration::from_millis(1)).await;
    }
    server.connections(3).await;
    let service = server.service.clone();
    server.stop().await;
    service.stopping().await;
    blocking(move || {
        assert_eq!((until_closed(&mut idle), until_closed(&mut silent)), (String::new(), String::new()));
        assert_eq!(until_closed(&mut stuck), "", "cut off without an answer");
    })
    .await;
}
