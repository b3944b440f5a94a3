//! Which path is answered by which handler.

use std::sync::LazyLock;

use axum::Router;

use crate::api;
use crate::error::ApiError;
use crate::layers::layers;
use crate::openapi;
use crate::policy::Policy;
use crate::route::Route;
use crate::service::Service;

/// Where the API is, below wherever the router is mounted.
pub(crate) const BASE: &str = "/api/v1";

/// The document of `/openapi.json`.
pub(crate) static DOCUMENT: LazyLock<serde_json::Value> = LazyLock::new(|| openapi::document(&all(), BASE));

/// All routes, for a server of our own or to be mounted in someone else's:
///
/// ```no_run
/// # async fn run(hub: streamhub::Hub, listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// use std::net::SocketAddr;
/// use streamhub_server::{ServerConfig, Service, router};
///
/// let service = Service::configured(ServerConfig::default());
/// let app = axum::Router::new().nest("/hub", router(service.clone()));
/// service.ready(hub); // until then it answers 503
/// // Without the peer's address, tokens with an allow-list are refused.
/// axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
/// # }
/// ```
///
/// The API is below `/api/v1`; what load balancers and Prometheus ask for is at the root too.
pub fn router(service: Service) -> Router {
    let router = Router::new()
        .merge(mounted("", at_root()))
        .merge(mounted(BASE, all()))
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    layers(router, &service).with_state(service)
}

/// What can be asked below `/api/v1`: method, path, name and policy of each route.
pub fn policies() -> Vec<(String, &'static str, &'static str, Policy)> {
    let listed = |route: Route| (route.method.to_string(), route.path, route.name, route.policy);
    all().into_iter().map(listed).collect()
}

/// What is asked for at the root too, where load balancers and Prometheus look for it.
fn at_root() -> Vec<Route> {
    let mut all = api::server::probes();
    all.extend(api::system::metrics_routes());
    all
}

fn all() -> Vec<Route> {
    let mut all = at_root();
    all.extend(api::routes());
    all
}

/// Routes below a place. They are not nested there, which would cost each request a path of its own.
fn mounted(base: &str, routes: Vec<Route>) -> Router<Service> {
    routes.into_iter().fold(Router::new(), |router, route| route.add_to(router, base))
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
