//! The server as a running thing: it listens, answers, and ends in good order.

use std::io;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::router::router;
use crate::service::Service;

/// Serves until `stop` is done, then waits for the requests under way, but no longer than `grace`.
///
/// Closing the hub is left to its owner.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    stop: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
) -> io::Result<()> {
    let (stopping, stopped) = oneshot::channel();
    let app = router(service.clone());
    let serving = axum::serve(listener, app).with_graceful_shutdown(async move {
        stop.await;
        service.stop();
        // Nobody listens any more where serving failed before.
        let _ = stopping.send(());
    });
    tokio::select! {
        served = serving.into_future() => served,
        () = async {
            match stopped.await {
                Ok(()) => tokio::time::sleep(grace).await,
                // The sender is gone with the serving future, whose own answer comes first.
                Err(_) => std::future::pending().await,
            }
        } => {
            tracing::warn!(grace_seconds = grace.as_secs(), "requests were still under way when the server stopped");
            Ok(())
        }
    }
}
