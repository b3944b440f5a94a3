//! One connection: how long it may be silent, and how it ends.
//!
//! hyper reads requests and writes answers; this module watches it doing so. A client that does not send a head
//! in time, does not send a next one, or does not read its answer, is cut off. What an answer takes to begin is
//! the [`layers`](crate::layers)' to bound, and a stream of events may go on for as long as somebody reads it.
//!
//! Heads that are too long or malformed are answered by hyper itself, with 431, 414 or 400 and no body, since
//! no request comes of them.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::IntoResponse as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{self, Instant};

use crate::body::Watched;
use crate::config::{MAX_HEAD, ServerConfig};
use crate::error::ApiError;
use crate::layers;
use crate::service::Service;

/// How long one that is too many may take to ask before it is cut off.
const REFUSAL: Duration = Duration::from_secs(1);

/// Answers what a client asks until one of them has enough, or the server stops.
pub(crate) async fn serve(stream: TcpStream, peer: SocketAddr, routes: Router, service: Service) {
    let _open = service.metrics().connection();
    let silence = Arc::new(Silence::new(service.config()));
    let routes = TowerToHyperService::new(routes);
    let answer = service_fn(|mut request: Request<Incoming>| {
        let mut turn = Some(Turn::begin(&silence));
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = routes.call(request);
        async move {
            answer.await.map(|response| response.map(|body| Watched::new(body, move || drop(turn.take()))))
        }
    });
    let io = TokioIo::new(WatchedStream { stream, silence: Arc::clone(&silence) });
    let mut connection = pin!(builder().serve_connection(io, answer));
    let (mut too_long, mut stopping) = (pin!(silence.too_long()), pin!(service.stopping()));
    let mut told = false;
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(client.peer = %peer, %error, "a connection ended early");
                }
                return;
            }
            () = &mut too_long => return,
            () = &mut stopping, if !told => {
                connection.as_mut().graceful_shutdown();
                told = true;
            }
        }
    }
}

/// Answers that there are too many connections, once, and closes.
pub(crate) async fn refuse(stream: TcpStream) {
    let answer = service_fn(async |_| {
        Ok::<_, Infallible>(layers::taken_at_its_word(ApiError::Overloaded.into_response()))
    });
    let connection = builder().keep_alive(false).serve_connection(TokioIo::new(stream), answer);
    // Whether the client heard it makes no difference.
    let _ = time::timeout(REFUSAL, connection).await;
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_header_size(MAX_HEAD).max_buf_size(MAX_HEAD);
    builder
}

/// How long nothing may come of a connection.
#[derive(Debug)]
struct Silence {
    header: Duration,
    idle: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    waits_for: Wanted,
    /// When the client must have sent what is waited for; none while it is our turn.
    until: Option<Instant>,
    /// When the client must have read some of what was written; none while it reads.
    reads_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The first byte of a request.
    Request,
    /// The rest of its head.
    Head,
    /// Our own answer.
    Answer,
}

impl Silence {
    /// Of a client that has said nothing yet: it connected in order to say something at once.
    fn new(config: &ServerConfig) -> Self {
        let until = Some(Instant::now() + config.header_timeout);
        let state = State { waits_for: Wanted::Head, until, reads_until: None };
        Self { header: config.header_timeout, idle: config.idle_timeout, state: Mutex::new(state) }
    }

    /// Some bytes came. Those that follow the first of a head win no time.
    fn bytes_came(&self) {
        let mut state = self.state();
        if state.waits_for == Wanted::Request {
            state.waits_for = Wanted::Head;
            state.until = Some(Instant::now() + self.header);
        }
    }

    fn head_came(&self) {
        let mut state = self.state();
        state.waits_for = Wanted::Answer;
        state.until = None;
    }

    fn answer_ended(&self) {
        let mut state = self.state();
        state.waits_for = Wanted::Request;
        state.until = Some(Instant::now() + self.idle);
    }

    /// Something was to be written, and the client took it or did not.
    fn wrote(&self, taken: bool) {
        let mut state = self.state();
        if !taken {
            state.reads_until.get_or_insert_with(|| Instant::now() + self.idle);
            return;
        }
        state.reads_until = None;
        // What is written by then may be the rest of an answer that ended before.
        if state.waits_for == Wanted::Request {
            state.until = Some(Instant::now() + self.idle);
        }
    }

    /// Is done once something was waited for too long. It looks from time to time, so that a request costs no
    /// timer; what is cut off is cut off up to a quarter too late.
    async fn too_long(&self) {
        let look = self.header.min(self.idle) / 4;
        loop {
            let now = Instant::now();
            let deadline = {
                let state = self.state();
                state.until.into_iter().chain(state.reads_until).min()
            };
            match deadline {
                Some(deadline) if deadline <= now => return,
                Some(deadline) => time::sleep_until(deadline.min(now + look)).await,
                None => time::sleep(look).await,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's socket, which says when bytes come and go.
#[derive(Debug)]
struct WatchedStream {
    stream: TcpStream,
    silence: Arc<Silence>,
}

impl WatchedStream {
    fn wrote(&self, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.silence.wrote(done.is_ready());
        done
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.silence.bytes_came();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Our turn to say something, which ends with the answer, or with whatever becomes of it.
#[derive(Debug)]
struct Turn(Arc<Silence>);

impl Turn {
    fn begin(silence: &Arc<Silence>) -> Self {
        silence.head_came();
        Self(Arc::clone(silence))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.answer_ended();
    }
}

#[cfg(test)]
mod tests;
