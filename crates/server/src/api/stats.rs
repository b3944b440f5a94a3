//! The server and the apps in numbers.

use axum::http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use streamhub::access::Permission;
use streamhub::footprint::{Machine, Process};
use streamhub::stats::{self, AppStats};
use streamhub::{Hub, HubError};

use crate::answer::Found;
use crate::ask::Ask;
use crate::error::ApiError;
use crate::policy::{Caller, OnApp};
use crate::route::{Route, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/stats", "server.stats", (), of_server).about(
            "Show what the machine and the server are busy with, and how many apps the caller may see",
        ),
        route(Method::GET, "/apps/{app}/stats", "app.stats", Permission::AppRead, of_app)
            .about("Count what is in an app"),
    ]
}

/// What the server is busy with.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServerStats")]
struct Figures {
    machine: Machine,
    /// Memory of the server.
    resident_bytes: Option<u64>,
    uptime_seconds: u64,
    /// Apps that the caller may see.
    apps: u64,
    handle_cache: HandleCache,
}

/// The cache of open apps.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct HandleCache {
    /// Apps that are open.
    open: usize,
    /// Of those, how many are in use.
    leased: usize,
    /// Apps that are set aside.
    quarantined: usize,
    /// Connections that are open.
    connections: usize,
    /// The most connections that may be open.
    connections_budget: usize,
    /// Leases of apps that were open.
    hits: u64,
    /// Openings.
    opens: u64,
    /// Idle apps that were closed for others.
    evictions: u64,
}

async fn of_server(caller: Caller, _: Ask) -> Result<Found<Figures>, ApiError> {
    let within = caller.principal.within(Permission::AppRead);
    let apps = caller.hub.on_control(move |hub| hub.registry().count_apps(&within)).await?;
    let (machine, process) = caller.hub.blocking(None, |hub| Ok((hub.machine(), Process::look()))).await?;
    Ok(Found(Figures {
        machine,
        resident_bytes: process.resident_bytes,
        uptime_seconds: caller.service.uptime_seconds(),
        apps,
        handle_cache: HandleCache::of(&caller.hub),
    }))
}

impl HandleCache {
    fn of(hub: &Hub) -> Self {
        let stats = hub.cache_stats();
        Self {
            open: stats.open,
            leased: stats.leased,
            quarantined: stats.quarantined,
            connections: stats.used.connections,
            connections_budget: stats.budget.connections,
            hits: stats.hits,
            opens: stats.opens,
            evictions: stats.evictions,
        }
    }
}

async fn of_app(on: OnApp, _: Ask) -> Result<Found<AppStats>, ApiError> {
    Ok(Found(on.lease().await?.read_async(|tx| Ok::<_, HubError>(stats::of(tx)?)).await?))
}
