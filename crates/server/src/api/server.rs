//! Whether the server lives, whether it may be given work, and what it can be asked.

use axum::http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use streamhub::Hub;
use streamhub::time;

use crate::answer::{Found, Page};
use crate::ask::Ask;
use crate::docs;
use crate::error::ApiError;
use crate::policy::Anyone;
use crate::route::{Route, route};
use crate::router::DOCUMENT;

/// What load balancers and people ask for without credentials, at the root too.
pub(crate) fn probes() -> Vec<Route> {
    vec![
        route(Method::GET, "/health", "server.health", (), health).about("Say that the process lives"),
        route(Method::GET, "/ready", "server.ready", (), ready).about("Say whether requests are served"),
    ]
}

/// The API's description of itself.
pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/openapi.json", "server.openapi", (), document)
            .about("Describe this API in OpenAPI"),
        route(Method::GET, "/docs", "server.docs", (), page).about("Describe this API to people"),
    ]
}

/// The process lives; nothing is said of the databases.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    status: &'static str,
    up: bool,
    version: &'static str,
    ts: String,
    uptime_seconds: u64,
}

/// The databases are open.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ready {
    status: &'static str,
    apps: Apps,
}

/// Apps by count only: names are not for everyone.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Apps {
    total: u64,
    /// Out of service until a person mends what is wrong.
    quarantined: u64,
    /// Registered without a directory or a row of older data.
    missing: u64,
}

async fn health(anyone: Anyone, _: Ask) -> Result<Found<Health>, ApiError> {
    Ok(Found(Health {
        status: "ok",
        up: true,
        version: env!("CARGO_PKG_VERSION"),
        ts: time::now(),
        uptime_seconds: anyone.service.uptime_seconds(),
    }))
}

async fn ready(anyone: Anyone, _: Ask) -> Result<Found<Ready>, ApiError> {
    let tally = anyone.service.hub()?.on_control(Hub::tally).await?;
    let apps = Apps { total: tally.total, quarantined: tally.pending, missing: tally.missing };
    Ok(Found(Ready { status: "ready", apps }))
}

async fn page(_: Anyone, _: Ask) -> Result<Page, ApiError> {
    Ok(Page(docs::page(&DOCUMENT)))
}

async fn document(_: Anyone, _: Ask) -> Result<Found<Value>, ApiError> {
    Ok(Found(DOCUMENT.clone()))
}
