//! Whether the server lives, whether it may be given work, and what it can be asked.

use std::sync::LazyLock;

use axum::http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use streamhub::Hub;
use streamhub::apps::Tally;
use streamhub::time;

use crate::answer::Found;
use crate::ask::{Ask, Nothing};
use crate::docs;
use crate::error::ApiError;
use crate::lasting::{Lasting, Page, Reader, Written};
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

/// The document, written once.
static WRITTEN: LazyLock<Lasting> = LazyLock::new(|| Lasting::new(DOCUMENT.to_string()));

/// The page, written once.
static PAGE: LazyLock<Lasting> = LazyLock::new(|| Lasting::new(docs::page(&DOCUMENT)));

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

/// Probes may bring what they like along, such as a number that keeps answers from being remembered.
async fn health(anyone: Anyone, _: Ask<Nothing, Nothing>) -> Result<Found<Health>, ApiError> {
    Ok(Found(Health {
        status: "ok",
        up: true,
        version: env!("CARGO_PKG_VERSION"),
        ts: time::now(),
        uptime_seconds: anyone.service.uptime_seconds(),
    }))
}

async fn ready(anyone: Anyone, _: Ask<Nothing, Nothing>) -> Result<Found<Ready>, ApiError> {
    let Tally { total, pending, missing } = anyone.service.hub()?.on_control(Hub::tally).await?;
    Ok(Found(Ready { status: "ready", apps: Apps { total, quarantined: pending, missing } }))
}

async fn page(reader: Reader, _: Ask) -> Result<Page, ApiError> {
    Ok(Page(reader.shown(&PAGE)))
}

async fn document(reader: Reader, _: Ask) -> Result<Written, ApiError> {
    Ok(Written(reader.shown(&WRITTEN)))
}
