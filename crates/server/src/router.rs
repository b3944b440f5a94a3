//! Which path is answered by which handler.

use axum::Router;
use axum::routing::get;

use crate::error::ApiError;
use crate::health;
use crate::service::Service;

/// All routes, at the root and under `/api/v1`.
pub fn router(service: Service) -> Router {
    Router::new()
        .merge(probes())
        .nest("/api/v1", probes())
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(service)
}

/// What load balancers and people ask for without credentials.
fn probes() -> Router<Service> {
    Router::new().route("/health", get(health::health)).route("/ready", get(health::ready))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    use streamhub::progress::Silent;
    use streamhub::{Hub, HubConfig, Volatile};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;

    /// The first line of the answer, and its body.
    async fn get(address: SocketAddr, path: &str) -> (String, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head.lines().next().unwrap().to_owned(), body.to_owned())
        })
        .await
        .unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_answers_before_its_hub_is_open_and_says_so() {
        let service = Service::booting();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let asked = async { drop(stopped.await) };
        let serving = tokio::spawn(crate::serve(listener, service.clone(), asked, Duration::from_mins(1)));

        assert!(get(address, "/health").await.0.contains("200"));
        let (status, body) = get(address, "/ready").await;
        assert!(status.contains("503") && body.contains("\"code\":\"booting\""), "{status} {body}");

        let dir = tempfile::tempdir().unwrap();
        let mut config = HubConfig::new(dir.path().join("data-dir"));
        config.volatile = Volatile::Permit;
        let hub = Hub::open(&config, &Silent).unwrap();
        service.ready(hub.clone());
        let (status, body) = get(address, "/ready").await;
        assert!(status.contains("200") && body.contains("\"total\":0"), "{status} {body}");

        hub.close().unwrap();
        let (status, body) = get(address, "/ready").await;
        assert!(status.contains("503") && body.contains("\"code\":\"stopping\""), "{status} {body}");
        stop.send(()).unwrap();
        serving.await.unwrap().unwrap();
        service.ready(hub);
        assert!(matches!(service.stage(), crate::service::Stage::Stopping), "a stopped server stays stopped");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_can_be_mounted_under_any_prefix_of_another_server() {
        let app = Router::new().route("/own", get_own()).nest("/media/hub", router(Service::booting()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(axum::serve(listener, app).into_future());
        for path in ["/own", "/media/hub/health", "/media/hub/api/v1/health"] {
            assert!(get(address, path).await.0.contains("200"), "{path}");
        }
        let (status, body) = get(address, "/media/hub/nothing").await;
        assert!(status.contains("404") && body.contains("\"code\":\"not_found\""), "{status} {body}");
        assert_eq!(get(address, "/nothing").await.1, "", "the other server's own answer");
        serving.abort();
    }

    fn get_own() -> axum::routing::MethodRouter {
        axum::routing::get(async || "own")
    }
}
