//! The installation itself, for those who run it.

use std::path::Path;

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use streamhub::{Adoption, AppSize, Health, Hub, Proof, TenantId};

use crate::answer::{Created, Data, List};
use crate::api::Paging;
use crate::api::apps::View;
use crate::ask::{Ask, Json, NoFields, Nothing};
use crate::error::ApiError;
use crate::metrics::{self, Exposition};
use crate::policy::{OnMetrics, Platform};
use crate::route::{Route, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/system/db/health", "system.db-health", (), health)
            .about("Look at the control database"),
        route(Method::GET, "/system/sizes", "system.sizes", (), sizes)
            .about("List how large the apps' databases are, the largest first"),
        route(Method::POST, "/system/adopt", "app.adopt", (), adopt)
            .about("Copy an app's sealed directory on the server's machine among the apps, and register it")
            .may(&[StatusCode::CONFLICT, StatusCode::NOT_FOUND, StatusCode::TOO_MANY_REQUESTS]),
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

/// A directory that is to be adopted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Adopt {
    /// Where it lies on the server's machine, from the root.
    #[schemars(regex(pattern = "^/"))]
    dir: String,
    /// Whose the app is to be; the tenant that it says itself where nothing is said.
    #[serde(default)]
    tenant_id: Option<TenantId>,
    /// Whether it is taken without a seal, on the caller's word that nobody was using it.
    #[serde(default)]
    unsealed: bool,
}

/// An app that was adopted.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AdoptedApp")]
struct Adopted {
    app: View,
    /// Whether its tenant was made for it, with default quotas.
    tenant_created: bool,
    /// Whether a seal stood for it.
    sealed: bool,
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
    Ok(Data(platform.hub.on_control(Hub::control_health).await?))
}

async fn sizes(platform: Platform, ask: Ask<Nothing, Paging>) -> Result<List<AppSize>, ApiError> {
    let (limit, offset) = ask.query.checked()?;
    Ok(List::slice(platform.hub.blocking(None, Hub::sizes).await?, limit, offset))
}

async fn adopt(
    platform: Platform,
    ask: Ask<Nothing, NoFields, Json<Adopt>>,
) -> Result<Created<Adopted>, ApiError> {
    let Json(Adopt { dir, tenant_id, unsealed }) = ask.body;
    if !Path::new(&dir).is_absolute() {
        return Err(ApiError::invalid("invalid_body", "dir: a path from the root"));
    }
    let proof = if unsealed { Proof::Word } else { Proof::Seal };
    let adoption = Adoption { tenant: tenant_id, proof };
    let streamhub::Adopted { app, tenant_created, sealed } =
        platform.hub.adopt_async(Path::new(&dir), &adoption).await?;
    Ok(Created(Adopted { app: app.into(), tenant_created, sealed }))
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

async fn figures(on: OnMetrics, _: Ask<Nothing, Nothing>) -> Result<Exposition, ApiError> {
    Ok(metrics::render(&on.service, on.format).await)
}
