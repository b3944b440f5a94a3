//! The installation itself, for those who run it.

use axum::http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use streamhub::{AppSize, Health};

use crate::answer::{Data, Figures, List};
use crate::api::Paging;
use crate::ask::{Ask, Nothing};
use crate::error::ApiError;
use crate::metrics;
use crate::policy::{OnMetrics, Platform};
use crate::route::{Route, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/system/db/health", "system.db-health", (), health)
            .about("Look at the control database"),
        route(Method::GET, "/system/sizes", "system.sizes", (), sizes)
            .about("List how large the apps' databases are, the largest first"),
        route(Method::GET, "/system/settings", "system.settings", (), settings)
            .about("List the settings in effect and where each came from; nothing secret is shown"),
    ]
}

/// The metrics, at the root too.
pub(crate) fn metrics_routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/metrics", "server.metrics", (), figures)
            .about("Figures of the server in Prometheus' text format"),
    ]
}

/// A setting in effect.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Setting")]
struct Effective {
    key: &'static str,
    value: Value,
    /// Where it came from.
    source: String,
}

async fn health(platform: Platform, _: Ask) -> Result<Data<Health>, ApiError> {
    Ok(Data(platform.hub.blocking(None, |hub| hub.control_health()).await?))
}

async fn sizes(platform: Platform, ask: Ask<Nothing, Paging>) -> Result<List<AppSize>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    Ok(List::slice(platform.hub.blocking(None, |hub| hub.sizes()).await?, limit, offset))
}

async fn settings(platform: Platform, ask: Ask<Nothing, Paging>) -> Result<List<Effective>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    let shown = platform.service.config().settings.iter().map(|entry| Effective {
        key: entry.key,
        value: entry.value.clone(),
        source: entry.source.to_string(),
    });
    Ok(List::slice(shown, limit, offset))
}

async fn figures(on: OnMetrics, _: Ask) -> Result<Figures, ApiError> {
    Ok(Figures(metrics::render(&on.service).await))
}
