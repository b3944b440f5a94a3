//! Whether the server lives, and whether it may be given work.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use streamhub::time;

use crate::error::ApiError;
use crate::service::{Service, Stage};

/// The process lives; nothing is said of the databases.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    status: &'static str,
    up: bool,
    version: &'static str,
    ts: String,
    uptime_seconds: u64,
}

/// The databases are open.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ready {
    status: &'static str,
    apps: Apps,
}

/// Apps by count only: names are not for everyone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Apps {
    total: u64,
    /// Out of service until a person mends what is wrong.
    quarantined: u64,
    /// Registered without a directory or a row of older data.
    missing: u64,
}

/// `GET /health`
pub(crate) async fn health(State(service): State<Service>) -> Json<Health> {
    Json(Health {
        status: "ok",
        up: true,
        version: env!("CARGO_PKG_VERSION"),
        ts: time::now(),
        uptime_seconds: service.uptime_seconds(),
    })
}

/// `GET /ready`
pub(crate) async fn ready(State(service): State<Service>) -> Result<Json<Ready>, ApiError> {
    let hub = match service.stage() {
        Stage::Booting => return Err(ApiError::Booting),
        Stage::Stopping => return Err(ApiError::Stopping),
        Stage::Ready(hub) => hub,
    };
    let tally = tokio::task::spawn_blocking(move || hub.tally())
        .await
        .map_err(|error| ApiError::Broken(error.to_string()))??;
    let apps = Apps { total: tally.total, quarantined: tally.pending, missing: tally.missing };
    Ok(Json(Ready { status: "ready", apps }))
}
