//! A media server's first day with the hub inside: `cargo run --example embed -- DATA_DIR [ADDRESS]`, then
//! `curl --json '{"streamId": "live/cam", "type": "rtmp"}' ADDRESS/apps/my-app/streams`.

use axum::extract::{Path, State};
use axum::{Json, Router, http::StatusCode, routing};
use std::io::{Write as _, stderr, stdout};
use std::sync::Arc;
use streamhub::streams::{self, NewStream, Stream, StreamFilter};
use streamhub::{AppId, Hub, HubConfig, HubError, Kind, Listed, NewApp, TenantId, progress::Silent};
use tokio::signal::unix::{SignalKind, signal};
use tokio::{net::TcpListener, task::spawn_blocking};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(stderr).init(); // the hub says there what a person has to look at
    let mut arguments = std::env::args().skip(1);
    let mut config = HubConfig::new(arguments.next().ok_or("usage: embed DATA_DIR [ADDRESS]")?);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    config.legacy = Some(Arc::new(streamhub_split::Older::default())); // takes older data over

    // Opening may take long; it blocks, as does everything that is not called `…_async` or `peek`.
    let hub = spawn_blocking(move || open(&config)).await??;
    let routes = Router::new()
        .route("/apps/{app}/streams", routing::get(list).post(publish))
        .route("/apps/{app}/streams/{*stream}", routing::put(report).delete(end))
        .with_state(hub.clone());
    let listener = TcpListener::bind(address).await?;
    writeln!(stdout(), "listening on http://{}", listener.local_addr()?)?;
    let mut stop = signal(SignalKind::terminate())?;
    let stopped = async move {
        tokio::select! { _ = stop.recv() => {} _ = tokio::signal::ctrl_c() => {} }
    };
    axum::serve(listener, routes).with_graceful_shutdown(stopped).await?; // answers what was asked
    Ok(spawn_blocking(move || hub.close()).await??) // seals the apps, then lets go of the directory
}

fn open(config: &HubConfig) -> Result<Hub, HubError> {
    let hub = Hub::open(config, &Silent)?;
    if hub.registered("my-app").is_err() {
        hub.create(&NewApp::new("my-app".parse().expect("a name"), TenantId::platform()))?;
    }
    Ok(hub)
}

async fn publish(State(hub): State<Hub>, app: Path<AppId>, Json(new): Json<NewStream>) -> Answer<Stream> {
    let app = hub.app_async(&app).await.map_err(failure)?;
    app.start_stream_async(new).await.map(Json).map_err(failure)
}

async fn list(State(hub): State<Hub>, app: Path<AppId>) -> Answer<Listed<Stream>> {
    let app = hub.app_async(&app).await.map_err(failure)?;
    app.peek(|tx| Ok(streams::list(tx, &StreamFilter::default())?)).await.map(Json).map_err(failure)
}

async fn report(State(hub): State<Hub>, Path((app, id)): Path<(AppId, String)>, stats: String) -> Answer<()> {
    let app = hub.app_async(&app).await.map_err(failure)?;
    app.write_async(move |tx| Ok(streams::update_stats(tx, &id, &stats)?)).await.map(Json).map_err(failure)
}

async fn end(State(hub): State<Hub>, Path((app, id)): Path<(AppId, String)>) -> Answer<bool> {
    let app = hub.app_async(&app).await.map_err(failure)?;
    app.end_stream_async(&id).await.map(Json).map_err(failure)
}

type Answer<T> = Result<Json<T>, (StatusCode, String)>;

#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn failure(error: HubError) -> (StatusCode, String) {
    let status = match error.kind() {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Exists => StatusCode::CONFLICT,
        Kind::Quota => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable | Kind::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    // What is the server's fault is for its log, and not for clients.
    (status, if status.is_server_error() { status.to_string() } else { error.to_string() })
}
