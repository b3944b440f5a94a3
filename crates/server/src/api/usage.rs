//! What tenants use, and what media servers meter.

use axum::http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use streamhub::TenantUsage;
use streamhub::access::Permission;
use streamhub::usage::Reading;

use crate::answer::{Done, Found, List};
use crate::api::Paging;
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::policy::{OnApp, OnTenant};
use crate::route::{Route, repeatable, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/tenants/{tenant}/usage", "tenant.usage", Permission::UsageRead, show)
            .about("Compare what a tenant uses with what it may have"),
        route(
            Method::GET,
            "/tenants/{tenant}/usage/history",
            "tenant.usage-history",
            Permission::UsageRead,
            history,
        )
        .about("List what was metered of a tenant, the newest month first"),
        repeatable(Method::POST, "/apps/{app}/usage", "usage.meter", Permission::AppWrite, meter, metered)
            .about("Add to what an app's tenant has sent in this month"),
    ]
}

/// What was used since it was said last.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewUsage")]
struct New {
    /// Bytes that were sent to viewers.
    egress_bytes: u64,
}

async fn show(on: OnTenant, _: Ask) -> Result<Found<TenantUsage>, ApiError> {
    Ok(Found(on.hub.on_control(move |hub| hub.registry().usage(&on.tenant)).await?))
}

async fn history(on: OnTenant, ask: Ask<Nothing, Paging>) -> Result<List<Reading>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    let all = on.hub.on_control(move |hub| hub.registry().usage_history(&on.tenant)).await?;
    Ok(List::slice(all, limit, offset))
}

async fn meter(on: OnApp, ask: Ask<Nothing, NoFields, Json<New>>) -> Result<Done, ApiError> {
    on.lease().await?.meter_egress_async(ask.body.0.egress_bytes).await?;
    Ok(Done)
}

/// It was added, and its answer was lost.
async fn metered(_: OnApp, _: String) -> Result<Done, ApiError> {
    Ok(Done)
}
