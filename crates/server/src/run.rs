//! The server as a running thing: it listens, takes connections, and ends in good order.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time;

use crate::connection;
use crate::places::Places;
use crate::router::router;
use crate::service::Service;

/// How many connections beyond the most that are served are told so at the same time. More than these are closed
/// without a word: those who have a place kept for them are behind them at the listener.
const REFUSED_AT_ONCE: usize = 64;

/// How long nobody is taken from the listener after that failed, as it does where the process has no descriptor
/// left: connections that end give some back meanwhile.
const RESPITE: Duration = Duration::from_millis(200);

/// Serves until `stop` is done, then waits for the requests under way, but no longer than `grace`.
///
/// Closing the hub is left to its owner. An error means that the listener cannot listen.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    stop: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
) -> io::Result<()> {
    serve_routes(listener, router(service.clone()), service, stop, grace).await
}

/// The same, whatever the routes.
pub(crate) async fn serve_routes(
    listener: TcpListener,
    routes: Router,
    service: Service,
    stop: impl Future<Output = ()>,
    grace: Duration,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let served = tokio::select! {
        biased;
        () = stop => Ok(()),
        error = take(&listener, &routes, &service, &mut connections) => Err(error),
    };
    drop(listener);
    service.stop();
    let ended = async { while connections.join_next().await.is_some() {} };
    if time::timeout(grace, ended).await.is_err() {
        tracing::warn!(
            grace_seconds = grace.as_secs(),
            "requests were still under way when the server stopped"
        );
        connections.shutdown().await;
    }
    served
}

/// Takes connections from the listener for as long as it gives any.
async fn take(
    listener: &TcpListener,
    routes: &Router,
    service: &Service,
    connections: &mut JoinSet<()>,
) -> io::Error {
    let places = Places::new(service.config());
    let refused = Arc::new(Semaphore::new(REFUSED_AT_ONCE));
    loop {
        let (stream, peer) = match accept(listener).await {
            Ok(accepted) => accepted,
            Err(error) => return error,
        };
        // A small answer is not to wait until the client acknowledged the one before.
        let _ = stream.set_nodelay(true);
        if let Some(place) = places.take(peer.ip()) {
            let serving = connection::serve(stream, peer, routes.clone(), service.clone());
            connections.spawn(async move {
                let _place = place;
                serving.await;
            });
        } else {
            service.metrics().refused();
            if let Ok(permit) = Arc::clone(&refused).try_acquire_owned() {
                connections.spawn(async move {
                    let _permit = permit;
                    connection::refuse(stream).await;
                });
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// The next connection. What goes wrong with one is none of the others' business.
async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    loop {
        match listener.accept().await {
            Ok(accepted) => return Ok(accepted),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused => {}
                ErrorKind::InvalidInput => return Err(error),
                _ => {
                    tracing::error!(%error, "no connection can be taken for a moment");
                    time::sleep(RESPITE).await;
                }
            },
        }
    }
}
